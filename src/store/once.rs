//! Once: requests that shall be done once, by their actors' keys, and which sandboxes each has made. No answer is kept.

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension};

use super::{Result, Store, columns::millis, rows};
use crate::domain::{Sandbox, SandboxId};

/// How long a key is kept.
const KEPT: SignedDuration = SignedDuration::from_hours(24);

/// The most keys that one actor has; the oldest make room.
const MOST: i64 = 10_000;

/// A request that shall be done once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Who asks.
    pub actor: String,
    /// What the actor calls it.
    pub key: String,
    /// A digest of what is asked.
    pub digest: Vec<u8>,
}

/// What is known of a request that shall be done once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claimed {
    /// Nobody has done it: the caller does.
    New,
    /// It is done. What it was about, as a path of the API, or several.
    Done(String),
    /// Something else was asked with that key.
    Other,
}

impl Store {
    /// Claims `key` for the request `request`. What an earlier request with that key has begun, and a crash has cut
    /// off, counts as this one's.
    pub async fn claim(&self, key: Key, request: String, now: Timestamp) -> Result<Claimed> {
        let job = move |c: &Connection| {
            let old = millis(now.checked_sub(KEPT).unwrap_or(Timestamp::MIN));
            c.execute("DELETE FROM once WHERE at < ?1", [old])?;
            let many = "DELETE FROM once WHERE actor = ?1 AND seq <= (SELECT seq FROM once WHERE actor = ?1
                        ORDER BY seq DESC LIMIT 1 OFFSET ?2)";
            c.execute(many, (&key.actor, MOST))?;
            let sql = "SELECT digest, request, about FROM once WHERE actor = ?1 AND key = ?2";
            let read = |r: &rusqlite::Row<'_>| Ok((r.get(0)?, r.get(1)?, r.get(2)?));
            let known = c.query_row(sql, (&key.actor, &key.key), read).optional()?;
            let Some((digest, former, about)): Option<(Vec<u8>, String, Option<String>)> = known else {
                let insert = "INSERT INTO once (actor, key, digest, request, at) VALUES (?1, ?2, ?3, ?4, ?5)";
                c.execute(insert, (&key.actor, &key.key, &key.digest, &request, millis(now)))?;
                return Ok(Claimed::New);
            };
            if digest != key.digest {
                return Ok(Claimed::Other);
            }
            if let Some(about) = about {
                return Ok(Claimed::Done(about));
            }
            c.execute("UPDATE once SET request = ?2 WHERE request = ?1", (&former, &request))?;
            c.execute("UPDATE OR IGNORE made SET request = ?2 WHERE request = ?1", (&former, &request))?;
            Ok(Claimed::New)
        };
        self.writer.run(job).await
    }

    /// Records that a request is done, and what it was about. `None`: it was refused, and may be tried again.
    pub async fn finish(&self, request: &str, about: Option<String>) -> Result<()> {
        let request = request.to_owned();
        let job = move |c: &Connection| {
            match about {
                Some(about) => c.execute("UPDATE once SET about = ?2 WHERE request = ?1", (&request, about))?,
                None => c.execute("DELETE FROM once WHERE request = ?1", [&request])?,
            };
            Ok(c.execute("DELETE FROM made WHERE request = ?1", [&request]).map(drop)?)
        };
        self.writer.run(job).await
    }

    /// The sandboxes that a request has made before it was cut off.
    pub async fn made_by(&self, request: &str) -> Result<Vec<Sandbox>> {
        let request = request.to_owned();
        let filter = "id IN (SELECT sandbox FROM made WHERE request = ?1) AND state NOT IN ('creating', 'deleting')";
        self.reader.run(move |c| rows::load(c, filter, &[request])).await
    }
}

/// Notes that a request that shall be done once makes a sandbox, in the transaction that makes its row.
pub fn note(c: &Connection, request: Option<&str>, sandbox: &SandboxId) -> Result<()> {
    let sql = "INSERT INTO made (request, sandbox) SELECT ?1, ?2 WHERE EXISTS (SELECT 1 FROM once WHERE request = ?1)";
    Ok(c.prepare_cached(sql)?.execute((request, sandbox.as_str())).map(drop)?)
}
