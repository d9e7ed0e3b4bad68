//! Spindle: one container per learner, stopped when nobody uses it and never when somebody does.
//!
//! Modules in reading order, innermost first.

pub mod api;
pub mod domain;

pub mod clock;
pub mod host;

pub mod app;
pub mod client;
pub mod config;
pub mod doctor;
pub mod engine;
pub mod http;
pub mod loops;
pub mod relay;
pub mod store;

#[cfg(test)]
#[path = "../tests/simulator/mod.rs"]
mod simulator;
