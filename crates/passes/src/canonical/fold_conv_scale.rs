//! `conv(x, W, b) * s` becomes `conv(x, s W, s b)`, for one factor or one per output channel.

use super::{constant_side, numbers, per_channel, sole_producer};
use crate::{Miss, Patch};
use anemone_mil::ops::Site;
use anemone_mil::{Function, OpId, Tensor, Uses, Weight};
use anemone_tensor::num;

/// The rewrite; looks at `mul` and at `real_div` by a constant.
///
/// # Errors
/// The reason why it does not apply.
pub fn rewrite(function: &Function, uses: &Uses, id: OpId) -> Result<Patch, Miss> {
    let op = function.op(id);
    let divide = op.is("real_div");
    if !divide && !op.is("mul") {
        return Err("not a product".into());
    }
    let (factor, other) = constant_side(function, id)?;
    if divide && other == "y" {
        return Err("divides a constant".into());
    }
    let conv = sole_producer(function, uses, id, other, &["conv"])?;
    let out = function.value(function.op(conv).outputs[0]).ty.tensor().ok_or("no tensor")?;
    let channels = out.dims.get(1).and_then(anemone_mil::Dim::known).ok_or("channels are unknown")?;
    let factors = per_channel(&factor, channels, out.rank())?;
    let scale: Vec<f64> =
        factors.iter().map(|&f| if divide { 1.0 / f64::from(f) } else { f64::from(f) }).collect();
    scaled_conv(function, id, conv, &scale, &vec![0.0; channels])
}

/// Replaces op `id` by the conv before it with `scale` and `shift` per output channel worked into its weights.
pub(super) fn scaled_conv(
    function: &Function,
    id: OpId,
    conv: OpId,
    scale: &[f64],
    shift: &[f64],
) -> Result<Patch, Miss> {
    let old = function.op(conv);
    let weight = numbers(function, old.value("weight")).ok_or("weight is not constant")?;
    if !weight.dtype().is_float() {
        return Err("weight is not a float tensor".into());
    }
    let transposed = old.is("conv_transpose");
    let groups = Site::new(function, old)?.int("groups")?;
    if transposed && groups != 1 {
        return Err("a grouped conv_transpose keeps its scale".into());
    }
    // Output channels are dim 0 of conv weights and dim 1 of conv_transpose weights.
    let axis = usize::from(transposed);
    let channels = *weight.shape().get(axis).ok_or("weight has too few dims")?;
    if channels != scale.len() || channels != shift.len() {
        return Err("one factor per output channel is needed".into());
    }
    let bias = match old.value("bias") {
        Some(b) => numbers(function, Some(b)).ok_or("bias is not constant")?.to_f64s(),
        None => vec![0.0; channels],
    };
    let inner: usize = weight.shape()[axis + 1..].iter().product();
    let mut values = weight.to_f32s();
    for (row, chunk) in values.chunks_mut(inner.max(1)).enumerate() {
        let s = num::f32_of(scale[row % channels]);
        chunk.iter_mut().for_each(|v| *v *= s);
    }
    let wrong = |e: anemone_tensor::TensorError| Miss(e.to_string());
    let dtype = weight.dtype();
    let weight = Tensor::from_f32s(weight.shape(), &values).map_err(wrong)?.cast(dtype);
    let bias: Vec<f64> = bias.iter().zip(scale).zip(shift).map(|((b, s), t)| b * s + t).collect();
    let bias = Tensor::from_f64s(dtype, [channels], &bias).map_err(wrong)?;
    let mut patch = Patch::default();
    let w = patch.constant("weight", Weight::of(&weight));
    let b = patch.constant("bias", Weight::of(&bias));
    let kind = if transposed { "conv_transpose" } else { "conv" };
    let new = patch.variant(old, kind, "folded", vec![("weight", w), ("bias", b)]);
    patch.replace.push((function.op(id).outputs[0], new));
    Ok(patch)
}
