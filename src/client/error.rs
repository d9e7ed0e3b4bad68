//! The errors of a request to a server.

/// Why there is no usable answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody answers.
    #[error(transparent)]
    Unreachable(#[from] std::io::Error),
    /// Somebody answers who does not speak HTTP.
    #[error("who answers there speaks no HTTP as we know it")]
    NoHttp,
    /// Somebody answers who speaks HTTP and is not a Spindle.
    #[error("who answers there is no Spindle")]
    NoSpindle,
    /// The server says no.
    #[error("the server answers {status} {message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The server's reason; empty if it gives none.
        message: String,
    },
    /// The server's answer has a shape that we do not know.
    #[error("the server's answer is not understood")]
    Unclear(#[source] serde_json::Error),
}

/// A client's result.
pub type Result<T> = std::result::Result<T, Error>;
