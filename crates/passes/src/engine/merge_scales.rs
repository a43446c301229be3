//! An 8-bit weight with a scale per block becomes one with a scale per output.
//!
//! ```text
//! w = constexpr_blockwise_shift_scale(data int8 [O, I], scale [O, I / 32])         becomes
//! w = constexpr_blockwise_shift_scale(data int8 [O, I], scale [O, 1])
//! ```
//! Each output's largest magnitude becomes 127; every weight moves by at most half of its new scale, which is the
//! largest magnitude over 254.

use super::Limits;
use super::blocks::decoded;
use crate::{Miss, OpRef, Patch};
use anemone_mil::{DType, Tensor, Weight};

/// Largest stored magnitude.
const LEVELS: f64 = 127.0;

/// The rewrite; looks at `constexpr_blockwise_shift_scale`.
///
/// # Errors
/// The reason why it does not apply.
pub fn rewrite(op: OpRef<'_>, _: &Limits) -> Result<Patch, Miss> {
    let weight = decoded(op, &[DType::I8, DType::U8])?;
    let rows = weight.shape()[0];
    let values = weight.to_f64s();
    let mut stored = Vec::with_capacity(values.len());
    let mut scales = Vec::with_capacity(rows);
    for row in values.chunks_exact(values.len() / rows) {
        let largest = row.iter().fold(0.0f64, |m, v| m.max(v.abs()));
        if !largest.is_finite() {
            return Err("a weight is not finite".into());
        }
        // The scale as it is stored, so that rounding it moves no weight.
        let scale = Tensor::scalar_f64(weight.dtype(), largest / LEVELS).f64_at(0);
        let scale = if scale > 0.0 { scale } else { 1.0 };
        stored.extend(row.iter().map(|v| (v / scale).round().clamp(-LEVELS, LEVELS)));
        scales.push(scale);
    }
    let mut shape = vec![1; weight.rank()];
    shape[0] = rows;
    let mut patch = Patch::default();
    let data = Tensor::from_f64s(DType::I8, weight.shape(), &stored)?;
    let data = patch.constant("data", Weight::of(&data));
    let scale = patch.constant("scale", Weight::of(&Tensor::from_f64s(weight.dtype(), shape, &scales)?));
    let new = patch.op("constexpr_blockwise_shift_scale", "merged", vec![("data", data), ("scale", scale)]);
    Ok(patch.replacing(op.result()?, new))
}
