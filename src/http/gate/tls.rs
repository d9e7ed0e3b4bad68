//! The certificate that the API shows. It can be loaded anew at any time: each handshake shows the newest, and
//! connections that are open go on.

use std::{
    fmt,
    fs::Metadata,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, RwLock},
};

use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::{CryptoProvider, ring},
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
        server::{ClientHello, ResolvesServerCert},
        sign::CertifiedKey,
    },
};

/// The only protocol over TLS: Rocket's HTTP/2 has no limit on streams.
const HTTP_1: &[u8] = b"http/1.1";

/// A certificate chain with its key, from two files in PEM, or from one.
pub struct Certificates {
    certificate: PathBuf,
    key: PathBuf,
    provider: Arc<CryptoProvider>,
    shown: RwLock<Arc<CertifiedKey>>,
    seen: Mutex<Seen>,
}

/// What the files looked like.
struct Seen {
    /// When they were loaded, or refused.
    loaded: Stamp,
    /// At the last look.
    last: Stamp,
}

/// Tells a file from another that was put into its place; `None`: it is not there.
type Stamp = [Option<(u64, i64, i64, u64)>; 2];

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificates({})", self.certificate.display())
    }
}

impl Certificates {
    /// Loads the files.
    ///
    /// # Errors
    /// A sentence that names the file and what is wrong with it.
    pub fn load(certificate: PathBuf, key: PathBuf) -> Result<Arc<Self>, String> {
        let provider = Arc::new(ring::default_provider());
        let stamp = stamp(&certificate, &key);
        let shown = RwLock::new(read(&certificate, &key, &provider)?);
        let seen = Mutex::new(Seen { loaded: stamp, last: stamp });
        Ok(Arc::new(Self { certificate, key, provider, shown, seen }))
    }

    /// Loads the files anew if `must`, or if they have changed since and are at rest: the same as at the last look. If
    /// they are not right, what is shown stays. It blocks on the disk.
    pub fn refresh(&self, must: bool) {
        let now = stamp(&self.certificate, &self.key);
        {
            let mut seen = self.seen.lock().expect("no holder panics");
            let is_at_rest = seen.last == now;
            seen.last = now;
            if !must && (seen.loaded == now || !is_at_rest) {
                return;
            }
            seen.loaded = now;
        }
        match read(&self.certificate, &self.key, &self.provider) {
            Ok(read) => {
                *self.shown.write().expect("no holder panics") = read;
                tracing::info!(file = %self.certificate.display(), "a certificate was loaded");
            }
            Err(error) => tracing::warn!(error, "the new certificate is not used; the API goes on with the old one"),
        }
    }

    /// What speaks TLS with these certificates, whichever are shown then.
    pub fn acceptor(self: &Arc<Self>) -> TlsAcceptor {
        let config = ServerConfig::builder_with_provider(Arc::clone(&self.provider));
        let config = config.with_safe_default_protocol_versions().expect("ring has suites for both versions");
        let shown = Arc::new(Shown(Arc::clone(self)));
        let mut config = config.with_no_client_auth().with_cert_resolver(shown);
        config.alpn_protocols = vec![HTTP_1.to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }
}

#[derive(Debug)]
struct Shown(Arc<Certificates>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.shown.read().expect("no holder panics")))
    }
}

fn read(certificate: &Path, key: &Path, provider: &CryptoProvider) -> Result<Arc<CertifiedKey>, String> {
    let chain = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = chain.map_err(|e| format!("SPINDLE_TLS_CERT: {} cannot be read: {e}", certificate.display()))?;
    if chain.is_empty() {
        return Err(format!("SPINDLE_TLS_CERT: {} has no certificate in PEM", certificate.display()));
    }
    let private = PrivateKeyDer::from_pem_file(key)
        .map_err(|e| format!("SPINDLE_TLS_KEY: {} cannot be read: {e}", key.display()))?;
    let pair = CertifiedKey::from_der(chain, private, provider);
    pair.map(Arc::new)
        .map_err(|e| format!("SPINDLE_TLS_KEY: {} and {} do not fit: {e}", key.display(), certificate.display()))
}

fn stamp(certificate: &Path, key: &Path) -> Stamp {
    let of = |m: Metadata| (m.ino(), m.mtime(), m.mtime_nsec(), m.len());
    [certificate, key].map(|path| std::fs::metadata(path).ok().map(of))
}
