//! A value that is scaled where it is negative becomes `leaky_relu`.
//!
//! ```text
//! y = maximum(x, mul(x, 0.1))                      becomes      y = leaky_relu(x, alpha = 0.1)
//! y = select(greater(x, 0), x, mul(x, 0.1))        becomes      y = leaky_relu(x, alpha = 0.1)
//! ```

use crate::{Miss, OpRef, Patch, Ref};
use anemone_mil::{Tensor, ValueId};

/// The rewrite; looks at `maximum` and `select`.
///
/// # Errors
/// The reason why it does not apply.
pub fn rewrite(op: OpRef<'_>) -> Result<Patch, Miss> {
    let (x, alpha) = match op.kind() {
        "maximum" => maximum(op)?,
        "select" => select(op)?,
        _ => return Err(Miss::OtherKind),
    };
    let mut patch = Patch::default();
    let alpha = patch.literal("alpha", Tensor::scalar_f64(op.tensor(x)?.dtype, alpha));
    let new = patch.op("leaky_relu", "leaky_relu", vec![("x", Ref::Value(x)), ("alpha", alpha)]);
    Ok(patch.replacing(op.result()?, new))
}

fn maximum(op: OpRef<'_>) -> Result<(ValueId, f64), Miss> {
    let (a, b) = (op.operand("x")?, op.operand("y")?);
    let (x, slope) = scaled(op, b)
        .filter(|s| s.0 == a)
        .or_else(|| scaled(op, a).filter(|s| s.0 == b))
        .ok_or("no operand is a multiple of the other")?;
    if !(0.0..=1.0).contains(&slope) {
        return Err("the slope is not between 0 and 1".into());
    }
    Ok((x, slope))
}

fn select(op: OpRef<'_>) -> Result<(ValueId, f64), Miss> {
    let test = op.made_by(op.operand("cond")?, &["greater", "greater_equal"])?;
    let (bound, tested) = test.number_side()?;
    let (a, b) = (op.operand("a")?, op.operand("b")?);
    if tested != "x" || bound != 0.0 || test.operand("x")? != a {
        return Err("the condition is not that the value is above 0".into());
    }
    scaled(op, b).filter(|s| s.0 == a).ok_or("the other value is not a multiple of the first".into())
}

/// A multiple of a value: the value and the number.
fn scaled(op: OpRef<'_>, v: ValueId) -> Option<(ValueId, f64)> {
    let mul = op.sole(v, &["mul"]).ok()?;
    let (slope, other) = mul.number_side().ok()?;
    Some((mul.operand(other).ok()?, slope))
}
