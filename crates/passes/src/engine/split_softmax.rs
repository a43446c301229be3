//! A softmax over a large matrix of scores is computed in windows of rows.
//!
//! ```text
//! y = softmax(x: [1, 1, 4096, 4096], axis = -1)
//! becomes      y = concat(softmax(x[0:512]), softmax(x[512:1024]), ..)
//! ```
//! Rows do not depend on each other. Attention as a whole is for `split_attention`, which is tried first.

use super::Limits;
use super::attention::Attention;
use super::pieces::{MOST_PIECES, along, concat, cut, extents};
use crate::{Miss, OpRef, Patch, Ref};

/// The rewrite; looks at `softmax`.
///
/// # Errors
/// The reason why it does not apply.
pub fn rewrite(op: OpRef<'_>, limits: &Limits) -> Result<Patch, Miss> {
    op.expect(&["softmax"])?;
    let x = op.operand("x")?;
    let shape = extents(op, x)?;
    let [.., rows, columns] = *shape.as_slice() else { return Err("there are no rows".into()) };
    if rows < limits.attention || columns < limits.attention {
        return Err(Miss::because(format!("{rows} x {columns} scores are not many")));
    }
    let mixed = op.index.only(op.result()?).map(|id| OpRef { id, ..op });
    if mixed.is_some_and(|mix| Attention::of(mix).is_ok()) {
        return Err("it is part of attention, which is split as a whole".into());
    }
    let axis = op.site()?.axis("axis", shape.len())?;
    let last = shape.len() - 1;
    let split = if axis == last { last - 1 } else { last };
    let window = limits.window.max(1);
    if shape[split].div_ceil(window) > MOST_PIECES {
        return Err(Miss::because(format!("{} rows make too many windows", shape[split])));
    }
    let mut patch = Patch::default();
    let mut parts = Vec::new();
    for from in (0..shape[split]).step_by(window) {
        let span = (from, (from + window).min(shape[split]));
        let part = cut(&mut patch, Ref::Value(x), &along(&shape, split, span))?;
        parts.push(patch.variant(op.op(), "rows", vec![("x", part)]));
    }
    let joined = concat(&mut patch, parts, split)?;
    Ok(patch.replacing(op.result()?, joined))
}
