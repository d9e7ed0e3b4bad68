//! Reads a form, as `curl -d` sends it: pairs of names and values, encoded or not.

use std::borrow::Cow;

use rocket::http::RawStr;

/// The pairs of a form, in order. A pair is an error if its name or value is not UTF-8 after decoding.
pub fn pairs(text: &str) -> impl Iterator<Item = Result<(String, String), ()>> {
    let pairs = text.trim_end_matches(['\r', '\n']).split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        Ok((decoded(key)?, decoded(value)?))
    })
}

/// A text with a bare space was never encoded, as from `curl -d "ssh_key=$(cat key.pub)"`: in it a + is a +. In an
/// encoded text a + is a space.
fn decoded(text: &str) -> Result<String, ()> {
    let bare = text.contains([' ', '\t', '\r', '\n']);
    let text = RawStr::new(text);
    let decoded = if bare { text.percent_decode() } else { text.url_decode() };
    decoded.map(Cow::into_owned).map_err(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(String, String)> {
        pairs(text).collect::<Result<_, _>>().unwrap()
    }

    #[test]
    fn pairs_are_decoded_where_they_were_encoded() {
        let pair = |k: &str, v: &str| (k.to_owned(), v.to_owned());
        assert_eq!(read("image=a%2Fb:1&x=y\n"), [pair("image", "a/b:1"), pair("x", "y")]);
        assert_eq!(read("a=1&&a=2&b&c=d=e"), [pair("a", "1"), pair("a", "2"), pair("b", ""), pair("c", "d=e")]);
        assert_eq!(read("k=a+b%2Bc"), [pair("k", "a b+c")], "it was encoded");
        assert_eq!(read("k=a+b c%2B"), [pair("k", "a+b c+")], "it was not");
        assert_eq!(read(""), []);
        assert!(pairs("a=1&b=%ff").nth(1).unwrap().is_err());
    }
}
