//! The shapes on the wire. The server writes them; our client and the doctor read them. A shape holds words and
//! numbers; the domain knows what they mean.
//!
//! A reader accepts what an older or a newer server sends: it ignores keys that it does not know, and does without keys
//! that came after the first version.

mod action;
mod activity;
mod check_in;
mod container;
mod error;
mod event;
mod exec;
mod figures;
mod files;
mod health;
mod image;
mod log;
mod people;
mod terminal;
#[cfg(test)]
mod tests;
mod values;

pub use action::{ActedOn, Action, Failure};
pub use activity::{Activity, CheckIns, Decision, Evidence, PortUse};
pub use check_in::Kept;
pub use container::{Container, Created, Extended, Policy, Port, Result, Shown, Traffic, UsedBy};
pub use error::Error;
pub use event::{Event, EventOn, Fact, Missed};
pub use exec::Executed;
pub use figures::{Bytes, Configuration, Effective, MemoryUse, Mount, Process, Processes, Stats};
pub use files::{FileEntry, Listing, PutIn};
pub use health::{CheckInDoor, Containers, Database, Engine, Health, Pass, PortNotOpen, Relay};
pub use image::{Image, Pull};
pub use log::LogLine;
pub use people::{Amounts, Credential, Imported, Me, Namespace, User};
pub use terminal::{Resize, Size, Terminal, Ticket};
pub use values::{Instant, Limit, Word};
