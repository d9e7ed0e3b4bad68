//! Courtesy: what a browser is shown while it waits, so that it neither spins nor shows an error.

use std::time::Duration;

use jiff::Timestamp;

use crate::domain::{explain::clock_time, time::span};

/// The page, with `{{word}}` where something is filled in. One file: it is shown when nothing else can be fetched.
const PAGE: &str = include_str!("page.html");

const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT"];

/// The most headers that are looked at.
const HEADERS: usize = 64;

/// The parts of an HTTP request that matter here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpRequest {
    /// Whether it can be sent again without harm: GET or HEAD.
    pub repeatable: bool,
    head: bool,
    wants_html: bool,
}

/// Why a client does not reach its sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Matter {
    /// The sandbox is being started, since then.
    Starting(Timestamp),
    /// The sandbox was asked to start, and did not.
    NotStarted,
    /// The sandbox does not run, and a connection does not start it.
    Stopped,
    /// The sandbox runs, and nothing answers on that port.
    Silent(u16),
    /// Too many sandboxes are being started.
    Busy,
}

/// What is told of a sandbox.
#[derive(Debug, Clone, Copy)]
pub struct Notice<'a> {
    /// Its name; empty if an older server has not told it.
    pub name: &'a str,
    /// What is the matter.
    pub matter: Matter,
    /// The time.
    pub now: Timestamp,
}

impl HttpRequest {
    /// Reads the first bytes of a client; `None` if they are not HTTP/1.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        // Too many headers, or a wrong one, and it is still a request.
        let is_one = request.parse(bytes).is_ok() || request.version.is_some();
        let method = request.method.filter(|m| is_one && METHODS.contains(m))?;
        let accept = request.headers.iter().find(|h| h.name.eq_ignore_ascii_case("accept"));
        Some(Self {
            repeatable: ["GET", "HEAD"].contains(&method),
            head: method == "HEAD",
            wants_html: accept.is_some_and(|h| String::from_utf8_lossy(h.value).contains("text/html")),
        })
    }

    /// The answer for a client that must wait, or cannot be helped.
    pub fn answer(self, notice: &Notice<'_>) -> Vec<u8> {
        let is_starting = matches!(notice.matter, Matter::Starting(_));
        let (kind, body) = if self.wants_html { ("html", notice.page()) } else { ("plain", notice.text()) };
        let head = format!(
            "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/{kind}; charset=utf-8\r\nContent-Length: {}\r\n\
             Retry-After: {}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n",
            body.len(),
            if is_starting { 1 } else { 30 },
        );
        let body = if self.head { String::new() } else { body };
        (head + &body).into_bytes()
    }
}

impl Notice<'_> {
    /// A title that says what is the matter, and a sentence that says what to do.
    fn words(&self) -> (String, String) {
        let who = if self.name.is_empty() { "Your sandbox" } else { self.name };
        let (matter, line) = match self.matter {
            Matter::Starting(_) => ("is starting", "This page goes on by itself in a moment.".to_owned()),
            Matter::NotStarted => (
                "could not be started",
                "Reload this page to try again. If that does not help, tell whoever runs it: they can see why.".into(),
            ),
            Matter::Stopped => {
                ("is stopped", "A visit does not start it. Whoever runs it can; nothing in it is lost.".into())
            }
            Matter::Silent(port) => (
                "does not answer",
                format!(
                    "It runs, but nothing in it listens on port {port}. If that is your own server, start it there, on all \
                     addresses (0.0.0.0)."
                ),
            ),
            Matter::Busy => ("has to wait", "Too many are being started. Reload this page in a minute.".into()),
        };
        (format!("{who} {matter}"), line)
    }

    /// One line, for a client that is not a browser.
    fn text(&self) -> String {
        match (self.words(), self.matter) {
            ((title, _), Matter::Starting(_)) => format!("{title}. Try again in a second.\n"),
            ((title, line), _) => format!("{title}. {line}\n"),
        }
    }

    fn page(&self) -> String {
        let (title, line) = self.words();
        let (mut class, mut refresh, mut since, mut lasted) = ("still", "", String::new(), Duration::ZERO);
        if let Matter::Starting(begun) = self.matter {
            class = "turns";
            refresh = "\n<meta http-equiv=\"refresh\" content=\"1\">";
            lasted = Duration::try_from(self.now.duration_since(begun)).unwrap_or_default();
            let (at, passed) = (clock_time(begun, self.now), span(lasted));
            since = format!("<p class=\"since\">for {passed}, since <time datetime=\"{begun:.0}\">{at}</time></p>");
        }
        // After each reload the animation goes on from where it was.
        let at = format!("{:.3}", lasted.as_secs_f64());
        let filled = [
            ("{{refresh}}", refresh),
            ("{{class}}", class),
            ("{{at}}", &at),
            ("{{line}}", &escaped(&line)),
            ("{{since}}", &since),
            // Filled in last: the title holds a name that somebody else has chosen.
            ("{{title}}", &escaped(&title)),
        ];
        filled.iter().fold(PAGE.to_owned(), |page, (word, with)| page.replace(word, with))
    }
}

/// A text escaped for HTML, between tags and in attributes.
fn escaped(text: &str) -> String {
    text.chars().fold(String::new(), |mut safe, c| {
        match c {
            '&' => safe += "&amp;",
            '<' => safe += "&lt;",
            '>' => safe += "&gt;",
            '"' => safe += "&quot;",
            '\'' => safe += "&#39;",
            c => safe.push(c),
        }
        safe
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fixtures::at;

    fn told(request: &str, name: &str, matter: Matter) -> String {
        let notice = Notice { name, matter, now: at(3_604) };
        String::from_utf8(HttpRequest::parse(request.as_bytes()).unwrap().answer(&notice)).unwrap()
    }

    const BROWSER: &str = "GET / HTTP/1.1\r\nHost: x\r\naccept: text/html,*/*\r\n\r\n";
    const STARTING: Matter = Matter::Starting(Timestamp::UNIX_EPOCH);

    #[test]
    fn http_is_told_from_what_is_not() {
        for bytes in [
            "SSH-2.0-OpenSSH\r\n",
            "\x16\x03\x01",
            "",
            "GET",
            "GETX / HTTP/1.1",
            "GETX / HTTP/1.1\r\n\r\n",
            "GET / SPDY\r\n",
            "PRI * HTTP/2.0\r\n",
            "GET / HTTP/2.0\r\n",
        ] {
            assert_eq!(HttpRequest::parse(bytes.as_bytes()), None, "{bytes:?}");
        }
        assert!(HttpRequest::parse(b"GET /a-path-whose-end-was-not-rea").unwrap().repeatable);
        assert!(!HttpRequest::parse(b"POST / HTTP/1.1\r\n\r\n").unwrap().repeatable);
    }

    #[test]
    fn a_request_that_is_not_all_there_or_has_too_much_is_one() {
        let wants_html = |text: &str| HttpRequest::parse(text.as_bytes()).unwrap().wants_html;
        assert!(wants_html("GET / HTTP/1.1\r\nAccept: text/html\r\nCookie: a-long-one-whose-end-was-not-rea"));
        assert!(!wants_html("GET / HTTP/1.1\r\nAccept: text/ht"), "it may be anything");
        let many = "X: y\r\n".repeat(100);
        assert!(wants_html(&format!("GET / HTTP/1.1\r\nAccept: text/html\r\n{many}\r\n")));
        assert!(wants_html("GET / HTTP/1.1\r\nAccept: text/html\r\nBad\x01: y\r\n\r\n"));
        assert!(!wants_html("GET / HTTP/1.1\r\nX-Accept: text/html\r\n\r\nAccept: text/html\r\n"), "that is its body");
    }

    #[test]
    fn a_browser_gets_a_page_that_reloads_and_others_a_line() {
        let page = told(BROWSER, "alice", Matter::Starting(at(3_600)));
        assert!(page.starts_with("HTTP/1.1 503 ") && page.contains("http-equiv=\"refresh\" content=\"1\""), "{page}");
        assert!(page.contains("<h1>alice is starting</h1>") && page.contains("<title>alice is starting</title>"));
        assert!(
            page.contains("for 4 s, since <time datetime=\"1970-01-01T01:00:00Z\">01:00:00 UTC</time>")
                && page.contains("--at: -4.000s"),
            "{page}"
        );
        let line = told("GET / HTTP/1.1\r\nAccept: */*\r\n\r\n", "alice", STARTING);
        assert!(line.contains("Retry-After: 1\r\n") && line.contains("text/plain"), "{line}");
        assert!(line.ends_with("\r\n\r\nalice is starting. Try again in a second.\n"), "{line}");
        let head = told("HEAD / HTTP/1.1\r\nAccept: text/html\r\n\r\n", "", STARTING);
        assert!(head.ends_with("\r\n\r\n"), "{head}");
    }

    #[test]
    fn each_matter_has_its_sentence_and_only_what_starts_reloads() {
        let words = [
            (Matter::NotStarted, "alice could not be started"),
            (Matter::Stopped, "alice is stopped"),
            (Matter::Silent(8_888), "nothing in it listens on port 8888"),
            (Matter::Busy, "Too many are being started"),
        ];
        for (matter, words) in words {
            let page = told(BROWSER, "alice", matter);
            assert!(page.contains(words) && page.contains("Retry-After: 30\r\n"), "{page}");
            assert!(!page.contains("http-equiv") && page.contains("class=\"still\""), "{page}");
        }
        assert!(told(BROWSER, "", Matter::Stopped).contains("<h1>Your sandbox is stopped</h1>"));
    }

    #[test]
    fn the_page_is_one_file_without_a_program_and_a_name_is_no_html() {
        let page = told(BROWSER, "<script>alert('1')</script>\"&{{line}}", STARTING);
        assert!(!page.contains("<script") && !page.contains("src=") && !page.contains("url("), "{page}");
        assert!(
            page.contains("&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&quot;&amp;{{line}} is starting"),
            "{page}"
        );
        let filled = told(BROWSER, "alice", STARTING);
        assert!(!filled.contains("{{") && filled.contains("prefers-reduced-motion"), "{filled}");
        let (head, body) = filled.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())));
    }
}
