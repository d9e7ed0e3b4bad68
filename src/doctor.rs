//! The doctor: looks at everything that Spindle needs, says what is wrong, why it matters and how to mend it, and how
//! many sandboxes the host holds. It changes nothing, and removes the container that it tries things out with.
//!
//! Facts are gathered, then judged by pure functions, then shown.

mod ask;
mod capacity;
mod facts;
mod finding;
mod gather;
mod judge;
mod places;
mod show;
mod words;

use crate::{config::Config, engine::docker::DockerEngine};
use capacity::Capacity;
use finding::{Finding, Status};

/// What was found.
#[derive(Debug)]
pub struct Report {
    findings: Vec<Finding>,
    capacity: Capacity,
}

/// Examines everything. Never fails: what could not be seen is part of the report.
pub async fn examine(config: &Config, engine: &DockerEngine) -> Report {
    let facts = Box::pin(gather::facts(config, engine)).await;
    Report { findings: judge::findings(config, &facts), capacity: capacity::of(config, &facts) }
}

impl Report {
    /// Whether nothing prevents work.
    pub fn is_ok(&self) -> bool {
        self.findings.iter().all(|f| f.status != Status::Fail)
    }
}
