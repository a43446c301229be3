//! Small ops that several rewrites put together.

use crate::{Miss, NewOp, OpRef, Patch, Ref};
use anemone_mil::{Const, DType, Literal, Tensor};

/// Constants of a patch among which an equal one is looked for.
const NEAR: usize = 64;

/// A small constant; an equal one of the same name that was added not long ago serves again.
pub(super) fn literal(patch: &mut Patch, suffix: &'static str, literal: impl Into<Literal>) -> Ref {
    let literal = literal.into();
    let same = |(s, c): &(&str, Const)| *s == suffix && matches!(c, Const::Literal(l) if *l == literal);
    let known = patch.consts.iter().rev().take(NEAR).position(same);
    match known {
        Some(back) => Ref::Const(patch.consts.len() - 1 - back),
        None => patch.literal(suffix, literal),
    }
}

/// A list of numbers, as [`literal`].
fn ints(patch: &mut Patch, suffix: &'static str, values: &[usize]) -> Result<Ref, Miss> {
    let values: Result<Vec<i32>, _> = values.iter().map(|&v| i32::try_from(v)).collect();
    Ok(literal(patch, suffix, Tensor::vector_i32(&values.map_err(|_| "a number is too large")?)))
}

/// First element taken along a dim, and the one behind the last.
pub(super) type Span = (usize, usize);

/// The elements of `x` within one span per dim.
///
/// # Errors
/// When an extent does not fit `int32`.
pub(super) fn cut(patch: &mut Patch, x: Ref, spans: &[Span]) -> Result<Ref, Miss> {
    let (begin, end): (Vec<usize>, Vec<usize>) = spans.iter().copied().unzip();
    let begin = ints(patch, "begin", &begin)?;
    let end = ints(patch, "end", &end)?;
    Ok(patch.op("slice_by_index", "part", vec![("x", x), ("begin", begin), ("end", end)]))
}

/// The whole of every dim, with another span along one of them.
pub(super) fn along(shape: &[usize], axis: usize, span: Span) -> Vec<Span> {
    shape.iter().enumerate().map(|(d, &n)| if d == axis { span } else { (0, n) }).collect()
}

/// The same elements in another shape.
///
/// # Errors
/// When an extent does not fit `int32`.
pub(super) fn reshape(patch: &mut Patch, x: Ref, shape: &[usize]) -> Result<Ref, Miss> {
    let shape = ints(patch, "shape", shape)?;
    Ok(patch.op("reshape", "reshaped", vec![("x", x), ("shape", shape)]))
}

/// Dims in another order: dim `i` of the result is dim `perm[i]` of `x`.
///
/// # Errors
/// When there are too many dims.
pub(super) fn transpose(patch: &mut Patch, x: Ref, perm: &[usize]) -> Result<Ref, Miss> {
    let perm = ints(patch, "perm", perm)?;
    Ok(patch.op("transpose", "transposed", vec![("x", x), ("perm", perm)]))
}

/// Several values one behind the other along `axis`; one alone is itself.
///
/// # Errors
/// When the axis does not fit `int32`.
pub(super) fn concat(patch: &mut Patch, values: Vec<Ref>, axis: usize) -> Result<Ref, Miss> {
    if let [one] = *values.as_slice() {
        return Ok(one);
    }
    let axis = i32::try_from(axis).map_err(|_| "too many dims")?;
    let axis = literal(patch, "axis", Tensor::scalar_i32(axis));
    let interleave = literal(patch, "interleave", Tensor::scalar_bool(false));
    let args =
        vec![("values".into(), values), ("axis".into(), vec![axis]), ("interleave".into(), vec![interleave])];
    patch.ops.push(NewOp { kind: "concat".into(), args, suffix: "joined", attributes: Vec::new() });
    Ok(Ref::New(patch.ops.len() - 1))
}

/// A matrix product, of operands that may lie the other way round.
pub(super) fn matmul(patch: &mut Patch, (x, x_lies): (Ref, bool), (y, y_lies): (Ref, bool)) -> Ref {
    let tx = literal(patch, "transpose_x", Tensor::scalar_bool(x_lies));
    let ty = literal(patch, "transpose_y", Tensor::scalar_bool(y_lies));
    patch.op("matmul", "product", vec![("x", x), ("y", y), ("transpose_x", tx), ("transpose_y", ty)])
}

/// An op of two operands.
pub(super) fn binary(patch: &mut Patch, kind: &str, suffix: &'static str, x: Ref, y: Ref) -> Ref {
    patch.op(kind, suffix, vec![("x", x), ("y", y)])
}

/// One number.
pub(super) fn number(patch: &mut Patch, dtype: DType, value: f64) -> Ref {
    literal(patch, "number", Tensor::scalar_f64(dtype, value))
}

/// A value in another element type.
pub(super) fn cast(patch: &mut Patch, x: Ref, dtype: DType) -> Ref {
    let to = literal(patch, "dtype", Literal::string(dtype.name()));
    patch.op("cast", "cast", vec![("x", x), ("dtype", to)])
}

/// A reduction that keeps its dims.
///
/// # Errors
/// When there are too many dims.
pub(super) fn reduce(patch: &mut Patch, kind: &str, x: Ref, axes: &[usize]) -> Result<Ref, Miss> {
    let axes = ints(patch, "axes", axes)?;
    let keep = literal(patch, "keep_dims", Tensor::scalar_bool(true));
    Ok(patch.op(kind, "reduced", vec![("x", x), ("axes", axes), ("keep_dims", keep)]))
}

/// Asks that a value has a shape that is known and no empty dim.
///
/// # Errors
/// When it has not.
pub(super) fn extents(op: OpRef<'_>, value: anemone_mil::ValueId) -> Result<Vec<usize>, Miss> {
    let shape = op.shape(value)?;
    if shape.contains(&0) { Err(op.about(value, "is empty")) } else { Ok(shape) }
}

/// Number of elements of a shape.
///
/// # Errors
/// When there are more than can be counted.
pub(super) fn count(shape: &[usize]) -> Result<usize, Miss> {
    anemone_tensor::num::element_count(shape).ok_or_else(|| "there are too many elements".into())
}

/// More pieces than this of one op are no gain.
pub(super) const MOST_PIECES: usize = 1024;

/// Positions `0..n` as numbers, standing along `axis` of `rank` dims.
///
/// # Errors
/// When `dtype` does not count as far.
pub(super) fn positions(
    patch: &mut Patch,
    dtype: DType,
    n: usize,
    axis: usize,
    rank: usize,
) -> Result<Ref, Miss> {
    if dtype == DType::F16 && n > COUNTED {
        return Err(Miss::because(format!("{n} positions are more than fp16 counts")));
    }
    let values: Vec<f64> = (0..n).map(anemone_tensor::num::f64_of_usize).collect();
    let mut shape = vec![1; rank];
    shape[axis] = n;
    Ok(patch.constant("positions", Tensor::from_f64s(dtype, shape, &values)?))
}

/// Numbers up to which fp16 has every integer.
pub(super) const COUNTED: usize = 2048;
