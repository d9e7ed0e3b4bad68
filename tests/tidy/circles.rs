//! Circles: files that import each other can only be understood together.

use std::collections::{BTreeMap, BTreeSet};

use super::{Source, code_of, sources};

/// The modules whose files stand in an order.
const OPEN: [&str; 4] = ["api", "client", "doctor", "http"];

type Path = Vec<String>;

fn path_of(source: &Source) -> Path {
    let inside = source.path.to_string_lossy().rsplit_once("/src/").unwrap().1.trim_end_matches(".rs").to_owned();
    inside.trim_end_matches("/mod").split('/').map(str::to_owned).collect()
}

/// The paths of `a::{b, c::d}`, each from its beginning.
fn leaves(tree: &str, before: &[String], found: &mut Vec<Path>) {
    let (mut depth, mut start) = (0, 0);
    for (at, c) in tree.char_indices().chain([(tree.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                let one = tree[start..at].trim();
                let (head, group) = one.split_once('{').unwrap_or((one, ""));
                let words = head.split(" as ").next().unwrap().split("::").map(str::trim).filter(|w| !w.is_empty());
                let path: Path = before.iter().cloned().chain(words.map(str::to_owned)).collect();
                if one.is_empty() {
                    // After the last comma.
                } else if group.is_empty() {
                    found.push(path);
                } else {
                    leaves(group.trim_end().strip_suffix('}').unwrap_or(group), &path, found);
                }
                start = at + 1;
            }
            _ => {}
        }
    }
}

/// What a file at `own` imports, as paths from the crate's root.
fn imports(code: &str, own: &Path) -> Vec<Path> {
    let mut trees = Vec::new();
    for (at, _) in code.match_indices("use ").filter(|(at, _)| code[..*at].ends_with(['\n', ' ']) || *at == 0) {
        leaves(code[at + 4..].split(';').next().unwrap(), &[], &mut trees);
    }
    let resolved = trees.into_iter().map(|path| match path.first().map(String::as_str) {
        Some("crate") => path[1..].to_vec(),
        Some("super") => [&own[..own.len() - 1], &path[1..]].concat(),
        Some("self") => [&own[..], &path[1..]].concat(),
        _ => [&own[..], &path[..]].concat(),
    });
    resolved.collect()
}

/// A way from `at` back to `at`.
fn circle(at: &Path, way: &mut Vec<Path>, edges: &BTreeMap<Path, BTreeSet<Path>>) -> bool {
    for next in edges.get(way.last().unwrap_or(at)).into_iter().flatten() {
        if next == at {
            return true;
        }
        if !way.contains(next) {
            way.push(next.clone());
            if circle(at, way, edges) {
                return true;
            }
        }
    }
    false
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let files = sources("src");
    let is_ours = |s: &&Source| OPEN.contains(&s.module.as_str()) && !s.path.to_string_lossy().contains("tests");
    let files: BTreeMap<Path, &Source> = files.iter().filter(is_ours).map(|s| (path_of(s), s)).collect();
    let file_of = |path: &Path| (1..=path.len()).rev().map(|n| path[..n].to_vec()).find(|p| files.contains_key(p));
    let edges: BTreeMap<Path, BTreeSet<Path>> = files
        .iter()
        .map(|(own, source)| {
            let to = imports(&code_of(source), own).iter().filter_map(file_of).filter(|to| to != own).collect();
            (own.clone(), to)
        })
        .collect();
    assert!(edges.values().map(BTreeSet::len).sum::<usize>() > 30, "the imports were not read");
    for own in files.keys() {
        let mut way = Vec::new();
        assert!(!circle(own, &mut way, &edges), "{own:?} imports itself by way of {way:?}");
    }
}

#[test]
fn imports_are_read_from_the_root() {
    let own = ["http", "wire"].map(str::to_owned).to_vec();
    let read = imports("use super::{auth, fields::{Body, Taken}};\nuse crate::{api::{self, X as Y}, app};", &own);
    let read: Vec<String> = read.iter().map(|path| path.join(".")).collect();
    assert_eq!(read, ["http.auth", "http.fields.Body", "http.fields.Taken", "api.self", "api.X", "app"]);
}
