//! A 4-bit weight with a scale per block becomes one with palettes of 16 numbers.
//!
//! ```text
//! w = constexpr_blockwise_shift_scale(data int4 [O, I], scale [O, I / 32])         becomes
//! w = constexpr_lut_to_dense(indices uint4 [O, I], lut [O / 8, 1, 16, 1])
//! ```
//! Eight neighbouring outputs share a palette, as far as they go into whole ones; its numbers are the means of the
//! weights that are nearest to them (Lloyd's algorithm, begun at the quantiles). A weight moves by at most half the
//! distance between two neighbouring numbers of its palette.

use super::Limits;
use super::blocks::decoded;
use crate::{Miss, OpRef, Patch};
use anemone_mil::{DType, Tensor, Weight};
use anemone_tensor::num;

/// Numbers of a palette.
const ENTRIES: usize = 16;
/// Outputs that share one.
const GROUP: usize = 8;
/// Rounds of refinement; more move little.
const ROUNDS: usize = 24;

/// The rewrite; looks at `constexpr_blockwise_shift_scale`.
///
/// # Errors
/// The reason why it does not apply.
pub fn rewrite(op: OpRef<'_>, _: &Limits) -> Result<Patch, Miss> {
    let weight = decoded(op, &[DType::I4, DType::U4])?;
    let values = weight.to_f64s();
    if values.iter().any(|v| !v.is_finite()) {
        return Err("a weight is not finite".into());
    }
    let rows = weight.shape()[0];
    let group = if rows % GROUP == 0 { GROUP } else { 1 };
    let mut palettes = Vec::with_capacity(rows / group * ENTRIES);
    let mut indices = Vec::with_capacity(values.len());
    for part in values.chunks_exact(values.len() / rows * group) {
        let palette = palette(part);
        let palette = Tensor::from_f64s(weight.dtype(), [ENTRIES], &palette)?.to_f64s();
        indices.extend(part.iter().map(|&v| num::i64_of(nearest(&palette, v))));
        palettes.extend(palette);
    }
    let mut shape = vec![1; weight.rank() + 2];
    (shape[0], shape[weight.rank()]) = (rows / group, ENTRIES);
    let mut patch = Patch::default();
    let indices = Tensor::from_i64s(DType::U4, weight.shape(), &indices)?;
    let indices = patch.constant("indices", Weight::of(&indices));
    let lut = patch.constant("lut", Weight::of(&Tensor::from_f64s(weight.dtype(), shape, &palettes)?));
    let new = patch.op("constexpr_lut_to_dense", "palette", vec![("indices", indices), ("lut", lut)]);
    Ok(patch.replacing(op.result()?, new))
}

/// Position of the entry of an ascending palette that is nearest to a number.
fn nearest(palette: &[f64], v: f64) -> usize {
    let above = palette.partition_point(|&p| p < v);
    match above.checked_sub(1) {
        Some(below) if above == palette.len() || v - palette[below] <= palette[above] - v => below,
        _ => above,
    }
}

/// The numbers, ascending, that stand for all values.
fn palette(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let mut sums = Vec::with_capacity(sorted.len() + 1);
    sums.push(0.0);
    sorted.iter().for_each(|v| sums.push(sums[sums.len() - 1] + v));
    let mut entries: Vec<f64> =
        (0..ENTRIES).map(|i| sorted[(2 * i + 1) * sorted.len() / (2 * ENTRIES)]).collect();
    for _ in 0..ROUNDS {
        let mut start = 0;
        let before = entries.clone();
        for i in 0..ENTRIES {
            let end = match before.get(i + 1) {
                Some(next) => sorted.partition_point(|&v| v <= (before[i] + next) / 2.0),
                None => sorted.len(),
            };
            if end > start {
                entries[i] = (sums[end] - sums[start]) / num::f64_of_usize(end - start);
            }
            start = start.max(end);
        }
        entries.sort_by(f64::total_cmp);
        if entries == before {
            break;
        }
    }
    entries
}
