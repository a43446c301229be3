//! Shared archives, unpacked once.

use crate::place::{run, shared_folder, target};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder of conformance cases, one folder a case.
///
/// # Errors
/// When the shards are not there or cannot be unpacked.
pub fn conformance() -> Result<PathBuf, String> {
    let shards = shared_folder("conformance/public")?;
    let entries = fs::read_dir(&shards).map_err(|e| format!("cannot list {}: {e}", shards.display()))?;
    let paths = entries.filter_map(|e| Some(e.ok()?.path()));
    let mut archives: Vec<PathBuf> = paths.filter(|p| p.to_string_lossy().ends_with(".tar.zst")).collect();
    archives.sort();
    unpacked("cases", &archives)
}

/// The folder of packages with recorded placements.
///
/// # Errors
/// As [`conformance`].
pub fn placement() -> Result<PathBuf, String> {
    unpacked("placement", &[shared_folder("placement")?.join("cases.tar.zst")])
}

/// Unpacks archives into a folder of their own; one that is there already, from the same archives, is taken as it is.
fn unpacked(name: &str, archives: &[PathBuf]) -> Result<PathBuf, String> {
    let folder = target().join("conformance").join(name);
    let stamp = folder.with_extension("stamp");
    let sizes: Vec<String> = archives.iter().map(|a| format!("{} {}", a.display(), size(a))).collect();
    if fs::read_to_string(&stamp).is_ok_and(|s| s == sizes.join("\n")) {
        return Ok(folder);
    }
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(|e| format!("cannot empty {}: {e}", folder.display()))?;
    }
    fs::create_dir_all(&folder).map_err(|e| format!("cannot make {}: {e}", folder.display()))?;
    for archive in archives {
        run(Command::new("tar").arg("--zstd").arg("-xf").arg(archive).arg("-C").arg(&folder))
            .map_err(|e| format!("{e}; unpacking needs tar and zstd"))?;
    }
    fs::write(&stamp, sizes.join("\n")).map_err(|e| format!("cannot write {}: {e}", stamp.display()))?;
    Ok(folder)
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |m| m.len())
}
