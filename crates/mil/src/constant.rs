//! Constant values: inline literals and weights.

use crate::{Dim, Name, TensorType, Type};
use anemone_tensor::{Bytes, DType, Tensor, TensorError, codec};
use std::any::Any;
use std::fmt;
use std::sync::Arc;

/// A constant written out where it stands.
#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    /// Numbers or booleans.
    Tensor(Tensor),
    /// A tensor of text; rank 0 is one string.
    Strings {
        /// Dims, outermost first.
        shape: Vec<usize>,
        /// Elements in row-major order.
        values: Vec<Name>,
    },
    /// A list.
    List {
        /// Type of each element.
        elem: Type,
        /// The elements.
        items: Vec<Literal>,
    },
    /// A tuple.
    Tuple(Vec<Literal>),
    /// A dictionary, in written order.
    Dict {
        /// Type of the keys.
        key: Type,
        /// Type of the values.
        value: Type,
        /// The entries.
        entries: Vec<(Literal, Literal)>,
    },
}

impl Literal {
    /// One string.
    pub fn string(text: impl Into<Name>) -> Literal {
        Literal::Strings { shape: Vec::new(), values: vec![text.into()] }
    }

    /// The string, when this is a rank-0 string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Literal::Strings { shape, values } if shape.is_empty() => values.first().map(|v| &**v),
            _ => None,
        }
    }

    /// The tensor, when this is one.
    pub fn as_tensor(&self) -> Option<&Tensor> {
        match self {
            Literal::Tensor(t) => Some(t),
            _ => None,
        }
    }

    /// Type of the constant.
    pub fn ty(&self) -> Type {
        match self {
            Literal::Tensor(t) => TensorType::new(t.dtype(), t.shape().iter().copied()).into(),
            Literal::Strings { shape, .. } => TensorType::new(DType::String, shape.iter().copied()).into(),
            Literal::List { elem, items } => {
                Type::List { elem: Box::new(elem.clone()), len: Dim::Known(items.len()) }
            }
            Literal::Tuple(items) => Type::Tuple(items.iter().map(Literal::ty).collect()),
            Literal::Dict { key, value, .. } => Type::Dict(Box::new(key.clone()), Box::new(value.clone())),
        }
    }
}

impl From<Tensor> for Literal {
    fn from(t: Tensor) -> Literal {
        Literal::Tensor(t)
    }
}

/// Where a weight stands in a package: `BLOBFILE(path, offset)`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BlobRef {
    /// File name as written, such as `@model_path/weights/weight.bin`.
    pub path: Name,
    /// Offset of the metadata record, a multiple of 64.
    pub offset: u64,
}

/// A large constant: its type, and its bytes, a recipe for them, or only the place where they would be.
#[derive(Clone, Debug)]
pub struct Weight {
    /// Element type.
    pub dtype: DType,
    /// Dims, outermost first.
    pub shape: Vec<usize>,
    /// The bytes.
    pub data: WeightData,
    /// Where the weight was read from; says nothing about where it will be written.
    pub origin: Option<BlobRef>,
}

/// The bytes of a weight.
#[derive(Clone, Debug)]
pub enum WeightData {
    /// Packed bytes, owned or part of a mapped file.
    Bytes(Bytes),
    /// Made when it is written or executed.
    Computed(Arc<Recipe>),
    /// Not at hand: MIL text without its weight file.
    Missing,
}

/// How to make a weight from another one; evaluated when its bytes are asked for, never before.
#[derive(Clone, Debug)]
pub enum Recipe {
    /// Convert elements to the weight's type.
    Cast(Weight),
    /// Permute dims: dim `i` of the result is dim `perm[i]` of the source.
    Transpose(Weight, Vec<usize>),
    /// Multiply every slice along the dim by its factor, in `fp32`, rounded to the type of the source.
    Scale(Weight, usize, Arc<[f32]>),
    /// Unpack what an engine keeps in a form of its own.
    Unpack(Arc<dyn Packed>),
}

/// A weight that an engine keeps packed and that is made when somebody else asks for its elements.
pub trait Packed: fmt::Debug + Send + Sync {
    /// The weight, made now, of the type and the dims of the [`Weight`] that holds the recipe.
    ///
    /// # Errors
    /// When its bytes do not fit its dims.
    fn unpack(&self) -> Result<Tensor, TensorError>;
    /// Itself, for the engine that knows what it is.
    fn as_any(&self) -> &dyn Any;
}

impl Weight {
    /// A weight over a tensor's bytes.
    pub fn of(tensor: &Tensor) -> Weight {
        Weight {
            dtype: tensor.dtype(),
            shape: tensor.shape().to_vec(),
            data: WeightData::Bytes(tensor.bytes().clone()),
            origin: None,
        }
    }

    /// The same weight in another element type, converted when asked for.
    pub fn cast(self, dtype: DType) -> Weight {
        if dtype == self.dtype {
            return self;
        }
        let shape = self.shape.clone();
        Weight { dtype, shape, data: WeightData::Computed(Arc::new(Recipe::Cast(self))), origin: None }
    }

    /// The same weight with its dims permuted, when asked for; `perm` must be a permutation of the dims.
    pub fn transposed(self, perm: &[usize]) -> Weight {
        let shape = perm.iter().filter_map(|&p| self.shape.get(p).copied()).collect();
        let recipe = Recipe::Transpose(self.clone(), perm.to_vec());
        Weight { dtype: self.dtype, shape, data: WeightData::Computed(Arc::new(recipe)), origin: None }
    }

    /// The same weight with every slice along dim `axis` multiplied by its factor, when asked for; one factor per slice
    /// of a float weight is needed.
    pub fn scaled(self, axis: usize, factors: impl Into<Arc<[f32]>>) -> Weight {
        let (dtype, shape) = (self.dtype, self.shape.clone());
        let recipe = Recipe::Scale(self, axis, factors.into());
        Weight { dtype, shape, data: WeightData::Computed(Arc::new(recipe)), origin: None }
    }

    /// A weight that an engine keeps packed.
    pub fn packed(dtype: DType, shape: impl Into<Vec<usize>>, packed: Arc<dyn Packed>) -> Weight {
        let data = WeightData::Computed(Arc::new(Recipe::Unpack(packed)));
        Weight { dtype, shape: shape.into(), data, origin: None }
    }

    /// The tensor itself, made now.
    ///
    /// # Errors
    /// When the bytes are missing or do not fit the type; the error names neither, the caller knows the value.
    pub fn tensor(&self) -> Result<Tensor, TensorError> {
        match &self.data {
            WeightData::Bytes(b) => Tensor::new(self.dtype, self.shape.clone(), b.clone()),
            WeightData::Computed(r) => r.tensor(self.dtype),
            WeightData::Missing => Tensor::new(self.dtype, self.shape.clone(), Bytes::new()),
        }
    }

    /// False when only the place of the bytes is known.
    pub fn is_available(&self) -> bool {
        match &self.data {
            WeightData::Bytes(_) => true,
            WeightData::Computed(r) => match &**r {
                Recipe::Cast(w) | Recipe::Transpose(w, _) | Recipe::Scale(w, _, _) => w.is_available(),
                Recipe::Unpack(_) => true,
            },
            WeightData::Missing => false,
        }
    }
}

impl Recipe {
    fn tensor(&self, dtype: DType) -> Result<Tensor, TensorError> {
        match self {
            Recipe::Cast(w) => Ok(w.tensor()?.cast(dtype)),
            Recipe::Transpose(w, perm) => transpose(&w.tensor()?, perm),
            Recipe::Scale(w, axis, factors) => scale(&w.tensor()?, *axis, factors),
            Recipe::Unpack(packed) => packed.unpack(),
        }
    }
}

/// Multiplies every slice along a dim by its factor.
fn scale(t: &Tensor, axis: usize, factors: &[f32]) -> Result<Tensor, TensorError> {
    let inner: usize = t.shape().iter().skip(axis + 1).product();
    let mut values = t.to_f32s();
    for (slice, factor) in values.chunks_mut(inner.max(1)).zip(factors.iter().cycle()) {
        slice.iter_mut().for_each(|v| *v *= factor);
    }
    Ok(Tensor::from_f32s(t.shape(), &values)?.cast(t.dtype()))
}

/// Permutes the dims of a tensor: dim `i` of the result is dim `perm[i]` of the source.
fn transpose(t: &Tensor, perm: &[usize]) -> Result<Tensor, TensorError> {
    let shape: Vec<usize> = perm.iter().filter_map(|&p| t.shape().get(p).copied()).collect();
    let mut strides = vec![1usize; t.rank()];
    for d in (1..t.rank()).rev() {
        strides[d - 1] = strides[d].saturating_mul(t.shape()[d]);
    }
    let mut out = vec![0u8; t.dtype().packed_len(t.len()).unwrap_or(0)];
    let mut at = vec![0usize; shape.len()];
    let width = t.dtype().bits() / 8;
    for i in 0..t.len() {
        let from: usize = at.iter().zip(perm).map(|(&a, &p)| a * strides[p]).sum();
        if width == 0 {
            codec::write_i64(t.dtype(), &mut out, i, t.i64_at(from));
        } else {
            out[i * width..][..width].copy_from_slice(&t.bytes()[from * width..][..width]);
        }
        for d in (0..shape.len()).rev() {
            at[d] += 1;
            if at[d] < shape[d] {
                break;
            }
            at[d] = 0;
        }
    }
    Tensor::new(t.dtype(), shape, out)
}

/// A constant value.
#[derive(Clone, Debug)]
pub enum Const {
    /// Written out where it stands.
    Literal(Literal),
    /// Held in the weight file.
    Weight(Weight),
}

impl Const {
    /// Type of the constant.
    pub fn ty(&self) -> Type {
        match self {
            Const::Literal(l) => l.ty(),
            Const::Weight(w) => TensorType::new(w.dtype, w.shape.iter().copied()).into(),
        }
    }

    /// The constant as a literal; a weight is made now.
    ///
    /// # Errors
    /// When it is a weight whose bytes are missing or do not fit.
    pub fn literal(&self) -> Result<Literal, TensorError> {
        match self {
            Const::Literal(l) => Ok(l.clone()),
            Const::Weight(w) => w.tensor().map(Literal::Tensor),
        }
    }

    /// Number of elements of a tensor constant.
    pub fn element_count(&self) -> Option<usize> {
        self.ty().tensor().and_then(TensorType::element_count)
    }
}

/// Equal types and equal bytes, wherever they are kept; missing weights are equal when their place is.
impl PartialEq for Const {
    fn eq(&self, other: &Const) -> bool {
        if let (Const::Weight(a), Const::Weight(b)) = (self, other)
            && !(a.is_available() && b.is_available())
        {
            return a.dtype == b.dtype && a.shape == b.shape && a.origin == b.origin;
        }
        matches!((self.literal(), other.literal()), (Ok(a), Ok(b)) if a == b)
    }
}

impl From<Literal> for Const {
    fn from(l: Literal) -> Const {
        Const::Literal(l)
    }
}

impl From<Tensor> for Const {
    fn from(t: Tensor) -> Const {
        Const::Literal(t.into())
    }
}

impl From<Weight> for Const {
    fn from(w: Weight) -> Const {
        Const::Weight(w)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transposed_cast_weight_is_made_when_asked_for() {
        let t = Tensor::from_f32s([2, 3], &[1., 2., 3., 4., 5., 6.]).expect("fits");
        let w = Weight::of(&t).transposed(&[1, 0]).cast(DType::F16);
        assert_eq!((w.dtype, w.shape.as_slice()), (DType::F16, &[3, 2][..]));
        assert_eq!(w.tensor().expect("available").to_f32s(), [1., 4., 2., 5., 3., 6.]);
    }

    #[test]
    fn a_scaled_weight_is_made_when_asked_for_in_the_type_of_its_source() {
        let t = Tensor::from_f32s([2, 3], &[1., 2., 3., 4., 5., 6.]).expect("fits");
        let numbers = |w: Weight| w.tensor().expect("available").to_f32s();
        assert_eq!(numbers(Weight::of(&t).scaled(0, [2., -1.])), [2., 4., 6., -4., -5., -6.]);
        assert_eq!(numbers(Weight::of(&t).scaled(1, [1., 0., 0.5])), [1., 0., 1.5, 4., 0., 3.]);
        // A third is 0x3555 in `fp16`, 0.33325195.
        let third = numbers(Weight::of(&t).cast(DType::F16).scaled(0, [1. / 3., 1.]));
        assert_eq!(third[0], 0.333_251_95);
    }
}
