//! A scale and a shift per channel become one `batch_norm`.
//!
//! ```text
//! y = add(mul(x, s), t)      becomes      y = batch_norm(x, mean = 0, variance = 1, gamma = s, beta = t, epsilon = 0)
//! ```

use super::affine;
use crate::{Miss, OpRef, Patch, Ref};
use anemone_mil::{Tensor, Weight};

/// The smallest positive number of `fp16`, 2^-24.
const SMALLEST: f64 = 5.960_464_477_539_063e-8;

/// The rewrite; looks at `add` and at `sub` of a constant.
///
/// # Errors
/// The reason why it does not apply.
pub fn rewrite(op: OpRef<'_>) -> Result<Patch, Miss> {
    op.expect(&["add", "sub"])?;
    let (term, other) = op.constant_side()?;
    let subtract = op.is(&["sub"]);
    if subtract && other == "y" {
        return Err("it subtracts from a constant".into());
    }
    let product = op.operand(other)?;
    let mul = op.sole(product, &["mul"])?;
    let (factor, other) = mul.constant_side()?;
    let x = mul.operand(other)?;
    let ty = op.tensor(x)?;
    if !(3..=5).contains(&ty.rank()) || !ty.dtype.is_float() || op.tensor(product)? != ty {
        return Err("the value is no tensor with channels and spatial dims of floats".into());
    }
    let channels = affine::channels(op, x)?;
    let sign = if subtract { -1.0 } else { 1.0 };
    let gamma = affine::per_channel(&factor, channels, ty.rank())?;
    let beta: Vec<f64> = affine::per_channel(&term, channels, ty.rank())?.iter().map(|t| sign * t).collect();
    // Alone such a number keeps its op in `fp32`; among others it would be dropped.
    if gamma.iter().chain(&beta).any(|v| *v != 0.0 && v.abs() < SMALLEST) {
        return Err("a factor or term is zero in fp16".into());
    }
    let mut patch = Patch::default();
    let mut args = vec![("x", Ref::Value(x))];
    let statistics =
        [("mean", vec![0.0; channels]), ("variance", vec![1.0; channels]), ("gamma", gamma), ("beta", beta)];
    for (param, values) in statistics {
        let numbers = Tensor::from_f64s(ty.dtype, [channels], &values)?;
        args.push((param, patch.constant(param, Weight::of(&numbers))));
    }
    args.push(("epsilon", patch.literal("epsilon", Tensor::scalar_f64(ty.dtype, 0.0))));
    let new = patch.op("batch_norm", "norm", args);
    Ok(patch.replacing(op.result()?, new))
}
