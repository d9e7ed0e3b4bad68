//! The shapes on the wire, for those who write them and for those who read them: the server, our client, the doctor.
//! A shape holds words and numbers; what they mean is the domain's business.
//!
//! A reader takes what an older or a newer server sends: it ignores keys that it does not know, and does without those
//! that came after the first version.

mod activity;
mod check_in;
mod container;
mod error;
mod health;
mod image;
#[cfg(test)]
mod tests;
mod values;

pub use activity::{Activity, CheckIns, Decision, Evidence, PortUse};
pub use check_in::Kept;
pub use container::{Container, Created, Extended, Policy, Port, Traffic};
pub use error::Error;
pub use health::{CheckInDoor, Containers, Database, Engine, Health, Pass, PortNotOpen, Relay};
pub use image::{Image, Pull};
pub use values::{Instant, Limit, Word};
