//! The one error of this room.

use std::fmt;

/// What is wrong with the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The input ends before what it announces.
    Truncated,
    /// Bytes that the format does not allow here.
    Malformed,
    /// Messages, arrays or objects nested beyond the limit.
    TooDeep,
    /// A size or a number of elements that overflows or exceeds a limit.
    TooLarge,
    /// Text that is not UTF-8.
    NotUtf8,
    /// A version of the format that is not supported.
    Version,
    /// A magic number or sentinel with the wrong value.
    Sentinel,
    /// An offset that is not a multiple of what the format asks for.
    Misaligned,
    /// A range that ends beyond the input.
    OutOfBounds,
    /// Ranges that share bytes, or bytes that no range covers.
    Overlap,
    /// Padding bits that do not fit the element type and size.
    Padding,
    /// A path that is absolute, empty or leaves its folder.
    Path,
    /// A name that appears twice.
    Duplicate,
    /// A part that the format requires is absent.
    Missing,
    /// Data whose length does not fit its type and shape.
    Length,
    /// Something valid that Anemone does not handle.
    Unsupported,
}

/// Why bytes are not a valid file of their format: what, where, and the actual and allowed value.
///
/// The fields are private so that they may grow; match on [`Error::kind`].
#[derive(Clone, PartialEq, Eq)]
pub struct Error(Box<Repr>);

#[derive(Clone, PartialEq, Eq)]
struct Repr {
    kind: ErrorKind,
    format: &'static str,
    offset: Option<usize>,
    path: String,
    cause: String,
}

impl Error {
    /// An error without a place; a caller who hands in bytes may use it to say why it cannot.
    pub fn new(kind: ErrorKind, cause: impl Into<String>) -> Error {
        Error(Box::new(Repr { kind, format: "", offset: None, path: String::new(), cause: cause.into() }))
    }

    /// Sets the byte offset, unless a more precise one is known.
    pub(crate) fn at(mut self, offset: usize) -> Error {
        self.0.offset.get_or_insert(offset);
        self
    }

    /// Names the format, unless a more precise name is known.
    pub(crate) fn format(mut self, format: &'static str) -> Error {
        if self.0.format.is_empty() {
            self.0.format = format;
        }
        self
    }

    /// Puts one more step in front of the path: a field name, or `[index]`.
    pub(crate) fn within(mut self, step: &str) -> Error {
        let path = std::mem::take(&mut self.0.path);
        let dot = if path.is_empty() || path.starts_with('[') { "" } else { "." };
        self.0.path = format!("{step}{dot}{path}");
        self
    }

    /// What is wrong.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Byte offset in the input, where one is known.
    pub fn offset(&self) -> Option<usize> {
        self.0.offset
    }

    /// Path inside the file, such as `graph.node[12].attribute[3]`; empty at the top level.
    pub fn path(&self) -> &str {
        &self.0.path
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Repr { format, offset, path, cause, .. } = &*self.0;
        if !format.is_empty() {
            write!(f, "{format}: ")?;
        }
        f.write_str(cause)?;
        let path = shortened(path);
        match (offset, path.is_empty()) {
            (Some(at), true) => write!(f, " (at byte {at})"),
            (Some(at), false) => write!(f, " (at byte {at}, in {path})"),
            (None, false) => write!(f, " (in {path})"),
            (None, true) => Ok(()),
        }
    }
}

/// A path that people can read: of a very long one, its two ends.
fn shortened(path: &str) -> String {
    const END: usize = 60;
    let count = path.chars().count();
    if count <= 3 * END {
        return path.to_owned();
    }
    let head: String = path.chars().take(END).collect();
    let tail: String = path.chars().skip(count - END).collect();
    format!("{head} ... {tail}")
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)
    }
}

impl std::error::Error for Error {}
