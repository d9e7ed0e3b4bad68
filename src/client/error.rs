//! What can go wrong when a server is asked.

/// Why there is no answer that can be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody answers.
    #[error(transparent)]
    Unreachable(#[from] std::io::Error),
    /// Somebody answers who speaks something else.
    #[error("who answers there speaks no HTTP as we know it")]
    NoHttp,
    /// Somebody answers who speaks HTTP and is no Spindle.
    #[error("who answers there is no Spindle")]
    NoSpindle,
    /// The server says no.
    #[error("the server answers {status} {message}")]
    Refused {
        /// The status of HTTP.
        status: u16,
        /// The server's reason; empty if it gives none.
        message: String,
    },
    /// The server's answer has another shape than the one we know.
    #[error("the server's answer is not understood")]
    Unclear(#[source] serde_json::Error),
}

/// A client's result.
pub type Result<T> = std::result::Result<T, Error>;
