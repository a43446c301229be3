//! Kernels over more than floats: integers and booleans, and what goes from the one to the other.

use crate::pool::Pool;
use anemone_mil::ops::Fault;
use anemone_mil::{DType, Tensor};

/// What a [`Mixed`] kernel reads.
#[derive(Clone, Copy)]
pub(crate) enum Operand<'a> {
    /// A float tensor in the arena, dense and row-major.
    Floats(&'a [f32]),
    /// Any other tensor.
    Tensor(&'a Tensor),
}

/// What a [`Mixed`] kernel writes: all elements of one result.
pub(crate) enum Target<'a> {
    /// A float tensor in the arena.
    Floats(&'a mut [f32]),
    /// The packed bytes of any other tensor.
    Bytes(&'a mut [u8]),
}

/// An op with its geometry fixed that reads or writes other tensors than floats.
pub(crate) trait Mixed: Send {
    /// Computes the results.
    ///
    /// # Errors
    /// When an operand's values are not allowed, such as an index out of range.
    fn run(&self, inputs: &[Operand<'_>], outputs: &mut [Target<'_>], pool: &Pool) -> Result<(), Fault>;

    /// Its name, for people.
    fn name(&self) -> &'static str {
        crate::profile::kernel_name(std::any::type_name::<Self>())
    }
}

/// A kernel written as a closure.
pub(super) struct Closure<F>(pub F);

impl<F> Mixed for Closure<F>
where
    F: Fn(&[Operand<'_>], &mut [Target<'_>], &Pool) -> Result<(), Fault> + Send,
{
    fn run(&self, inputs: &[Operand<'_>], outputs: &mut [Target<'_>], pool: &Pool) -> Result<(), Fault> {
        (self.0)(inputs, outputs, pool)
    }
}

impl<'a> Operand<'a> {
    /// The floats, widened where they are not in the arena.
    pub(super) fn floats(&self) -> std::borrow::Cow<'a, [f32]> {
        match self {
            Operand::Floats(v) => (*v).into(),
            Operand::Tensor(t) => t.to_f32s().into(),
        }
    }

    /// Integers and booleans; floats are truncated.
    pub(super) fn ints(&self) -> Vec<i64> {
        match self {
            Operand::Floats(v) => v.iter().map(|&v| v as i64).collect(),
            Operand::Tensor(t) => ints(t),
        }
    }
}

/// The integers of a tensor.
pub(super) fn ints(t: &Tensor) -> Vec<i64> {
    let bytes = t.bytes();
    let wide = bytes.as_chunks::<4>().0;
    let short = bytes.as_chunks::<2>().0;
    match t.dtype() {
        DType::I32 => wide.iter().map(|c| i64::from(i32::from_le_bytes(*c))).collect(),
        DType::U32 => wide.iter().map(|c| i64::from(u32::from_le_bytes(*c))).collect(),
        DType::I16 => short.iter().map(|c| i64::from(i16::from_le_bytes(*c))).collect(),
        DType::U16 => short.iter().map(|c| i64::from(u16::from_le_bytes(*c))).collect(),
        DType::I8 => bytes.iter().map(|&c| i64::from(c.cast_signed())).collect(),
        DType::U8 => bytes.iter().map(|&c| i64::from(c)).collect(),
        DType::Bool => bytes.iter().map(|&c| i64::from(c != 0)).collect(),
        _ => t.to_i64s(),
    }
}

/// True for the integer types that [`write_ints`] knows, and booleans.
pub(super) fn is_plain(dtype: DType) -> bool {
    matches!(dtype, DType::Bool | DType::I8 | DType::U8 | DType::I16 | DType::U16 | DType::I32 | DType::U32)
}

/// Writes integers, wrapped into `dtype`; as booleans they are true where not 0.
///
/// # Panics
/// When `dtype` is not [`is_plain`].
pub(super) fn write_ints(dtype: DType, values: impl Iterator<Item = i64>, out: &mut [u8]) {
    match dtype {
        DType::I32 | DType::U32 => {
            let places = out.as_chunks_mut::<4>().0.iter_mut();
            places.zip(values).for_each(|(o, v)| *o = (v as i32).to_le_bytes());
        }
        DType::I16 | DType::U16 => {
            let places = out.as_chunks_mut::<2>().0.iter_mut();
            places.zip(values).for_each(|(o, v)| *o = (v as i16).to_le_bytes());
        }
        DType::I8 | DType::U8 => out.iter_mut().zip(values).for_each(|(o, v)| *o = v as u8),
        DType::Bool => out.iter_mut().zip(values).for_each(|(o, v)| *o = u8::from(v != 0)),
        other => panic!("{other} is no plain integer type"),
    }
}

/// A fault of the engine's own making: a kernel met operands that it was not lowered for.
pub(super) fn unforeseen() -> Fault {
    Fault::new("operands are not held as they were planned")
}
