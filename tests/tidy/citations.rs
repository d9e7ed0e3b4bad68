//! Citations: whoever follows one finds what it promises.

use std::{collections::BTreeSet, fs, path::Path};

use super::{Source, everything};

/// The pages of `docs/`, each with the numbers of its rules, if it has any.
fn page(name: &str) -> Option<BTreeSet<u32>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text =
        ["docs", ".", "images"].iter().find_map(|folder| fs::read_to_string(root.join(folder).join(name)).ok())?;
    let number = |line: &str| {
        let digits: String = line.trim_start_matches("| ").chars().take_while(char::is_ascii_digit).collect();
        let after = &line.trim_start_matches("| ")[digits.len()..];
        digits.parse().ok().filter(|_| after.starts_with(". ") || after.starts_with(" |"))
    };
    Some(text.lines().filter_map(number).collect())
}

/// The comments of a file as one text, without what makes them comments.
fn comments(source: &Source) -> String {
    let lines = source.text.lines().map(str::trim_start).filter(|line| line.starts_with("//"));
    lines.map(|line| line.trim_start_matches(['/', '!']).trim()).collect::<Vec<_>>().join(" ")
}

/// Every page that a text names between backquotes, with the numbers behind it: `3`, `3, 4`, `3 and 4`, `3 to 5`, and the
/// same after `rule` or `rules`.
fn citations(text: &str) -> Vec<(String, Vec<u32>)> {
    let mut found = Vec::new();
    for (end, _) in text.match_indices(".md`") {
        let start = text[..end].rfind('`').map_or(0, |at| at + 1);
        let name = format!("{}.md", &text[start..end]);
        let rest = text[end + ".md`".len()..].trim_start_matches(',').trim_start();
        let mut rest = rest.trim_start_matches("rules ").trim_start_matches("rule ");
        let mut numbers = Vec::new();
        loop {
            let digits = rest.chars().take_while(char::is_ascii_digit).count();
            let Ok(number) = rest[..digits].parse() else { break };
            numbers.push(number);
            rest = &rest[digits..];
            let Some(next) = [", ", " and ", " to "].iter().find_map(|joint| rest.strip_prefix(joint)) else { break };
            rest = next;
        }
        found.push((name, numbers));
    }
    found
}

#[test]
fn every_cited_page_and_rule_exists() {
    let mut cited = 0;
    for source in everything() {
        for (name, numbers) in citations(&comments(&source)) {
            let at = source.path.display();
            let rules = page(&name).unwrap_or_else(|| panic!("{at} cites {name}, which does not exist"));
            for number in numbers {
                assert!(rules.contains(&number), "{at} cites {name} {number}, which does not exist");
                cited += 1;
            }
        }
    }
    assert!(cited > 50, "only {cited} citations were seen");
}

#[test]
fn the_reader_of_citations_sees_them() {
    let text = "(`A.md` 21 and 23), `docs/B.md`, rule 7), `C.md` rules 1, 4: no. `A.md`. 16 of them";
    let of = |name: &str, numbers: &[u32]| (name.to_owned(), numbers.to_vec());
    let expected = [of("A.md", &[21, 23]), of("docs/B.md", &[7]), of("C.md", &[1, 4]), of("A.md", &[])];
    assert_eq!(citations(text), expected);
}
