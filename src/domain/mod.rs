//! What is true: names, sandboxes, evidence, the verdict and the plan. Pure: no IO, no clock, no vendor.

pub mod decision;
pub mod evidence;
pub mod explain;
#[cfg(test)]
pub(crate) mod fixtures;
pub mod grace;
pub mod idle;
pub mod image;
pub mod limits;
pub mod names;
mod nearest;
pub mod observed;
pub mod plan;
pub mod policy;
pub mod ports;
pub mod recipe;
pub mod rhythm;
pub(crate) mod rules;
pub mod sandbox;
pub mod seen;
pub mod tell;
pub mod time;
pub mod traffic;
pub mod zone;

pub use decision::{Decided, Decision};
pub use evidence::{Evidence, EvidenceLog, Source};
pub use explain::{PortUse, RECENT, Reports, Sight, explain};
pub use grace::Grace;
pub use idle::{Because, By, Deadline, Verdict, Warning, deadline, verdict, warning};
pub use image::{Access, ImageLabels};
pub use limits::{Cpus, Memory};
pub use names::{ContainerId, ImageRef, Invalid, Label, SandboxId, SandboxName, SandboxRef, Token};
pub use nearest::nearest;
pub use observed::{Observed, Phase};
pub use plan::{Plan, Step, plan};
pub use policy::{Limit, OwnPolicy, Policy, Sources};
pub use ports::{Carrier, Endpoint, PortMapping, PortSpec, Protocol};
pub use recipe::Recipe;
pub use rhythm::Rhythm;
pub use sandbox::{Boot, Extension, Life, Sandbox, State, StopReason};
pub use seen::{EndedBy, Ending, Exit, Seen};
pub use traffic::{AddressRange, Traffic, TrafficLimits, Wake, WakeFailure};
pub use zone::Zone;
