//! What is true: names, sandboxes, evidence, the verdict and the plan. Pure: no IO, no clock, no vendor.

pub mod evidence;
#[cfg(test)]
pub(crate) mod fixtures;
pub mod idle;
pub mod limits;
pub mod names;
pub mod plan;
pub mod sandbox;
pub mod traffic;

pub use evidence::{Evidence, EvidenceLog, Source};
pub use idle::{Because, IdleLimit, Policy, Verdict, deadline, verdict};
pub use limits::{Cpus, Memory};
pub use names::{ContainerId, ImageRef, Invalid, Label, SandboxId, SandboxName, SandboxRef, Token};
pub use plan::{Observed, Phase, Plan, Step, plan};
pub use sandbox::{Endpoint, PortMapping, PortSpec, Protocol, Sandbox, State, StopReason};
pub use traffic::{Carrier, Traffic, TrafficLimits, Wake, WakeFailure};
