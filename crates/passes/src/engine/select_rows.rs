//! Rows at a run-time position become a product with a matrix that has one 1 per row.
//!
//! ```text
//! y = gather_nd(x: [4, 8], indices: [2, 1])                    becomes
//! y = matmul(cast(equal(indices, [0, 1, 2, 3]), "fp16"), x)
//! y = slice_by_size(x: [8, 4], begin = b, size = [2, 4])       becomes
//! y = matmul(cast(equal(b[0] + [0, 1], [0, .., 7]), "fp16"), x)
//! ```
//! Up to 2048 rows, which is as far as `fp16` counts. Nothing is rounded; but a row that is not taken adds 0 times its
//! numbers, which is no number where one is infinite.

use super::Limits;
use super::pieces::{binary, cast, count, cut, extents, matmul, number, positions, reshape};
use crate::{Miss, OpRef, Patch, Ref};
use anemone_mil::DType;
use anemone_tensor::num;

/// The rewrite; looks at `gather_nd` and `slice_by_size`.
///
/// # Errors
/// The reason why it does not apply.
pub fn rewrite(op: OpRef<'_>, _: &Limits) -> Result<Patch, Miss> {
    match op.kind() {
        "gather_nd" => gathered(op),
        "slice_by_size" => sliced(op),
        _ => Err(Miss::OtherKind),
    }
}

fn gathered(op: OpRef<'_>) -> Result<Patch, Miss> {
    let (x, indices) = (op.operand("x")?, op.operand("indices")?);
    let (shape, places) = (extents(op, x)?, extents(op, indices)?);
    let site = op.site()?;
    let batched = site.version.param("batch_dims").is_some() && site.int("batch_dims")? != 0;
    if batched || op.function.constant(indices).is_some() || places.last() != Some(&1) {
        return Err("the indices are constant, in batches, or of several dims".into());
    }
    let (rows, taken) = (shape[0], count(&places)?);
    let mut patch = Patch::default();
    let counted = counted(op, indices)?;
    let index = cast(&mut patch, Ref::Value(indices), counted);
    let index = from_front(&mut patch, index, counted, rows);
    let index = reshape(&mut patch, index, &[1, taken, 1])?;
    rows_at(op, patch, index, (1, rows, count(&shape[1..])?), counted)
}

fn sliced(op: OpRef<'_>) -> Result<Patch, Miss> {
    let (x, begin) = (op.operand("x")?, op.operand("begin")?);
    if op.function.constant(begin).is_some() {
        return Err("it begins at a constant position".into());
    }
    let (shape, result) = (extents(op, x)?, extents(op, op.result()?)?);
    let cut_dims: Vec<usize> = (0..shape.len()).filter(|&d| shape[d] != result[d]).collect();
    let [axis] = *cut_dims.as_slice() else {
        return Err(Miss::because(format!("{} dims are cut", cut_dims.len())));
    };
    let mut patch = Patch::default();
    let counted = counted(op, begin)?;
    let all = cast(&mut patch, Ref::Value(begin), counted);
    let first = cut(&mut patch, all, &[(axis, axis + 1)])?;
    let first = from_front(&mut patch, first, counted, shape[axis]);
    let first = reshape(&mut patch, first, &[1, 1, 1])?;
    let offsets = positions(&mut patch, counted, result[axis], 1, 3)?;
    let index = binary(&mut patch, "add", "index", first, offsets);
    let (outer, inner) = (count(&shape[..axis])?, count(&shape[axis + 1..])?);
    rows_at(op, patch, index, (outer, shape[axis], inner), counted)
}

/// The type to compare positions in: that of the data.
fn counted(op: OpRef<'_>, index: anemone_mil::ValueId) -> Result<DType, Miss> {
    let dtype = op.tensor(op.operand("x")?)?.dtype;
    if !matches!(dtype, DType::F16 | DType::F32) {
        return Err("the data are no floats".into());
    }
    if op.tensor(index)?.dtype.is_int() { Ok(dtype) } else { Err("the positions are no integers".into()) }
}

/// Positions that count from the end when they are negative, counted from the front.
pub(super) fn from_front(patch: &mut Patch, index: Ref, dtype: DType, extent: usize) -> Ref {
    let zero = number(patch, dtype, 0.0);
    let negative = binary(patch, "less", "negative", index, zero);
    let extent = number(patch, dtype, num::f64_of_usize(extent));
    let counted = binary(patch, "add", "counted", index, extent);
    patch.op("select", "index", vec![("cond", negative), ("a", counted), ("b", index)])
}

/// Replaces `op` by the rows of its `x`, taken as `outer x rows x inner`, at positions `index: [1, taken, 1]`.
fn rows_at(
    op: OpRef<'_>,
    mut patch: Patch,
    index: Ref,
    (outer, rows, inner): (usize, usize, usize),
    dtype: DType,
) -> Result<Patch, Miss> {
    let all = positions(&mut patch, dtype, rows, 2, 3)?;
    let hits = binary(&mut patch, "equal", "hits", index, all);
    let ones = cast(&mut patch, hits, dtype);
    let table = reshape(&mut patch, Ref::Value(op.operand("x")?), &[outer, rows, inner])?;
    let taken = matmul(&mut patch, (ones, false), (table, false));
    let result = op.result()?;
    let taken = reshape(&mut patch, taken, &extents(op, result)?)?;
    Ok(patch.replacing(result, taken))
}
