//! `gather_nd` at constant indices becomes `gather`.
//!
//! ```text
//! y = gather_nd(x: [4, 8, 3], indices: [[0, 1], [3, 7]])      becomes      y = gather(reshape(x, [32, 3]), [1, 31], axis = 0)
//! ```

use super::Limits;
use super::pieces::{count, reshape};
use crate::{Miss, OpRef, Patch, Ref};
use anemone_mil::{DType, Tensor};

/// The rewrite; looks at `gather_nd`.
///
/// # Errors
/// The reason why it does not apply.
pub fn rewrite(op: OpRef<'_>, _: &Limits) -> Result<Patch, Miss> {
    op.expect(&["gather_nd"])?;
    let site = op.site()?;
    if site.version.param("batch_dims").is_some() && site.int("batch_dims")? != 0 {
        return Err("there are batch dims".into());
    }
    let (x, indices) = (op.operand("x")?, op.constant(op.operand("indices")?)?);
    let shape = op.shape(x)?;
    let (&depth, outer) = indices.shape().split_last().ok_or("the indices are one number")?;
    if depth == 0 || depth > shape.len() {
        return Err("the indices address no dim".into());
    }
    let (addressed, rest) = shape.split_at(depth);
    let flat: Option<Vec<i64>> =
        indices.to_i64s().chunks_exact(depth).map(|index| position(index, addressed)).collect();
    let flat = Tensor::from_i64s(DType::I32, outer, &flat.ok_or("an index is out of range")?)?;
    let mut patch = Patch::default();
    let rows = count(addressed)?;
    let table = if depth == 1 {
        Ref::Value(x)
    } else {
        reshape(&mut patch, Ref::Value(x), &[&[rows], rest].concat())?
    };
    let flat = patch.literal("indices", flat);
    let axis = patch.literal("axis", Tensor::scalar_i32(0));
    let new = patch.op("gather", "gathered", vec![("x", table), ("indices", flat), ("axis", axis)]);
    Ok(patch.replacing(op.result()?, new))
}

/// Place of an index among all elements of the dims that it addresses, row by row.
fn position(index: &[i64], extents: &[usize]) -> Option<i64> {
    index.iter().zip(extents).try_fold(0_i64, |at, (&i, &n)| {
        let n = i64::try_from(n).ok()?;
        let i = if i < 0 { i + n } else { i };
        if (0..n).contains(&i) { at.checked_mul(n)?.checked_add(i) } else { None }
    })
}
