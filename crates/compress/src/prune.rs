//! Pruning: the elements that matter least become zero, and only the others are stored.
//!
//! Which elements go, rounding and ties included, is what coremltools 9.0 does with numpy
//! (`optimize/coreml/_quantization_passes.py`, `prune_weights`).

use crate::weight::{Numbers, pack_bits};
use crate::{Fit, Refusal};
use anemone_tensor::{DType, Tensor};

/// Which elements become zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pruning {
    /// Magnitudes up to `threshold`; nothing is done when that leaves less than `minimum` of the elements zero.
    Threshold {
        /// Largest magnitude that goes.
        threshold: f64,
        /// Least part of zeros, 0 to 1, that makes storing a mask worth it.
        minimum: f64,
    },
    /// The part `sparsity`, 0 to 1, with the smallest magnitudes.
    Magnitude {
        /// Part of the elements that goes.
        sparsity: f64,
    },
    /// The same for whole blocks of `size` neighbours along `dim` (0 or 1), by their Euclidean norm.
    Blocks {
        /// Part of the blocks that goes.
        sparsity: f64,
        /// Neighbours in a block, at least 2.
        size: usize,
        /// Dim that blocks run along: 0 is output channels, 1 input channels.
        dim: usize,
    },
    /// The `n` smallest magnitudes of every `m` neighbours along `dim` (0 or 1).
    NOfM {
        /// Elements that go.
        n: usize,
        /// Out of so many.
        m: usize,
        /// Dim that neighbours stand along.
        dim: usize,
    },
}

/// A pruned weight.
#[derive(Clone, Debug)]
pub struct Pruned {
    /// Elements that are left, in row-major order: `[count]`.
    pub nonzero: Tensor,
    /// `uint1`, one where an element is left, in the weight's shape.
    pub mask: Tensor,
    /// How near the weight is to what it was.
    pub fit: Fit,
}

/// Prunes a weight.
///
/// # Errors
/// When the weight is not of floats or has an infinity, a number is out of range, or blocks do not fit the shape.
pub fn prune(weight: &Tensor, how: Pruning) -> Result<Pruned, Refusal> {
    let numbers = Numbers::of(weight)?;
    let mut values = numbers.all();
    match how {
        Pruning::Threshold { threshold, minimum } => {
            let threshold = numbers.round(threshold as f32);
            values.iter_mut().filter(|v| v.abs() <= threshold).for_each(|v| *v = 0.0);
            let zeros = values.iter().filter(|v| **v == 0.0).count() as f64 / values.len().max(1) as f64;
            if zeros < minimum {
                return Err(Refusal::TooDense { zeros, minimum });
            }
        }
        Pruning::Magnitude { sparsity } => {
            let magnitudes: Vec<f32> = values.iter().map(|v| v.abs()).collect();
            drop_smallest(&numbers, &mut values, &magnitudes, part(sparsity)?);
        }
        Pruning::Blocks { sparsity, size, dim } => {
            let magnitudes = block_norms(&numbers, &values, weight.shape(), size, dim)?;
            drop_smallest(&numbers, &mut values, &magnitudes, part(sparsity)?);
        }
        Pruning::NOfM { n, m, dim } => n_of_m(&mut values, weight.shape(), n, m, dim)?,
    }
    let mut fit = Fit::default();
    fit.add(&numbers.all(), &values);
    let mask: Vec<u8> = values.iter().map(|v| u8::from(*v != 0.0)).collect();
    let mask = Tensor::new(DType::U1, weight.shape(), pack_bits(&mask, 1)).map_err(Refusal::Tensor)?;
    values.retain(|v| *v != 0.0);
    Ok(Pruned { nonzero: numbers.tensor(&[values.len()], &values)?, mask, fit })
}

fn part(sparsity: f64) -> Result<f64, Refusal> {
    if (0.0..=1.0).contains(&sparsity) { Ok(sparsity) } else { Err(Refusal::Sparsity(sparsity)) }
}

/// Zeroes the elements whose magnitude is at most the quantile `part`.
fn drop_smallest(n: &Numbers, values: &mut [f32], magnitudes: &[f32], part: f64) {
    if part >= 1.0 {
        values.fill(0.0);
    } else if part > 0.0 && !values.is_empty() {
        // There and back through percent, whose rounding decides which element is the limit.
        let limit = quantile(n, magnitudes, part * 100.0 / 100.0);
        values.iter_mut().zip(magnitudes).filter(|(_, m)| **m <= limit).for_each(|(v, _)| *v = 0.0);
    }
}

/// `numpy.percentile` with linear interpolation (Hyndman and Fan's method 7), in the weight's type.
fn quantile(n: &Numbers, magnitudes: &[f32], part: f64) -> f32 {
    let at = (magnitudes.len() - 1) as f64 * part;
    let below = at.floor();
    let mut sorted = magnitudes.to_vec();
    let index = (below as usize).min(sorted.len() - 1);
    let (_, &mut a, above) = sorted.select_nth_unstable_by(index, f32::total_cmp);
    let b = above.iter().copied().fold(f32::INFINITY, f32::min);
    let b = if above.is_empty() { a } else { b };
    let t = at - below;
    let weak = |x: f64| n.round(x as f32);
    let gap = n.round(b - a);
    if t >= 0.5 { n.round(b - n.round(gap * weak(1.0 - t))) } else { n.round(a + n.round(gap * weak(t))) }
}

/// `[outer, along, inner]` of a weight whose `dim` is 0 or 1.
fn along(shape: &[usize], dim: usize) -> Result<(usize, usize, usize), Refusal> {
    if !(2..=5).contains(&shape.len()) || dim > 1 {
        return Err(Refusal::Structure { shape: shape.to_vec(), dim });
    }
    let inner = shape[dim + 1..].iter().product();
    Ok((shape[..dim].iter().product(), shape[dim], inner))
}

/// Per element: the norm of its block.
fn block_norms(
    n: &Numbers,
    values: &[f32],
    shape: &[usize],
    size: usize,
    dim: usize,
) -> Result<Vec<f32>, Refusal> {
    let (outer, channels, inner) = along(shape, dim)?;
    if size < 2 || size * 2 > channels {
        return Err(Refusal::BlockTooLong { size, channels });
    }
    // Where the blocks' dim is the one that numpy walks fastest it adds in single precision, else in the weight's own.
    let fastest = inner == 1;
    let mut norms = vec![0f32; values.len()];
    let mut squares = Vec::with_capacity(size);
    for o in 0..outer {
        for start in (0..channels).step_by(size) {
            let members = start..(start + size).min(channels);
            for i in 0..inner {
                let at = |c: usize| (o * channels + c) * inner + i;
                squares.clear();
                squares.extend(members.clone().map(|c| n.round(values[at(c)] * values[at(c)])));
                squares.resize(size, 0.0);
                let sum = if fastest {
                    n.round(pairwise(&squares))
                } else {
                    squares.iter().fold(0.0, |s, &x| n.round(s + x))
                };
                let norm = n.round(sum.sqrt());
                members.clone().for_each(|c| norms[at(c)] = norm);
            }
        }
    }
    Ok(norms)
}

/// numpy's pairwise sum of a contiguous run.
fn pairwise(xs: &[f32]) -> f32 {
    match xs.len() {
        0..8 => xs.iter().sum(),
        8..=128 => {
            let (eights, rest) = xs.as_chunks::<8>();
            let mut r = [0f32; 8];
            eights.iter().for_each(|e| r.iter_mut().zip(e).for_each(|(r, x)| *r += x));
            let sum = ((r[0] + r[1]) + (r[2] + r[3])) + ((r[4] + r[5]) + (r[6] + r[7]));
            rest.iter().fold(sum, |s, x| s + x)
        }
        n => {
            let half = n / 2 - n / 2 % 8;
            pairwise(&xs[..half]) + pairwise(&xs[half..])
        }
    }
}

fn n_of_m(values: &mut [f32], shape: &[usize], n: usize, m: usize, dim: usize) -> Result<(), Refusal> {
    let (outer, channels, inner) = along(shape, dim)?;
    if m == 0 || n > m || m * 2 > channels {
        return Err(Refusal::Ratio { n, m, channels });
    }
    let mut order: Vec<usize> = Vec::with_capacity(m);
    for o in 0..outer {
        for start in (0..channels).step_by(m) {
            for i in 0..inner {
                let at = |c: usize| (o * channels + c) * inner + i;
                let magnitude = |c: usize| if c < channels { values[at(c)].abs() } else { 0.0 };
                order.clear();
                order.extend(start..start + m);
                order.sort_by(|&a, &b| magnitude(a).total_cmp(&magnitude(b)));
                order.iter().take(n).filter(|c| **c < channels).for_each(|&c| values[at(c)] = 0.0);
            }
        }
    }
    Ok(())
}
