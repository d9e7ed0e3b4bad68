//! Checks citations: every cited page, rule and link exists.

use std::{collections::BTreeSet, fs, path::Path};

use super::{Source, everything};

/// The numbers of the rules of a page; `None` if there is no such page.
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

/// The comments of a file as one text, without the comment marks.
fn comments(source: &Source) -> String {
    let lines = source.text.lines().map(str::trim_start).filter(|line| line.starts_with("//"));
    lines.map(|line| line.trim_start_matches(['/', '!']).trim()).collect::<Vec<_>>().join(" ")
}

/// Every page that a text names between backquotes, with the numbers after it: `3`, `3, 4`, `3 and 4`, `3 to 5`, and
/// the same after `rule` or `rules`.
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

/// All our Markdown files.
fn pages() -> Vec<std::path::PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.to_owned()];
    folders.extend(["docs", "ansible", "images"].map(|folder| root.join(folder)));
    folders
        .extend(fs::read_dir(root.join("images")).unwrap().map(|entry| entry.unwrap().path()).filter(|p| p.is_dir()));
    let all = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap()).map(|entry| entry.unwrap().path());
    all.filter(|path| path.extension().is_some_and(|e| e == "md")).collect()
}

/// The anchor that GitHub makes of a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.trim_start_matches('#').trim().to_lowercase();
    let kept: String = kept.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c)).collect();
    kept.replace(' ', "-")
}

#[test]
fn every_link_leads_somewhere() {
    let mut followed = 0;
    for path in pages() {
        let text = fs::read_to_string(&path).unwrap();
        for (at, _) in text.match_indices("](") {
            let link = text[at + 2..].split(')').next().unwrap();
            if link.contains("://") {
                continue;
            }
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            assert!(target.exists(), "{} links to {link}, which does not exist", path.display());
            if !heading.is_empty() {
                let there = fs::read_to_string(target).unwrap();
                let found = there.lines().filter(|l| l.starts_with('#')).any(|l| anchor(l) == heading);
                assert!(found, "{} links to {link}, which has no such heading", path.display());
            }
            followed += 1;
        }
    }
    assert!(followed > 20, "only {followed} links were followed");
}
