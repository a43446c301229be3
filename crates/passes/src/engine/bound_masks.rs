//! Numbers near the end of `fp16`, or infinite, that only mask become ±10000.
//!
//! ```text
//! y = softmax(add(scores, mask: 0 or -65504))      becomes      y = softmax(add(scores, mask: 0 or -10000))
//! ```
//! `exp(-10000)` is 0 in every type, and three of them still add up to less than 32768, from where sums are infinite on
//! the engine. What only masks is found by following it to its `softmax`: nothing else may use it.
//!
//! A row that is masked as a whole has no number with an infinite mask, and some weights with a finite one.

use super::Limits;
use super::filters::weight;
use crate::legal::{LARGE, MASK, only_masks};
use crate::{Miss, OpRef, Patch};
use anemone_mil::{Const, Tensor, ValueId, Weight};

/// Constants longer than this are weights, not masks.
const LOOKED_AT: usize = 1 << 22;

/// The rewrite; looks at ops that take a constant mask.
///
/// # Errors
/// The reason why it does not apply.
pub fn rewrite(op: OpRef<'_>, _: &Limits) -> Result<Patch, Miss> {
    let fused = op.is(&["scaled_dot_product_attention"]);
    if !fused {
        op.expect(&["add", "sub", "mul", "select"])?;
    }
    let params: &[&str] = if fused { &["attn_mask"] } else { &["x", "y", "a", "b"] };
    let found = params.iter().find_map(|&param| {
        let v = op.op().value(param)?;
        Some((param, bounded(op, v)?))
    });
    let (param, mask) = found.ok_or("no constant of it is large")?;
    if !fused && !only_masks(op.function, op.index, op.id) {
        return Err("it does more than to mask what a softmax takes".into());
    }
    let scaled = |&id: &anemone_mil::OpId| op.function.op(id).is("softmax");
    if op.is(&["mul"]) && op.index.users(op.result()?).iter().any(scaled) {
        return Err("it scales what a softmax takes".into());
    }
    let mut patch = Patch::default();
    let mask = match mask.rank() {
        0 => patch.literal("mask", mask),
        _ => patch.constant("mask", Const::Weight(Weight::of(&mask))),
    };
    let new = patch.variant(op.op(), "masked", vec![(param, mask)]);
    Ok(patch.replacing(op.result()?, new))
}

/// The constant with every number between the bounds; `None` when there is nothing to do, or no number.
fn bounded(op: OpRef<'_>, v: ValueId) -> Option<Tensor> {
    let ty = op.function.value(v).ty.tensor().filter(|t| t.dtype.is_float())?;
    ty.element_count().filter(|&n| n <= LOOKED_AT)?;
    let tensor = weight(op, v).ok()?.tensor().ok()?;
    let values = tensor.to_f64s();
    if values.iter().any(|v| v.is_nan()) || !values.iter().any(|v| v.abs() >= LARGE) {
        return None;
    }
    let bounded: Vec<f64> =
        values.iter().map(|v| if v.abs() >= LARGE { MASK.copysign(*v) } else { *v }).collect();
    Tensor::from_f64s(tensor.dtype(), tensor.shape(), &bounded).ok()
}
