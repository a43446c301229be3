//! Kernels over more than floats: integers and booleans, and what goes from the one to the other.

use crate::kernels::elementwise::GRAIN;
use crate::pool::Pool;
use anemone_mil::ops::Fault;
use anemone_mil::{DType, Tensor};
use std::sync::{Mutex, PoisonError};

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
    /// Elements of scratch memory.
    fn scratch(&self, _pool: &Pool) -> usize {
        0
    }

    /// Bytes that it allocates by itself while it runs.
    fn own_memory(&self, _pool: &Pool) -> usize {
        0
    }

    /// Computes the results, with scratch memory as long as [`Mixed::scratch`] asks for.
    ///
    /// # Errors
    /// When an operand's values are not allowed, such as an index out of range.
    fn run(
        &self,
        inputs: &[Operand<'_>],
        outputs: &mut [Target<'_>],
        scratch: &mut [f32],
        pool: &Pool,
    ) -> Result<(), Fault>;

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
    fn run(
        &self,
        inputs: &[Operand<'_>],
        outputs: &mut [Target<'_>],
        _: &mut [f32],
        pool: &Pool,
    ) -> Result<(), Fault> {
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
    pub(super) fn ints(&self) -> Ints<'a> {
        match self {
            Operand::Floats(v) => Ints::Float(v),
            Operand::Tensor(t) => Ints::of(t),
        }
    }
}

/// Numbers that are widened as they are read; floats are truncated, booleans 0 or 1.
pub(super) enum Ints<'a> {
    Float(&'a [f32]),
    Bool(&'a [u8]),
    I8(&'a [u8]),
    U8(&'a [u8]),
    I16(&'a [[u8; 2]]),
    U16(&'a [[u8; 2]]),
    I32(&'a [[u8; 4]]),
    U32(&'a [[u8; 4]]),
    /// Those of any other type.
    Wide(Vec<i64>),
}

/// Runs `$body` with `$v` the numbers of `$ints` and `$widen` what makes an `i64` of one.
macro_rules! widening {
    ($ints:expr, |$v:ident, $widen:ident| $body:expr) => {
        widening!($ints, $v, $widen, $body,
            Float(v: f32) => v as i64, Bool(v: u8) => i64::from(v != 0), I8(v: u8) => i64::from(v.cast_signed()),
            U8(v: u8) => i64::from(v), I16(v: [u8; 2]) => i64::from(i16::from_le_bytes(v)),
            U16(v: [u8; 2]) => i64::from(u16::from_le_bytes(v)),
            I32(v: [u8; 4]) => i64::from(i32::from_le_bytes(v)),
            U32(v: [u8; 4]) => i64::from(u32::from_le_bytes(v)), Wide(v: i64) => v)
    };
    ($ints:expr, $v:ident, $widen:ident, $body:expr, $($kind:ident($x:ident: $t:ty) => $wide:expr),*) => {
        match $ints {
            $(Ints::$kind($v) => {
                let $widen = |$x: $t| $wide;
                $body
            })*
        }
    };
}

impl<'a> Ints<'a> {
    pub(super) fn of(t: &'a Tensor) -> Ints<'a> {
        let bytes: &'a [u8] = t.bytes();
        let (short, wide) = (bytes.as_chunks::<2>().0, bytes.as_chunks::<4>().0);
        match t.dtype() {
            DType::Bool => Ints::Bool(bytes),
            DType::I8 => Ints::I8(bytes),
            DType::U8 => Ints::U8(bytes),
            DType::I16 => Ints::I16(short),
            DType::U16 => Ints::U16(short),
            DType::I32 => Ints::I32(wide),
            DType::U32 => Ints::U32(wide),
            _ => Ints::Wide(t.to_i64s()),
        }
    }

    pub(super) fn len(&self) -> usize {
        widening!(self, |v, _widen| v.len())
    }

    /// Number `i`.
    pub(super) fn at(&self, i: usize) -> i64 {
        widening!(self, |v, widen| widen(v[i]))
    }

    /// Writes what `f` makes of the numbers from `from` on, one for each place.
    pub(super) fn map<T>(&self, from: usize, out: &mut [T], f: impl Fn(i64) -> T) {
        let places = from..from + out.len();
        widening!(self, |v, widen| out.iter_mut().zip(&v[places]).for_each(|(o, &v)| *o = f(widen(v))));
    }

    /// All numbers; for those that say something about shapes.
    pub(super) fn to_vec(&self) -> Vec<i64> {
        (0..self.len()).map(|i| self.at(i)).collect()
    }
}

/// Numbers that are widened at once.
pub(super) const BLOCK: usize = 256;

/// Runs `$body` with the constant `$n` the bytes of an element, which `$width` says.
macro_rules! by_width {
    ($width:expr, $n:ident => $body:expr) => {
        match $width {
            1 => {
                const $n: usize = 1;
                $body
            }
            2 => {
                const $n: usize = 2;
                $body
            }
            4 => {
                const $n: usize = 4;
                $body
            }
            _ => {
                const $n: usize = 8;
                $body
            }
        }
    };
}
pub(super) use by_width;

/// The first fault, in the order of elements, that tasks of a kernel met.
#[derive(Default)]
pub(super) struct First(Mutex<Option<(usize, Fault)>>);

impl First {
    /// Notes the fault of an element.
    pub(super) fn note(&self, element: usize, fault: Fault) {
        let mut first = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if first.as_ref().is_none_or(|(at, _)| element < *at) {
            *first = Some((element, fault));
        }
    }

    /// # Errors
    /// The first fault, when there was one.
    pub(super) fn done(self) -> Result<(), Fault> {
        match self.0.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some((_, fault)) => Err(fault),
            None => Ok(()),
        }
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

/// Writes `f(i)` into place `i` of a result of plain integers, on the threads of `pool`.
///
/// # Panics
/// When `dtype` is not [`is_plain`].
pub(super) fn fill_ints(dtype: DType, out: &mut [u8], pool: &Pool, f: impl Fn(usize) -> i64 + Sync) {
    let width = dtype.bits() / 8;
    pool.rows_mut(out, width, GRAIN * width, |first, out| {
        write_ints(dtype, (first..first + out.len() / width).map(&f), out);
    });
}

/// A fault of the engine's own making: a kernel met operands that it was not lowered for.
pub(super) fn unforeseen() -> Fault {
    Fault::new("operands are not held as they were planned")
}
