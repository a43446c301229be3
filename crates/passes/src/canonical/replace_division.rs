//! A division by a constant becomes a product.
//!
//! ```text
//! y = real_div(x, c)      becomes      y = mul(x, 1 / c)
//! ```
//! The product can be folded further, and is the cheaper op on every unit.

use crate::{Miss, OpRef, Patch, Ref};
use anemone_mil::{DType, Tensor, Weight};

/// The rewrite; looks at `real_div` of floats.
///
/// # Errors
/// The reason why it does not apply.
pub fn rewrite(op: OpRef<'_>) -> Result<Patch, Miss> {
    op.expect(&["real_div"])?;
    let (divisor, other) = op.constant_side()?;
    if other == "y" {
        return Err("it divides a constant".into());
    }
    let reciprocals: Vec<f64> = divisor.to_f64s().iter().map(|d| 1.0 / d).collect();
    if reciprocals.iter().any(|r| !r.is_finite()) {
        return Err("a divisor is zero".into());
    }
    let rounded = Tensor::from_f64s(divisor.dtype(), divisor.shape(), &reciprocals)?;
    let exact = rounded.to_f64s() == reciprocals && reciprocals.iter().all(|r| is_power_of_two(*r));
    if divisor.dtype() != DType::F32 && !exact {
        return Err("the reciprocal is too coarse in this type".into());
    }
    let mut patch = Patch::default();
    let factor = if rounded.rank() == 0 {
        patch.literal("factor", rounded)
    } else {
        patch.constant("factor", Weight::of(&rounded))
    };
    let x = Ref::Value(op.operand("x")?);
    let new = patch.op("mul", "mul", vec![("x", x), ("y", factor)]);
    Ok(patch.replacing(op.result()?, new))
}

fn is_power_of_two(v: f64) -> bool {
    v != 0.0 && v.to_bits() & ((1 << 52) - 1) == 0
}
