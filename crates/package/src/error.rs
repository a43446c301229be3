//! The one error of this room.

use std::fmt;

/// What is wrong with a package, or with a program that is to become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The caller could not read or write a file.
    Io,
    /// A file is not valid in its format.
    Format,
    /// A file that the package names is not there.
    MissingFile,
    /// A path that is absolute, or leaves the package.
    Path,
    /// The model is not an ML program.
    ModelType,
    /// The weight file or its record is not there, or has another type or size.
    Weight,
    /// A name that nothing defines.
    Undefined,
    /// A name that is used before its definition.
    Order,
    /// A name defined twice.
    Duplicate,
    /// A type that is absent, unknown or contradicts its value.
    Type,
    /// The number of elements does not fit the shape.
    Length,
    /// A part that is required is absent.
    Missing,
    /// Something valid that Anemone does not handle.
    Unsupported,
}

/// Why a package cannot be read or written: what, where, the actual and the allowed value, and what to do.
///
/// The fields are private so that they may grow; match on [`Error::kind`].
#[derive(Debug)]
pub struct Error(Box<Repr>);

#[derive(Debug)]
struct Repr {
    kind: ErrorKind,
    place: String,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        Error(Box::new(Repr { kind, place: String::new(), message: message.into(), source: None }))
    }

    /// A failure of the caller's to read or write `path`.
    pub(crate) fn io(path: &str, source: std::io::Error) -> Error {
        Error::new(ErrorKind::Io, path).caused_by(source)
    }

    /// A file that is not valid in its format.
    pub(crate) fn format(path: &str, source: anemone_formats::Error) -> Error {
        Error::new(ErrorKind::Format, path).caused_by(source)
    }

    pub(crate) fn caused_by(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Error {
        self.0.source = Some(Box::new(source));
        self
    }

    /// Puts one more step in front of the place.
    pub(crate) fn within(mut self, step: impl fmt::Display) -> Error {
        let place = std::mem::take(&mut self.0.place);
        self.0.place = if place.is_empty() { step.to_string() } else { format!("{step}, {place}") };
        self
    }

    /// What is wrong.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Place within the program, such as `function main, op 12 conv "conv_0"`; empty outside of it.
    pub fn place(&self) -> &str {
        &self.0.place
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Repr { place, message, source, .. } = &*self.0;
        if !place.is_empty() {
            write!(f, "{place}: ")?;
        }
        f.write_str(message)?;
        source.as_ref().map_or(Ok(()), |s| write!(f, ": {s}"))
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.0.source {
            Some(source) => Some(&**source),
            None => None,
        }
    }
}
