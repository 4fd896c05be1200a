//! Where things are in the project's tree.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::target::Architecture;

/// The top of the tree.
pub fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    match here.parent() {
        Some(parent) => parent.to_path_buf(),
        None => here,
    }
}

/// Where cargo builds.
pub fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => root().join(folder),
        None => root().join("target"),
    }
}

/// Where the tool leaves what it makes for `architecture`; created if need be.
pub fn products(architecture: Architecture) -> Result<PathBuf> {
    let folder = target().join("ashlar").join(architecture.name());
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    Ok(folder)
}

/// Waits until nobody else holds the turn of this name; it ends when what is given is dropped.
pub fn turn(name: &str) -> Result<std::fs::File> {
    let path = downloads()?.join(format!("{name}.lock"));
    let file = std::fs::File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    file.lock()?;
    Ok(file)
}

/// Where the tool keeps what it downloaded and only unpacked; created if need be.
pub fn downloads() -> Result<PathBuf> {
    let folder = target().join("ashlar").join("downloads");
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    Ok(folder)
}
