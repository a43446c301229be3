//! Faults of a program, collected.

use crate::ops::Fault;
use crate::{Name, Op};
use std::fmt;

/// One fault: where it is, what is there, and what may be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The function, unless the program as a whole is at fault.
    pub function: Option<Name>,
    /// Kind and name of the op, when one is at fault.
    pub op: Option<(Name, Name)>,
    /// Where the op comes from, in the user's words.
    pub source: Option<Name>,
    /// What is wrong.
    pub fault: Fault,
}

impl Diagnostic {
    /// A fault of the program as a whole.
    pub fn of_program(message: impl Into<String>) -> Diagnostic {
        Diagnostic { function: None, op: None, source: None, fault: Fault::new(message) }
    }

    /// A fault of a function as a whole.
    pub fn of_function(function: &Name, message: impl Into<String>) -> Diagnostic {
        Diagnostic { function: Some(function.clone()), ..Diagnostic::of_program(message) }
    }

    /// A fault of an op.
    pub fn of_op(function: &Name, op: &Op, fault: Fault) -> Diagnostic {
        Diagnostic {
            function: Some(function.clone()),
            op: Some((op.kind.name().into(), op.name.clone())),
            source: op.origin.source.clone(),
            fault,
        }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.function {
            Some(function) => write!(f, "function {function}")?,
            None => f.write_str("program")?,
        }
        if let Some((kind, name)) = &self.op {
            write!(f, ", {kind} \"{name}\"")?;
        }
        if let Some(source) = &self.source {
            write!(f, " (from {source})")?;
        }
        write!(f, ": {}", self.fault)
    }
}

/// All faults of a program, in program order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnostics {
    list: Vec<Diagnostic>,
}

impl Diagnostics {
    /// Adds a fault.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.list.push(diagnostic);
    }

    /// Number of faults.
    pub fn count(&self) -> usize {
        self.list.len()
    }

    /// True when there is no fault.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The faults, in program order.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.list.iter()
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// One line per fault.
impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, diagnostic) in self.list.iter().enumerate() {
            write!(f, "{}{diagnostic}", if i > 0 { "\n" } else { "" })?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}
