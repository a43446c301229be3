//! Where the files of a package come from and go to; this room opens none itself.

use bytes::Bytes;
use std::collections::BTreeMap;
use std::io::{self, Write};

/// The files of a package or of a compiled model.
///
/// Paths are relative to the package, with `/` between segments, and never hold `..`.
pub trait Source {
    /// The bytes of a file, mapped where that is possible; `None` when there is no such file.
    ///
    /// # Errors
    /// When the file exists, but cannot be read, or lies outside of the package through a link.
    fn read(&self, path: &str) -> io::Result<Option<Bytes>>;

    /// Paths of all files below a folder, in any order; none when there is no such folder.
    ///
    /// # Errors
    /// When the folder exists, but cannot be listed.
    fn files(&self, folder: &str) -> io::Result<Vec<String>>;
}

/// Takes the files of a package that is being written.
///
/// Nothing is complete until [`crate::write`] returns: write to a temporary place and rename it then.
pub trait Sink {
    /// Makes a file, and the folders on the way to it.
    ///
    /// # Errors
    /// When it cannot be made.
    fn create(&mut self, path: &str) -> io::Result<Box<dyn Write + '_>>;
}

/// Files in memory, by path.
pub type Files = BTreeMap<String, Bytes>;

impl Source for Files {
    fn read(&self, path: &str) -> io::Result<Option<Bytes>> {
        Ok(self.get(path).cloned())
    }

    fn files(&self, folder: &str) -> io::Result<Vec<String>> {
        let below = |path: &&String| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
        Ok(self.keys().filter(below).cloned().collect())
    }
}

impl Sink for Files {
    fn create(&mut self, path: &str) -> io::Result<Box<dyn Write + '_>> {
        let file = self.entry(path.to_owned()).or_default();
        Ok(Box::new(Growing { file, bytes: Vec::new() }))
    }
}

/// A file in memory that is stored whole when its writer goes.
struct Growing<'a> {
    file: &'a mut Bytes,
    bytes: Vec<u8>,
}

impl Write for Growing<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Growing<'_> {
    fn drop(&mut self) {
        *self.file = std::mem::take(&mut self.bytes).into();
    }
}
