//! The file system: packages as mapped files, and outputs that appear whole or not at all.

use crate::Error;
use anemone_package::{Sink, Source};
use anemone_tensor::Bytes;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Component, Path, PathBuf};

/// Maps a file; an empty one is no bytes.
///
/// # Errors
/// When it does not exist, is no file, or cannot be mapped.
pub fn map(path: &Path) -> Result<Bytes, Error> {
    map_file(path).map_err(|e| Error::new(describe(&e)).at(path))
}

fn map_file(path: &Path) -> io::Result<Bytes> {
    let file = File::open(path)?;
    let meta = file.metadata()?;
    if meta.is_dir() {
        return Err(io::Error::new(io::ErrorKind::IsADirectory, "is a folder, but must be a file"));
    }
    if meta.len() == 0 {
        return Ok(Bytes::new());
    }
    // SAFETY: the mapping is read-only and private to this process. Another process that truncates the file while it
    // is mapped ends this one with a signal; that is the documented price of not copying weights.
    #[expect(unsafe_code, reason = "mapping a file is the one thing that cannot be done safely")]
    let map = unsafe { memmap2::Mmap::map(&file)? };
    Ok(Bytes::from_owner(map))
}

/// An IO error in words.
pub(crate) fn describe(e: &io::Error) -> String {
    match e.kind() {
        io::ErrorKind::NotFound => "does not exist".into(),
        io::ErrorKind::PermissionDenied => "may not be read or written by this user".into(),
        io::ErrorKind::StorageFull => "the disk is full; nothing was written".into(),
        _ => e.to_string(),
    }
}

/// A package folder as a [`Source`]: files are mapped, links that lead out of it are refused.
#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
}

impl Folder {
    /// Opens a folder.
    ///
    /// # Errors
    /// When there is none at `path`.
    pub fn open(path: &Path) -> Result<Folder, Error> {
        let root = fs::canonicalize(path).map_err(|e| Error::new(describe(&e)).at(path))?;
        if root.is_dir() {
            Ok(Folder { root })
        } else {
            Err(Error::new("is a file, but must be a folder").at(path))
        }
    }

    /// The place of a relative path, which must stay inside.
    fn inside(&self, path: &str) -> io::Result<Option<PathBuf>> {
        let relative = Path::new(path);
        if relative.components().any(|c| !matches!(c, Component::Normal(_))) {
            return Err(io::Error::other(format!("path {path:?} leaves the package")));
        }
        match fs::canonicalize(self.root.join(relative)) {
            Ok(real) if real.starts_with(&self.root) => Ok(Some(real)),
            Ok(_) => Err(io::Error::other(format!("{path} is a link that leads out of the package"))),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn list(&self, folder: &Path, below: &str, out: &mut Vec<String>, depth: usize) -> io::Result<()> {
        /// Folders nested deeper than this are not packages.
        const MAX_DEPTH: usize = 16;
        if depth > MAX_DEPTH {
            return Err(io::Error::other(format!("{below} is nested deeper than {MAX_DEPTH} folders")));
        }
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = format!("{below}/{}", entry.file_name().to_string_lossy());
            if entry.file_type()?.is_dir() {
                self.list(&entry.path(), &name, out, depth + 1)?;
            } else {
                out.push(name);
            }
        }
        Ok(())
    }
}

impl Source for Folder {
    fn read(&self, path: &str) -> io::Result<Option<Bytes>> {
        match self.inside(path)? {
            Some(real) if real.is_file() => map_file(&real).map(Some),
            _ => Ok(None),
        }
    }

    fn files(&self, folder: &str) -> io::Result<Vec<String>> {
        let mut out = Vec::new();
        match self.inside(folder)? {
            Some(real) if real.is_dir() => self.list(&real, folder, &mut out, 0)?,
            _ => {}
        }
        out.sort();
        Ok(out)
    }
}

/// Bytes of all files below a path, links not followed; 0 when there is nothing.
pub fn size_of(path: &Path) -> u64 {
    let Ok(meta) = fs::symlink_metadata(path) else { return 0 };
    if !meta.is_dir() {
        return meta.len();
    }
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.map(|e| size_of(&e.path())).sum()
}

/// A folder in the making beside its final place; dropped before [`Staging::finish`], it leaves nothing behind.
#[derive(Debug)]
pub struct Staging {
    target: PathBuf,
    folder: tempfile::TempDir,
}

impl Staging {
    /// Starts a folder that will be `target`.
    ///
    /// # Errors
    /// When the parent folder does not exist or cannot be written.
    pub fn new(target: &Path) -> Result<Staging, Error> {
        let parent = target.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let prefix = format!(".{}.", target.file_name().map_or("out".into(), |n| n.to_string_lossy()));
        let folder = tempfile::Builder::new().prefix(&prefix).tempdir_in(parent);
        let folder = folder.map_err(|e| Error::new(describe(&e)).at(parent))?;
        Ok(Staging { target: target.to_path_buf(), folder })
    }

    /// Where the files are meanwhile.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Moves the folder to its final place; what was there is replaced.
    ///
    /// # Errors
    /// When something that is no package or folder is in the way, or the move fails.
    pub fn finish(self) -> Result<(), Error> {
        let fail = |e: io::Error| Error::new(describe(&e)).at(&self.target);
        if fs::symlink_metadata(&self.target).is_ok_and(|m| !m.is_dir()) {
            return Err(Error::new("is a file; give another output with -o").at(&self.target));
        }
        let staged = self.folder.path();
        if self.target.exists() {
            let aside = tempfile::Builder::new()
                .prefix(".replaced.")
                .tempdir_in(staged.parent().unwrap_or(Path::new(".")));
            let aside = aside.map_err(fail)?;
            let old = aside.path().join("old");
            fs::rename(&self.target, &old).map_err(fail)?;
            if let Err(e) = fs::rename(staged, &self.target) {
                fs::rename(&old, &self.target).map_err(fail)?;
                return Err(fail(e));
            }
        } else {
            fs::rename(staged, &self.target).map_err(fail)?;
        }
        // The folder has moved: nothing is left to clean up under its old name.
        let _ = self.folder.keep();
        Ok(())
    }
}

impl Sink for Staging {
    fn create(&mut self, path: &str) -> io::Result<Box<dyn Write + '_>> {
        let place = self.folder.path().join(path);
        if let Some(parent) = place.parent() {
            fs::create_dir_all(parent)?;
        }
        Ok(Box::new(BufWriter::with_capacity(1 << 20, File::create(place)?)))
    }
}

/// Writes one file whole: to a temporary sibling, then renamed.
///
/// # Errors
/// When it cannot be written.
pub fn write_file(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Error> {
    let fail = |e: io::Error| Error::new(describe(&e)).at(path);
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(parent).map_err(fail)?;
    let mut buffered = BufWriter::new(&mut file);
    write(&mut buffered).and_then(|()| buffered.flush()).map_err(fail)?;
    drop(buffered);
    file.persist(path).map_err(|e| fail(e.error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_links_out_of_a_package_are_refused() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let package = dir.path().join("a.mlpackage");
        fs::create_dir(&package).expect("folder");
        fs::write(dir.path().join("secret"), b"x").expect("file");
        let folder = Folder::open(&package).expect("opens");
        assert!(folder.read("../secret").is_err());
        assert!(folder.read("/etc/hostname").is_err());
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(dir.path().join("secret"), package.join("link")).expect("link");
            let error = folder.read("link").expect_err("leads out").to_string();
            assert!(error.contains("leads out of the package"), "{error}");
        }
        assert!(folder.read("absent").expect("no error").is_none());
    }

    #[test]
    fn an_output_that_is_not_finished_leaves_nothing_behind() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let target = dir.path().join("out.mlpackage");
        let mut staging = Staging::new(&target).expect("starts");
        staging.create("Data/x").expect("file").write_all(b"x").expect("writes");
        drop(staging);
        assert_eq!(fs::read_dir(dir.path()).expect("lists").count(), 0);
        let mut staging = Staging::new(&target).expect("starts");
        staging.create("Data/x").expect("file").write_all(b"x").expect("writes");
        staging.finish().expect("moves");
        assert_eq!(fs::read(target.join("Data/x")).expect("there"), b"x");
        assert_eq!(fs::read_dir(dir.path()).expect("lists").count(), 1);
    }
}
