//! An image, and the progress of a pull, as `/v1/images/{image}` shows them. `/v1/images` itself is an array of names.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::values::{Instant, Word};

/// An image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Its name, as it was asked for.
    pub image: String,
    /// The engine's id for it.
    pub id: String,
    /// Its names, as `repository:tag`.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Its label `spindle.title`.
    pub title: Option<String>,
    /// Its label `spindle.description`.
    pub description: Option<String>,
    /// Its size in bytes.
    #[serde(default)]
    pub size: u64,
    /// When it was built, if it says so.
    pub created_at: Option<Instant>,
    /// The machines that it is for, such as `linux/amd64`.
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
    /// It is being pulled.
    Pulling {
        /// How many bytes are here, in the layers that are counted.
        bytes_done: u64,
        /// How many there will be.
        bytes: u64,
        /// How many layers are here.
        layers_done: usize,
        /// How many layers there will be, as far as is known.
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
    /// Somebody cancelled it.
    Cancelled {
        /// Who, for people.
        message: String,
    },
    /// A state that only a newer server knows.
    #[serde(other, skip_serializing)]
    Unknown,
}
