//! TLS: which certificate is shown, and when.

use super::{
    SHORT, api, exchange, is_reset, rest,
    support::{
        World,
        scripted::TestApp,
        tls::{Files, ask, dial},
    },
};

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
    std::fs::write(files.certificate(), "-----BEGIN CERTIFICATE-----\nrubbish\n").unwrap();
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
    let key = std::fs::read(files.key()).unwrap();
    files.renew();
    std::fs::write(files.key(), key).unwrap();
    assert!(files.load().unwrap_err().contains("do not fit"), "another's key");
    std::fs::write(files.key(), "nothing").unwrap();
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
