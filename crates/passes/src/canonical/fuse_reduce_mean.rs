//! A sum divided by the number of its terms becomes `reduce_mean`.
//!
//! ```text
//! y = mul(reduce_sum(x, axes), 1 / n)      becomes      y = reduce_mean(x, axes)
//! ```
//! In `fp16` the sum may be beyond the range where the mean is not.

use super::product::is_about;
use crate::{Miss, OpRef, Patch, Ref};
use anemone_mil::Dim;
use anemone_mil::ops::Reduction;
use anemone_tensor::num;

/// The rewrite; looks at `mul` and `real_div` by a constant number.
///
/// # Errors
/// The reason why it does not apply.
pub fn rewrite(op: OpRef<'_>) -> Result<Patch, Miss> {
    op.expect(&["mul", "real_div"])?;
    let (n, other) = op.number_side()?;
    let sum = op.sole(op.operand(other)?, &["reduce_sum"])?;
    let factor = match op.kind() {
        "mul" => n,
        _ if other == "x" => n.recip(),
        _ => return Err("it divides a number".into()),
    };
    let x = sum.operand("x")?;
    let ty = op.tensor(x)?;
    let axes = Reduction::of(&sum.site()?)?.axes;
    let count: Option<usize> = axes.iter().map(|&a| ty.dims.get(a).and_then(Dim::known)).product();
    let count = count.filter(|&n| n > 0).ok_or("the number of terms is unknown")?;
    if !ty.dtype.is_float() || !is_about(ty.dtype, factor * num::f64_of_usize(count), 1.0) {
        return Err("the sum is not divided by the number of its terms".into());
    }
    let mut args = vec![("x", Ref::Value(x))];
    for param in ["axes", "keep_dims"] {
        args.extend(sum.op().value(param).map(|v| (param, Ref::Value(v))));
    }
    let mut patch = Patch::default();
    let new = patch.op("reduce_mean", "mean", args);
    Ok(patch.replacing(op.result()?, new))
}
