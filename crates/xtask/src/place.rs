//! Where things are.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Root of the repository.
pub fn repository() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().unwrap_or(root)
}

/// Where cargo builds, and where tasks keep what they make.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| repository().join("target"), PathBuf::from)
}

/// The cargo that runs this task.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(repository());
    command
}

/// Runs a command with its output going where ours goes.
///
/// # Errors
/// When it cannot be started or fails.
pub fn run(command: &mut Command) -> Result<(), String> {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{command:?} failed: {status}")),
        Err(e) => Err(format!("cannot run {command:?}: {e}")),
    }
}

/// Files and folders below `folder`, at any depth, whose names end like `ending`; sorted, and not looked into.
pub fn ending_with(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut folders = vec![folder.to_path_buf()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(folder) else { continue };
        for path in entries.filter_map(|e| Some(e.ok()?.path())) {
            if path.to_string_lossy().ends_with(ending) {
                found.push(path);
            } else if path.is_dir() {
                folders.push(path);
            }
        }
    }
    found.sort();
    found
}
/// The folder of shared data beside the repository: real models, conformance cases, recorded placements.
pub fn shared() -> PathBuf {
    repository().join("../shared")
}

/// The folder `name` of the shared data.
///
/// # Errors
/// When it is not there.
pub fn shared_folder(name: &str) -> Result<PathBuf, String> {
    let folder = shared().join(name);
    if folder.is_dir() { Ok(folder) } else { Err(format!("{} is not there", folder.display())) }
}
