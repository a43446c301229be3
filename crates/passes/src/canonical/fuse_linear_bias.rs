//! A matrix product with a constant becomes `linear`, which takes a bias in.
//!
//! ```text
//! y = add(matmul(x, W), b)      becomes      y = linear(x, W transposed, b)
//! ```
//! `W` is `[in, out]`, the weight of `linear` `[out, in]`, `b` `[out]`. A `matmul` without a bias becomes a `linear`
//! without one.

use crate::{Miss, OpRef, Patch, Ref};
use anemone_mil::{Const, Dim, Weight};

/// The rewrite; looks at `matmul` by a constant, and at `add` and `sub` of a constant after a `linear`.
///
/// # Errors
/// The reason why it does not apply.
pub fn rewrite(op: OpRef<'_>) -> Result<Patch, Miss> {
    match op.kind() {
        "matmul" => matmul(op),
        "add" | "sub" => add(op),
        _ => Err(Miss::OtherKind),
    }
}

fn matmul(op: OpRef<'_>) -> Result<Patch, Miss> {
    let site = op.site()?;
    let (x, y) = (op.operand("x")?, op.operand("y")?);
    if site.bool("transpose_x")? {
        return Err("the left operand is transposed".into());
    }
    if op.function.constant(x).is_some() || op.tensor(x)?.rank() < 2 {
        return Err("the left operand is constant or no matrix".into());
    }
    let weight = match op.function.constant(y) {
        Some(Const::Weight(w)) => w.clone(),
        _ => Weight::of(&op.constant(y)?),
    };
    if weight.shape.len() != 2 || !weight.dtype.is_float() {
        return Err("the right operand is no matrix of floats".into());
    }
    let weight = if site.bool("transpose_y")? { weight } else { weight.transposed(&[1, 0]) };
    let mut patch = Patch::default();
    let w = patch.constant("weight", weight);
    let new = patch.op("linear", "linear", vec![("x", Ref::Value(x)), ("weight", w)]);
    Ok(patch.replacing(op.result()?, new))
}

fn add(op: OpRef<'_>) -> Result<Patch, Miss> {
    let (term, other) = op.constant_side()?;
    let subtract = op.is(&["sub"]);
    if subtract && other == "y" {
        return Err("it subtracts from a constant".into());
    }
    let sum = op.operand(other)?;
    let linear = op.sole(sum, &["linear"])?;
    let ty = op.tensor(sum)?;
    let width = ty.dims.last().and_then(Dim::known).ok_or("the width is unknown")?;
    let one = term.len() == 1 && term.rank() <= ty.rank();
    let per_output = term.len() == width && term.shape().last() == Some(&width) && term.rank() <= ty.rank();
    if !one && !per_output {
        return Err("the constant is not one number per output".into());
    }
    let old = match linear.op().value("bias") {
        Some(b) => linear.constant(b)?.to_f64s(),
        None => vec![0.0; width],
    };
    let sign = if subtract { -1.0 } else { 1.0 };
    let at = |i: usize| sign * term.f64_at(if one { 0 } else { i });
    let bias: Vec<f64> = old.iter().enumerate().map(|(i, b)| b + at(i)).collect();
    let bias = anemone_mil::Tensor::from_f64s(ty.dtype, [width], &bias)?;
    let mut patch = Patch::default();
    let b = patch.constant("bias", Weight::of(&bias));
    let new = patch.variant(linear.op(), "linear", vec![("bias", b)]);
    Ok(patch.replacing(op.result()?, new))
}
