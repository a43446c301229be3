//! Scales and shifts per channel, and convolutions with them worked into their weights.

use crate::{Miss, OpRef, Patch, Ref};
use anemone_mil::{Dim, Tensor, ValueId, Weight, WeightData};
use anemone_tensor::num;

/// A weight with more elements is not copied for one of several users.
const SHARED: usize = 1 << 10;

/// A weight with more elements is scaled when it is asked for, so that no copy of it is kept.
const LAZY: usize = 1 << 12;

/// Number of channels of a value `[batch, channels, spatial..]`.
pub(super) fn channels(op: OpRef<'_>, value: ValueId) -> Result<usize, Miss> {
    let dims = &op.tensor(value)?.dims;
    dims.get(1).and_then(Dim::known).ok_or_else(|| op.about(value, "has an unknown number of channels"))
}

/// One number per channel of a constant that broadcasts over `[batch, channels, spatial..]` of rank `rank`.
pub(super) fn per_channel(t: &Tensor, channels: usize, rank: usize) -> Result<Vec<f64>, Miss> {
    if t.rank() > rank {
        return Err("the constant has too many dims".into());
    }
    if t.len() == 1 {
        return Ok(vec![t.f64_at(0); channels]);
    }
    let axis = (t.rank() + 1).checked_sub(rank);
    if t.len() != channels || axis.and_then(|a| t.shape().get(a)) != Some(&channels) {
        return Err("the constant is not one number per channel".into());
    }
    Ok(t.to_f64s())
}

/// Replaces `root` by the convolution before it with `scale` and `shift` per output channel worked in.
pub(super) fn scaled(root: OpRef<'_>, conv: OpRef<'_>, scale: &[f64], shift: &[f64]) -> Result<Patch, Miss> {
    if scale.iter().chain(shift).any(|v| !v.is_finite()) {
        return Err("a factor or term is not finite".into());
    }
    let numbers = own_weight(conv)?;
    let transposed = conv.is(&["conv_transpose"]);
    if transposed && conv.site()?.int("groups")? != 1 {
        return Err("a grouped conv_transpose keeps its scale".into());
    }
    // Output channels are dim 0 of conv weights and dim 1 of conv_transpose weights.
    let numbers = rows_scaled(numbers, usize::from(transposed), scale)?;
    let bias = shifted_bias(conv, numbers.dtype, scale, shift)?;
    let mut patch = Patch::default();
    let mut changed = vec![("weight", patch.constant("weight", numbers))];
    if conv.op().value("bias").is_some() || shift.iter().any(|&t| t != 0.0) {
        changed.push(("bias", patch.constant("bias", Weight::of(&bias))));
    }
    let new = patch.variant(conv.op(), "folded", changed);
    Ok(patch.replacing(root.result()?, new))
}

/// The weight of a convolution, which it does not share when it is large.
pub(super) fn own_weight(conv: OpRef<'_>) -> Result<Weight, Miss> {
    let value = conv.operand("weight")?;
    let weight = conv.weight(value)?;
    if num::element_count(&weight.shape).is_none_or(|n| n > SHARED) {
        conv.index.only(value).ok_or_else(|| conv.about(value, "is a weight with other users"))?;
    }
    Ok(weight)
}

/// Replaces `root` by the convolution before it with `shift` per output channel added to its bias.
pub(super) fn shifted(root: OpRef<'_>, conv: OpRef<'_>, shift: &[f64]) -> Result<Patch, Miss> {
    let dtype = conv.tensor(conv.operand("weight")?)?.dtype;
    let bias = shifted_bias(conv, dtype, &vec![1.0; shift.len()], shift)?;
    let mut patch = Patch::default();
    let b: Ref = patch.constant("bias", Weight::of(&bias));
    let new = patch.variant(conv.op(), "folded", vec![("bias", b)]);
    Ok(patch.replacing(root.result()?, new))
}

/// The bias of a convolution after `scale` and `shift` per output channel, in `dtype`.
pub(super) fn shifted_bias(
    conv: OpRef<'_>,
    dtype: anemone_mil::DType,
    scale: &[f64],
    shift: &[f64],
) -> Result<Tensor, Miss> {
    let old = match conv.op().value("bias") {
        Some(b) => conv.constant(b)?.to_f64s(),
        None => vec![0.0; shift.len()],
    };
    if old.len() != shift.len() || scale.len() != shift.len() || !dtype.is_float() {
        return Err("one number per output channel is needed".into());
    }
    let bias: Vec<f64> = old.iter().zip(scale).zip(shift).map(|((b, s), t)| b * s + t).collect();
    Ok(Tensor::from_f64s(dtype, [shift.len()], &bias)?)
}

/// The weight with every slice along `axis` multiplied by its factor: now, when it is small or computed itself, since
/// chains of recipes would be made again and again; else when it is asked for.
fn rows_scaled(w: Weight, axis: usize, factors: &[f64]) -> Result<Weight, Miss> {
    let count = num::element_count(&w.shape).unwrap_or(0);
    if w.shape.get(axis) != Some(&factors.len()) || !w.dtype.is_float() || count == 0 {
        return Err("one factor per output channel of a float weight is needed".into());
    }
    let lazy = count > LAZY && matches!(w.data, WeightData::Bytes(_));
    let factors: Vec<f32> = factors.iter().map(|&f| num::f32_of(f)).collect();
    let scaled = w.scaled(axis, factors);
    if lazy { Ok(scaled) } else { Ok(Weight::of(&scaled.tensor()?)) }
}

/// A constant that varies along exactly `axes` of a value of dims `dims`, as a tensor of their extents.
pub(super) fn along(constant: &Tensor, dims: &[Dim], axes: &[usize]) -> Result<Tensor, Miss> {
    let missing = dims.len().checked_sub(constant.rank()).ok_or("the constant has too many dims")?;
    let extents: Option<Vec<usize>> = axes.iter().map(|&a| dims.get(a).and_then(Dim::known)).collect();
    let extents = extents.ok_or("a normalised dim is unknown")?;
    for (d, dim) in dims.iter().enumerate() {
        let have = if d < missing { 1 } else { constant.shape()[d - missing] };
        let wanted = if axes.contains(&d) { dim.known().unwrap_or(0) } else { 1 };
        if have != wanted {
            return Err("the constant does not vary along exactly the normalised dims".into());
        }
    }
    Ok(constant.reshaped(extents)?)
}
