//! `matmul(x, W) + b` with constant `W [in, out]` and `b [out]` becomes `linear(x, W', b)` with `W' [out, in]`.
//!
//! A `matmul` without a bias becomes a `linear` without one; `linear + b` takes the bias in.

use super::{constant_side, numbers, sole_producer};
use crate::{Miss, Patch};
use anemone_mil::ops::Site;
use anemone_mil::{Const, Function, OpId, Uses, Weight};

/// The rewrite; looks at `matmul` by a constant and at `add` after a `linear` without bias.
///
/// # Errors
/// The reason why it does not apply.
pub fn rewrite(function: &Function, uses: &Uses, id: OpId) -> Result<Patch, Miss> {
    match function.op(id).kind.name() {
        "matmul" => matmul(function, id),
        "add" => add(function, uses, id),
        _ => Err("neither matmul nor add".into()),
    }
}

fn matmul(function: &Function, id: OpId) -> Result<Patch, Miss> {
    let op = function.op(id);
    let site = Site::new(function, op)?;
    if site.bool("transpose_x")? {
        return Err("the left operand is transposed".into());
    }
    if op.value("x").and_then(|v| function.constant(v)).is_some() || site.tensor("x")?.rank() == 0 {
        return Err("the left operand is constant or a scalar".into());
    }
    let constant =
        op.value("y").and_then(|v| function.constant(v)).ok_or("the right operand is not constant")?;
    let weight = match constant {
        Const::Weight(w) => w.clone(),
        Const::Literal(_) => Weight::of(&numbers(function, op.value("y")).ok_or("no tensor")?),
    };
    if weight.shape.len() != 2 || !weight.dtype.is_float() {
        return Err("the weight is not a float matrix".into());
    }
    let weight = if site.bool("transpose_y")? { weight } else { weight.transposed(&[1, 0]) };
    let mut patch = Patch::default();
    let w = patch.constant("weight", weight);
    let x = crate::Ref::Value(op.value("x").ok_or("no operand")?);
    let new = patch.op("linear", "linear", vec![("x", x), ("weight", w)]);
    patch.replace.push((op.outputs[0], new));
    Ok(patch)
}

fn add(function: &Function, uses: &Uses, id: OpId) -> Result<Patch, Miss> {
    let op = function.op(id);
    let (bias, other) = constant_side(function, id)?;
    let linear = sole_producer(function, uses, id, other, &["linear"])?;
    let old = function.op(linear);
    if old.value("bias").is_some() {
        return Err("it has a bias already".into());
    }
    let site = Site::new(function, old)?;
    let out =
        site.tensor("weight")?.dims.first().and_then(anemone_mil::Dim::known).ok_or("width is unknown")?;
    if bias.len() != out || bias.shape().last() != Some(&out) || bias.rank() > site.tensor("x")?.rank() {
        return Err("the constant is not one number per output".into());
    }
    let bias = bias.reshaped([out]).map_err(|e| Miss(e.to_string()))?;
    let mut patch = Patch::default();
    let b = patch.constant("bias", Weight::of(&bias));
    let new = patch.variant(old, "linear", "linear", vec![("bias", b)]);
    patch.replace.push((op.outputs[0], new));
    Ok(patch)
}
