//! People: users, namespaces and their members.

use std::collections::BTreeSet;

use rusqlite::{Connection, Row};

use super::{
    Result, Store, StoreError,
    columns::{Columns, instant, millis, required},
    rows,
};
use crate::domain::{Course, Memory, Namespace, Ownership, Quota, Role, SandboxId, Usage, User, UserName};

const USER: &str = "name, role, password, ssh_key, created_at";

fn user(row: &Row<'_>) -> Result<User> {
    let c = &mut Columns(row, 0);
    Ok(User {
        name: c.read("user", |n| UserName::parse("name", n).ok())?,
        role: c.read("role", |r| Role::parse(r).ok())?,
        password: c.next()?,
        ssh_key: c.next()?,
        created_at: instant(c.next()?)?,
        namespaces: BTreeSet::new(),
        enters: BTreeSet::new(),
    })
}

fn namespace(text: &str) -> Option<Namespace> {
    Namespace::parse("namespace", text).ok()
}

fn users(c: &Connection, filter: &str, params: impl rusqlite::Params + Clone) -> Result<Vec<User>> {
    let sql = format!("SELECT {USER} FROM users WHERE {filter} ORDER BY name");
    let mut statement = c.prepare_cached(&sql)?;
    let mut rows = statement.query(params)?;
    let mut users = Vec::new();
    while let Some(row) = rows.next()? {
        users.push(user(row)?);
    }
    let sql = "SELECT namespace, assistant_exec FROM members JOIN namespaces ON name = namespace WHERE user = ?1";
    let mut statement = c.prepare_cached(sql)?;
    for user in &mut users {
        let mut rows = statement.query([user.name.as_str()])?;
        while let Some(row) = rows.next()? {
            let c = &mut Columns(row, 0);
            let listed = c.read("namespace", namespace)?;
            if c.next()? {
                user.enters.insert(listed.clone());
            }
            user.namespaces.insert(listed);
        }
    }
    Ok(users)
}

/// The user of that name.
pub(super) fn user_named(c: &Connection, name: &str) -> Result<Option<User>> {
    Ok(users(c, "name = ?1", [name])?.pop())
}

fn enroll(c: &Connection, user: &User) -> Result<()> {
    c.execute("DELETE FROM members WHERE user = ?1", [user.name.as_str()])?;
    for namespace in &user.namespaces {
        exists(c, namespace)?;
        let insert = "INSERT INTO members (namespace, user) VALUES (?1, ?2)";
        c.prepare_cached(insert)?.execute((namespace.as_str(), user.name.as_str()))?;
    }
    Ok(())
}

const COURSE: &str = "name, title, containers, running, memory, owner_containers, owner_running, owner_memory, assistant_exec, created_at";

fn quota(c: &mut Columns<'_>) -> Result<Quota> {
    let memory = |text: &str| Memory::parse(text).ok();
    Ok(Quota { containers: c.next()?, running: c.next()?, memory: c.maybe("memory", memory)? })
}

fn courses(c: &Connection, filter: &str, params: impl rusqlite::Params) -> Result<Vec<Course>> {
    let mut statement = c.prepare_cached(&format!("SELECT {COURSE} FROM namespaces WHERE {filter} ORDER BY name"))?;
    let mut rows = statement.query(params)?;
    let mut courses = Vec::new();
    while let Some(row) = rows.next()? {
        let c = &mut Columns(row, 0);
        courses.push(Course {
            name: c.read("namespace", namespace)?,
            title: required(c.next()?, "title")?,
            quota: quota(c)?,
            owner_quota: quota(c)?,
            assistant_exec: c.next()?,
            created_at: instant(c.next()?)?,
        });
    }
    Ok(courses)
}

fn course(c: &Connection, name: &Namespace) -> Result<Option<Course>> {
    Ok(courses(c, "name = ?1", [name.as_str()])?.pop())
}

/// # Errors
/// [`StoreError::NoNamespace`] if there is no namespace of that name.
pub(super) fn exists(c: &Connection, name: &Namespace) -> Result<()> {
    match course(c, name)? {
        Some(_) => Ok(()),
        None => Err(StoreError::NoNamespace(name.clone())),
    }
}

/// Makes a namespace that is not there, for a sandbox in it whose records were lost.
pub(super) fn restore(c: &Connection, name: &Namespace) -> Result<()> {
    let insert = "INSERT OR IGNORE INTO namespaces (name, title, created_at) VALUES (?1, '', 0)";
    Ok(c.prepare_cached(insert)?.execute([name.as_str()]).map(drop)?)
}

/// # Errors
/// [`StoreError::NoNamespace`], and [`StoreError::NoMember`] if the namespace does not list the owner.
pub(super) fn belongs(c: &Connection, ownership: &Ownership) -> Result<()> {
    let Ownership { namespace, owner } = ownership;
    exists(c, namespace)?;
    let Some(owner) = owner else { return Ok(()) };
    match user_named(c, owner.as_str())? {
        Some(user) if user.namespaces.contains(namespace) => Ok(()),
        _ => Err(StoreError::NoMember(namespace.clone(), owner.clone())),
    }
}

/// # Errors
/// [`StoreError::Quota`] if `more` has no room where `ownership` says; `except`: a sandbox that is not counted.
/// `all`: the namespace's own quota is looked at too.
pub(super) fn within_quota(
    c: &Connection,
    ownership: &Ownership,
    more: &Usage,
    except: &SandboxId,
    all: bool,
) -> Result<()> {
    let Some(course) = course(c, &ownership.namespace)? else { return Ok(()) };
    let owners = ownership.owner.as_ref().map(|owner| (course.owner_quota, Some(owner)));
    let quotas = [Some((course.quota, None)).filter(|_| all), owners].into_iter().flatten();
    for (quota, owner) in quotas.filter(|(quota, _)| *quota != Quota::default()) {
        let used = used(c, &ownership.namespace, owner, Some(except))?;
        if let Some(why) = used.beyond(&quota, more) {
            let whose = owner.map(|owner| format!(" of {owner}")).unwrap_or_default();
            return Err(StoreError::Quota(format!("the quota{whose} in the namespace {}: {why}", course.name)));
        }
    }
    Ok(())
}

/// What is used in a namespace, by everybody or by one owner, `except` for one sandbox.
fn used(c: &Connection, namespace: &Namespace, owner: Option<&UserName>, except: Option<&SandboxId>) -> Result<Usage> {
    let sql = "SELECT memory, state IN ('creating', 'starting', 'running')
                      OR state = 'resetting' AND reason IS NULL OR state = 'stopping' AND reason = 'restart' FROM sandboxes
               WHERE namespace = ?1 AND (?2 IS NULL OR owner = ?2) AND state <> 'deleting' AND id IS NOT ?3";
    let mut statement = c.prepare_cached(sql)?;
    let (owner, except) = (owner.map(UserName::as_str), except.map(SandboxId::as_str));
    let mut rows = statement.query((namespace.as_str(), owner, except))?;
    let mut used = Usage::default();
    while let Some(row) = rows.next()? {
        let c = &mut Columns(row, 0);
        used.add(c.read("memory", rows::memory)?, c.next()?);
    }
    Ok(used)
}

impl Store {
    /// All users, by name.
    pub async fn users(&self) -> Result<Vec<User>> {
        self.reader.run(|c| users(c, "1", ())).await
    }

    /// The user of that name.
    pub async fn user(&self, name: &str) -> Result<Option<User>> {
        let name = name.to_owned();
        self.reader.run(move |c| user_named(c, &name)).await
    }

    /// Records a new user. False, and nothing changed, if there is one of that name.
    ///
    /// # Errors
    /// [`StoreError::NoNamespace`].
    pub async fn insert_user(&self, user: User) -> Result<bool> {
        let job = move |c: &Connection| {
            let insert = format!("INSERT OR IGNORE INTO users ({USER}) VALUES (?1, ?2, ?3, ?4, ?5)");
            let made = c.prepare_cached(&insert)?.execute((
                user.name.as_str(),
                user.role.word(),
                &user.password,
                &user.ssh_key,
                millis(user.created_at),
            ))?;
            if made > 0 {
                // Nobody inherits what was given to another of that name.
                c.execute("DELETE FROM credentials WHERE user = ?1", [user.name.as_str()])?;
                enroll(c, &user)?;
            }
            Ok(made > 0)
        };
        self.writer.run(job).await
    }

    /// Replaces what is recorded about `seen` by `user`, who has the same name. False, and nothing changed, if it is no
    /// longer as in `seen`. Whoever has another role signs in anew;
    /// whoever may more than before needs new tokens too.
    ///
    /// # Errors
    /// [`StoreError::NoNamespace`].
    pub async fn change_user(&self, seen: User, user: User) -> Result<bool> {
        let job = move |c: &Connection| {
            if user_named(c, seen.name.as_str())?.as_ref() != Some(&seen) {
                return Ok(false);
            }
            let update = "UPDATE users SET role = ?2, password = ?3, ssh_key = ?4 WHERE name = ?1";
            let values = (user.name.as_str(), user.role.word(), &user.password, &user.ssh_key);
            c.prepare_cached(update)?.execute(values)?;
            // Who may more than before shows that anew: an old token may be somebody else's, who may not.
            let may_more = user.role > seen.role || !user.namespaces.is_subset(&seen.namespaces);
            if may_more || user.role != seen.role {
                let kinds = if may_more { "('session', 'token')" } else { "('session')" };
                let delete = format!("DELETE FROM credentials WHERE user = ?1 AND sandbox IS NULL AND kind IN {kinds}");
                c.execute(&delete, [user.name.as_str()])?;
            }
            if user.password != seen.password {
                let delete = "DELETE FROM credentials WHERE user = ?1 AND sandbox IS NULL AND kind = 'session'";
                c.execute(delete, [user.name.as_str()])?;
            }
            enroll(c, &user)?;
            Ok(true)
        };
        self.writer.run(job).await
    }

    /// Removes a user with all that lets the user in. How many sandboxes are the user's; nothing is changed unless that
    /// is 0. `None` if the user is no longer as in `seen`.
    pub async fn remove_user(&self, seen: &User) -> Result<Option<u32>> {
        let (seen, name) = (seen.clone(), seen.name.clone());
        let job = move |c: &Connection| {
            if user_named(c, name.as_str())? != Some(seen) {
                return Ok(None);
            }
            let owns = "SELECT count(*) FROM sandboxes WHERE owner = ?1 AND state <> 'deleting'";
            let owns: u32 = c.query_row(owns, [name.as_str()], |r| r.get(0))?;
            if owns == 0 {
                c.execute("DELETE FROM credentials WHERE user = ?1", [name.as_str()])?;
                c.execute("DELETE FROM users WHERE name = ?1", [name.as_str()])?;
            }
            Ok(Some(owns))
        };
        self.writer.run(job).await
    }

    /// All namespaces that were made, by name, each with what is used in it.
    pub async fn courses(&self) -> Result<Vec<(Course, Usage)>> {
        let job = |c: &Connection| {
            let all = courses(c, "1", ())?;
            all.into_iter().map(|course| used(c, &course.name, None, None).map(|used| (course, used))).collect()
        };
        self.reader.run(job).await
    }

    /// What is recorded about one namespace, and what is used in it.
    pub async fn course(&self, name: &Namespace) -> Result<Option<(Course, Usage)>> {
        let name = name.clone();
        let job = move |c: &Connection| {
            let Some(course) = course(c, &name)? else { return Ok(None) };
            Ok(Some((course, used(c, &name, None, None)?)))
        };
        self.reader.run(job).await
    }

    /// Records a namespace; `replace`: in place of the one of that name. False, and nothing changed, if it is there and
    /// should not be, or the other way round.
    pub async fn set_course(&self, course: Course, replace: bool) -> Result<bool> {
        let job = move |c: &Connection| {
            if self::course(c, &course.name)?.is_some() != replace {
                return Ok(false);
            }
            let insert = format!(
                "INSERT INTO namespaces ({COURSE}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
                 ON CONFLICT (name) DO UPDATE SET title = ?2, containers = ?3, running = ?4, memory = ?5,
                 owner_containers = ?6, owner_running = ?7, owner_memory = ?8, assistant_exec = ?9"
            );
            let memory = |quota: &Quota| quota.memory.map(|memory| memory.to_string());
            c.prepare_cached(&insert)?.execute((
                course.name.as_str(),
                &course.title,
                course.quota.containers,
                course.quota.running,
                memory(&course.quota),
                course.owner_quota.containers,
                course.owner_quota.running,
                memory(&course.owner_quota),
                course.assistant_exec,
                millis(course.created_at),
            ))?;
            Ok(true)
        };
        self.writer.run(job).await
    }

    /// Removes a namespace. How many sandboxes and users are in it; nothing is changed unless both are 0. `None` if
    /// there is no such namespace.
    pub async fn remove_course(&self, name: &Namespace) -> Result<Option<(u32, u32)>> {
        let name = name.clone();
        let job = move |c: &Connection| {
            if course(c, &name)?.is_none() {
                return Ok(None);
            }
            let count = |sql: &str| c.query_row(sql, [name.as_str()], |r| r.get::<_, u32>(0));
            let sandboxes = count("SELECT count(*) FROM sandboxes WHERE namespace = ?1")?;
            let members = count("SELECT count(*) FROM members WHERE namespace = ?1")?;
            if (sandboxes, members) == (0, 0) {
                // A token for it alone would be one for whatever gets its name later.
                c.execute("DELETE FROM credentials WHERE namespaces = ?1", [name.as_str()])?;
                let names = "trim(replace(' ' || namespaces || ' ', ' ' || ?1 || ' ', ' '))";
                c.execute(&format!("UPDATE credentials SET namespaces = {names}"), [name.as_str()])?;
                c.execute("DELETE FROM namespaces WHERE name = ?1", [name.as_str()])?;
            }
            Ok(Some((sandboxes, members)))
        };
        self.writer.run(job).await
    }
}
