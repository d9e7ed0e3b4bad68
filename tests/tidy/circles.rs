//! Finds circles of imports: files that import each other can only be understood together.

use std::collections::{BTreeMap, BTreeSet};

use super::{Source, code_of, sources};

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

/// What a file at `own` imports, as paths from the crate's root; with `handed_on`, what it re-exports.
fn imports(code: &str, own: &Path, handed_on: bool) -> Vec<Path> {
    let mut trees = Vec::new();
    for (at, _) in code.match_indices("use ").filter(|(at, _)| code[..*at].ends_with(['\n', ' ']) || *at == 0) {
        let line = code[..at].rsplit('\n').next().unwrap().trim_start();
        if line.starts_with("pub") == handed_on {
            leaves(code[at + 4..].split(';').next().unwrap(), &[], &mut trees);
        }
    }
    let resolved = trees.into_iter().map(|path| match path.first().map(String::as_str) {
        Some("crate") => path[1..].to_vec(),
        Some("super") => [&own[..own.len() - 1], &path[1..]].concat(),
        Some("self") => [&own[..], &path[1..]].concat(),
        _ => [&own[..], &path[..]].concat(),
    });
    resolved.collect()
}

/// The files, what each imports, and what it re-exports.
struct Files {
    imports: BTreeMap<Path, Vec<Path>>,
    handed_on: BTreeMap<Path, Vec<Path>>,
}

impl Files {
    fn read() -> Self {
        let (mut imported, mut handed_on) = (BTreeMap::new(), BTreeMap::new());
        for source in sources("src").iter().filter(|s| !s.path.to_string_lossy().contains("tests")) {
            let (own, code) = (path_of(source), code_of(source));
            imported.insert(own.clone(), imports(&code, &own, false));
            handed_on.insert(own.clone(), imports(&code, &own, true));
        }
        Self { imports: imported, handed_on }
    }

    /// The file that defines `path`, even if another file re-exports it.
    fn file_of(&self, path: &Path) -> Option<Path> {
        let file = (1..=path.len()).rev().map(|n| path[..n].to_vec()).find(|p| self.imports.contains_key(p))?;
        let name = path.get(file.len());
        let elsewhere = self.handed_on[&file].iter().find(|p| p.last() == name && p.len() > file.len() + 1);
        elsewhere.map_or(Some(file), |path| self.file_of(path))
    }

    /// Which file needs which. A room's face and the files directly in the room count as one, because they are its
    /// parts.
    fn edges(&self) -> BTreeMap<Path, BTreeSet<Path>> {
        let is_face = |face: &Path, part: &Path| part.len() == face.len() + 1 && part.starts_with(face);
        let edges = self.imports.iter().map(|(own, paths)| {
            let files = paths.iter().filter_map(|path| self.file_of(path));
            let to = files.filter(|to| to != own && !is_face(own, to) && !is_face(to, own)).collect();
            (own.clone(), to)
        });
        edges.collect()
    }
}

/// A path of imports from `at` back to `at`.
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
    let edges = Files::read().edges();
    assert!(edges.values().map(BTreeSet::len).sum::<usize>() > 300, "the imports were not read");
    for own in edges.keys() {
        let mut way = Vec::new();
        assert!(!circle(own, &mut way, &edges), "{own:?} imports itself by way of {way:?}");
    }
}

#[test]
fn imports_are_read_from_the_root() {
    let own = ["http", "wire"].map(str::to_owned).to_vec();
    let read =
        imports("use super::{auth, fields::{Body, Taken}};\nuse crate::{api::{self, X as Y}, app};", &own, false);
    let read: Vec<String> = read.iter().map(|path| path.join(".")).collect();
    assert_eq!(read, ["http.auth", "http.fields.Body", "http.fields.Taken", "api.self", "api.X", "app"]);
}
