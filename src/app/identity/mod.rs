//! Identity: who a caller is, by a password or by a secret that was given out.

mod again;
mod attempts;
pub mod password;
mod secret;

use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use super::{AdminLogin, Error, Result, chain};
use crate::{
    clock::{RecordClock, Stopwatch},
    domain::{Actor, Credential, Grant, Kind, Password, Rights, Role, Sandbox, User, Who, names::hex, time::plus},
    store::Store,
};
use attempts::Attempts;
pub use secret::Secret;
use secret::digest;

/// How long a password that was verified needs no hashing.
const REMEMBERED: Duration = Duration::from_mins(5);

/// The most that are remembered.
const MOST_REMEMBERED: usize = 4_096;

/// How many passwords are hashed at once: each takes 19 MiB, and a core for tens of milliseconds.
const HASHING: usize = 1;

/// A session ends when it was not used for so long.
const IDLE_SESSION: Duration = Duration::from_hours(24);

/// How often the use of a secret is recorded.
const USE: Duration = Duration::from_mins(1);

/// Who a caller is.
pub struct Identity {
    store: Arc<Store>,
    clock: Arc<RecordClock>,
    admin: AdminLogin,
    attempts: Attempts,
    /// Digests of names with their right passwords, and when each was verified.
    verified: Mutex<HashMap<[u8; 32], Stopwatch>>,
    /// Makes those digests worthless elsewhere.
    key: [u8; 32],
    hashing: Semaphore,
    tasks: TaskTracker,
}

/// By what a name's password is recognised, and what it gives.
struct Account {
    password: Option<Password>,
    rights: Rights,
}

impl Identity {
    /// Puts the parts together.
    pub fn new(store: Arc<Store>, clock: Arc<RecordClock>, admin: AdminLogin, tasks: TaskTracker) -> Self {
        let mut key = [0; 32];
        // Without random numbers a digest is still no password, and nobody gets a secret.
        let _ = getrandom::fill(&mut key);
        let (attempts, verified, hashing) = (Attempts::default(), Mutex::default(), Semaphore::new(HASHING));
        Self { store, clock, admin, attempts, verified, key, hashing, tasks }
    }

    /// Whether `name` is the configured admin's.
    pub fn is_configured(&self, name: &str) -> bool {
        name == self.admin.user
    }

    /// The hash of a password that somebody chose. Its turn may take a moment.
    ///
    /// # Errors
    /// If the machine gives no random numbers.
    pub async fn hash(&self, password: String) -> std::result::Result<String, getrandom::Error> {
        let _turn = self.hashing.acquire().await.expect("it is never closed");
        password::aside(move || password::hash(&password)).await.expect("hashing does not panic")
    }

    /// Whether a caller's text contains the configured password, so that the log must not repeat it.
    pub fn is_admin_password(&self, text: &str) -> bool {
        self.admin.password.plain().is_some_and(|password| is_equal(password, text))
    }

    /// Whoever has this name and password. A secret in place of the password is taken as well.
    ///
    /// # Errors
    /// [`Error::Unauthorized`], whatever was wrong; [`Error::TooManyAttempts`].
    pub async fn by_password(&self, name: &str, password: &str, from: Option<IpAddr>) -> Result<Actor> {
        if Secret::parse(password).is_some() {
            let actor = self.by_secret(password, &[Kind::Token, Kind::Invitation], from).await?;
            let is_theirs = !matches!(&actor.who, Who::User(user) if user != name && !name.is_empty());
            return if is_theirs { Ok(actor) } else { Err(Error::Unauthorized) };
        }
        self.verified_by(name, password, from).await.map(|(actor, _)| actor)
    }

    /// Whoever has this name and password, and what is recorded of the password that was right.
    ///
    /// # Errors
    /// As [`Identity::by_password`].
    pub(super) async fn verified_by(&self, name: &str, given: &str, from: Option<IpAddr>) -> Result<(Actor, Password)> {
        let account = self.account(name).await?;
        self.may_try(name, from)?;
        let known = account.as_ref().and_then(|account| account.password.as_ref());
        if !self.is_right(name, given, known, from).await? {
            return Err(Error::Unauthorized);
        }
        self.attempts.succeeded(from, name);
        let Account { password, rights } = account.ok_or(Error::Unauthorized)?;
        let who = Who::User(name.to_owned());
        let actor = Actor { who, credential: Credential::Password, from, request: None, rights };
        Ok((actor, password.ok_or(Error::Unauthorized)?))
    }

    fn may_try(&self, name: &str, from: Option<IpAddr>) -> Result<()> {
        self.attempts.wait(from, name).map_or(Ok(()), |wait| Err(Error::TooManyAttempts(wait)))
    }

    async fn is_right(&self, name: &str, given: &str, known: Option<&Password>, from: Option<IpAddr>) -> Result<bool> {
        let hash = match known {
            Some(Password::Plain(plain)) if is_equal(plain, given) => return Ok(true),
            // Whatever is wrong takes the same time.
            Some(Password::Plain(_)) | None => return self.hashed(name, given, None, from).await,
            Some(Password::Hash(hash)) => hash,
        };
        let verified = digest(&[&self.key, name.as_bytes(), given.as_bytes(), hash.as_bytes()]);
        if self.is_remembered(&verified) {
            return Ok(true);
        }
        let is_right = self.hashed(name, given, Some(hash.clone()), from).await?;
        if is_right {
            self.remember(verified);
        }
        Ok(is_right)
    }

    /// Compares with a hash; without one it takes as long. Counts a failure.
    async fn hashed(&self, name: &str, password: &str, hash: Option<String>, from: Option<IpAddr>) -> Result<bool> {
        let _turn = self.hashing.acquire().await.expect("it is never closed");
        // Others may have failed while this one waited.
        self.may_try(name, from)?;
        let password = password.to_owned();
        let verify = move || password::verify(hash.as_deref(), &password);
        let is_right = password::aside(verify).await.unwrap_or_default();
        if !is_right {
            self.attempts.failed(from, name);
        }
        Ok(is_right)
    }

    fn verified(&self) -> std::sync::MutexGuard<'_, HashMap<[u8; 32], Stopwatch>> {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_remembered(&self, digest: &[u8; 32]) -> bool {
        self.verified().get(digest).is_some_and(|at| at.elapsed() < REMEMBERED)
    }

    fn remember(&self, digest: [u8; 32]) {
        let mut verified = self.verified();
        if verified.len() >= MOST_REMEMBERED {
            verified.retain(|_, at| at.elapsed() < REMEMBERED);
        }
        if verified.len() < MOST_REMEMBERED {
            verified.insert(digest, Stopwatch::start());
        }
    }

    async fn account(&self, name: &str) -> Result<Option<Account>> {
        if self.is_configured(name) {
            return Ok(Some(self.configured()));
        }
        Ok(self.store.user(name).await?.map(of_user))
    }

    fn configured(&self) -> Account {
        Account { password: Some(self.admin.password.clone()), rights: Rights::all() }
    }

    /// Whoever has this secret of one of these `kinds`.
    ///
    /// # Errors
    /// [`Error::Unauthorized`], whatever was wrong.
    pub async fn by_secret(&self, secret: &str, kinds: &[Kind], from: Option<IpAddr>) -> Result<Actor> {
        let secret = Secret::parse(secret).ok_or(Error::Unauthorized)?;
        let given = self.store.given(secret.hash()).await?;
        let (grant, user) = given.filter(|(grant, _)| kinds.contains(&grant.kind)).ok_or(Error::Unauthorized)?;
        let now = self.clock.now();
        if grant.expires_at.is_some_and(|end| end <= now) {
            return Err(Error::Unauthorized);
        }
        let account = if self.is_configured(&grant.user) { Some(self.configured()) } else { user.map(of_user) };
        let (who, rights) = self.rights(&grant, account, Some(&secret), now).await?;
        let credential = match grant.kind {
            Kind::Token => Credential::Token(grant.id.clone()),
            Kind::Session => Credential::Session(grant.id.clone()),
            Kind::Invitation => Credential::Invitation(grant.id.clone()),
        };
        self.note_use(grant, from, now);
        Ok(Actor { who, credential, from, request: None, rights })
    }

    async fn rights(
        &self,
        grant: &Grant,
        account: Option<Account>,
        secret: Option<&Secret>,
        now: Timestamp,
    ) -> Result<(Who, Rights)> {
        let last = grant.used_at.unwrap_or(grant.created_at);
        if grant.kind == Kind::Session && plus(last, IDLE_SESSION) <= now {
            return Err(Error::Unauthorized);
        }
        if let Some(parent) = &grant.parent
            && !self.store.is_valid(parent, now).await?
        {
            return Err(Error::Unauthorized);
        }
        if let Some(guest) = self.guest(grant, now).await? {
            return Ok(guest);
        }
        let account = account.ok_or(Error::Unauthorized)?;
        let is_theirs = match grant.kind {
            Kind::Token => true,
            Kind::Session => secret.is_none_or(|s| grant.password == Some(s.with_password(account.known()))),
            Kind::Invitation => false,
        };
        let rights = account.rights.narrowed(&grant.scopes, &grant.namespaces);
        if is_theirs { Ok((Who::User(grant.user.clone()), rights)) } else { Err(Error::Unauthorized) }
    }

    fn note_use(&self, grant: Grant, from: Option<IpAddr>, now: Timestamp) {
        if grant.used_at.is_some_and(|last| plus(last, USE) > now) {
            return;
        }
        let store = Arc::clone(&self.store);
        self.tasks.spawn(async move {
            if let Err(e) = store.used(&grant.id, from.map(|from| from.to_string()), now).await {
                tracing::debug!(credential = grant.id, error = chain(&e), "the use of a secret is not recorded");
            }
        });
    }
}

impl Account {
    /// The password as it is recorded.
    fn known(&self) -> &str {
        self.password.as_ref().map_or("", Password::known)
    }
}

/// The id of a new secret. It is no secret.
///
/// # Errors
/// If the machine gives no random numbers.
pub fn new_id() -> std::result::Result<String, getrandom::Error> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes)?;
    Ok(hex(&bytes))
}

fn of_user(user: User) -> Account {
    let rights = Rights { enters: user.enters, ..Rights::of(user.role, user.namespaces) };
    Account { password: user.password.map(Password::Hash), rights }
}

/// What an invitation to `sandbox` allows.
fn invited(sandbox: &Sandbox) -> Rights {
    let namespaces = BTreeSet::from([sandbox.ownership.namespace.clone()]);
    Rights { only: Some(sandbox.id.clone()), ..Rights::of(Role::Learner, namespaces) }
}

/// Compares in a time that does not depend on how much of `theirs` is right (`CONTRACT.md` 2).
fn is_equal(ours: &str, theirs: &str) -> bool {
    digest(&[ours.as_bytes()]).ct_eq(&digest(&[theirs.as_bytes()])).into()
}
