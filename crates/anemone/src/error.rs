//! The one error of the library.

use std::fmt;
use std::path::{Path, PathBuf};

/// What went wrong: the place, the thing, and what to do.
#[derive(Debug)]
pub struct Error {
    place: Option<PathBuf>,
    message: String,
    cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error that speaks for itself.
    pub fn new(message: impl Into<String>) -> Error {
        Error { place: None, message: message.into(), cause: None }
    }

    /// An error of a room below.
    pub fn from_cause(cause: impl std::error::Error + Send + Sync + 'static) -> Error {
        Error { place: None, message: cause.to_string(), cause: Some(Box::new(cause)) }
    }

    /// The error with the file or folder that it is about.
    #[must_use]
    pub fn at(mut self, place: impl AsRef<Path>) -> Error {
        self.place.get_or_insert_with(|| place.as_ref().to_path_buf());
        self
    }

    /// The file or folder that it is about.
    pub fn place(&self) -> Option<&Path> {
        self.place.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "{}: {}", place.display(), self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_ref().map(|c| &**c as &(dyn std::error::Error + 'static))
    }
}
