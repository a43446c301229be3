//! Why a request failed.

use anemone::{Error, ErrorKind};
use std::any::Any;

/// What kind of failure it is, for programs that decide by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The model needs something that is not implemented.
    Unsupported,
    /// The model or the request is malformed.
    Invalid,
    /// Anything else.
    Internal,
}

impl Kind {
    /// Name in answers.
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Unsupported => "unsupported",
            Kind::Invalid => "invalid",
            Kind::Internal => "internal",
        }
    }
}

/// The answer to a request that failed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Failure {
    pub kind: Kind,
    pub error: String,
}

impl Failure {
    /// A request that cannot be met as it is.
    pub(super) fn invalid(error: impl Into<String>) -> Failure {
        Failure { kind: Kind::Invalid, error: error.into() }
    }

    /// A fault of this program.
    pub(super) fn panicked(cause: &(dyn Any + Send)) -> Failure {
        let text = cause.downcast_ref::<&str>().map(ToString::to_string);
        let text = text.or_else(|| cause.downcast_ref::<String>().cloned()).unwrap_or_default();
        Failure { kind: Kind::Internal, error: format!("a fault of anemone: {text}") }
    }
}

impl From<Error> for Failure {
    fn from(e: Error) -> Failure {
        let kind = match e.kind() {
            ErrorKind::Unsupported => Kind::Unsupported,
            ErrorKind::File
            | ErrorKind::Malformed
            | ErrorKind::UnknownFunction
            | ErrorKind::MissingInput
            | ErrorKind::UnknownInput
            | ErrorKind::WrongType
            | ErrorKind::WrongShape
            | ErrorKind::MissingState
            | ErrorKind::UnknownState
            // The op table has the op, so that it is the operands which do not fit.
            | ErrorKind::Compute => Kind::Invalid,
            _ => Kind::Internal,
        };
        Failure { kind, error: e.to_string() }
    }
}
