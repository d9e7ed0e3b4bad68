//! Certificates that live for one test, and clients that trust one of them alone.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use spindle::http::Certificates;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{ClientConfig, RootCertStore, pki_types::CertificateDer},
};

/// A certificate of its own authority, in files that end with the test.
pub struct Files(PathBuf);

impl Files {
    pub fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("spindle-tls-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    /// Where the certificate is.
    pub fn certificate(&self) -> PathBuf {
        self.0.join("cert.pem")
    }

    /// Where its key is.
    pub fn key(&self) -> PathBuf {
        self.0.join("key.pem")
    }

    pub fn load(&self) -> Result<Arc<Certificates>, String> {
        Certificates::load(self.certificate(), self.key())
    }

    /// Writes a new certificate; returns it.
    pub fn renew(&self) -> CertificateDer<'static> {
        let new = rcgen::generate_simple_self_signed(["lab.example.org".to_owned()]).unwrap();
        std::fs::write(self.certificate(), new.cert.pem()).unwrap();
        std::fs::write(self.key(), new.signing_key.serialize_pem()).unwrap();
        new.cert.der().clone()
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A connection of a client that trusts this certificate alone.
pub async fn dial(to: SocketAddr, trusted: &CertificateDer<'static>) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let name = "lab.example.org".try_into().unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, TcpStream::connect(to).await?).await
}

/// Asks for the server's health, and reads the whole answer.
pub async fn ask(stream: &mut TlsStream<TcpStream>) {
    stream.write_all(b"GET /v1/health HTTP/1.1\r\nHost: lab.example.org\r\n\r\n").await.unwrap();
    let mut read = Vec::new();
    while !String::from_utf8_lossy(&read).contains("\"containers\":{") {
        assert_ne!(stream.read_buf(&mut read).await.unwrap(), 0, "{}", String::from_utf8_lossy(&read));
    }
}
