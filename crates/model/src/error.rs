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
            PredictError::Load(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for PredictError {}
