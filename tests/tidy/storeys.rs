//! Checks the storeys of `app`: `asked` and `pass` stand on the same ground, and never import each other.

use super::{code_of, sources};

/// Which other rooms of `app` each room may import. `mod.rs` imports them all.
const ROOMS: [(&str, &[&str]); 14] = [
    ("error", &[]),
    ("settings", &[]),
    ("next", &[]),
    ("tally", &[]),
    ("identity", &["error", "settings"]),
    ("spool", &["error", "settings"]),
    ("vitals", &["error", "settings", "next"]),
    ("actions", &["error", "settings"]),
    ("records", &["error", "settings", "next", "tally", "vitals", "actions"]),
    ("usage", &["error", "settings", "vitals", "records"]),
    ("work", &["error", "settings", "next", "vitals", "records", "usage"]),
    (
        "asked",
        &["error", "settings", "next", "tally", "identity", "vitals", "actions", "records", "usage", "work", "spool"],
    ),
    ("pass", &["error", "settings", "next", "vitals", "actions", "records", "usage", "work"]),
    (
        "tests",
        &["error", "settings", "next", "vitals", "actions", "records", "usage", "work", "asked", "pass", "identity"],
    ),
];

/// What `mod.rs` re-exports, by the room that defines it.
const HANDED_ON: [(&str, &[&str]); 7] = [
    ("error", &["Error", "chain"]),
    ("actions", &["Actions"]),
    ("settings", &["Settings", "AdminLogin"]),
    ("identity", &["Identity"]),
    ("vitals", &["Vitals", "CheckInDoor", "ConvergeReport"]),
    ("asked", &["Asked", "CreateSpec", "Activity", "View", "Health", "Ensured", "Pull", "App"]),
    ("pass", &["Pass"]),
];

fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !(c.is_alphanumeric() || c == '_'))
}

#[test]
fn the_storeys_of_app_stand_on_their_ground() {
    let mut seen = 0;
    for source in sources("src").iter().filter(|s| s.module == "app") {
        let path = source.path.to_string_lossy();
        let room = path.rsplit_once("/app/").unwrap().1.split(['/', '.']).next().unwrap().to_owned();
        if room == "mod" {
            continue;
        }
        let (_, may) = ROOMS.iter().find(|(name, _)| *name == room).unwrap_or_else(|| panic!("{path}: no such room"));
        let code = code_of(source);
        // Words of a log, or of a longer name, are not imports.
        let imports: Vec<&str> = code.split("use ").skip(1).filter_map(|text| text.split(';').next()).collect();
        let imports = imports.join("\n");
        for (other, _) in ROOMS.iter().filter(|(other, _)| *other != room && !may.contains(other)) {
            let handed_on = HANDED_ON.iter().find(|(name, _)| name == other).map_or(&[][..], |(_, names)| names);
            let names_it = imports.contains(&format!("{other}::")) && !imports.contains(&format!("{room}::{other}"));
            let takes_it = handed_on.iter().any(|name| words(&imports).any(|word| word == *name));
            assert!(!names_it && !takes_it, "{path}: {room} may not know {other}");
            seen += 1;
        }
    }
    assert!(seen > 100, "the rooms were not read");
}
