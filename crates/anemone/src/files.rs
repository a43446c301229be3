//! The file system: packages as mapped files, and outputs that appear whole or not at all.

use crate::{Error, ErrorKind};
use anemone_package::{Sink, Source};
use anemone_tensor::Bytes;
use memmap2::Mmap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex};

/// Maps a file; an empty one is no bytes.
///
/// # Errors
/// When it does not exist, is no file, or cannot be mapped.
pub fn map(path: &Path) -> Result<Bytes, Error> {
    map_file(path).map_err(|e| failed(&e).at(path))
}

/// Reads a file into memory, so that it may change or go away afterwards.
///
/// # Errors
/// When it does not exist or is no file.
pub fn read(path: &Path) -> Result<Bytes, Error> {
    let whole = regular(path).and_then(|()| fs::read(path));
    whole.map(Bytes::from).map_err(|e| failed(&e).at(path))
}

fn map_file(path: &Path) -> io::Result<Bytes> {
    Ok(map_shared(path)?.map_or_else(Bytes::new, |map| Bytes::from_owner(Shared(map))))
}

/// A map that [`Maps`] knows, too.
struct Shared(Arc<Mmap>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Maps of files, whose pages can be given back: they are read again when they are asked for again.
#[derive(Clone, Debug, Default)]
pub struct Maps(Vec<Arc<Mmap>>);

impl Maps {
    /// The bytes of a map, which is known from now on.
    pub(crate) fn add(&mut self, map: Mmap) -> Bytes {
        let map = Arc::new(map);
        self.0.push(Arc::clone(&map));
        Bytes::from_owner(Shared(map))
    }

    /// Gives the memory of all pages back that were read so far.
    pub(crate) fn release(&self) {
        #[cfg(unix)]
        for map in &self.0 {
            // SAFETY: the maps are read-only views of files; a page that goes is read from its file again.
            #[expect(
                unsafe_code,
                reason = "giving pages back is unchecked, because private writable maps would lose data"
            )]
            // A system that does not know it keeps the pages: nothing is wrong then.
            let _ = unsafe { map.unchecked_advise(memmap2::UncheckedAdvice::DontNeed) };
        }
    }
}

/// A map of a file; none of an empty one.
fn map_shared(path: &Path) -> io::Result<Option<Arc<Mmap>>> {
    regular(path)?;
    let file = File::open(path)?;
    if file.metadata()?.len() == 0 {
        return Ok(None);
    }
    // SAFETY: the mapping is read-only and private to this process. Another process that truncates the file while it
    // is mapped ends this one with a signal; that is the documented price of not copying weights.
    #[expect(unsafe_code, reason = "mapping a file is the one thing that cannot be done safely")]
    let map = unsafe { Mmap::map(&file)? };
    Ok(Some(Arc::new(map)))
}

/// Refuses what is no file, before it is opened: opening a pipe would wait for its writer.
fn regular(path: &Path) -> io::Result<()> {
    let meta = fs::metadata(path)?;
    if meta.is_dir() {
        return Err(io::Error::other("is a folder, but must be a file"));
    }
    if !meta.is_file() {
        return Err(io::Error::other("is a pipe or device, but must be a file"));
    }
    Ok(())
}

/// An IO error in words.
pub(crate) fn describe(e: &io::Error) -> String {
    match e.kind() {
        io::ErrorKind::NotFound => "does not exist".into(),
        io::ErrorKind::PermissionDenied => "may not be read or written by this user".into(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "the disk is full; nothing was written".into()
        }
        io::ErrorKind::FileTooLarge => {
            "a file would grow beyond the limit of this system; nothing was written".into()
        }
        io::ErrorKind::NotADirectory => "a part of the path is a file, but must be a folder".into(),
        _ => {
            let text = e.to_string();
            text.split_once(" (os error").map_or(text.clone(), |(words, _)| words.to_lowercase())
        }
    }
}

/// The error of a path that does not serve, or of a machine that cannot.
fn failed(e: &io::Error) -> Error {
    let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded, io::ErrorKind::FileTooLarge];
    let kind = if full.contains(&e.kind()) { ErrorKind::Other } else { ErrorKind::File };
    Error::new(describe(e)).of_kind(kind)
}

/// An IO error whose text is for people, where a room below prints it.
fn worded(e: io::Error) -> io::Error {
    io::Error::new(e.kind(), describe(&e))
}

/// A file whose errors are [`worded`].
#[derive(Debug)]
struct Worded(File);

impl Write for Worded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A signal that interrupts is no failure, and must be known as such.
        self.0.write(bytes).map_err(|e| if e.kind() == io::ErrorKind::Interrupted { e } else { worded(e) })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().map_err(worded)
    }
}

/// A package folder as a [`Source`]: files are mapped, links that lead out of it are refused.
#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
    maps: Mutex<Maps>,
}

impl Folder {
    /// Opens a folder.
    ///
    /// # Errors
    /// When there is none at `path`.
    pub fn open(path: &Path) -> Result<Folder, Error> {
        // The folder of a bare file name.
        let here = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let root = fs::canonicalize(here).map_err(|e| failed(&e).at(path))?;
        if root.is_dir() {
            Ok(Folder { root, maps: Mutex::default() })
        } else {
            Err(Error::new("is a file, but must be a folder").of_kind(ErrorKind::File).at(path))
        }
    }

    /// The files that were mapped.
    pub(crate) fn maps(&self) -> Maps {
        self.maps.lock().map(|m| m.clone()).unwrap_or_default()
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
            Err(e) => Err(worded(e)),
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
            Some(real) if !real.is_dir() => {
                let Some(map) = map_shared(&real).map_err(worded)? else { return Ok(Some(Bytes::new())) };
                if let Ok(mut maps) = self.maps.lock() {
                    maps.0.push(Arc::clone(&map));
                }
                Ok(Some(Bytes::from_owner(Shared(map))))
            }
            _ => Ok(None),
        }
    }

    fn files(&self, folder: &str) -> io::Result<Vec<String>> {
        let mut out = Vec::new();
        match self.inside(folder)? {
            Some(real) if real.is_dir() => self.list(&real, folder, &mut out, 0).map_err(worded)?,
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
    /// When the parent folder does not exist or cannot be written, or something that is no package is at `target`.
    pub fn new(target: &Path) -> Result<Staging, Error> {
        replaceable(target)?;
        let parent = target.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let prefix = format!(".{}.", target.file_name().map_or("out".into(), |n| n.to_string_lossy()));
        let folder = tempfile::Builder::new().prefix(&prefix).tempdir_in(parent);
        let folder = folder.map_err(|e| failed(&e).at(parent))?;
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
        let fail = |e: io::Error| failed(&e).at(&self.target);
        replaceable(&self.target)?;
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

/// Only a package, an empty folder, or nothing makes way for a package.
fn replaceable(target: &Path) -> Result<(), Error> {
    let Ok(meta) = fs::symlink_metadata(target) else { return Ok(()) };
    let refuse = |what: &str| Err(Error::new(format!("{what}; give another output with -o")).at(target));
    if !meta.is_dir() {
        return refuse("is a file");
    }
    let empty = fs::read_dir(target).is_ok_and(|mut entries| entries.next().is_none());
    if empty || target.join("Manifest.json").exists() {
        return Ok(());
    }
    refuse("is a folder with other files in it, not a package")
}

impl Sink for Staging {
    fn create(&mut self, path: &str) -> io::Result<Box<dyn Write + '_>> {
        let place = self.folder.path().join(path);
        if let Some(parent) = place.parent() {
            fs::create_dir_all(parent).map_err(worded)?;
        }
        let file = File::create(place).map_err(worded)?;
        Ok(Box::new(BufWriter::with_capacity(1 << 20, Worded(file))))
    }
}

/// Files in the making beside their final places; dropped before [`Files::finish`], they leave nothing behind.
#[derive(Debug, Default)]
pub struct Files {
    staged: Vec<(tempfile::NamedTempFile, PathBuf)>,
    /// Folders that were made for them.
    made: Vec<PathBuf>,
}

impl Files {
    /// Makes a folder when it is not there; its parent must be.
    ///
    /// # Errors
    /// When there is a file in its place, or it cannot be made.
    pub fn folder(&mut self, folder: &Path) -> Result<(), Error> {
        if folder.is_dir() {
            return Ok(());
        }
        if fs::symlink_metadata(folder).is_ok() {
            return Err(Error::new("is a file, but must be a folder").of_kind(ErrorKind::File).at(folder));
        }
        fs::create_dir(folder).map_err(|e| failed_to_make(&e).at(folder))?;
        self.made.push(folder.to_path_buf());
        Ok(())
    }

    /// Writes one file to a temporary sibling of `path`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(
        &mut self,
        path: &Path,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), Error> {
        let fail = |e: io::Error| failed_to_make(&e).at(path);
        let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if path.is_dir() {
            return Err(Error::new("is a folder, but must be a file").of_kind(ErrorKind::File).at(path));
        }
        let mut file = tempfile::NamedTempFile::new_in(parent).map_err(fail)?;
        let mut buffered = BufWriter::new(&mut file);
        write(&mut buffered).and_then(|()| buffered.flush()).map_err(fail)?;
        drop(buffered);
        self.staged.push((file, path.to_path_buf()));
        Ok(())
    }

    /// Moves all files to their final places and names them; those that were there are replaced.
    ///
    /// # Errors
    /// When a move fails.
    pub fn finish(mut self) -> Result<Vec<PathBuf>, Error> {
        let mut written = Vec::new();
        for (file, path) in std::mem::take(&mut self.staged) {
            file.persist(&path).map_err(|e| failed(&e.error).at(&path))?;
            written.push(path);
        }
        self.made.clear();
        Ok(written)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        self.staged.clear();
        for folder in self.made.drain(..).rev() {
            // Only an empty folder goes: what somebody else put there stays.
            let _ = fs::remove_dir(folder);
        }
    }
}

/// Where a new file or folder cannot be made because something is not there, it is the parent.
fn failed_to_make(e: &io::Error) -> Error {
    if e.kind() == io::ErrorKind::NotFound {
        Error::new("cannot be made: its folder does not exist").of_kind(ErrorKind::File)
    } else {
        failed(e)
    }
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

    #[test]
    fn files_appear_together_or_not_at_all() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let folder = dir.path().join("out");
        let mut files = Files::default();
        files.folder(&folder).expect("made");
        files.write(&folder.join("a"), |w| w.write_all(b"a")).expect("writes");
        let full = |_: &mut dyn Write| Err(io::Error::from(io::ErrorKind::StorageFull));
        assert!(files.write(&folder.join("b"), full).is_err());
        drop(files);
        assert!(!folder.exists());
        let mut files = Files::default();
        files.folder(&folder).expect("made");
        files.write(&folder.join("a"), |w| w.write_all(b"a")).expect("writes");
        assert_eq!(files.finish().expect("moves"), [folder.join("a")]);
        assert_eq!(fs::read_dir(&folder).expect("lists").count(), 1);
    }

    #[test]
    fn a_folder_that_is_no_package_is_not_replaced() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let target = dir.path().join("mine.mlpackage");
        fs::create_dir(&target).expect("folder");
        assert!(Staging::new(&target).is_ok());
        fs::write(target.join("thesis.txt"), b"x").expect("file");
        let error = Staging::new(&target).expect_err("not empty").to_string();
        assert!(error.contains("mine.mlpackage") && error.contains("not a package"), "{error}");
    }
}
