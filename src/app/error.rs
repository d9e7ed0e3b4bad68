//! Errors: what can go wrong in a use case. HTTP has no place here.

use std::time::Duration;

use crate::{
    domain::{ImageRef, Invalid, Kind, Namespace, SandboxName, UserName},
    engine::EngineError,
    relay::Unreachable,
    store::StoreError,
};

/// Why a use case failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A value is not allowed.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The reference means no sandbox (`CONTRACT.md` 14).
    #[error("Container {0} doesn't exist")]
    NoSandbox(String),
    /// The actor may not do that to something that they see.
    #[error("{0}")]
    Forbidden(String),
    /// There is no such namespace, or the actor may not know it.
    #[error("Namespace {0} doesn't exist")]
    NoNamespace(String),
    /// Missing or wrong credentials, whatever is wrong with them.
    #[error("Valid credentials are required (HTTP Basic)")]
    Unauthorized,
    /// Too many wrong passwords came from there, or for that name.
    #[error("too many wrong passwords; try again in {} s", .0.as_secs() + 1)]
    TooManyAttempts(Duration),
    /// There is no such user, or the actor may not know it.
    #[error("User {0} doesn't exist")]
    NoUser(String),
    /// There is no such token, session or invitation, or the actor may not know it.
    #[error("there is no {} {_1}", _0.word())]
    NoCredential(Kind, String),
    /// A name is in use.
    #[error("name: {0}")]
    Taken(String),
    /// What shall be removed is in use.
    #[error("{0}")]
    InUse(String),
    /// The machine gives no random numbers, so no secret can be made.
    #[error("the machine gives no random numbers: {0}")]
    NoRandom(String),
    /// A quota is used up; which, and how much of it is used.
    #[error("{0}; stop or delete containers there, or have an admin change the quota (PATCH /v1/namespaces/...)")]
    Quota(String),
    /// The image is not on this server, and nothing is pulled (`CONTRACT.md` 18).
    #[error("Image {0} not found on this server")]
    NoImage(ImageRef),
    /// Containers were made from the image.
    #[error("Image {0} is in use: {1}")]
    ImageInUse(ImageRef, String),
    /// No registry that can be reached has the image.
    #[error("Image {0} could not be pulled: no registry has it, or it asks for a login")]
    NotInRegistry(ImageRef),
    /// The name is in use; the second field says by whom.
    #[error("name: \"{0}\" is taken by {1}")]
    NameTaken(SandboxName, String),
    /// Every port of the range is reserved or held by others.
    #[error("no host port is left in the configured range; delete containers or widen SPINDLE_PORT_RANGE")]
    NoPort,
    /// Only a running sandbox can be kept, and only in one are programs run.
    #[error("the container is not running; start it first")]
    NotRunning,
    /// A program could not be started inside; why, in the runtime's words.
    #[error("command: the program could not be started: {0}")]
    NoProgram(String),
    /// There is no such terminal, or it is another's.
    #[error("Terminal {0} doesn't exist; it may have ended")]
    NoTerminal(String),
    /// There are as many terminals as there may be; how many.
    #[error("{0} terminals are open, which is the limit; close some")]
    TooManyTerminals(usize),
    /// Whoever asked has left.
    #[error("whoever asked has left, and it was ended")]
    Gone,
    /// The limit of running sandboxes is reached.
    #[error("{0} containers are running, which is the limit; stop some, or raise SPINDLE_MAX_RUNNING")]
    Full(u32),
    /// Another program holds a port that is reserved for this sandbox.
    #[error("the container cannot be started: a host port reserved for it is in use by another program ({0})")]
    PortHeld(String),
    /// The engine is away.
    #[error("{0}; try again later")]
    EngineAway(EngineError),
    /// A port cannot be opened, though nobody else has it.
    #[error("a host port of the container cannot be opened: {0}")]
    CannotListen(String),
    /// The relay's process is away.
    #[error("{0}; try again later")]
    RelayAway(Unreachable),
    /// The sandbox has nothing at that path.
    #[error("path: there is no {0} in the container")]
    NoPath(String),
    /// A folder is where a file is wanted, or the other way round.
    #[error("path: {0}")]
    WrongKind(String),
    /// Nothing can be put there.
    #[error("path: {0} is on what is mounted for reading only")]
    ReadOnlyPath(String),
    /// More than so many bytes are wanted at once.
    #[error("it is larger than {0} bytes, which is the most (SPINDLE_TRANSFER_MAX)")]
    TooLarge(u64),
    /// There is no place for what is on its way.
    #[error("there is no room for files on their way in and out: {0}; try again later")]
    NoRoom(String),
    /// What was sent is no tar that is unpacked.
    #[error("the tar is not unpacked: {0}")]
    BadTar(String),
    /// The client has gone, or sent less than it said.
    #[error("The body broke off")]
    BrokenOff,
    /// The engine refused or failed.
    #[error("{what}: {source}")]
    Engine {
        /// What could not be done.
        what: &'static str,
        /// The engine's reason.
        source: EngineError,
    },
    /// There is no such action, or the actor may not see it.
    #[error("Action {0} doesn't exist")]
    NoAction(String),
    /// The action cannot be cancelled: it has ended, or is none that can be.
    #[error("the action cannot be cancelled: {0}")]
    NotCancellable(String),
    /// Somebody cancelled what was under way; the field says who.
    #[error("cancelled by {0}")]
    Cancelled(String),
    /// A stop is under way, must end first, and does not end.
    #[error("the container is still being stopped; try again later")]
    StillStopping,
    /// The server is being shut down.
    #[error("the server is shutting down; try again later")]
    ShuttingDown,
    /// The database cannot be used at present: its disk is full, or another program has it locked.
    #[error("the database failed: {0}; nothing was changed, try again later")]
    DatabaseAway(String),
    /// A change cannot be written down for the case that the database is lost: the disk is full, for example.
    #[error("the change cannot be written down: {0}; nothing was changed, try again later")]
    NotWritten(EngineError),
    /// The store failed: a fault in Spindle.
    #[error("the store failed")]
    Store(#[source] StoreError),
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Failed(why) => Self::DatabaseAway(why),
            StoreError::NoNamespace(name) => Self::NoNamespace(name.to_string()),
            StoreError::Quota(why) => Self::Quota(why),
            StoreError::NoUser => Self::Unauthorized,
            StoreError::NoMember(namespace, owner) => no_member(&owner, &namespace),
            StoreError::TooMany(most) => Self::InUse(format!("you have given {most} of them; revoke some first")),
            other => Self::Store(other),
        }
    }
}

impl From<Unreachable> for Error {
    fn from(why: Unreachable) -> Self {
        Self::RelayAway(why)
    }
}

impl Error {
    /// The word for it, for programs: in answers and in records.
    pub fn code(&self) -> &'static str {
        match self {
            Error::Invalid(_) => "invalid_field",
            Error::NoSandbox(_) => "container_not_found",
            Error::Forbidden(_) => "forbidden",
            Error::NoNamespace(_) => "namespace_not_found",
            Error::NoUser(_) => "user_not_found",
            Error::NoCredential(..) => "not_found",
            Error::Unauthorized => "unauthorized",
            Error::TooManyAttempts(_) => "too_many_attempts",
            Error::InUse(_) => "in_use",
            Error::NoRandom(_) => "no_random_numbers",
            Error::Quota(_) => "quota_exceeded",
            Error::NoImage(_) | Error::NotInRegistry(_) => "image_not_found",
            Error::ImageInUse(..) => "image_in_use",
            Error::NameTaken(..) | Error::Taken(_) => "name_taken",
            Error::NotRunning => "not_running",
            Error::NoProgram(_) => "program_not_started",
            Error::NoTerminal(_) => "terminal_not_found",
            Error::TooManyTerminals(_) => "too_many_terminals",
            Error::Gone => "client_left",
            Error::PortHeld(_) => "port_in_use",
            Error::NoPort => "no_port_left",
            Error::Full(_) => "capacity_reached",
            Error::EngineAway(_) => "engine_unavailable",
            Error::CannotListen(_) => "cannot_listen",
            Error::RelayAway(_) => "relay_unavailable",
            Error::ShuttingDown => "shutting_down",
            Error::StillStopping => "still_stopping",
            Error::Engine { .. } => "engine_failed",
            Error::DatabaseAway(_) => "database_unavailable",
            Error::NotWritten(_) => "files_unavailable",
            Error::NoAction(_) => "action_not_found",
            Error::NotCancellable(_) => "not_cancellable",
            Error::Cancelled(_) => "cancelled",
            Error::NoPath(_) => "path_not_found",
            Error::WrongKind(_) => "path_conflict",
            Error::ReadOnlyPath(_) => "read_only_path",
            Error::TooLarge(_) => "payload_too_large",
            Error::NoRoom(_) => "no_room",
            Error::BadTar(_) => "invalid_tar",
            Error::BrokenOff => "bad_request",
            Error::Store(_) => "internal_error",
        }
    }

    /// Whether the request asks for what is wrong or not there: then nothing is done, and nothing recorded.
    pub fn is_mistake(&self) -> bool {
        matches!(
            self,
            Error::Invalid(_)
                | Error::NoSandbox(_)
                | Error::NoNamespace(_)
                | Error::NoUser(_)
                | Error::NoCredential(..)
                | Error::NoImage(_)
        )
    }

    /// Why an image could not be pulled.
    pub fn of_pull(image: &ImageRef, source: EngineError) -> Self {
        match source {
            EngineError::NoImage => Self::NotInRegistry(image.clone()),
            source => Self::engine("the image could not be pulled", source),
        }
    }

    /// Sorts an engine's error; `what` could not be done.
    pub(super) fn engine(what: &'static str, source: EngineError) -> Self {
        match source {
            EngineError::Unavailable(_) | EngineError::Timeout { .. } => Self::EngineAway(source),
            EngineError::PortHeld(why) => Self::PortHeld(why),
            source => Self::Engine { what, source },
        }
    }
}

/// The error about an owner whom `namespace` does not list.
pub fn no_member(owner: &UserName, namespace: &Namespace) -> Error {
    let allowed = format!("it is a user whom the namespace {namespace} lists (POST /v1/users makes one)");
    Invalid::new("owner", owner.as_str(), allowed).into()
}

/// An error and all its causes in one line, for the place that handles it.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
