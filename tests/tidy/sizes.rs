//! Limits sizes: how much may stand in one place, so that a reader still sees all of it.

use super::{code_of, everything};

/// The most fields of a struct. A struct with more says why in its comment, in a sentence with the word "fields".
const MOST_FIELDS: usize = 12;

/// The most values in a row whose meaning only their order tells.
const MOST_IN_A_ROW: usize = 10;

/// The structs of a file that have too many fields and do not say why.
fn crowded(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let is_comment = |line: &&&str| line.trim_start().starts_with("///") || line.trim_start().starts_with("#[");
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        if !code.trim_start_matches("pub ").starts_with("struct ") || !code.ends_with('{') {
            continue;
        }
        let fields = lines[at + 1..].iter().take_while(|l| !l.trim_start().starts_with('}'));
        let fields = fields.filter(|l| !l.trim_start().starts_with("//") && l.contains(": ")).count();
        let says_why = lines[..at].iter().rev().take_while(is_comment).any(|l| l.contains("fields"));
        if fields > MOST_FIELDS && !says_why {
            found.push(format!("{code} has {fields} fields"));
        }
    }
    found
}

/// The longest list of values between two round brackets.
fn longest_row(code: &str) -> usize {
    let (mut open, mut longest) = (Vec::new(), 0);
    let mut quoted = false;
    let mut before = ' ';
    for c in code.chars() {
        match c {
            '"' if before != '\\' && before != '\'' => quoted = !quoted,
            _ if quoted => {}
            '(' | '[' | '{' => open.push((c, 1)),
            ')' | ']' | '}' => {
                // After the last comma there is no value.
                let counted = open.pop().map_or(0, |(o, n)| if o == '(' { n - usize::from(before == ',') } else { 0 });
                longest = longest.max(counted);
            }
            ',' => open.iter_mut().next_back().into_iter().for_each(|(_, n)| *n += 1),
            _ => {}
        }
        if !c.is_whitespace() {
            before = c;
        }
    }
    longest
}

#[test]
fn no_struct_and_no_row_of_values_is_too_long_to_read() {
    for source in everything() {
        let at = source.path.display();
        let crowded = crowded(&source.text);
        assert!(crowded.is_empty(), "{at}: {crowded:?}; put them into parts, or say why in the comment");
        let row = longest_row(&code_of(&source));
        assert!(row <= MOST_IN_A_ROW, "{at} has {row} values in a row, told apart by their order alone");
    }
}

#[test]
fn what_is_too_long_is_found() {
    let fields: String = (0..13).map(|n| format!("    f{n}: u8,\n")).collect();
    assert_eq!(crowded(&format!("/// Much.\nstruct Much {{\n{fields}}}")).len(), 1);
    assert_eq!(crowded(&format!("/// Its fields are columns.\nstruct Much {{\n{fields}}}")).len(), 0);
    assert_eq!(longest_row("f(1, (2, 3), [4, 5, 6, 7], \"8, 9, (10\",)"), 4);
}
