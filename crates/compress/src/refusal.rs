//! Why a weight was not compressed.

use anemone_tensor::{DType, TensorError};
use std::fmt;

/// Why a weight cannot be compressed as asked.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "each field is a number of the message that Display writes")]
pub enum Refusal {
    /// Not a float weight, or not a type that data can have.
    Type(DType),
    /// An infinity or something that is no number.
    NotFinite { index: usize, value: f32 },
    /// A block or group does not divide a dim.
    Indivisible { axis: usize, dim: usize, size: usize },
    /// Ops that take the weight have their channels along different axes.
    NoAxis,
    /// A compressed weight in a form that takes nothing on top.
    NotPlain,
    /// Not one block size per dim.
    BlockRank { shape: Vec<usize>, sizes: Vec<usize> },
    /// An axis that the weight does not have.
    Axis { axis: usize, rank: usize },
    /// More different values than a table holds.
    TooManyValues { found: usize, allowed: usize },
    /// Bits that no index has; 0 where none were given.
    Bits(usize),
    /// Vectors in a mode that has none.
    NoVectors,
    /// Too few zeros for a mask.
    TooDense { zeros: f64, minimum: f64 },
    /// A sparsity outside of 0 to 1.
    Sparsity(f64),
    /// Blocks or n:m along a dim that is none of the channels, or in a weight of another rank than 2 to 5.
    Structure { shape: Vec<usize>, dim: usize },
    /// A block of more than half of the channels.
    BlockTooLong { size: usize, channels: usize },
    /// n:m that does not fit.
    Ratio { n: usize, m: usize, channels: usize },
    /// A tensor that could not be made.
    Tensor(TensorError),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Type(t) => write!(f, "{t:?} is not a type that can be compressed; fp16 and fp32 are"),
            Refusal::NotFinite { index, value } => {
                write!(f, "element {index} is {value}; only finite numbers can be compressed")
            }
            Refusal::Indivisible { axis, dim, size } => {
                write!(f, "dim {axis} of {dim} is not divisible by a block of {size}")
            }
            Refusal::NoAxis => f.write_str("the ops that take it have their channels along different axes"),
            Refusal::NotPlain => f.write_str("it is compressed already, in a form that takes nothing on top"),
            Refusal::BlockRank { shape, sizes } => {
                write!(f, "block sizes {sizes:?} are not one per dim of {shape:?}")
            }
            Refusal::Axis { axis, rank } => write!(f, "axis {axis} is none of a weight of rank {rank}"),
            Refusal::TooManyValues { found, allowed } => {
                write!(f, "{found} or more different entries; a table holds {allowed}")
            }
            Refusal::Bits(0) => f.write_str("the mode needs a number of bits: 1, 2, 3, 4, 6 or 8"),
            Refusal::Bits(b) => write!(f, "an index of {b} bits; 1, 2, 3, 4, 6 and 8 are possible"),
            Refusal::NoVectors => f.write_str("vectors need the mode kmeans or unique"),
            Refusal::TooDense { zeros, minimum } => {
                write!(f, "{:.1} % zeros; at least {:.1} % are asked for", zeros * 100.0, minimum * 100.0)
            }
            Refusal::Sparsity(s) => write!(f, "a sparsity of {s}; it is a part of 0 to 1"),
            Refusal::Structure { shape, dim } => {
                write!(f, "blocks along dim {dim} of {shape:?}; dims 0 and 1 of rank 2 to 5 have them")
            }
            Refusal::BlockTooLong { size, channels } => {
                write!(f, "a block of {size} out of {channels} channels; 2 to half of them are possible")
            }
            Refusal::Ratio { n, m, channels } => {
                write!(
                    f,
                    "{n}:{m} out of {channels} channels; n is at most m, and m at most half of the channels"
                )
            }
            Refusal::Tensor(e) => e.fmt(f),
        }
    }
}

impl std::error::Error for Refusal {}
