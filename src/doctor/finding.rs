//! A finding: what one look found, and how bad that is.

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// As it should be.
    Ok,
    /// Worth a look; it prevents nothing.
    Warn,
    /// It prevents work.
    Fail,
    /// It could not be looked at. That proves nothing.
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
    /// What mends it: a command or a setting; empty if all is well, or if another finding says it.
    pub fix: String,
}

/// A finding. The caller names its check.
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

/// It could not be looked at, for a reason that another finding mends.
pub fn unseen(why_not: impl Into<String>) -> Finding {
    finding(Status::Unseen, why_not, "", "")
}
