//! A sandbox's own directory on the host. The sandbox finds it at `/run/spindle`.

use std::{
    fs::{DirBuilder, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

use super::DockerEngine;
use crate::{
    domain::SandboxId,
    engine::{EngineError, Result},
};

impl DockerEngine {
    /// Where a sandbox's directory is.
    pub(super) fn directory(&self, sandbox: &SandboxId) -> PathBuf {
        self.settings.files.join(sandbox.as_str())
    }
}

/// Writes files of a sandbox, and makes its directory if it is absent. Other users of the host cannot enter the parent
/// directory. Inside the sandbox everybody may read, because its reporter need not be root.
pub fn write(directory: &Path, files: &[(&str, String)]) -> Result<()> {
    let permit = |path: &Path, mode| std::fs::set_permissions(path, Permissions::from_mode(mode));
    let write = || {
        if let Some(parent) = directory.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
        }
        std::fs::create_dir_all(directory)?;
        permit(directory, 0o755)?;
        for (name, text) in files {
            let path = directory.join(name);
            std::fs::write(&path, format!("{text}\n"))?;
            permit(&path, 0o644)?;
        }
        Ok(())
    };
    write().map_err(|e: io::Error| {
        EngineError::Refused(format!("the sandbox's directory {} cannot be written: {e}", directory.display()))
    })
}

/// Removes a sandbox's directory, if it is there.
pub fn remove(directory: &Path) -> Result<()> {
    match std::fs::remove_dir_all(directory) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            Err(EngineError::Refused(format!("the sandbox's directory cannot be removed: {e}")))
        }
        _ => Ok(()),
    }
}
