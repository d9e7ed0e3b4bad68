//! The house rules, as a test: who may import whom, how long things may be, what stands nowhere.

#[path = "tidy/circles.rs"]
mod circles;
#[path = "tidy/citations.rs"]
mod citations;
#[path = "tidy/imports.rs"]
mod imports;
#[path = "tidy/sizes.rs"]
mod sizes;
#[path = "tidy/storeys.rs"]
mod storeys;

use imports::IMPORTS;

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Words that stand nowhere but in the named modules.
const ONLY_IN: [(&str, &[&str]); 6] = [
    ("::now()", &["clock"]),
    ("rusqlite::", &["store"]),
    ("bollard::", &["engine"]),
    ("rocket::", &["http"]),
    ("std::env::", &["run"]),
    ("process::exit", &["main"]),
];

/// Modules that may import everything: they put the parts together.
const FREE: [&str; 3] = ["lib", "main", "run"];

const LONGEST_FILE: usize = 350;
const LONGEST_FUNCTION: usize = 60;

struct Source {
    path: PathBuf,
    module: String,
    text: String,
}

fn sources(root: &str) -> Vec<Source> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join(root);
    let mut paths = Vec::new();
    if base.is_dir() {
        walk(&base, &mut paths);
    }
    let read = |path: PathBuf| {
        let inside = path.strip_prefix(&base).unwrap();
        let first = inside.components().next().unwrap().as_os_str().to_string_lossy();
        let module = first.trim_end_matches(".rs").to_owned();
        Source { text: fs::read_to_string(&path).unwrap(), module, path }
    };
    paths.into_iter().map(read).collect()
}

fn everything() -> Vec<Source> {
    ["src", "tests", "benches"].into_iter().flat_map(sources).collect()
}

/// The text without what only tests compile, and without comments.
fn code_of(source: &Source) -> String {
    let text = source.text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    text.lines().filter(|l| !l.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The paths' heads that a file names after `use`, or before `::` in its code, with `crate::x` as `crate x`.
fn heads(code: &str) -> Vec<String> {
    let mut heads = Vec::new();
    let bytes = code.as_bytes();
    for (at, _) in code.match_indices("::") {
        let start = code[..at].rfind(|c: char| !(c.is_alphanumeric() || c == '_')).map_or(0, |i| i + 1);
        // In the middle of a path.
        if start >= 2 && &bytes[start - 2..start] == b"::" {
            continue;
        }
        let head = &code[start..at];
        if head == "crate" {
            let rest = code[at + 2..].trim_start_matches('{').trim_start();
            let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
            heads.push(format!("crate {}", &rest[..end]));
        } else if head.starts_with(|c: char| c.is_lowercase()) {
            heads.push(head.to_owned());
        }
    }
    heads
}

/// Every module of `use crate::{a::.., b::..}`, whose second and later heads [`heads`] does not see.
fn grouped(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("use crate::{") {
        let body = &code[at + "use crate::{".len()..];
        let (mut depth, mut word, mut fresh) = (1, String::new(), true);
        for c in body.chars() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 1 => fresh = true,
                c if depth == 1 && fresh && (c.is_alphanumeric() || c == '_') => word.push(c),
                _ if depth == 1 && !word.is_empty() => {
                    found.push(std::mem::take(&mut word));
                    fresh = false;
                }
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
        if !word.is_empty() {
            found.push(word);
        }
    }
    found
}

#[test]
fn modules_import_only_what_they_may() {
    let crates: Vec<String> = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"))
        .unwrap()
        .lines()
        .skip_while(|l| *l != "[dependencies]")
        .take_while(|l| *l != "[dev-dependencies]")
        .filter_map(|l| Some(l.split_once(" = ")?.0.replace('-', "_")))
        .collect();
    assert!(crates.iter().any(|c| c == "rocket"), "the dependencies were not read");
    let mut wrong = Vec::new();
    for source in sources("src") {
        let Some((_, ours, vendors)) = IMPORTS.iter().find(|(m, _, _)| *m == source.module) else {
            assert!(FREE.contains(&source.module.as_str()), "{} has no row", source.path.display());
            continue;
        };
        if source.path.ends_with("tests.rs") {
            continue;
        }
        let code = code_of(&source);
        for module in
            heads(&code).iter().filter_map(|h| h.strip_prefix("crate ")).map(str::to_owned).chain(grouped(&code))
        {
            if !module.is_empty() && !ours.contains(&module.as_str()) && module != source.module {
                wrong.push(format!("{} imports our {module}", source.path.display()));
            }
        }
        for head in heads(&code).iter().filter(|h| crates.contains(h)) {
            if !vendors.contains(&head.as_str()) {
                wrong.push(format!("{} imports the crate {head}", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_readers_of_imports_see_them() {
    assert_eq!(heads("use crate::store::Store; a.b(rocket::x::y(Foo::z))"), ["crate store", "rocket"]);
    assert_eq!(grouped("use crate::{\n    domain::{A, b::C},\n    store,\n};"), ["domain", "store"]);
}

#[test]
fn some_words_stand_in_one_module_only() {
    for source in sources("src").iter().filter(|s| !s.path.ends_with("tests.rs")) {
        for (word, modules) in ONLY_IN {
            let allowed = modules.contains(&source.module.as_str());
            assert!(allowed || !code_of(source).contains(word), "{} says {word}", source.path.display());
        }
    }
}

#[test]
fn every_file_begins_with_its_purpose_and_is_short() {
    for source in everything() {
        let at = source.path.display();
        assert!(source.text.starts_with("//! "), "{at} does not begin with //!");
        let lines = source.text.lines().count();
        assert!(lines <= LONGEST_FILE, "{at} has {lines} lines");
    }
}

#[test]
fn no_function_is_long() {
    for source in everything() {
        let mut begun: Option<(usize, usize, String)> = None;
        for (number, line) in source.text.lines().enumerate() {
            let indent = line.len() - line.trim_start().len();
            let is_function = line.trim_start().split("fn ").count() > 1
                && line
                    .trim_start()
                    .split(' ')
                    .next()
                    .is_some_and(|w| ["fn", "pub", "async", "pub(super)"].contains(&w));
            match &begun {
                None if is_function && !line.trim_end().ends_with([';', '}']) => {
                    begun = Some((number, indent, line.trim().to_owned()));
                }
                Some((start, at, name)) if line.trim_end() == format!("{}}}", " ".repeat(*at)) => {
                    let length = number - start + 1;
                    assert!(length <= LONGEST_FUNCTION, "{}: {name} has {length} lines", source.path.display());
                    begun = None;
                }
                _ => {}
            }
        }
    }
}

#[test]
fn no_code_is_commented_out() {
    for source in everything() {
        for line in source.text.lines().map(str::trim_start).filter(|l| l.starts_with("// ")) {
            let code = line.ends_with(';') || line.ends_with('{') || line.ends_with(");");
            assert!(!code, "{}: {line}", source.path.display());
        }
    }
}

/// A row never meets JSON: SQL stays in the store, the shapes of JSON stay in api, and the domain between them knows
/// neither. http alone turns what the domain knows into those shapes.
#[test]
fn three_shapes_two_translations() {
    for source in sources("src").iter().filter(|s| !s.path.ends_with("tests.rs")) {
        let code = code_of(source);
        let says = |word: &str| code.contains(word);
        let (row, json) = (says("rusqlite"), says("serde_json"));
        let shape = code.split(|c: char| !c.is_alphanumeric()).any(|word| word == "Serialize");
        let is_in = |modules: &[&str]| modules.contains(&source.module.as_str());
        assert!(!row || is_in(&["store"]), "{} knows rows", source.path.display());
        // The relay's messages to itself are a shape of their own.
        assert!(!shape || is_in(&["api", "relay"]), "{} has a shape of JSON", source.path.display());
        // The client reads what http writes, and the doctor's report is for programs too.
        // An amendment is in a file of ours.
        let is_file = source.path.ends_with("engine/amendment.rs");
        // So is what a container's program is started with, in a label of ours.
        let is_file = is_file || source.path.ends_with("engine/docker/launch.rs");
        assert!(
            !json || is_file || is_in(&["client", "doctor", "http", "relay"]),
            "{} knows JSON",
            source.path.display()
        );
    }
}

#[test]
fn sql_knows_no_time() {
    let code = sources("src").into_iter().filter(|s| s.module == "store").map(|s| (s.path, s.text));
    let steps = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/migrations"))
        .unwrap()
        .map(|step| step.unwrap().path());
    let steps: Vec<_> = steps.map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect();
    assert!(steps.len() > 12, "the steps are found");
    for (path, text) in code.chain(steps) {
        let lower = text.to_lowercase();
        for word in ["datetime(", "strftime(", "julianday(", "unixepoch(", "current_timestamp", "'now'"] {
            assert!(!lower.contains(word), "{} says {word}", path.display());
        }
    }
}

#[test]
fn tests_do_not_sleep_but_to_wait_for_docker() {
    for source in sources("tests") {
        let real = source.path.ends_with("support/docker.rs") || source.path.to_string_lossy().contains("e2e");
        // In the simulator's own time waiting costs nothing; one function there lets it pass.
        let simulated = source.path.ends_with("simulator/clock.rs");
        if !real && !simulated && !source.path.ends_with("tidy.rs") {
            let mut calls = source.text.match_indices("sleep(").map(|(at, _)| source.text[..at].chars().next_back());
            let sleeps = calls.any(|before| before.is_none_or(|c| !c.is_alphanumeric()));
            assert!(!sleeps, "{} sleeps", source.path.display());
        }
    }
}

#[test]
fn the_map_is_short() {
    let map = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/ARCHITECTURE.md")).unwrap();
    assert!(map.lines().count() <= 120, "docs/ARCHITECTURE.md has {} lines", map.lines().count());
}
