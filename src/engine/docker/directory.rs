//! What a sandbox has on the host: a directory of its own, which it finds at `/run/spindle`, and its amendment, which
//! it does not see.

use std::{
    fs::{DirBuilder, File, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
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

    /// Where a sandbox's amendment is. It is beside the directory, not in it: the directory is mounted, and root inside
    /// reads all that is in it.
    pub(super) fn amendment(&self, sandbox: &SandboxId) -> PathBuf {
        self.settings.files.join(format!("{sandbox}.json"))
    }
}

/// Where the next text of an amendment is while it is written.
fn draft(amendment: &Path) -> PathBuf {
    amendment.with_extension("json.new")
}

/// Makes the directory in which all sandboxes have theirs. Other users of the host cannot enter it.
fn make_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().map(|parent| DirBuilder::new().recursive(true).mode(0o700).create(parent));
    parent.unwrap_or(Ok(()))
}

/// Writes an amendment, unless it has this text already. A crash leaves the old text or the new one.
pub fn amend(amendment: &Path, text: &str) -> Result<()> {
    let write = || {
        if std::fs::read(amendment).is_ok_and(|now| now == text.as_bytes()) {
            return Ok(());
        }
        make_parent(amendment)?;
        let draft = draft(amendment);
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&draft, amendment)?;
        // The new name must be on the disk too.
        amendment.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
    };
    write().map_err(|e: io::Error| EngineError::Refused(format!("{} cannot be written: {e}", amendment.display())))
}

/// The text of an amendment; `None` if there is none. One that cannot be read is a text that does not read.
pub fn amended(amendment: &Path) -> Option<String> {
    match std::fs::read_to_string(amendment) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        text => Some(text.unwrap_or_default()),
    }
}

/// Writes files of a sandbox, and makes its directory if it is absent. Inside the sandbox everybody may read, because
/// its reporter need not be root.
pub fn write(directory: &Path, files: &[(&str, String)]) -> Result<()> {
    let permit = |path: &Path, mode| std::fs::set_permissions(path, Permissions::from_mode(mode));
    let write = || {
        make_parent(directory)?;
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

/// Writes one file of a sandbox anew. Whoever reads it meanwhile reads the old text or the new one.
pub fn replace(directory: &Path, name: &str, text: &str) -> Result<()> {
    let draft = format!(".{name}.new");
    write(directory, &[(&draft, text.to_owned())])?;
    std::fs::rename(directory.join(&draft), directory.join(name)).map_err(|e| {
        EngineError::Refused(format!("the sandbox's directory {} cannot be written: {e}", directory.display()))
    })
}

/// Removes a sandbox's directory and its amendment, if they are there.
pub fn remove(directory: &Path, amendment: &Path) -> Result<()> {
    let amended = [amendment, &draft(amendment)].map(std::fs::remove_file);
    for removed in amended.into_iter().chain([std::fs::remove_dir_all(directory)]) {
        if let Err(e) = removed
            && e.kind() != io::ErrorKind::NotFound
        {
            return Err(EngineError::Refused(format!("the sandbox's directory cannot be removed: {e}")));
        }
    }
    Ok(())
}
