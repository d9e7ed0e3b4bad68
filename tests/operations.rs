//! docs/OPERATIONS.md explains every line of the log that asks for somebody: all that is logged at `warn` and `error`.

use std::{
    fs,
    path::{Path, PathBuf},
};

const MACROS: [&str; 2] = ["tracing::warn!(", "tracing::error!("];

fn files_under(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_under(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found
}

/// The literal that begins behind a quotation mark at the start of `text`, and how long it is there. A backslash at a
/// line's end joins it with the next one.
fn literal(text: &str) -> (String, usize) {
    let (mut said, mut skipping, mut escaped) = (String::new(), false, false);
    for (at, c) in text.char_indices() {
        match c {
            '\n' if escaped => skipping = true,
            _ if escaped => said.push(c),
            c if skipping && c.is_whitespace() => continue,
            '\\' => {}
            '"' => return (said, at + 1),
            _ => {
                skipping = false;
                said.push(c);
            }
        }
        escaped = c == '\\' && !escaped;
    }
    panic!("a literal without an end: {text}");
}

/// The last literal of the macro's arguments, which begin `text`: what stands in the log. One before it is a field's.
fn message(text: &str) -> String {
    let (mut depth, mut at, mut last) = (1, 0, String::new());
    while depth > 0 {
        match text.as_bytes()[at] {
            b'(' => depth += 1,
            b')' => depth -= 1,
            b'"' => {
                let (said, length) = literal(&text[at + 1..]);
                last = said;
                at += length;
            }
            _ => {}
        }
        at += 1;
    }
    last
}

#[test]
fn every_line_of_the_log_that_asks_for_somebody_is_explained() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/OPERATIONS.md")).unwrap();
    let mut messages = Vec::new();
    for path in files_under(&root.join("src")) {
        let text = fs::read_to_string(&path).unwrap();
        for (at, found) in MACROS.iter().flat_map(|name| text.match_indices(name)) {
            messages.push(message(&text[at + found.len()..]));
        }
    }
    assert!(messages.len() > 40, "the messages were not read: {messages:#?}");
    let missing: Vec<_> = messages.iter().filter(|m| !page.contains(&format!("`{m}`"))).collect();
    assert!(missing.is_empty(), "docs/OPERATIONS.md does not explain {missing:#?}");
    let rows = page.lines().filter_map(|l| Some(l.strip_prefix("| `")?.split_once("` |")?.0.trim_matches('`')));
    let said = rows.flat_map(|row| row.split("`, `")).filter(|said| !said.contains('/'));
    let stale: Vec<_> = said.filter(|said| !messages.iter().any(|m| m == said)).collect();
    assert!(stale.is_empty(), "docs/OPERATIONS.md explains what is not logged any more: {stale:#?}");
}

#[test]
fn the_reader_of_messages_sees_them() {
    assert_eq!(message(r#"sandbox = %id, error = chain(&e), "a (b) c"); more("d")"#), "a (b) c");
    assert_eq!(message("\n  x,\n  \"one \\\n     two\"\n);"), "one two");
    assert_eq!(message(r#"at = "x", "says \"y\"")"#), "says \"y\"");
}
