//! The heads of requests and answers: what a request must have, what is passed on, what every answer says to browsers.

use std::net::IpAddr;

use hyper::{
    HeaderMap, Request, StatusCode, Version,
    header::{
        CONNECTION, CONTENT_SECURITY_POLICY, EXPECT, FORWARDED, HOST, HeaderName, HeaderValue, PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION, REFERRER_POLICY, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, X_CONTENT_TYPE_OPTIONS,
        X_FRAME_OPTIONS,
    },
    http::uri::{Authority, PathAndQuery},
};

use super::answer::Refusal;

/// What is said between neighbours, and goes no further. hyper has heard `Expect` and writes its own framing.
const HOPS: [HeaderName; 10] = [
    CONNECTION,
    EXPECT,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// The only protocol that a connection can be upgraded to. Another, such as `h2c`, would pass by all that is examined.
const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");

/// Takes out what goes no further. Returns whether the message asks for, or grants, a WebSocket.
pub fn end_hop(headers: &mut HeaderMap) -> bool {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok())
        .collect();
    let upgrade = headers.get(UPGRADE).is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(WEBSOCKET.as_bytes()));
    let upgrade = upgrade && named.contains(&UPGRADE);
    for name in named.iter().chain(&HOPS) {
        headers.remove(name);
    }
    upgrade
}

/// Asks for, or grants, a WebSocket.
pub fn ask_upgrade(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, WEBSOCKET);
}

/// Takes out what says for whom the request is: whoever was believed has been heard.
pub fn drop_forwarded(headers: &mut HeaderMap) {
    let said = |name: &&HeaderName| {
        **name == FORWARDED || name.as_str() == "x-real-ip" || name.as_str().starts_with("x-forwarded-")
    };
    let said: Vec<HeaderName> = headers.keys().filter(said).cloned().collect();
    said.iter().for_each(|name| drop(headers.remove(name)));
}

/// The path of a request, with its query.
///
/// # Errors
/// If it has none, as `CONNECT` has not.
pub fn path<B>(request: &Request<B>) -> Result<PathAndQuery, Refusal> {
    let path = request.uri().path_and_query().filter(|path| path.as_str().starts_with('/'));
    path.cloned().ok_or_else(|| Refusal::malformed("The request line must have a path"))
}

/// Checks for whom a request to the address `local` of ours is. With a `public` name, another name in `Host` is refused:
/// a foreign page whose name suddenly leads to us must not speak for the browser's user.
///
/// # Errors
/// 400 for a `Host` that is missing, repeated or not clear; 421 for one that is not ours.
pub fn check_host<B>(request: &Request<B>, local: IpAddr, public: Option<&str>) -> Result<(), Refusal> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => Some(Authority::try_from(host.as_bytes()).map_err(|_| unclear())?),
        (None, _) if request.version() == Version::HTTP_10 => None,
        _ => return Err(unclear()),
    };
    if request.uri().authority().is_some_and(|named| host.as_ref() != Some(named)) {
        return Err(unclear());
    }
    let (Some(host), Some(public)) = (host, public) else { return Ok(()) };
    if is_ours(host.host(), local, public) {
        return Ok(());
    }
    let message =
        format!("This server is {public:?} and not {:?}; SPINDLE_PUBLIC_URL gives it another name", host.host());
    Err(Refusal::new(StatusCode::MISDIRECTED_REQUEST, "wrong_host", message))
}

fn unclear() -> Refusal {
    Refusal::malformed("The request must have one Host, the one that its request line names")
}

fn is_ours(host: &str, local: IpAddr, public: &str) -> bool {
    let name = host.strip_suffix('.').unwrap_or(host);
    let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    match literal.map(|address| address.to_canonical()) {
        Ok(address) if address.is_loopback() || address == local => true,
        Ok(address) => public.trim_matches(['[', ']']).parse() == Ok(address),
        Err(_) => name.eq_ignore_ascii_case(public) || name.eq_ignore_ascii_case("localhost"),
    }
}

/// What says to proxies that an answer is sent as it comes, and must not be held back.
pub const UNBUFFERED: &str = "x-accel-buffering";

/// Whether an answer is sent as it comes, and may be silent for long.
pub fn is_live(headers: &HeaderMap) -> bool {
    headers.get(UNBUFFERED).is_some_and(|value| value == "no")
}

/// Says to browsers, on every answer, what they must not make of it. An answer with a policy of its own keeps it.
pub fn protect(headers: &mut HeaderMap) {
    let nothing = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'; base-uri 'none'");
    headers.entry(CONTENT_SECURITY_POLICY).or_insert(nothing);
    for (name, value) in [
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (X_FRAME_OPTIONS, "DENY"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        headers.keys().map(HeaderName::as_str).collect()
    }

    #[test]
    fn what_neighbours_say_goes_no_further() {
        let mut some =
            headers(&[("connection", "x-mine, keep-alive"), ("x-mine", "1"), ("te", "trailers"), ("a", "b")]);
        assert!(!end_hop(&mut some));
        assert_eq!(names(&some), ["a"]);
        for (connection, upgrade, granted) in
            [("Upgrade", "WebSocket", true), ("upgrade", "h2c", false), ("keep-alive", "websocket", false)]
        {
            let mut asking = headers(&[("connection", connection), ("upgrade", upgrade)]);
            assert_eq!((end_hop(&mut asking), asking.len()), (granted, 0), "{connection} {upgrade}");
        }
        let mut forwarded =
            headers(&[("x-forwarded-for", "a"), ("x-forwarded-host", "b"), ("forwarded", "c"), ("x-real-ip", "d")]);
        drop_forwarded(&mut forwarded);
        assert!(forwarded.is_empty());
    }

    #[test]
    fn a_host_is_there_once_and_ours() {
        let check = |target: &str, hosts: &[&str], public: Option<&str>| {
            let mut request = Request::get(target);
            for host in hosts {
                request = request.header("host", *host);
            }
            check_host(&request.body(()).unwrap(), "192.0.2.1".parse().unwrap(), public).map_err(|e| e.status.as_u16())
        };
        let public = Some("lab.example.org");
        for host in
            ["lab.example.org", "LAB.example.org.:8443", "localhost:8080", "127.0.0.1", "[::1]:8080", "192.0.2.1:80"]
        {
            assert_eq!(check("/", &[host], public), Ok(()), "{host}");
        }
        for host in ["evil.example", "lab.example.org.evil.example", "192.0.2.2", "localhost.evil.example"] {
            assert_eq!(check("/", &[host], public), Err(421), "{host}");
            assert_eq!(check("/", &[host], None), Ok(()), "{host}");
        }
        for hosts in [&[][..], &["a", "a"], &["a b"], &["a/b"], &[""]] {
            assert_eq!(check("/", hosts, None), Err(400), "{hosts:?}");
        }
        assert_eq!(check("http://a/", &["a"], None), Ok(()));
        assert_eq!(check("http://a/", &["b"], None), Err(400));
        let old = Request::get("/").version(Version::HTTP_10).body(()).unwrap();
        assert_eq!(check_host(&old, "192.0.2.1".parse().unwrap(), public), Ok(()));
    }

    #[test]
    fn an_answer_keeps_its_own_policy() {
        let mut page = headers(&[("content-security-policy", "default-src 'self'"), ("x-frame-options", "SAMEORIGIN")]);
        protect(&mut page);
        assert_eq!(
            (&page["content-security-policy"], &page["x-frame-options"]),
            (&HeaderValue::from_static("default-src 'self'"), &HeaderValue::from_static("DENY"))
        );
    }
}
