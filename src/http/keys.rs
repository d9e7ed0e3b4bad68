//! Reads SSH keys as people paste them.

use ssh_key::PublicKey;

use crate::domain::Invalid;

/// The longest line, in bytes: twice what the longest RSA key takes that OpenSSH makes, 16,384 bits.
const LONGEST: usize = 8 * 1024;

/// At how many places a key is tried to end. Each try reads the line.
const MOST_ENDS: usize = 512;

/// Reads public keys, one per line, and returns each once. The lines for `authorized_keys` are written anew from the
/// parsed keys, so that no option slips in. Empty lines and comments are left out.
///
/// # Errors
/// If a line is not a public key (the error names the line), or there is no key. `field` is the caller's name for the
/// text.
pub fn ssh_keys(field: &'static str, text: &str) -> Result<String, Invalid> {
    let allowed = "it is a public key as in ~/.ssh/id_ed25519.pub: type, key, comment, and no options before them; \
                   several stand on a line each";
    // A private key that was pasted by mistake must not come back, and stay in somebody's terminal.
    if text.contains("PRIVATE KEY") {
        return Err(Invalid::new(field, "a private key", allowed));
    }
    let lines: Vec<(usize, &str)> = text.lines().enumerate().filter(|(_, line)| is_said(line)).collect();
    let mut keys: Vec<PublicKey> = Vec::new();
    for (at, line) in &lines {
        let key = read(line).ok_or_else(|| match lines.len() {
            1 => Invalid::new(field, line, allowed),
            _ => Invalid::new(field, line, format!("line {} is no public key: {allowed}", at + 1)),
        })?;
        if !keys.iter().any(|known| known.key_data() == key.key_data()) {
            keys.push(key);
        }
    }
    let written: Vec<String> = keys.iter().filter_map(|key| key.to_openssh().ok()).collect();
    if written.is_empty() { Err(Invalid::new(field, text, allowed)) } else { Ok(written.join("\n")) }
}

fn is_said(line: &str) -> bool {
    let line = line.trim();
    !line.is_empty() && !line.starts_with('#')
}

/// Reads one key. A form turns each `+` of a key into a space, even the last letter. Only the right reading is a key,
/// because a key contains its own length. It has a multiple of four letters, and ends at a space.
fn read(line: &str) -> Option<PublicKey> {
    if line.len() > LONGEST {
        return None;
    }
    let (kind, rest) = line.trim_start().split_once([' ', '\t'])?;
    let rest = rest.trim_start();
    let ends = |at: &usize| rest.as_bytes().get(*at).is_none_or(|b| matches!(b, b' ' | b'\t'));
    let keys = (4..=rest.len()).step_by(4).filter(ends).take(MOST_ENDS).filter_map(|at| {
        let (key, comment) = rest.split_at(at);
        let line = format!("{kind} {} {}", key.replace(' ', "+"), comment.trim());
        PublicKey::from_openssh(line.trim_end()).ok()
    });
    keys.into_iter().next().filter(|key| !key.comment().chars().any(char::is_control))
}

#[cfg(test)]
mod tests {
    use ssh_key::{
        Mpint,
        public::{Ed25519PublicKey, KeyData, RsaPublicKey},
    };

    use super::*;

    #[test]
    fn a_line_that_would_take_long_to_read_is_refused() {
        assert!(read(&format!("ssh-rsa {}", "AAA ".repeat(4_000))).is_none());
        assert!(read(&format!("ssh-rsa {}", "AAA ".repeat(2_000))).is_none());
    }

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti user@example";
    const ECDSA: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBLVeEvqRoPcIkxIQl8CfFgf3\
                         EVIC5HKRJdZK9VMT7hEGudcqWUPVmJKca97pP7johkilWxKeqaxF1o8Y5uKRx2Y= an example of two words";
    const SECURITY_KEY: &str = "sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAIMDBwsPExcbHyMnKy8zN\
                                zs/Q0dLT1NXW19jZ2tvc3d7fAAAABHNzaDo= user@example";

    /// A key of 4,096 bits with very many + in it.
    fn rsa() -> String {
        let n: Vec<u8> = (0..512).map(|at| [0xbe, 0xfb, 0xef][at % 3]).collect();
        let [e, n] = [&[1, 0, 1][..], &n].map(|number| Mpint::from_positive_bytes(number).unwrap());
        let key = PublicKey::new(KeyData::Rsa(RsaPublicKey { e, n }), "user@example").to_openssh().unwrap();
        assert!(key.matches('+').count() > 600, "{key}");
        key
    }

    /// A key whose last letter is a +, and which has no comment.
    fn last() -> String {
        let key = PublicKey::from(KeyData::Ed25519(Ed25519PublicKey([0xfe; 32]))).to_openssh().unwrap();
        assert!(key.ends_with('+'), "{key}");
        key
    }

    fn keys(text: &str) -> Result<String, Invalid> {
        ssh_keys("ssh_key", text)
    }

    #[test]
    fn every_kind_of_key_is_taken_as_it_is_pasted() {
        for key in [KEY, ECDSA, SECURITY_KEY, &rsa(), &last()] {
            assert_eq!(keys(&format!(" {key}\r\n")).unwrap(), key);
            assert_eq!(keys(&key.replacen(' ', "\t", 2)).unwrap(), key);
            let without_comment = key.splitn(3, ' ').take(2).collect::<Vec<_>>().join(" ");
            assert_eq!(keys(&without_comment).unwrap(), without_comment);
        }
    }

    #[test]
    fn a_plus_that_became_a_space_is_one_again() {
        for key in [KEY, ECDSA, SECURITY_KEY, &rsa(), &last()] {
            let from_form = key.replace('+', " ");
            assert_eq!(keys(&from_form).unwrap(), key);
            assert_eq!(keys(&format!("{from_form}\n{key}\n")).unwrap(), key);
        }
    }

    #[test]
    fn several_keys_stand_on_a_line_each_and_each_once() {
        let pasted = format!("# of the instructors\r\n{KEY}\r\n\r\n  {ECDSA}\n{KEY} again\n{}", last());
        assert_eq!(keys(&pasted).unwrap(), format!("{KEY}\n{ECDSA}\n{}", last()));
        let refused = keys(&format!("{KEY}\n\nrubbish\n{ECDSA}")).unwrap_err().to_string();
        assert!(refused.starts_with("ssh_key: \"rubbish\" is not allowed; line 3 is no public key"), "{refused}");
    }

    #[test]
    fn plain_keys_are_taken_and_nothing_else() {
        for bad in [
            &format!("command=\"rm -rf /\" {KEY}"),
            &format!("{KEY}\ncommand=\"id\" {KEY}"),
            &format!("{KEY}\r\nx"),
            &format!("{KEY}\x07"),
            &KEY.replacen("ed25519", "rsa", 1),
            "ssh-ed25519 AAAA",
            "ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti",
            "# nobody",
            "",
        ] {
            assert!(keys(bad).is_err(), "{bad:?} was taken");
        }
        let secret = keys("-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk").unwrap_err().to_string();
        assert!(!secret.contains("b3Blb") && secret.contains("a private key"), "{secret}");
    }
}
