//! Heartbeat: whether the database takes writes, and whether its file is still in place.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::{Result, Store, StoreError};

/// A file's path, and which file was there when it was opened.
#[derive(Debug, Clone)]
pub struct Place {
    path: PathBuf,
    /// Its device and inode.
    file: (u64, u64),
}

impl Place {
    /// The file that is at `path` now.
    pub fn of(path: &Path) -> std::io::Result<Self> {
        let found = std::fs::metadata(path)?;
        Ok(Self { path: path.to_owned(), file: (found.dev(), found.ino()) })
    }

    /// What became of the file, if it is no longer in place: later writes are lost when this process ends.
    pub fn lost(&self) -> Option<String> {
        let what = match Self::of(&self.path) {
            Ok(found) if found.file == self.file => return None,
            Ok(_) => "is another file now",
            Err(_) => "is not there any more",
        };
        Some(format!(
            "{} {what}; nothing is written until it is back, or the server is started anew",
            self.path.display()
        ))
    }
}

impl Store {
    /// Writes something, only to see whether it works.
    ///
    /// # Errors
    /// [`StoreError::Failed`].
    pub async fn beat(&self) -> Result<()> {
        let sql = "INSERT INTO heartbeat (one, beats) VALUES (1, 1) ON CONFLICT (one) DO UPDATE SET beats = beats + 1";
        self.writer.run(move |c| c.execute(sql, ()).map(drop).map_err(StoreError::from)).await
    }

    /// How often it has failed since it was opened; each failure may have lost a record.
    pub fn failures(&self) -> u64 {
        self.failures.count()
    }

    /// Whether it failed when it was last used.
    pub fn fails(&self) -> bool {
        self.failures.why().is_some()
    }
}
