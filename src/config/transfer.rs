//! The settings of files on their way into sandboxes and out of them.

use std::path::{Path, PathBuf};

use super::{ConfigError, Values};
use crate::domain::Memory;

/// How files go in and out.
#[derive(Debug, Clone)]
pub struct TransferConfig {
    /// `SPINDLE_SPOOL`: the directory in which they wait.
    pub spool: PathBuf,
    /// `SPINDLE_TRANSFER_MAX`: the most bytes at once.
    pub most: Memory,
}

impl TransferConfig {
    pub(super) fn from_values(v: &mut Values, database: &Path) -> Result<Self, ConfigError> {
        let beside = database.parent().map(|parent| parent.join("spool")).unwrap_or_default();
        let allowed = "it is a size of at least 16m, such as 512m or 2g";
        Ok(Self {
            spool: v.plain("spool", &beside.to_string_lossy(), "it is a path")?,
            most: v.take("transfer_max", "2g", allowed, |t| Memory::parse(t).ok())?,
        })
    }

    /// The settings in force, as lines of a TOML file.
    pub(super) fn lines(&self) -> [(&'static str, String); 2] {
        let spool = format!("{:?}", self.spool.to_string_lossy());
        [("spool", spool), ("transfer_max", format!("{:?}", self.most.to_string()))]
    }
}
