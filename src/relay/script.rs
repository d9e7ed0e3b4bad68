//! A scripted relay: a test gives its answers.

use std::{fmt::Debug, future::Future, pin::Pin};

use super::{
    Unreachable,
    message::{Request, Response},
};

/// What stands in for the relay's table.
pub trait Script: Debug + Send + Sync {
    /// Answers a request, or does not.
    fn ask(&self, request: Request) -> Pin<Box<dyn Future<Output = Result<Response, Unreachable>> + Send + '_>>;
}
