//! What was found by one look, and how bad it is.

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// As it should be.
    Ok,
    /// Worth a look; it prevents nothing.
    Warn,
    /// It prevents work.
    Fail,
    /// It could not be looked at, which is no proof of anything.
    Unseen,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at.
    pub check: &'static str,
    pub status: Status,
    /// What was seen.
    pub found: String,
    /// Why that matters; empty where all is well.
    pub why: String,
    /// What mends it: a command, or a setting; empty where all is well, and where another finding says it.
    pub fix: String,
}

/// A finding; its check is named by whoever asked for it.
pub fn finding(status: Status, found: impl Into<String>, why: &str, fix: impl Into<String>) -> Finding {
    Finding { check: "", status, found: found.into(), why: why.to_owned(), fix: fix.into() }
}

/// All is as it should be.
pub fn ok(found: impl Into<String>) -> Finding {
    finding(Status::Ok, found, "", "")
}

/// Something is worth a look.
pub fn warn(found: impl Into<String>, why: &str, fix: impl Into<String>) -> Finding {
    finding(Status::Warn, found, why, fix)
}

/// Something prevents work.
pub fn fail(found: impl Into<String>, why: &str, fix: impl Into<String>) -> Finding {
    finding(Status::Fail, found, why, fix)
}

/// What could not be looked at, for a reason that another finding mends.
pub fn unseen(why_not: impl Into<String>) -> Finding {
    finding(Status::Unseen, why_not, "", "")
}
