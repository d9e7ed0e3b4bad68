//! Courtesy: what a browser is shown while it waits, so that it neither spins nor shows an error.

/// What of an HTTP request matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpRequest {
    /// It can be sent again without harm: GET or HEAD.
    pub repeatable: bool,
    head: bool,
    wants_html: bool,
}

const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT"];

impl HttpRequest {
    /// Reads the beginning of what a client sent; `None` if that is no HTTP/1.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(bytes);
        let (method, _) = text.split_once(' ')?;
        let line = text.lines().next()?;
        // A first line that is longer than what was read cannot be judged by its end.
        let complete = text.contains('\n');
        if !METHODS.contains(&method) || (complete && !line.trim_end().contains(" HTTP/1.")) {
            return None;
        }
        let header = |l: &str| {
            Some(l.split_once(':')?)
                .filter(|(k, _)| k.eq_ignore_ascii_case("accept"))
                .map(|h| h.1.contains("text/html"))
        };
        Some(Self {
            repeatable: ["GET", "HEAD"].contains(&method),
            head: method == "HEAD",
            wants_html: text.lines().skip(1).find_map(header).unwrap_or(false),
        })
    }

    /// The answer for whoever must wait (`waking`), or cannot be helped.
    pub fn answer(self, waking: bool) -> Vec<u8> {
        let (title, line) = if waking {
            ("Starting", "Your sandbox is starting. This page goes on by itself in a moment.")
        } else {
            ("Not available", "This sandbox cannot be reached at the moment. Ask whoever runs it if this goes on.")
        };
        let (kind, body) = if self.wants_html {
            let refresh = if waking { "<meta http-equiv=\"refresh\" content=\"1\">" } else { "" };
            let page = format!(
                "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">{refresh}\
                 <meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title>\
                 <style>body{{font:1.1em sans-serif;margin:20vh auto;max-width:30em;padding:1em;text-align:center}}\
                 @media(prefers-color-scheme:dark){{body{{background:#111;color:#eee}}}}</style></head>\
                 <body><h1>{title}</h1><p role=\"status\">{line}</p></body></html>\n"
            );
            ("text/html; charset=utf-8", page)
        } else {
            let line = if waking { "Your sandbox is starting. Try again in a second." } else { line };
            ("text/plain; charset=utf-8", format!("{line}\n"))
        };
        let retry = if waking { 1 } else { 30 };
        let head = format!(
            "HTTP/1.1 503 Service Unavailable\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nRetry-After: {retry}\r\n\
             Cache-Control: no-store\r\nConnection: close\r\n\r\n",
            body.len()
        );
        let body = if self.head { String::new() } else { body };
        (head + &body).into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(request: &str) -> String {
        String::from_utf8(HttpRequest::parse(request.as_bytes()).unwrap().answer(true)).unwrap()
    }

    #[test]
    fn http_is_told_from_what_is_not() {
        for bytes in [
            "SSH-2.0-OpenSSH\r\n",
            "\x16\x03\x01",
            "",
            "GET",
            "GETX / HTTP/1.1",
            "GET / SPDY\r\n",
            "PRI * HTTP/2.0\r\n",
        ] {
            assert_eq!(HttpRequest::parse(bytes.as_bytes()), None, "{bytes:?}");
        }
        assert!(HttpRequest::parse(b"GET /a-path-whose-end-was-not-rea").unwrap().repeatable);
        assert!(!HttpRequest::parse(b"POST / HTTP/1.1\r\n\r\n").unwrap().repeatable);
    }

    #[test]
    fn a_browser_gets_a_page_that_reloads_and_others_a_line() {
        let page = answer("GET / HTTP/1.1\r\nHost: x\r\naccept: text/html,*/*\r\n\r\n");
        assert!(page.starts_with("HTTP/1.1 503 ") && page.contains("http-equiv=\"refresh\""), "{page}");
        let line = answer("GET / HTTP/1.1\r\nAccept: */*\r\n\r\n");
        assert!(
            line.contains("Retry-After: 1\r\n") && line.contains("text/plain") && !line.contains("<html"),
            "{line}"
        );
        let head = answer("HEAD / HTTP/1.1\r\nAccept: text/html\r\n\r\n");
        assert!(head.ends_with("\r\n\r\n"), "{head}");
    }
}
