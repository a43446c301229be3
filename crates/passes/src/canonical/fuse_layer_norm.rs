//! A normalisation written out becomes `layer_norm`, or `instance_norm` over the spatial dims of a picture.
//!
//! ```text
//! d = sub(x, reduce_mean(x)); v = reduce_mean(mul(d, d))
//! y = add(mul(real_div(d, sqrt(add(v, epsilon))), gamma), beta)
//! becomes      y = layer_norm(x, gamma = gamma, beta = beta, epsilon = epsilon)
//! ```
//! The square may be written as a power, the quotient as a product with `rsqrt` or a power. `gamma` and `beta` are
//! taken in one after the other, when they vary along the normalised dims, or along the channels of a picture.

use super::affine;
use super::product::{Product, number_and_rest};
use crate::{Miss, OpRef, Patch, Ref};
use anemone_mil::ops::Reduction;
use anemone_mil::{Tensor, ValueId, Weight};

/// The rewrite; looks at `mul`, `real_div` and `add`.
///
/// # Errors
/// The reason why it does not apply.
pub fn rewrite(op: OpRef<'_>) -> Result<Patch, Miss> {
    op.expect(&["mul", "real_div", "add"])?;
    if let Ok((constant, other)) = op.constant_side() {
        return absorb(op, &constant, op.operand(other)?);
    }
    match op.kind() {
        "real_div" => normalise(op, op.operand("x")?, root(op, op.operand("y")?, 0.5)?),
        "mul" => {
            let (x, y) = (op.operand("x")?, op.operand("y")?);
            match root(op, y, -0.5) {
                Ok(found) => normalise(op, x, found),
                Err(why) => normalise(op, y, root(op, x, -0.5).map_err(|_| why)?),
            }
        }
        _ => Err("neither operand is constant".into()),
    }
}

/// `(v + epsilon) ^ power`: the op of the sum, and what its op adds to `epsilon` by itself.
pub(crate) fn root<'a>(op: OpRef<'a>, v: ValueId, power: f64) -> Result<(OpRef<'a>, f64), Miss> {
    let kinds: &[&str] =
        if power > 0.0 { &["sqrt", "pow"] } else { &["rsqrt", "pow", "inverse", "real_div"] };
    let maker = op.sole(v, kinds)?;
    let exact = |n: f64, wanted: f64| (n - wanted).abs() == 0.0;
    match maker.kind() {
        "pow" => {
            let (p, other) = maker.number_side()?;
            if other != "x" || !exact(p, power) {
                return Err("the power is no root".into());
            }
        }
        "inverse" => {
            if maker.site()?.float("epsilon")? > 1e-9 {
                return Err("the reciprocal is moved away from zero".into());
            }
            return root(maker, maker.operand("x")?, 0.5);
        }
        "real_div" => {
            let (one, other) = maker.number_side()?;
            if other != "y" || !exact(one, 1.0) {
                return Err("the quotient is no reciprocal".into());
            }
            return root(maker, maker.operand("y")?, 0.5);
        }
        _ => {}
    }
    let own = if maker.is(&["rsqrt"]) { maker.site()?.float("epsilon")? } else { 0.0 };
    Ok((maker.sole(maker.operand("x")?, &["add"])?, own))
}

/// Replaces `op`, which divides `centred` by the root of `sum`.
fn normalise(op: OpRef<'_>, centred: ValueId, (sum, own): (OpRef<'_>, f64)) -> Result<Patch, Miss> {
    let (epsilon, variance) = number_and_rest(sum)?;
    let variance = sum.sole(variance, &["reduce_mean"])?;
    let axes = mean_axes(variance)?;
    let squared = variance.operand("x")?;
    let square = Product::of(variance.sole(squared, &["mul", "square", "pow"])?);
    let one = square.factor - 1.0;
    let [a, b] = *square.terms.as_slice() else { return Err("the variance is no mean of squares".into()) };
    if one != 0.0 || difference(op, a)? != difference(op, centred)? || a != b {
        return Err("the variance is that of another value".into());
    }
    let (x, mean) = difference(op, centred)?;
    let mean = op.made_by(mean, &["reduce_mean"])?;
    if mean.operand("x")? != x || mean_axes(mean)? != axes {
        return Err("the mean is that of another value".into());
    }
    let ty = op.tensor(x)?;
    let mut patch = Patch::default();
    let epsilon = patch.literal("epsilon", Tensor::scalar_f64(ty.dtype, epsilon + own));
    let mut args = vec![("x", Ref::Value(x)), ("epsilon", epsilon)];
    let picture = ty.rank() == 4 && axes == [2, 3] && ty.dims[1].known().is_some();
    if !picture {
        if axes.iter().rev().enumerate().any(|(i, &a)| a + i + 1 != ty.rank()) {
            return Err("the normalised dims are not the last ones".into());
        }
        let list: Result<Vec<i32>, _> = axes.iter().map(|&a| i32::try_from(a)).collect();
        args.push(("axes", patch.literal("axes", Tensor::vector_i32(&list.map_err(|_| "too many dims")?))));
    }
    let new = patch.op(if picture { "instance_norm" } else { "layer_norm" }, "norm", args);
    Ok(patch.replacing(op.result()?, new))
}

/// `x - mean`: the two values.
fn difference(op: OpRef<'_>, v: ValueId) -> Result<(ValueId, ValueId), Miss> {
    let sub = op.made_by(v, &["sub"])?;
    Ok((sub.operand("x")?, sub.operand("y")?))
}

fn mean_axes(mean: OpRef<'_>) -> Result<Vec<usize>, Miss> {
    let reduction = Reduction::of(&mean.site()?)?;
    if !reduction.keep_dims {
        return Err("the mean drops dims".into());
    }
    let mut axes = reduction.axes;
    axes.sort_unstable();
    Ok(axes)
}

/// Takes a constant factor or term after a normalisation in.
fn absorb(op: OpRef<'_>, constant: &Tensor, v: ValueId) -> Result<Patch, Miss> {
    let norm = op.sole(v, &["layer_norm", "instance_norm"])?;
    let scales = op.is(&["mul"]);
    if op.is(&["real_div"]) {
        return Err("it divides the normalisation".into());
    }
    let free = |param: &str, neutral: f64| match norm.op().value(param) {
        Some(v) => norm.constant(v).is_ok_and(|t| t.to_f64s().iter().all(|&n| n == neutral)),
        None => true,
    };
    if !free("beta", 0.0) || scales && !free("gamma", 1.0) {
        return Err("the normalisation is scaled and shifted already".into());
    }
    let ty = op.tensor(v)?;
    let numbers = if norm.is(&["instance_norm"]) {
        let channels = affine::channels(op, v)?;
        Tensor::from_f64s(ty.dtype, [channels], &affine::per_channel(constant, channels, ty.rank())?)?
    } else {
        affine::along(constant, &ty.dims, &norm.site()?.axes("axes", ty.rank())?)?.cast(ty.dtype)
    };
    let mut patch = Patch::default();
    // Core ML takes gamma and beta of `instance_norm` together or not at all.
    let param = if scales { "gamma" } else { "beta" };
    let value = patch.constant(param, Weight::of(&numbers));
    let mut changed = vec![(param, value)];
    if norm.is(&["instance_norm"]) && norm.op().value("gamma").is_none() {
        let (other, filler) = if scales { ("beta", 0.0) } else { ("gamma", 1.0) };
        let filled = Tensor::from_f64s(ty.dtype, numbers.shape(), &vec![filler; numbers.len()])?;
        changed.push((other, patch.constant(other, Weight::of(&filled))));
    }
    let new = patch.variant(norm.op(), "norm", changed);
    Ok(patch.replacing(op.result()?, new))
}
