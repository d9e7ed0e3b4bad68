//! A relay whose answers a test gives.

use std::{fmt::Debug, future::Future, pin::Pin};

use super::{
    Unreachable,
    message::{Request, Response},
};

/// What stands in for the relay's table.
pub trait Script: Debug + Send + Sync {
    /// Answers, or does not.
    fn ask(&self, request: Request) -> Pin<Box<dyn Future<Output = Result<Response, Unreachable>> + Send + '_>>;
}
