//! Actions: records who did what to what, and how it ended. Nobody waits for a record, and none that fails stops
//! anything.

mod acting;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use super::{Error, Settings, chain};
use crate::{
    clock::RecordClock,
    domain::{Act, ActedOn, Action, ActionState, Actor, Credential, Failure, ObjectKind, Who, action::actor_word},
    store::{self, ActionEnd, Store},
};
pub use acting::Acting;

/// How many actions an answer names. A class that is imported has hundreds, and clients refuse so long a header; the
/// actions have the request's id.
const NAMED: usize = 32;

/// Who tried to sign in and was not let in. It is no user's name, and whoever tries does not choose it.
const NOBODY: &str = "(nobody)";

/// How often what is older than `SPINDLE_ACTIONS_KEEP` is forgotten.
const FORGET_EVERY: Duration = Duration::from_hours(1);

/// The record of what is done.
pub struct Actions {
    store: Arc<Store>,
    clock: Arc<RecordClock>,
    settings: Arc<Settings>,
    /// The actions of each request that is under way, by the request's id.
    made: Mutex<HashMap<String, Vec<String>>>,
    /// Whether the last record failed. The log hears only of the first.
    fails: Arc<AtomicBool>,
    /// When old actions were forgotten last, by the steady clock.
    forgot: Mutex<Option<Duration>>,
}

impl Actions {
    /// Puts the parts together.
    pub fn new(store: Arc<Store>, clock: Arc<RecordClock>, settings: Arc<Settings>) -> Self {
        Self { store, clock, settings, made: Mutex::default(), fails: Arc::default(), forgot: Mutex::default() }
    }

    /// Something that `by` is about to do. Nothing is recorded yet.
    pub fn of(self: &Arc<Self>, by: &Actor, act: impl Into<Act>, on: impl Into<ActedOn>) -> Acting {
        let mut bytes = [0; 8];
        // Without random numbers nothing is created either; what else is done then shares one id.
        let _ = getrandom::fill(&mut bytes);
        let action = Action {
            id: format!("{:016x}", u64::from_be_bytes(bytes)),
            verb: act.into().word().to_owned(),
            actor: actor_word(&by.who),
            credential: by.credential.to_string(),
            from: by.from.map(|from| from.to_canonical()),
            request: by.request.clone(),
            on: on.into(),
            changed: Vec::new(),
            started_at: self.clock.now(),
            state: ActionState::InProgress,
            ended_at: None,
            failure: None,
        };
        Acting::new(Arc::clone(self), action)
    }

    /// Records that somebody who said to be `user` was not let in, so many `times` since the last record.
    pub fn sign_in_failed(self: &Arc<Self>, user: &str, from: Option<std::net::IpAddr>, times: u64) {
        let tried =
            Actor { who: Who::User(NOBODY.to_owned()), credential: Credential::Password, ..Actor::inside(from) };
        let text = if times == 1 { "wrong credentials".into() } else { format!("wrong credentials, {times} times") };
        self.of(&tried, Act::SignIn, ActedOn::named(ObjectKind::User, user))
            .failed(&Failure::new("unauthorized", &text));
    }

    fn made(&self) -> MutexGuard<'_, HashMap<String, Vec<String>>> {
        self.made.lock().expect("no holder panics")
    }

    /// Notes that the request by which `by` asks has led to `action`.
    pub fn name(&self, by: &Actor, action: &str) {
        self.note(by.request.as_deref(), action);
    }

    fn note(&self, request: Option<&str>, action: &str) {
        if let Some(request) = request {
            self.made().entry(request.to_owned()).or_default().push(action.to_owned());
        }
    }

    /// The first actions to which a request has led, for its answer. They are told once.
    pub fn take_made(&self, request: &str) -> Vec<String> {
        let mut made = self.made().remove(request).unwrap_or_default();
        made.truncate(NAMED);
        made
    }

    fn begin(&self, action: Action) {
        self.note(action.request.as_deref(), &action.id);
        self.store.begin_action(action, self.heard());
    }

    fn end(&self, id: String, end: ActionEnd) {
        self.store.end_action(id, end, self.heard());
    }

    /// What is done when a record is written, or could not be.
    fn heard(&self) -> impl FnOnce(store::Result<()>) + Send + 'static {
        let fails = Arc::clone(&self.fails);
        move |written| match written {
            Ok(()) if fails.swap(false, Ordering::Relaxed) => tracing::info!("actions are recorded again"),
            Err(e) if !fails.swap(true, Ordering::Relaxed) => {
                tracing::warn!(error = chain(&e), "actions are not recorded; what is asked is done all the same");
            }
            _ => {}
        }
    }

    /// Ends what an earlier server has left under way, and records which settings differ from those of its start.
    pub async fn take_over(self: &Arc<Self>, configuration: Vec<(String, String)>) {
        let why = "the server ended meanwhile; the first pass of the next one finishes or undoes what was recorded";
        let left = self.store.end_left_actions(self.clock.now(), Failure::new("server_ended", why)).await;
        match left {
            Ok(0) => {}
            Ok(left) => tracing::info!(left, "actions that an earlier server left under way are recorded as failed"),
            Err(e) => self.heard()(Err(e)),
        }
        match self.store.configure(configuration).await {
            Ok(Some(changed)) if !changed.is_empty() => {
                self.of(&Actor::server(), Act::Configure, ActedOn::server()).changing(changed).done();
            }
            Ok(_) => {}
            Err(e) => self.heard()(Err(e)),
        }
    }

    /// Forgets what is too old, if that was not done for a while.
    pub fn forget_old(&self) {
        let mut forgot = self.forgot.lock().expect("no holder panics");
        let steady = self.clock.steady();
        if forgot.is_some_and(|at| steady < at + FORGET_EVERY) {
            return;
        }
        *forgot = Some(steady);
        let keep = jiff::SignedDuration::try_from(self.settings.actions_keep).unwrap_or(jiff::SignedDuration::MAX);
        if let Ok(since) = self.clock.now().checked_sub(keep) {
            self.store.forget_actions(since, self.heard());
        }
    }

    /// Waits until all that was recorded is on the disk.
    pub async fn written(&self) {
        self.store.written().await;
    }
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        Failure::new(error.code(), &error.to_string())
    }
}
