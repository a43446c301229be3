//! Types of values.

use crate::Name;
use anemone_tensor::{DType, num};
use std::fmt;

/// One dim of a tensor.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Dim {
    /// A fixed extent.
    Known(usize),
    /// An extent that is the same wherever the symbol stands; importers make them (`batch`, `seq`).
    Symbol(Name),
    /// An extent known when the model runs, `?` in MIL text.
    Unknown,
}

impl Dim {
    /// The extent, when fixed.
    pub fn known(&self) -> Option<usize> {
        match self {
            Dim::Known(n) => Some(*n),
            _ => None,
        }
    }

    /// True when both may be the same extent at run time.
    pub fn compatible(&self, other: &Dim) -> bool {
        match (self, other) {
            (Dim::Known(a), Dim::Known(b)) => a == b,
            _ => true,
        }
    }
}

impl From<usize> for Dim {
    fn from(n: usize) -> Dim {
        Dim::Known(n)
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Dim::Known(n) => write!(f, "{n}"),
            Dim::Symbol(s) => f.write_str(s),
            Dim::Unknown => f.write_str("?"),
        }
    }
}

/// Element type and dims, outermost first; a scalar has no dims.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TensorType {
    /// Element type.
    pub dtype: DType,
    /// Dims, outermost first.
    pub dims: Vec<Dim>,
}

impl TensorType {
    /// A type from anything that makes dims: `TensorType::new(DType::F32, [1, 3, 224, 224])`.
    pub fn new<D: Into<Dim>>(dtype: DType, dims: impl IntoIterator<Item = D>) -> TensorType {
        TensorType { dtype, dims: dims.into_iter().map(Into::into).collect() }
    }

    /// A rank-0 type.
    pub fn scalar(dtype: DType) -> TensorType {
        TensorType { dtype, dims: Vec::new() }
    }

    /// Number of dims.
    pub fn rank(&self) -> usize {
        self.dims.len()
    }

    /// The extents, when all are fixed.
    pub fn known_shape(&self) -> Option<Vec<usize>> {
        self.dims.iter().map(Dim::known).collect()
    }

    /// Number of elements, when all dims are fixed and the product fits.
    pub fn element_count(&self) -> Option<usize> {
        num::element_count(&self.known_shape()?)
    }

    /// Packed bytes, when all dims are fixed and the number fits.
    pub fn byte_len(&self) -> Option<usize> {
        self.dtype.packed_len(self.element_count()?)
    }

    /// The same dims with another element type.
    pub fn with_dtype(&self, dtype: DType) -> TensorType {
        TensorType { dtype, dims: self.dims.clone() }
    }

    /// Same element type and rank, and no dim that contradicts.
    pub fn compatible(&self, other: &TensorType) -> bool {
        self.dtype == other.dtype
            && self.rank() == other.rank()
            && self.dims.iter().zip(&other.dims).all(|(a, b)| a.compatible(b))
    }
}

impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tensor<{}, [", self.dtype)?;
        for (i, d) in self.dims.iter().enumerate() {
            write!(f, "{}{d}", if i > 0 { ", " } else { "" })?;
        }
        f.write_str("]>")
    }
}

/// Type of a value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    /// A dense tensor; rank 0 is a scalar, also of strings.
    Tensor(TensorType),
    /// A list of values of one type.
    List {
        /// Type of each element.
        elem: Box<Type>,
        /// Number of elements.
        len: Dim,
    },
    /// Several values.
    Tuple(Vec<Type>),
    /// A mapping from key to value type.
    Dict(Box<Type>, Box<Type>),
    /// Memory that outlives a prediction.
    State(TensorType),
}

impl Type {
    /// The tensor type, when this is a tensor.
    pub fn tensor(&self) -> Option<&TensorType> {
        match self {
            Type::Tensor(t) => Some(t),
            _ => None,
        }
    }

    /// No contradiction between the two; unknown dims and list lengths match anything.
    pub fn compatible(&self, other: &Type) -> bool {
        match (self, other) {
            (Type::Tensor(a), Type::Tensor(b)) | (Type::State(a), Type::State(b)) => a.compatible(b),
            (Type::List { elem: a, len: n }, Type::List { elem: b, len: m }) => {
                a.compatible(b) && n.compatible(m)
            }
            (Type::Tuple(a), Type::Tuple(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.compatible(b))
            }
            (Type::Dict(k, v), Type::Dict(l, w)) => k.compatible(l) && v.compatible(w),
            _ => false,
        }
    }
}

impl From<TensorType> for Type {
    fn from(t: TensorType) -> Type {
        Type::Tensor(t)
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Type::Tensor(t) => t.fmt(f),
            Type::List { elem, len } => write!(f, "list<{elem}, {len}>"),
            Type::Tuple(items) => {
                f.write_str("tuple<")?;
                for (i, t) in items.iter().enumerate() {
                    write!(f, "{}{t}", if i > 0 { ", " } else { "" })?;
                }
                f.write_str(">")
            }
            Type::Dict(k, v) => write!(f, "dict<{k}, {v}>"),
            Type::State(t) => write!(f, "state<{t}>"),
        }
    }
}
