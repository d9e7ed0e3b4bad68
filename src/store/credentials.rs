//! Credentials: the secrets that were given out, by their hashes.

use std::collections::BTreeSet;

use jiff::Timestamp;
use rusqlite::{Connection, Row};

use super::{
    Result, Store, StoreError,
    columns::{Columns, instant, millis, required},
    people::user_named,
};
use crate::domain::{Grant, Kind, Namespace, SandboxId, Scope, User};

const GRANT: &str = "id, kind, user, sandbox, parent, password, name, scopes, namespaces, created_at, expires_at,
    used_at, used_from";

fn words<T: Ord>(text: &str, parse: impl Fn(&str) -> Option<T>) -> Option<BTreeSet<T>> {
    text.split(' ').filter(|word| !word.is_empty()).map(parse).collect()
}

fn grant(row: &Row<'_>) -> Result<Grant> {
    let c = &mut Columns(row, 0);
    Ok(Grant {
        id: required(c.next()?, "id")?,
        kind: c.read("kind", Kind::parse)?,
        user: required(c.next()?, "user")?,
        sandbox: c.maybe("sandbox", SandboxId::parse)?,
        parent: c.next()?,
        password: c.next()?,
        name: required(c.next()?, "name")?,
        scopes: c.read("scopes", |text| words(text, |word| Scope::parse(word).ok()))?,
        namespaces: c.read("namespaces", |text| words(text, |word| Namespace::parse("namespace", word).ok()))?,
        created_at: instant(c.next()?)?,
        expires_at: c.instant()?,
        used_at: c.instant()?,
        used_from: c.next()?,
    })
}

fn grants(c: &Connection, filter: &str, params: impl rusqlite::Params) -> Result<Vec<Grant>> {
    let sql = format!("SELECT {GRANT} FROM credentials WHERE {filter} ORDER BY created_at, id");
    let mut statement = c.prepare_cached(&sql)?;
    let mut rows = statement.query(params)?;
    let mut grants = Vec::new();
    while let Some(row) = rows.next()? {
        grants.push(grant(row)?);
    }
    Ok(grants)
}

/// The most tokens of a user, and the most invitations given by one.
const MOST: u32 = 1_000;

/// The most sessions of a user, or of an invitation. A program that signs in each time must not fill the disk.
const MOST_SESSIONS: u32 = 100;

fn forget_oldest(c: &Connection, newest: &Grant) -> Result<()> {
    let these = "kind = 'session' AND user = ?1 AND parent IS ?2";
    let delete = format!(
        "DELETE FROM credentials WHERE {these} AND id NOT IN
         (SELECT id FROM credentials WHERE {these} ORDER BY created_at DESC, rowid DESC LIMIT ?3)"
    );
    Ok(c.prepare_cached(&delete)?.execute((&newest.user, &newest.parent, MOST_SESSIONS)).map(drop)?)
}

/// Which of them are meant.
#[derive(Debug, Clone)]
pub enum Whose {
    /// A user's.
    User(String),
    /// Everybody's.
    All,
    /// Those for one sandbox.
    Sandbox(SandboxId),
}

impl Store {
    /// Records a secret by its `hash`. `seen`: only if its user is still so; what ended the user's secrets meanwhile ends
    /// this one too.
    ///
    /// # Errors
    /// [`StoreError::NoUser`]; [`StoreError::TooMany`].
    pub async fn give(&self, grant: Grant, hash: [u8; 32], seen: Option<User>) -> Result<()> {
        let job = move |c: &Connection| {
            if seen.is_some() && user_named(c, &grant.user)? != seen {
                return Err(StoreError::NoUser);
            }
            c.execute("DELETE FROM credentials WHERE expires_at < ?1", [millis(grant.created_at)])?;
            let count = "SELECT count(*) FROM credentials WHERE kind = ?1 AND user = ?2";
            let many: u32 = c.prepare_cached(count)?.query_row((grant.kind.word(), &grant.user), |r| r.get(0))?;
            if grant.kind != Kind::Session && many >= MOST {
                return Err(StoreError::TooMany(MOST));
            }
            let insert = format!(
                "INSERT INTO credentials ({GRANT}, hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)"
            );
            let scopes: Vec<&str> = grant.scopes.iter().map(|scope| scope.word()).collect();
            let namespaces: Vec<&str> = grant.namespaces.iter().map(Namespace::as_str).collect();
            c.prepare_cached(&insert)?.execute(rusqlite::params![
                grant.id,
                grant.kind.word(),
                grant.user,
                grant.sandbox.as_ref().map(SandboxId::as_str),
                grant.parent,
                grant.password,
                grant.name,
                scopes.join(" "),
                namespaces.join(" "),
                millis(grant.created_at),
                grant.expires_at.map(millis),
                grant.used_at.map(millis),
                grant.used_from,
                hash,
            ])?;
            if grant.kind == Kind::Session {
                forget_oldest(c, &grant)?;
            }
            Ok(())
        };
        self.writer.run(job).await
    }

    /// The secret with that hash, and the user of that name, if a user was made who has it.
    pub async fn given(&self, hash: [u8; 32]) -> Result<Option<(Grant, Option<User>)>> {
        let job = move |c: &Connection| {
            let Some(grant) = grants(c, "hash = ?1", [hash])?.pop() else { return Ok(None) };
            let user = user_named(c, &grant.user)?;
            Ok(Some((grant, user)))
        };
        self.reader.run(job).await
    }

    /// One of a kind, by its id, unless it has ended by `now`.
    pub async fn grant(&self, kind: Kind, id: &str, now: Timestamp) -> Result<Option<Grant>> {
        let id = id.to_owned();
        let filter = "id = ?1 AND kind = ?2 AND (expires_at IS NULL OR expires_at > ?3)";
        self.reader.run(move |c| Ok(grants(c, filter, (id, kind.word(), millis(now)))?.pop())).await
    }

    /// Whether this one is there, and has not ended by `now`.
    pub async fn is_valid(&self, id: &str, now: Timestamp) -> Result<bool> {
        let id = id.to_owned();
        let sql = "SELECT EXISTS (SELECT 1 FROM credentials WHERE id = ?1 AND (expires_at IS NULL OR expires_at > ?2))";
        self.reader.run(move |c| Ok(c.prepare_cached(sql)?.query_row((id, millis(now)), |r| r.get(0))?)).await
    }

    /// Those of one kind, oldest first; what has ended by `now` is left out.
    pub async fn grants(&self, kind: Kind, whose: Whose, now: Timestamp) -> Result<Vec<Grant>> {
        let job = move |c: &Connection| {
            let (filter, key) = match &whose {
                Whose::User(name) => ("user = ?2", name.clone()),
                Whose::All => ("?2 = ''", String::new()),
                Whose::Sandbox(id) => ("sandbox = ?2", id.to_string()),
            };
            let filter = format!("kind = ?1 AND {filter} AND (expires_at IS NULL OR expires_at > ?3)");
            grants(c, &filter, (kind.word(), key, millis(now)))
        };
        self.reader.run(job).await
    }

    /// Changes the name and the end of one; `None`: as they are.
    pub async fn change_grant(&self, id: &str, name: Option<String>, expires_at: Option<Timestamp>) -> Result<bool> {
        let id = id.to_owned();
        let job = move |c: &Connection| {
            let update =
                "UPDATE credentials SET name = coalesce(?2, name), expires_at = coalesce(?3, expires_at) WHERE id = ?1";
            Ok(c.execute(update, (id, name, expires_at.map(millis)))? > 0)
        };
        self.writer.run(job).await
    }

    /// Revokes one, and the sessions that began by it. False if there is none.
    pub async fn revoke(&self, id: &str) -> Result<bool> {
        let id = id.to_owned();
        self.writer.run(move |c| Ok(c.execute("DELETE FROM credentials WHERE id = ?1", [id])? > 0)).await
    }

    /// Records that one was used, and forgets those that have ended.
    pub async fn used(&self, id: &str, from: Option<String>, now: Timestamp) -> Result<()> {
        let id = id.to_owned();
        let job = move |c: &Connection| {
            c.execute("DELETE FROM credentials WHERE expires_at < ?1", [millis(now)])?;
            let update = "UPDATE credentials SET used_at = ?2, used_from = ?3 WHERE id = ?1";
            Ok(c.execute(update, (id, millis(now), from)).map(drop)?)
        };
        self.writer.run(job).await
    }
}
