//! Why a function did not run.

use crate::ops::Fault;
use crate::{Name, Op};
use std::fmt;

/// Why a function did not run to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EvalError {
    /// An input or state was not given, or has another type.
    Input {
        /// Name of the input or state.
        name: Name,
        /// What is wrong.
        message: String,
    },
    /// An op could not be computed.
    Op {
        /// Kind of the op, such as `conv`.
        kind: Name,
        /// The op's name.
        name: Name,
        /// Node of the source model that the op comes from.
        source: Option<Name>,
        /// What is wrong.
        fault: Fault,
    },
    /// Loops ran longer than allowed.
    StepLimit {
        /// Name of the loop that was running.
        name: Name,
        /// Iterations allowed over all loops.
        limit: u64,
    },
}

impl EvalError {
    /// A fault of one op.
    pub(super) fn op(op: &Op, fault: Fault) -> EvalError {
        let (kind, name) = (op.kind.name().into(), op.name.clone());
        EvalError::Op { kind, name, source: op.origin.source.clone(), fault }
    }
}

impl fmt::Display for EvalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EvalError::Input { name, message } => write!(f, "input `{name}` {message}"),
            EvalError::Op { kind, name, source, fault } => {
                write!(f, "{kind} \"{name}\"")?;
                if let Some(source) = source {
                    write!(f, " (from {source})")?;
                }
                write!(f, ": {fault}")
            }
            EvalError::StepLimit { name, limit } => {
                write!(
                    f,
                    "while_loop \"{name}\": more than {limit} iterations; allow more, or look at its condition"
                )
            }
        }
    }
}

impl std::error::Error for EvalError {}
