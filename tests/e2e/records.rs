//! What the server has written down: its database and its directories.

use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::support::docker::Docker;

/// Asks the world's database for a number.
pub fn count(world: &Docker, sql: &str) -> i64 {
    let database = Connection::open(world.setting("DATABASE")).unwrap();
    database.busy_timeout(std::time::Duration::from_secs(5)).unwrap();
    database.query_row(sql, [], |row| row.get(0)).unwrap()
}

/// How many host ports are reserved.
pub fn reserved_ports(world: &Docker) -> i64 {
    count(world, "SELECT count(*) FROM ports")
}

/// Removes the database of a server that has ended.
pub fn lose_database(world: &Docker) {
    for suffix in ["", "-wal", "-shm", ".lock"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", world.setting("DATABASE")));
    }
}

/// What the host has of the sandboxes: of each, a directory and an amendment.
pub fn sandbox_files(world: &Docker) -> Vec<PathBuf> {
    let parent = Path::new(world.setting("DATABASE")).with_file_name("sandboxes");
    let entries = std::fs::read_dir(parent).into_iter().flatten();
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// The host's directories behind the sandboxes' `/run/spindle`.
pub fn sandbox_directories(world: &Docker) -> Vec<PathBuf> {
    sandbox_files(world).into_iter().filter(|path| path.is_dir()).collect()
}
