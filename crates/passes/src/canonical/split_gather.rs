//! A `gather` at constant indices that lie evenly becomes a slice.
//!
//! ```text
//! y = gather(x, indices = [2, 3, 4], axis = 1)      becomes      y = slice_by_index(x, begin = [0, 2], end = [0, 5], ..)
//! y = gather(x, indices = 1, axis = 0)              becomes      y = slice_by_index(x, .., squeeze_mask = [true, false])
//! ```

use crate::{Miss, OpRef, Patch, Ref};
use anemone_mil::{Dim, Tensor};

/// The rewrite; looks at `gather`.
///
/// # Errors
/// The reason why it does not apply.
pub fn rewrite(op: OpRef<'_>) -> Result<Patch, Miss> {
    op.expect(&["gather"])?;
    let x = op.operand("x")?;
    let site = op.site()?;
    let ty = op.tensor(x)?;
    if op.function.constant(x).is_some() {
        return Err("a constant is looked up".into());
    }
    if site.version.param("batch_dims").is_some() && site.int("batch_dims")? != 0 {
        return Err("there are batch dims".into());
    }
    let indices = op.constant(op.operand("indices")?)?;
    let axis = site.axis("axis", ty.rank())?;
    let extent = ty.dims.get(axis).and_then(Dim::known);
    if indices.rank() > 1 || indices.is_empty() {
        return Err("the indices are no list".into());
    }
    let positions: Option<Vec<i64>> = indices.to_i64s().into_iter().map(|i| from_front(i, extent)).collect();
    let positions = positions.ok_or("an index counts from an end that is unknown, or is out of range")?;
    let step = even_step(&positions)?;
    let rank = ty.rank();
    let list =
        |at: i64, other: i64| (0..rank).map(|d| if d == axis { at } else { other }).collect::<Vec<_>>();
    let (first, last) = (positions[0], positions[positions.len() - 1]);
    let squeeze = indices.rank() == 0;
    let mut patch = Patch::default();
    let begin = patch.literal("begin", ints(&list(first, 0))?);
    let end = patch.literal("end", ints(&list(last + 1, 0))?);
    let whole: Vec<bool> = (0..rank).map(|d| d != axis).collect();
    let begin_mask = patch.literal("begin_mask", Tensor::vector_bool(&whole));
    let end_mask = patch.literal("end_mask", Tensor::vector_bool(&whole));
    let mut args = vec![
        ("x", Ref::Value(x)),
        ("begin", begin),
        ("end", end),
        ("begin_mask", begin_mask),
        ("end_mask", end_mask),
    ];
    if step > 1 {
        args.push(("stride", patch.literal("stride", ints(&list(step, 1))?)));
    }
    if squeeze {
        let mask: Vec<bool> = (0..rank).map(|d| d == axis).collect();
        args.push(("squeeze_mask", patch.literal("squeeze_mask", Tensor::vector_bool(&mask))));
    }
    let new = patch.op("slice_by_index", "slice", args);
    Ok(patch.replacing(op.result()?, new))
}

fn from_front(index: i64, extent: Option<usize>) -> Option<i64> {
    let extent = extent.and_then(|n| i64::try_from(n).ok());
    let front = if index < 0 { index.checked_add(extent?)? } else { index };
    (front >= 0 && extent.is_none_or(|n| front < n)).then_some(front)
}

/// The distance between neighbours, when it is the same everywhere and leads forward.
fn even_step(positions: &[i64]) -> Result<i64, Miss> {
    let steps: Vec<i64> = positions.windows(2).map(|w| w[1] - w[0]).collect();
    let step = steps.first().copied().unwrap_or(1);
    if step < 1 || steps.iter().any(|&s| s != step) {
        return Err("the indices do not lie evenly".into());
    }
    Ok(step)
}

fn ints(values: &[i64]) -> Result<Tensor, Miss> {
    let narrow: Result<Vec<i32>, _> = values.iter().map(|&v| i32::try_from(v)).collect();
    Ok(Tensor::vector_i32(&narrow.map_err(|_| "an index is too large")?))
}
