//! A norm of root mean squares is computed of numbers of at most 1, so that no square overflows in `fp16`.
//!
//! ```text
//! y = mul(x, rsqrt(add(reduce_mean(square(x)), epsilon)))      becomes
//! s = maximum(reduce_max(abs(x)), 1); z = real_div(x, s)
//! y = mul(z, rsqrt(add(reduce_mean(square(z)), square(real_div(sqrt(epsilon), s)))))
//! ```
//! In `fp16` the square of 256 is infinite, and on the engine so is every sum from 32768 on. Where all numbers are below
//! 1 nothing changes. The quotient may be written with `sqrt`, a power or `inverse`.

use super::Limits;
use super::pieces::{binary, number, reduce};
use crate::canonical::fuse_layer_norm::root;
use crate::canonical::product::{Product, number_and_rest};
use crate::{Miss, OpRef, Patch, Ref};
use anemone_mil::ops::Reduction;
use anemone_mil::{DType, ValueId};

/// The rewrite; looks at `mul` and `real_div`.
///
/// # Errors
/// The reason why it does not apply.
pub fn rewrite(op: OpRef<'_>, _: &Limits) -> Result<Patch, Miss> {
    op.expect(&["mul", "real_div"])?;
    let (x, y) = (op.operand("x")?, op.operand("y")?);
    if op.is(&["real_div"]) {
        return scaled(op, x, root(op, y, 0.5)?);
    }
    match root(op, y, -0.5) {
        Ok(found) => scaled(op, x, found),
        Err(why) => scaled(op, y, root(op, x, -0.5).map_err(|_| why)?),
    }
}

/// Replaces `op`, which divides `x` by the root of `sum`.
fn scaled(op: OpRef<'_>, x: ValueId, (sum, own): (OpRef<'_>, f64)) -> Result<Patch, Miss> {
    let (epsilon, mean) = number_and_rest(sum)?;
    let mean = sum.sole(mean, &["reduce_mean"])?;
    let reduction = Reduction::of(&mean.site()?)?;
    let square = mean.operand("x")?;
    let square = Product::of(mean.made_by(square, &["mul", "square", "pow"])?);
    let dtype = op.tensor(x)?.dtype;
    if dtype != DType::F16 || op.tensor(op.result()?)? != op.tensor(x)? {
        return Err("it does not compute in fp16".into());
    }
    if square.factor.to_bits() != 1.0_f64.to_bits() || square.terms != [x, x] || !reduction.keep_dims {
        return Err("it is no mean of the squares of what is divided".into());
    }
    let mut patch = Patch::default();
    let one = number(&mut patch, dtype, 1.0);
    let magnitude = patch.op("abs", "magnitude", vec![("x", Ref::Value(x))]);
    let largest = reduce(&mut patch, "reduce_max", magnitude, &reduction.axes)?;
    let scale = binary(&mut patch, "maximum", "scale", largest, one);
    let small = binary(&mut patch, "real_div", "small", Ref::Value(x), scale);
    let squares = patch.op("square", "squares", vec![("x", small)]);
    let mean = reduce(&mut patch, "reduce_mean", squares, &reduction.axes)?;
    let root = number(&mut patch, dtype, (epsilon + own).max(0.0).sqrt());
    let shift = binary(&mut patch, "real_div", "shift", root, scale);
    let shift = patch.op("square", "shifts", vec![("x", shift)]);
    let sum = binary(&mut patch, "add", "sum", mean, shift);
    let inverse = patch.op("rsqrt", "inverse", vec![("x", sum)]);
    let normed = binary(&mut patch, "mul", "normed", small, inverse);
    Ok(patch.replacing(op.result()?, normed))
}
