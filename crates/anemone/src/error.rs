//! The one error of the library.

use anemone_model::PredictError;
use std::fmt;
use std::path::{Path, PathBuf};

/// What kind of thing went wrong, for programs that decide by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A file or folder cannot be read or written.
    File,
    /// A file is there, but not valid in its format, or the program in it is faulty.
    Malformed,
    /// Something valid that Anemone does not handle: a type of model, an op, a type of feature.
    Unsupported,
    /// The model has no function of that name.
    UnknownFunction,
    /// A required input was not given.
    MissingInput,
    /// The model has no input of that name.
    UnknownInput,
    /// An input has another type than the model declares.
    WrongType,
    /// An input has a shape or size that the model does not allow.
    WrongShape,
    /// The function has states, and none was given.
    MissingState,
    /// There is no state of that name, or the state is of another model.
    UnknownState,
    /// Loops ran longer than the limit on steps.
    StepLimit,
    /// The tensors would need more memory than the limit.
    MemoryLimit,
    /// An op refused its operands while the model ran.
    Compute,
    /// Anything else.
    Other,
}

/// What went wrong: the place, the thing, and what to do.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    place: Option<PathBuf>,
    message: String,
    cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error that speaks for itself.
    pub fn new(message: impl Into<String>) -> Error {
        Error { kind: ErrorKind::Other, place: None, message: message.into(), cause: None }
    }

    /// An error of a room below.
    pub fn from_cause(cause: impl std::error::Error + Send + Sync + 'static) -> Error {
        Error {
            kind: ErrorKind::Other,
            place: None,
            message: cause.to_string(),
            cause: Some(Box::new(cause)),
        }
    }

    /// The error as one of that kind.
    #[must_use]
    pub fn of_kind(mut self, kind: ErrorKind) -> Error {
        self.kind = kind;
        self
    }

    /// The error with the file or folder that it is about.
    #[must_use]
    pub fn at(mut self, place: impl AsRef<Path>) -> Error {
        self.place.get_or_insert_with(|| place.as_ref().to_path_buf());
        self
    }

    /// The error with words before it that say where it happened.
    #[must_use]
    pub(crate) fn within(mut self, where_: &str) -> Error {
        self.message = format!("{where_}: {}", self.message);
        self
    }

    /// What kind of thing went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The file or folder that it is about.
    pub fn place(&self) -> Option<&Path> {
        self.place.as_deref()
    }
}

impl From<PredictError> for Error {
    fn from(e: PredictError) -> Error {
        let kind = match &e {
            PredictError::MissingInput { .. } => ErrorKind::MissingInput,
            PredictError::UnknownInput { .. } => ErrorKind::UnknownInput,
            PredictError::InputType { actual, expected, .. } if actual.is_float() != expected.is_float() => {
                ErrorKind::WrongType
            }
            PredictError::InputType { .. } => ErrorKind::WrongShape,
            PredictError::Op { .. } => ErrorKind::Compute,
            PredictError::State { .. } => ErrorKind::UnknownState,
            PredictError::StepLimit { .. } => ErrorKind::StepLimit,
            PredictError::Memory { .. } => ErrorKind::MemoryLimit,
            PredictError::Load(_) => ErrorKind::Other,
        };
        Error::from_cause(e).of_kind(kind)
    }
}

impl From<anemone_package::Error> for Error {
    fn from(e: anemone_package::Error) -> Error {
        use anemone_package::ErrorKind as Package;
        let kind = match e.kind() {
            Package::Io | Package::MissingFile => ErrorKind::File,
            Package::ModelType | Package::Unsupported => ErrorKind::Unsupported,
            _ => ErrorKind::Malformed,
        };
        Error::from_cause(e).of_kind(kind)
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
