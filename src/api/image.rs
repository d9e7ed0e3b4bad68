//! An image, and how far it is pulled, as `/v1/images/{image}` shows them. `/v1/images` itself is an array of names.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::values::{Instant, Word};

/// An image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// As it was asked for.
    pub image: String,
    /// The engine's id of it.
    pub id: String,
    /// What it is called, as `repository:tag`.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Its label `spindle.title`.
    pub title: Option<String>,
    /// Its label `spindle.description`.
    pub description: Option<String>,
    /// Bytes.
    #[serde(default)]
    pub size: u64,
    /// When it was built, where it says so.
    pub created_at: Option<Instant>,
    /// For which machines it is, such as `linux/amd64`.
    #[serde(default)]
    pub platform: String,
    /// The ports that it exposes, such as `22/tcp`.
    #[serde(default)]
    pub exposed_ports: Vec<String>,
    /// Its labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// How many containers were made from it.
    #[serde(default)]
    pub containers: usize,
    /// What is wrong with its labels.
    #[serde(default)]
    pub problems: Vec<String>,
}

/// One line of the answer to `PUT /v1/images/{image}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Pull {
    /// It is on its way.
    Pulling {
        /// How many bytes are here, of the layers that are being counted.
        bytes_done: u64,
        /// How many there will be.
        bytes: u64,
        /// How many layers are here.
        layers_done: usize,
        /// How many there will be, as far as is known.
        layers: usize,
    },
    /// It is here.
    Present {
        /// What it is.
        image: Box<Image>,
    },
    /// It could not be pulled.
    Failed {
        /// Why, for people.
        message: String,
        /// Why, for programs.
        code: Word,
    },
    /// What only a newer server says.
    #[serde(other, skip_serializing)]
    Unknown,
}
