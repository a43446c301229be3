//! Archives of cases, unpacked once.

use crate::place::{repository, target};
use ruzstd::decoding::StreamingDecoder;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

/// The folder of conformance cases, one folder a case.
///
/// # Errors
/// When the archives of the corpus are not there or are damaged.
pub fn conformance() -> Result<PathBuf, String> {
    let shards = repository().join("corpus/conformance");
    let entries = fs::read_dir(&shards).map_err(|e| format!("cannot list {}: {e}", shards.display()))?;
    let paths = entries.filter_map(|e| Some(e.ok()?.path()));
    let mut archives: Vec<PathBuf> = paths.filter(|p| p.to_string_lossy().ends_with(".tar.zst")).collect();
    archives.sort();
    unpacked("cases", &archives)
}

/// The folder of packages with recorded placements, from the shared ones.
///
/// # Errors
/// As [`conformance`].
pub fn placement(shared: &Path) -> Result<PathBuf, String> {
    unpacked("placement", &[shared.join("cases.tar.zst")])
}

/// Unpacks archives into a folder that is named after what is in them; one that is there already is taken as it is.
fn unpacked(name: &str, archives: &[PathBuf]) -> Result<PathBuf, String> {
    let fail = |path: &Path, e: std::io::Error| format!("{}: {e}", path.display());
    let packed = archives.iter().map(|a| fs::read(a).map_err(|e| fail(a, e)));
    let packed = packed.collect::<Result<Vec<Vec<u8>>, String>>()?;
    let mut hasher = DefaultHasher::new();
    packed.hash(&mut hasher);
    let parent = target().join("conformance");
    let folder = parent.join(format!("{name}-{:016x}", hasher.finish()));
    if folder.is_dir() {
        return Ok(folder);
    }
    fs::create_dir_all(&parent).map_err(|e| fail(&parent, e))?;
    let new = tempfile::tempdir_in(&parent).map_err(|e| fail(&parent, e))?;
    for (archive, bytes) in archives.iter().zip(&packed) {
        let plain =
            StreamingDecoder::new(bytes.as_slice()).map_err(|e| format!("{}: {e}", archive.display()))?;
        tar::Archive::new(plain).unpack(new.path()).map_err(|e| fail(archive, e))?;
    }
    // Another process may have been faster; what it made is the same.
    if let Err(e) = fs::rename(new.path(), &folder)
        && !folder.is_dir()
    {
        return Err(fail(&folder, e));
    }
    Ok(folder)
}
