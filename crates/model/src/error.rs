//! Why a prediction fails.

use anemone_tensor::DType;
use std::fmt;

/// Why a model does not load or a prediction fails.
#[derive(Clone, Debug, PartialEq)]
pub enum PredictError {
    /// An input is missing.
    MissingInput {
        /// Its name.
        name: String,
        /// Inputs that were given.
        given: Vec<String>,
    },
    /// The model has no such input.
    UnknownInput {
        /// The name given.
        name: String,
        /// Inputs that the model has.
        known: Vec<String>,
    },
    /// An input has another type or shape than the model declares.
    InputType {
        /// Its name.
        name: String,
        /// Type given.
        actual: DType,
        /// Shape given.
        actual_shape: Vec<usize>,
        /// Type declared.
        expected: DType,
        /// Shape declared; `None` where the extent is free.
        expected_shape: Vec<Option<usize>>,
    },
    /// An op cannot be computed.
    Op {
        /// Kind of the op.
        kind: String,
        /// Name of the op.
        name: String,
        /// What is wrong.
        message: String,
    },
    /// A state is missing, or is not that of the model.
    State {
        /// Its name.
        name: String,
        /// What is wrong.
        message: String,
    },
    /// Loops ran longer than allowed.
    StepLimit {
        /// Name of the loop that was running.
        name: String,
        /// Iterations allowed over all loops of a prediction.
        limit: u64,
    },
    /// A tensor, or all of them together, would take more memory than allowed or than there is.
    Memory {
        /// What asked for it: an op and its name, or a part of the engine.
        place: String,
        /// Bytes that it needs; `u64::MAX` when the number is larger.
        needed: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// The model cannot be prepared.
    Load(String),
}

fn shape(dims: &[Option<usize>]) -> String {
    let dims: Vec<String> = dims.iter().map(|d| d.map_or("?".into(), |n| n.to_string())).collect();
    format!("[{}]", dims.join(", "))
}

impl fmt::Display for PredictError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PredictError::MissingInput { name, given } => {
                write!(f, "input `{name}` is missing; given are {given:?}")
            }
            PredictError::UnknownInput { name, known } => {
                write!(f, "the model has no input `{name}`; it has {known:?}")
            }
            PredictError::InputType { name, actual, actual_shape, expected, expected_shape } => write!(
                f,
                "input `{name}` is {actual} {actual_shape:?}, but the model takes {expected} {}",
                shape(expected_shape)
            ),
            PredictError::Op { kind, name, message } => write!(f, "op {kind} \"{name}\": {message}"),
            PredictError::State { name, message } => write!(f, "state `{name}` {message}"),
            PredictError::StepLimit { name, limit } => write!(
                f,
                "while_loop \"{name}\": more than {limit} iterations; allow more, or look at its condition"
            ),
            PredictError::Memory { place, needed, limit } => write!(
                f,
                "{place} needs {needed} bytes, but {limit} are allowed; give smaller inputs or allow more"
            ),
            PredictError::Load(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for PredictError {}
