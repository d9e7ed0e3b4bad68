//! Launches: with what sandboxes' programs are started. Lists and variables have a table of their own.

use std::sync::Arc;

use rusqlite::{Connection, types::Value};

use super::{
    Result,
    columns::{Columns, corrupt},
};
use crate::domain::{Launch, Recipe, SandboxId};

const COMMAND: &str = "command";
const ENTRYPOINT: &str = "entrypoint";

/// Stands before a variable's name, and after the others: `command` is no variable.
const VARIABLE: &str = "env:";

/// Reads `launched, workdir, runs_as, hostname`. What has its own table follows by [`add`].
pub fn read(c: &mut Columns<'_>) -> Result<Option<Arc<Launch>>> {
    let is_known: bool = c.next()?;
    let launch = Launch { workdir: c.next()?, user: c.next()?, hostname: c.next()?, ..Launch::default() };
    Ok(is_known.then(|| Arc::new(launch)))
}

/// The columns of a row, each with its value.
pub fn columns_of(recipe: &Recipe) -> [(&'static str, Value); 4] {
    let launch = recipe.launch.as_deref();
    let text = |of: fn(&Launch) -> &Option<String>| launch.and_then(|launch| of(launch).clone()).into();
    [
        ("launched", launch.is_some().into()),
        ("workdir", text(|launch| &launch.workdir)),
        ("runs_as", text(|launch| &launch.user)),
        ("hostname", text(|launch| &launch.hostname)),
    ]
}

/// Adds one row of the table to a recipe. The rows of each part come in their order.
pub fn add(recipe: &mut Recipe, part: &str, text: String) -> Result<()> {
    let launch = Arc::make_mut(recipe.launch.get_or_insert_default());
    match part {
        COMMAND => launch.command.get_or_insert_default().push(text),
        ENTRYPOINT => launch.entrypoint.get_or_insert_default().push(text),
        part => match part.strip_prefix(VARIABLE) {
            Some(name) => launch.env.push((name.to_owned(), text)),
            None => return Err(corrupt("launch")),
        },
    }
    Ok(())
}

/// Writes the rows of the table for a sandbox that has none.
pub fn insert(c: &Connection, sandbox: &SandboxId, launch: &Launch) -> Result<()> {
    let mut statement = c.prepare_cached("INSERT INTO launch (sandbox, part, place, text) VALUES (?1, ?2, ?3, ?4)")?;
    for (part, words) in [(COMMAND, &launch.command), (ENTRYPOINT, &launch.entrypoint)] {
        for (place, word) in (0_u32..).zip(words.iter().flatten()) {
            statement.execute((sandbox.as_str(), part, place, word))?;
        }
    }
    for (name, value) in &launch.env {
        statement.execute((sandbox.as_str(), format!("{VARIABLE}{name}"), 0, value))?;
    }
    Ok(())
}
