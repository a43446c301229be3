//! What is wrong with one op.

use std::fmt;

/// A fault of one op: the argument, what it is, and what it may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Parameter at fault, when one is.
    pub param: Option<String>,
    /// What is wrong: actual and allowed values, and what to do.
    pub message: String,
}

impl Fault {
    /// A fault of the op as a whole.
    pub fn new(message: impl Into<String>) -> Fault {
        Fault { param: None, message: message.into() }
    }

    /// A fault of one argument: what it is, and what it may be.
    pub fn arg(param: impl Into<String>, actual: impl fmt::Display, allowed: impl fmt::Display) -> Fault {
        Fault { param: Some(param.into()), message: format!("is {actual}, but must be {allowed}") }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.param {
            Some(p) => write!(f, "argument `{p}` {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for Fault {}
