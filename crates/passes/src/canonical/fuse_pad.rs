//! `conv(pad(x))` with zeros around the spatial dims becomes one `conv` with custom padding.

use super::sole_producer;
use crate::{Miss, Patch, Ref};
use anemone_mil::ops::Site;
use anemone_mil::{Function, Literal, OpId, Tensor, Uses};

/// The rewrite; looks at `conv`.
///
/// # Errors
/// The reason why it does not apply.
pub fn rewrite(function: &Function, uses: &Uses, id: OpId) -> Result<Patch, Miss> {
    let op = function.op(id);
    if !op.is("conv") {
        return Err("not a conv".into());
    }
    let pad = sole_producer(function, uses, id, "x", &["pad"])?;
    let (conv, pad_site) = (Site::new(function, op)?, Site::new(function, function.op(pad))?);
    if pad_site.str("mode")? != "constant" || pad_site.float("constant_val")? != 0.0 {
        return Err("the padding is not zeros".into());
    }
    let around = pad_site.ints("pad")?;
    let rank = pad_site.tensor("x")?.rank();
    let spatial = 2 * rank.saturating_sub(2);
    let skipped = around.len().saturating_sub(spatial);
    if around[..skipped].iter().any(|&p| p != 0) || around.iter().any(|&p| p < 0) {
        return Err("batch or channels are padded, or something is cut off".into());
    }
    let own = match conv.str("pad_type")?.as_str() {
        "valid" => vec![0; spatial],
        "custom" => conv.ints("pad")?,
        _ => return Err("the conv pads by its own rule".into()),
    };
    let mut total = vec![0i64; spatial - (around.len() - skipped)];
    total.extend(&around[skipped..]);
    let sum: Option<Vec<i32>> =
        total.iter().zip(&own).map(|(a, b)| a.checked_add(*b).and_then(|n| i32::try_from(n).ok())).collect();
    let mut patch = Patch::default();
    let pads = patch.literal("pad", Tensor::vector_i32(&sum.ok_or("padding overflows")?));
    let kind = patch.literal("pad_type", Literal::string("custom"));
    let x = Ref::Value(function.op(pad).value("x").ok_or("pad has no operand")?);
    let new = patch.variant(op, "conv", "padded", vec![("x", x), ("pad", pads), ("pad_type", kind)]);
    patch.replace.push((op.outputs[0], new));
    Ok(patch)
}
