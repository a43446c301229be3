//! A clipped line becomes `sigmoid_hard`.
//!
//! ```text
//! y = real_div(relu6(add(x, 3)), 6)              becomes      y = sigmoid_hard(x, alpha = 1/6, beta = 1/2)
//! y = real_div(mul(x, relu6(add(x, 3))), 6)      becomes      y = mul(x, sigmoid_hard(x, alpha = 1/6, beta = 1/2))
//! y = clip(add(mul(x, a), b), 0, 1)              becomes      y = sigmoid_hard(x, alpha = a, beta = b)
//! ```

use super::product::{Product, is_about, number_and_rest};
use crate::{Miss, OpRef, Patch, Ref};
use anemone_mil::{Tensor, ValueId};

/// The rewrite; looks at `mul` and `real_div`, and at `clip` from 0 to 1.
///
/// # Errors
/// The reason why it does not apply.
pub fn rewrite(op: OpRef<'_>) -> Result<Patch, Miss> {
    match op.kind() {
        "mul" | "real_div" => scaled(op),
        "clip" => clipped(op),
        _ => Err(Miss::OtherKind),
    }
}

/// A product that ends in a sixth of a `relu6`.
fn scaled(op: OpRef<'_>) -> Result<Patch, Miss> {
    let product = Product::of(op);
    let ramps: Vec<usize> =
        (0..product.terms.len()).filter(|&i| op.made_by(product.terms[i], &["relu6"]).is_ok()).collect();
    let &at = ramps.first().ok_or("no factor is a relu6")?;
    let relu6 = op.made_by(product.terms[at], &["relu6"])?;
    if op.index.only(product.terms[at]).is_none() {
        return Err(op.about(product.terms[at], "has other users"));
    }
    let (x, alpha, beta) = ramp(relu6)?;
    let dtype = op.tensor(x)?.dtype;
    if !is_about(dtype, product.factor, 1.0 / 6.0) {
        return Err("the relu6 is not divided by 6".into());
    }
    let mut patch = Patch::default();
    let mut new = sigmoid(&mut patch, op, x, (alpha / 6.0, beta / 6.0))?;
    let others = product.terms.iter().enumerate().filter(|&(i, _)| i != at);
    for (_, &v) in others {
        new = patch.op("mul", "mul", vec![("x", Ref::Value(v)), ("y", new)]);
    }
    Ok(patch.replacing(op.result()?, new))
}

/// `relu6(alpha * x + beta)`: the value and the two numbers.
fn ramp(relu6: OpRef<'_>) -> Result<(ValueId, f64, f64), Miss> {
    let line = relu6.sole(relu6.operand("x")?, &["add", "sub"])?;
    let (beta, rest) = number_and_rest(line)?;
    let product = Product::of_operand(line, rest);
    match *product.terms.as_slice() {
        [x] => Ok((x, product.factor, beta)),
        _ => Ok((rest, 1.0, beta)),
    }
}

fn clipped(op: OpRef<'_>) -> Result<Patch, Miss> {
    let site = op.site()?;
    if site.float("alpha")? != 0.0 || (site.float("beta")? - 1.0).abs() > 0.0 {
        return Err("the bounds are not 0 and 1".into());
    }
    let (x, alpha, beta) = ramp(op)?;
    let mut patch = Patch::default();
    let new = sigmoid(&mut patch, op, x, (alpha, beta))?;
    Ok(patch.replacing(op.result()?, new))
}

fn sigmoid(patch: &mut Patch, op: OpRef<'_>, x: ValueId, (alpha, beta): (f64, f64)) -> Result<Ref, Miss> {
    let dtype = op.tensor(x)?.dtype;
    let alpha = patch.literal("alpha", Tensor::scalar_f64(dtype, alpha));
    let beta = patch.literal("beta", Tensor::scalar_f64(dtype, beta));
    Ok(patch.op("sigmoid_hard", "sigmoid_hard", vec![("x", Ref::Value(x)), ("alpha", alpha), ("beta", beta)]))
}
