//! A `softmax` written out becomes one op.
//!
//! ```text
//! e = exp(sub(x, reduce_max(x))); y = real_div(e, reduce_sum(e))      becomes      y = softmax(x)
//! ```
//! The maximum may be left out: in `fp16` it must not, and inside of `softmax` it is not.

use crate::{Miss, OpRef, Patch, Ref};
use anemone_mil::ops::Reduction;
use anemone_mil::{Tensor, ValueId};

/// The rewrite; looks at `real_div`.
///
/// # Errors
/// The reason why it does not apply.
pub fn rewrite(op: OpRef<'_>) -> Result<Patch, Miss> {
    op.expect(&["real_div"])?;
    let (powers, sum) = (op.operand("x")?, op.operand("y")?);
    let exp = op.made_by(powers, &["exp"])?;
    let sum = op.sole(sum, &["reduce_sum"])?;
    if sum.operand("x")? != powers {
        return Err("the sum is that of another value".into());
    }
    let axis = kept_axis(sum)?;
    let x = without_maximum(exp, exp.operand("x")?, axis);
    let axis = i32::try_from(axis).map_err(|_| "too many dims")?;
    let mut patch = Patch::default();
    let axis = patch.literal("axis", Tensor::scalar_i32(axis));
    let new = patch.op("softmax", "softmax", vec![("x", Ref::Value(x)), ("axis", axis)]);
    Ok(patch.replacing(op.result()?, new))
}

/// The one axis of a reduction that keeps it.
fn kept_axis(reduction: OpRef<'_>) -> Result<usize, Miss> {
    let found = Reduction::of(&reduction.site()?)?;
    match *found.axes.as_slice() {
        [axis] if found.keep_dims => Ok(axis),
        _ => Err("the sum is not over one axis that is kept".into()),
    }
}

/// The value that its own maximum was subtracted from.
fn without_maximum(op: OpRef<'_>, v: ValueId, axis: usize) -> ValueId {
    let found = op.made_by(v, &["sub"]).ok().and_then(|sub| {
        let (x, top) = (sub.operand("x").ok()?, sub.operand("y").ok()?);
        let max = op.made_by(top, &["reduce_max"]).ok()?;
        (max.operand("x").ok()? == x && kept_axis(max).ok()? == axis).then_some(x)
    });
    found.unwrap_or(v)
}
