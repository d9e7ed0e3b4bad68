//! Execs: programs that were begun inside, recorded from before their start until they are known to have ended.

use rusqlite::Connection;

use super::{Result, Store, columns::Columns};
use crate::domain::{Begun, ContainerId, SandboxId};

impl Store {
    /// Records a program that is about to begin.
    pub async fn begin_exec(&self, begun: Begun) -> Result<()> {
        let job = move |c: &Connection| {
            let insert = "INSERT INTO execs (id, sandbox, container, exec, user) VALUES (?1, ?2, ?3, ?4, ?5)";
            let Begun { id, sandbox, container, exec, user } = &begun;
            Ok(c.prepare_cached(insert)?.execute((id, sandbox.as_str(), container.as_str(), exec, user)).map(drop)?)
        };
        self.writer.run(job).await
    }

    /// Forgets a program that has ended.
    pub async fn forget_exec(&self, id: &str) -> Result<()> {
        let id = id.to_owned();
        let sql = "DELETE FROM execs WHERE id = ?1";
        self.writer.run(move |c| Ok(c.prepare_cached(sql)?.execute([id]).map(drop)?)).await
    }

    /// All that are recorded.
    pub async fn execs(&self) -> Result<Vec<Begun>> {
        let job = |c: &Connection| {
            let mut statement =
                c.prepare_cached("SELECT id, sandbox, container, exec, user FROM execs ORDER BY rowid")?;
            let mut rows = statement.query(())?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                let c = &mut Columns(row, 0);
                found.push(Begun {
                    id: c.next()?,
                    sandbox: c.read("sandbox", SandboxId::parse)?,
                    container: c.read("container", ContainerId::parse)?,
                    exec: c.next()?,
                    user: c.next()?,
                });
            }
            Ok(found)
        };
        self.reader.run(job).await
    }
}
