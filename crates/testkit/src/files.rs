//! Folders of files in memory.

use bytes::Bytes;
use std::collections::BTreeMap;
use std::path::Path;
use std::{fs, io};

/// Every file below `folder`: path with `/`, and bytes.
///
/// # Errors
/// When something in it cannot be read, with its path.
pub fn read_folder(folder: &Path) -> io::Result<BTreeMap<String, Bytes>> {
    let mut files = BTreeMap::new();
    add(folder, "", &mut files)?;
    Ok(files)
}

fn add(root: &Path, below: &str, files: &mut BTreeMap<String, Bytes>) -> io::Result<()> {
    let folder = root.join(below);
    let place = |e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", folder.display()));
    for entry in fs::read_dir(&folder).map_err(place)? {
        let entry = entry.map_err(place)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if below.is_empty() { name } else { format!("{below}/{name}") };
        if entry.path().is_dir() {
            add(root, &path, files)?;
        } else {
            files.insert(path, fs::read(entry.path()).map_err(place)?.into());
        }
    }
    Ok(())
}

/// Writes files below `folder`, with the folders on the way to them.
///
/// # Errors
/// When something cannot be written.
pub fn write_folder(folder: &Path, files: &BTreeMap<String, Bytes>) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for (path, bytes) in files {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap_or(folder))?;
        fs::write(path, bytes)?;
    }
    Ok(())
}
