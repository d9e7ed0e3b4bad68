//! TLS: which certificate is shown, and when.

use std::{net::SocketAddr, sync::Arc};

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

use super::{
    SHORT, api, exchange, is_reset, rest,
    support::{World, scripted::TestApp},
};

/// A certificate of its own authority, in files that end with the test.
struct Files(std::path::PathBuf);

impl Files {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("spindle-tls-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn load(&self) -> Result<Arc<Certificates>, String> {
        Certificates::load(self.0.join("cert.pem"), self.0.join("key.pem"))
    }

    /// Writes a new certificate; returns it.
    fn renew(&self) -> CertificateDer<'static> {
        let new = rcgen::generate_simple_self_signed(["lab.example.org".to_owned()]).unwrap();
        std::fs::write(self.0.join("cert.pem"), new.cert.pem()).unwrap();
        std::fs::write(self.0.join("key.pem"), new.signing_key.serialize_pem()).unwrap();
        new.cert.der().clone()
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A connection of a client that trusts this certificate alone.
async fn dial(to: SocketAddr, trusted: &CertificateDer<'static>) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let name = "lab.example.org".try_into().unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, TcpStream::connect(to).await?).await
}

async fn ask(stream: &mut TlsStream<TcpStream>) {
    stream.write_all(b"GET /v1/health HTTP/1.1\r\nHost: lab.example.org\r\n\r\n").await.unwrap();
    let mut read = Vec::new();
    while !String::from_utf8_lossy(&read).contains("\"containers\":{") {
        assert_ne!(stream.read_buf(&mut read).await.unwrap(), 0, "{}", String::from_utf8_lossy(&read));
    }
}

#[tokio::test]
async fn a_new_certificate_is_shown_and_no_connection_is_dropped() {
    let files = Files::new("reload");
    let first = files.renew();
    let certificates = files.load().unwrap();
    let shown = certificates.clone();
    let w = TestApp::with_api(|api| api.certificates = Some(shown)).start().await;
    let to = api(&w);
    let mut old = dial(to, &first).await.unwrap();
    assert_eq!(old.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]), "HTTP/2 is not spoken");
    ask(&mut old).await;
    let second = files.renew();
    assert!(dial(to, &second).await.is_err(), "nobody has looked at the files");
    certificates.refresh(false);
    assert!(dial(to, &second).await.is_err(), "they may still be being written");
    certificates.refresh(false);
    ask(&mut dial(to, &second).await.unwrap()).await;
    assert!(dial(to, &first).await.is_err());
    ask(&mut old).await;
    // What is wrong is not used.
    std::fs::write(files.0.join("cert.pem"), "-----BEGIN CERTIFICATE-----\nrubbish\n").unwrap();
    certificates.refresh(true);
    ask(&mut dial(to, &second).await.unwrap()).await;
    assert!(files.load().unwrap_err().contains("SPINDLE_TLS_CERT"));
    // This machine itself needs no TLS.
    w.http().get("/v1/containers").await.expect(200);
}

#[test]
fn files_that_do_not_fit_are_refused_by_name() {
    let files = Files::new("wrong");
    assert!(files.load().unwrap_err().contains("SPINDLE_TLS_CERT"));
    files.renew();
    let key = std::fs::read(files.0.join("key.pem")).unwrap();
    files.renew();
    std::fs::write(files.0.join("key.pem"), key).unwrap();
    assert!(files.load().unwrap_err().contains("do not fit"), "another's key");
    std::fs::write(files.0.join("key.pem"), "nothing").unwrap();
    assert!(files.load().unwrap_err().contains("SPINDLE_TLS_KEY"));
}

#[tokio::test]
async fn a_sandbox_is_reset_before_the_handshake_and_who_says_nothing_is_cut_off() {
    let files = Files::new("sandbox");
    let trusted = files.renew();
    let certificates = files.load().unwrap();
    let change = |api: &mut spindle::http::ApiSettings| {
        api.certificates = Some(certificates);
        api.sandboxes = "127.0.3.0/24".parse().unwrap();
        api.times = SHORT;
    };
    let w = TestApp::with_api(change).start().await;
    assert!(is_reset("127.0.3.7", api(&w), b"\x16\x03\x01\x02\x00").await);
    assert_eq!(exchange(api(&w), b"\x16\x03\x01\x02\x00\x01").await, "", "half of a handshake");
    let mut silent = dial(api(&w), &trusted).await.unwrap();
    assert_eq!(rest(&mut silent).await, "", "a handshake and no request");
}
