//! What stops a compression as a whole.

use anemone_mil::Opset;
use std::fmt;

/// Why a program could not be compressed; nothing was changed that matters, the program is to be dropped.
#[derive(Debug)]
pub struct Error(Kind);

#[derive(Debug)]
enum Kind {
    Conflict { weight: String, one: String, other: String },
    Opset { what: String, have: Opset, need: Opset },
    Missing { weight: String },
    Store(Box<dyn std::error::Error + Send + Sync>),
    Stopped,
}

impl Error {
    pub(crate) fn conflict(weight: &str, one: &str, other: &str) -> Error {
        Error(Kind::Conflict { weight: weight.into(), one: one.into(), other: other.into() })
    }

    pub(crate) fn opset(what: impl Into<String>, have: Opset, need: Opset) -> Error {
        Error(Kind::Opset { what: what.into(), have, need })
    }

    pub(crate) fn missing(weight: &str) -> Error {
        Error(Kind::Missing { weight: weight.into() })
    }

    pub(crate) fn store(cause: Box<dyn std::error::Error + Send + Sync>) -> Error {
        Error(Kind::Store(cause))
    }

    pub(crate) fn stopped() -> Error {
        Error(Kind::Stopped)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Conflict { weight, one, other } => write!(
                f,
                "weight {weight:?} is taken by {one:?} and {other:?}, for which the configuration asks different \
                 things; name the weight itself in op_name_configs"
            ),
            Kind::Opset { what, have, need } => write!(
                f,
                "{what} needs op set {} or later, the program is of {}; convert it with --target {}",
                need.name(),
                have.name(),
                need.name()
            ),
            Kind::Missing { weight } => write!(f, "the bytes of weight {weight:?} are not at hand"),
            Kind::Store(cause) => write!(f, "cannot keep a compressed weight: {cause}"),
            Kind::Stopped => f.write_str("stopped before it was done"),
        }
    }
}

impl std::error::Error for Error {}
