//! `conv(x, W, b) + c` becomes `conv(x, W, b + c)`, for one number or one per output channel.

use super::{constant_side, fold_conv_scale::scaled_conv, per_channel, sole_producer};
use crate::{Miss, Patch};
use anemone_mil::{Dim, Function, OpId, Uses};

/// The rewrite; looks at `add` and at `sub` of a constant.
///
/// # Errors
/// The reason why it does not apply.
pub fn rewrite(function: &Function, uses: &Uses, id: OpId) -> Result<Patch, Miss> {
    let op = function.op(id);
    let subtract = op.is("sub");
    if !subtract && !op.is("add") {
        return Err("not a sum".into());
    }
    let (term, other) = constant_side(function, id)?;
    if subtract && other == "y" {
        return Err("subtracts from a constant".into());
    }
    let conv = sole_producer(function, uses, id, other, &["conv", "conv_transpose"])?;
    let out = function.value(function.op(conv).outputs[0]).ty.tensor().ok_or("no tensor")?;
    let channels = out.dims.get(1).and_then(Dim::known).ok_or("channels are unknown")?;
    let sign = if subtract { -1.0 } else { 1.0 };
    let shift: Vec<f64> =
        per_channel(&term, channels, out.rank())?.iter().map(|&v| sign * f64::from(v)).collect();
    scaled_conv(function, id, conv, &vec![1.0; channels], &shift)
}
