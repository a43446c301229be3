//! Moving elements without arithmetic: what the shape, slice, gather and list ops share.

use super::common::{element_count, for_each_index};
use super::{Domain, Fault, Site};
use crate::{Dim, Literal, TensorType, Type};
use anemone_tensor::{Bytes, DType, Tensor, codec, num};
use std::fmt;

/// `T`: `fp16`, `fp32`, `int32`, `bool`.
pub(crate) const T_BASIC: Domain = Domain { name: "T", types: BASIC };
/// The four element types that every op set has.
pub(crate) const BASIC: &[DType] = &[DType::F16, DType::F32, DType::I32, DType::Bool];
/// `T`: the element types that op set `ios17` moves.
pub(crate) const T_WIDE: Domain = Domain {
    name: "T",
    types: &[DType::F16, DType::F32, DType::I8, DType::I16, DType::I32, DType::U8, DType::U16, DType::Bool],
};
/// `T`: the numbers that op set `ios17` gathers and sorts.
pub(crate) const T_NUMBERS: Domain = Domain {
    name: "T",
    types: &[DType::F16, DType::F32, DType::I8, DType::I16, DType::I32, DType::U8, DType::U16],
};
/// `U`: `int8`, `int16`, `int32`.
pub(crate) const U_INTS: Domain = Domain { name: "U", types: &[DType::I8, DType::I16, DType::I32] };

/// Most elements that evaluation makes out of fewer.
const MAX_MADE: usize = 1 << 28;

/// Number of elements of a result made of `given` elements.
///
/// # Errors
/// When that is more than memory should be spent on.
pub(crate) fn made(shape: &[usize], given: usize) -> Result<usize, Fault> {
    let count = element_count(shape)?;
    if count <= given.max(MAX_MADE) {
        return Ok(count);
    }
    Err(Fault::new(format!("a result of shape {shape:?} has {count} elements; {MAX_MADE} is the limit here")))
}

/// A tensor whose element at each index of `shape` is the element of `x` that `from` names by its position, or
/// `otherwise` (a tensor of one element of the same type, zero when absent) where it names none.
///
/// # Errors
/// When the shape is too large, or a position lies outside `x`.
pub(crate) fn pick_or(
    x: &Tensor,
    otherwise: Option<&Tensor>,
    shape: &[usize],
    mut from: impl FnMut(&[usize]) -> Option<usize>,
) -> Result<Tensor, Fault> {
    let count = made(shape, x.len())?;
    let fill = otherwise.filter(|t| t.dtype() == x.dtype() && !t.is_empty());
    let width = x.dtype().bits() / 8;
    let mut out = vec![0u8; x.dtype().packed_len(count).unwrap_or(0)];
    let (mut to, mut beyond) = (0, false);
    for_each_index(shape, |index| {
        let source = match from(index) {
            Some(at) if at >= x.len() => return beyond = true,
            Some(at) => Some((x, at)),
            None => fill.map(|t| (t, 0)),
        };
        match source {
            Some((t, at)) if width > 0 => {
                out[to * width..][..width].copy_from_slice(&t.bytes()[at * width..][..width]);
            }
            Some((t, at)) => codec::write_i64(x.dtype(), &mut out, to, t.i64_at(at)),
            None => {}
        }
        to += 1;
    });
    if beyond {
        return Err(Fault::new(format!("reaches beyond the {} elements of its operand", x.len())));
    }
    packed(x.dtype(), shape, out)
}

/// [`pick_or`] with zeros where no element is named.
///
/// # Errors
/// As [`pick_or`].
pub(crate) fn pick(
    x: &Tensor,
    shape: &[usize],
    from: impl FnMut(&[usize]) -> Option<usize>,
) -> Result<Tensor, Fault> {
    pick_or(x, None, shape, from)
}

/// A tensor over packed bytes.
///
/// # Errors
/// When the length is not that of the shape.
pub(crate) fn packed(dtype: DType, shape: &[usize], bytes: impl Into<Bytes>) -> Result<Tensor, Fault> {
    Tensor::new(dtype, shape, bytes).map_err(|e| Fault::new(e.to_string()))
}

/// The same elements under another shape.
///
/// # Errors
/// When the number of elements differs.
pub(crate) fn reshaped(x: &Tensor, shape: &[usize]) -> Result<Vec<Literal>, Fault> {
    x.reshaped(shape).map(|t| vec![t.into()]).map_err(|e| Fault::new(e.to_string()))
}

/// An integer tensor of `dtype`.
///
/// # Errors
/// When the number of values is not that of the shape.
pub(crate) fn int_tensor(dtype: DType, shape: &[usize], values: &[i64]) -> Result<Tensor, Fault> {
    Tensor::from_i64s(dtype, shape, values).map_err(|e| Fault::new(e.to_string()))
}

/// One result of an element type and dims.
pub(crate) fn one(dtype: DType, dims: Vec<Dim>) -> Vec<Type> {
    vec![TensorType { dtype, dims }.into()]
}

/// Product of dims: a single dim that is not fixed survives among ones.
pub(crate) fn product(dims: &[Dim]) -> Dim {
    let known: Option<Vec<usize>> = dims.iter().filter(|d| d.known().is_some()).map(Dim::known).collect();
    let open: Vec<&Dim> = dims.iter().filter(|d| d.known().is_none()).collect();
    match (known.and_then(|k| num::element_count(&k)), open.as_slice()) {
        (Some(0), _) => Dim::Known(0),
        (Some(n), []) => Dim::Known(n),
        (Some(1), [only]) => (*only).clone(),
        _ => Dim::Unknown,
    }
}

/// The more precise of two dims that must be the same extent.
///
/// # Errors
/// When both are fixed and differ; the fault names `param`.
pub(crate) fn same_dim(param: &str, actual: &Dim, expected: &Dim) -> Result<Dim, Fault> {
    match (actual, expected) {
        (Dim::Known(a), Dim::Known(b)) if a != b => {
            Err(Fault::arg(param, format!("of extent {a}"), format!("of extent {b}")))
        }
        (Dim::Known(_), _) | (_, Dim::Unknown) => Ok(actual.clone()),
        _ => Ok(expected.clone()),
    }
}

/// Checks that a shape is the one that is expected, as far as both are known.
///
/// # Errors
/// When they contradict; the fault names `param`.
pub(crate) fn same_shape(param: &str, actual: &[Dim], expected: &[Dim]) -> Result<(), Fault> {
    let fits = actual.len() == expected.len() && actual.iter().zip(expected).all(|(a, e)| a.compatible(e));
    if fits {
        return Ok(());
    }
    Err(Fault::arg(param, format!("of shape {}", show(actual)), format!("of shape {}", show(expected))))
}

/// A shape as text, such as `[1, ?, 3]`.
pub(crate) fn show<D: fmt::Display>(dims: &[D]) -> String {
    let dims: Vec<String> = dims.iter().map(ToString::to_string).collect();
    format!("[{}]", dims.join(", "))
}

/// Checks the number of dims of an argument.
///
/// # Errors
/// When it is another one.
pub(crate) fn of_rank(param: &str, ty: &TensorType, rank: usize) -> Result<(), Fault> {
    if ty.rank() == rank {
        return Ok(());
    }
    Err(Fault::arg(param, format!("of rank {}", ty.rank()), format!("of rank {rank}")))
}

/// Counts a possibly negative axis from the front of `rank` dims.
///
/// # Errors
/// When it is out of range.
pub(crate) fn front(param: &str, axis: i64, rank: usize) -> Result<usize, Fault> {
    let wide = num::i64_of(rank);
    let at = if axis < 0 { axis.saturating_add(wide) } else { axis };
    let at = num::usize_of(at).filter(|&a| a < rank);
    at.ok_or_else(|| Fault::arg(param, axis, format!("between -{rank} and {}", wide - 1)))
}

/// A fixed number that must be at least `least`.
///
/// # Errors
/// When it is smaller.
pub(crate) fn at_least(param: &str, value: i64, least: usize) -> Result<usize, Fault> {
    let fits = num::usize_of(value).filter(|&v| v >= least);
    fits.ok_or_else(|| Fault::arg(param, value, format!("at least {least}")))
}

/// The result as declared, where even its rank depends on values known only when the model runs.
///
/// # Errors
/// When nothing is declared yet; the fault names `param`.
pub(crate) fn of_declared_rank(site: &Site<'_>, dtype: DType, param: &str) -> Result<Vec<Type>, Fault> {
    let declared = site.op.outputs.first().and_then(|&v| site.function.value(v).ty.tensor());
    let declared = declared.map(|t| vec![t.with_dtype(dtype).into()]);
    declared.ok_or_else(|| {
        Fault::arg(param, "of a length known only at run time", "a vector of fixed length: it gives the rank")
    })
}
