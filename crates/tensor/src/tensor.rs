//! A dense tensor over shared bytes.

use crate::{DType, codec, num::element_count};
use bytes::Bytes;
use std::fmt;

/// A dense, row-major tensor whose bytes may be owned or part of a mapped file.
///
/// Elements are little endian; those narrower than a byte are packed least significant bit first, `bool`
/// takes one byte. Cloning shares the bytes. The length always fits the shape.
#[derive(Clone, PartialEq)]
pub struct Tensor {
    dtype: DType,
    shape: Vec<usize>,
    bytes: Bytes,
}

/// Why bytes do not make a tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TensorError {
    /// The product of the dims does not fit the address space.
    TooLarge {
        /// The shape asked for.
        shape: Vec<usize>,
    },
    /// The bytes do not have the length that type and shape ask for.
    Length {
        /// Element type.
        dtype: DType,
        /// Shape asked for.
        shape: Vec<usize>,
        /// Bytes given.
        actual: usize,
        /// Bytes needed.
        expected: usize,
    },
    /// Text has no packed form.
    NotPacked,
}

impl fmt::Display for TensorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TensorError::TooLarge { shape } => {
                write!(f, "shape {shape:?} has more elements than memory can address")
            }
            TensorError::Length { dtype, shape, actual, expected } => {
                write!(f, "{dtype} {shape:?} takes {expected} bytes, but {actual} are given")
            }
            TensorError::NotPacked => f.write_str("a tensor of strings has no packed bytes"),
        }
    }
}

impl std::error::Error for TensorError {}

impl Tensor {
    /// A tensor over `bytes`.
    ///
    /// # Errors
    /// When the length is not what type and shape ask for.
    pub fn new(
        dtype: DType,
        shape: impl Into<Vec<usize>>,
        bytes: impl Into<Bytes>,
    ) -> Result<Tensor, TensorError> {
        let (shape, bytes) = (shape.into(), bytes.into());
        if dtype == DType::String {
            return Err(TensorError::NotPacked);
        }
        let Some(expected) = element_count(&shape).and_then(|n| dtype.packed_len(n)) else {
            return Err(TensorError::TooLarge { shape });
        };
        if bytes.len() != expected {
            return Err(TensorError::Length { dtype, shape, actual: bytes.len(), expected });
        }
        Ok(Tensor { dtype, shape, bytes })
    }

    /// A tensor of `dtype` from numbers, rounded or saturated as [`codec::write_f64`] says.
    ///
    /// # Errors
    /// When the number of values is not that of the shape.
    pub fn from_f64s(
        dtype: DType,
        shape: impl Into<Vec<usize>>,
        values: &[f64],
    ) -> Result<Tensor, TensorError> {
        let mut out = vec![0u8; dtype.packed_len(values.len()).unwrap_or(0)];
        values.iter().enumerate().for_each(|(i, &v)| codec::write_f64(dtype, &mut out, i, v));
        Tensor::new(dtype, shape, out)
    }

    /// A tensor of integer type `dtype`, saturated to its range.
    ///
    /// # Errors
    /// When the number of values is not that of the shape.
    pub fn from_i64s(
        dtype: DType,
        shape: impl Into<Vec<usize>>,
        values: &[i64],
    ) -> Result<Tensor, TensorError> {
        let mut out = vec![0u8; dtype.packed_len(values.len()).unwrap_or(0)];
        values.iter().enumerate().for_each(|(i, &v)| codec::write_i64(dtype, &mut out, i, v));
        Tensor::new(dtype, shape, out)
    }

    /// An `fp32` tensor.
    ///
    /// # Errors
    /// When the number of values is not that of the shape.
    pub fn from_f32s(shape: impl Into<Vec<usize>>, values: &[f32]) -> Result<Tensor, TensorError> {
        let mut out = vec![0u8; size_of_val(values)];
        out.as_chunks_mut::<4>().0.iter_mut().zip(values).for_each(|(o, v)| *o = v.to_le_bytes());
        Tensor::new(DType::F32, shape, out)
    }

    /// A rank-0 tensor.
    pub fn scalar_f64(dtype: DType, value: f64) -> Tensor {
        let mut out = vec![0u8; dtype.packed_len(1).unwrap_or(0)];
        codec::write_f64(dtype, &mut out, 0, value);
        Tensor { dtype, shape: Vec::new(), bytes: out.into() }
    }

    /// A rank-0 `int32` tensor, saturated.
    pub fn scalar_i32(value: i32) -> Tensor {
        Tensor { dtype: DType::I32, shape: Vec::new(), bytes: value.to_le_bytes().to_vec().into() }
    }

    /// A rank-0 `bool` tensor.
    pub fn scalar_bool(value: bool) -> Tensor {
        Tensor { dtype: DType::Bool, shape: Vec::new(), bytes: vec![u8::from(value)].into() }
    }

    /// A rank-1 `int32` tensor.
    pub fn vector_i32(values: &[i32]) -> Tensor {
        let out: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        Tensor { dtype: DType::I32, shape: vec![values.len()], bytes: out.into() }
    }

    /// A rank-1 `bool` tensor.
    pub fn vector_bool(values: &[bool]) -> Tensor {
        let out: Vec<u8> = values.iter().map(|&v| u8::from(v)).collect();
        Tensor { dtype: DType::Bool, shape: vec![values.len()], bytes: out.into() }
    }

    /// All zero bits.
    ///
    /// # Errors
    /// When the shape overflows or the type is `string`.
    pub fn zeros(dtype: DType, shape: impl Into<Vec<usize>>) -> Result<Tensor, TensorError> {
        let shape = shape.into();
        let Some(len) = element_count(&shape).and_then(|n| dtype.packed_len(n)) else {
            return Err(TensorError::TooLarge { shape });
        };
        Tensor::new(dtype, shape, vec![0u8; len])
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Dims, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Number of dims.
    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// True when some dim is 0.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The packed bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Element `i` in row-major order as a number.
    ///
    /// # Panics
    /// When `i` is not below [`Tensor::len`].
    pub fn f64_at(&self, i: usize) -> f64 {
        codec::read_f64(self.dtype, &self.bytes, i)
    }

    /// Element `i` in row-major order as an integer.
    ///
    /// # Panics
    /// When `i` is not below [`Tensor::len`].
    pub fn i64_at(&self, i: usize) -> i64 {
        codec::read_i64(self.dtype, &self.bytes, i)
    }

    /// All elements as `f32`.
    pub fn to_f32s(&self) -> Vec<f32> {
        codec::to_f32(self.dtype, &self.bytes, self.len())
    }

    /// All elements as `f64`.
    pub fn to_f64s(&self) -> Vec<f64> {
        (0..self.len()).map(|i| self.f64_at(i)).collect()
    }

    /// All elements as `i64`.
    pub fn to_i64s(&self) -> Vec<i64> {
        (0..self.len()).map(|i| self.i64_at(i)).collect()
    }

    /// All elements as booleans: true where not zero.
    pub fn to_bools(&self) -> Vec<bool> {
        (0..self.len()).map(|i| self.f64_at(i) != 0.0).collect()
    }

    /// The same numbers in another type; see [`codec::convert`].
    pub fn cast(&self, dtype: DType) -> Tensor {
        if dtype == self.dtype {
            return self.clone();
        }
        let out = codec::convert(self.dtype, dtype, &self.bytes, self.len());
        Tensor { dtype, shape: self.shape.clone(), bytes: out.into() }
    }

    /// The same bytes under another shape.
    ///
    /// # Errors
    /// When the number of elements differs.
    pub fn reshaped(&self, shape: impl Into<Vec<usize>>) -> Result<Tensor, TensorError> {
        Tensor::new(self.dtype, shape, self.bytes.clone())
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?} ", self.dtype, self.shape)?;
        let head = (0..self.len().min(8)).map(|i| self.f64_at(i));
        f.debug_list().entries(head).finish()
    }
}
