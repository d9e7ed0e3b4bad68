//! An event, as `/v1/events` tells it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::values::{Instant, Word};

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Its number: later events have greater ones.
    pub id: u64,
    /// When.
    pub at: Instant,
    /// What, such as `stopped`.
    #[serde(rename = "type")]
    pub what: Word,
    /// To which container; `null`: to the server.
    pub object: Option<EventOn>,
    /// What else is known of it, such as the `reason` of a stop.
    #[serde(default)]
    pub detail: BTreeMap<String, Fact>,
}

/// A container, as it was then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventOn {
    /// `container`.
    pub kind: Word,
    /// Its name, with a slash before it.
    pub name: String,
    /// Its id, if it had one.
    pub container_id: Option<String>,
    /// The image that it was made from.
    pub image: String,
    /// The namespace that it was in.
    pub namespace: String,
    /// Whose it was.
    pub owner: Option<String>,
    /// Its labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// A value in an event's detail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Fact {
    /// A number.
    Number(u64),
    /// A word or a sentence.
    Text(String),
}

/// What is told in place of events that are not kept any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missed {
    /// Those before this number.
    pub before: u64,
}
