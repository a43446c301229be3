//! Pruning: the elements that matter least become zero, and only the others are stored.
//!
//! Which elements go, rounding and ties included, is what coremltools 9.0 does with numpy
//! (`optimize/coreml/_quantization_passes.py`, `prune_weights`).

use crate::weight::{CHUNK, Numbers};
use crate::{Fit, Refusal};
use anemone_tensor::{DType, Tensor};
use half::f16;
use std::cmp::Ordering;

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
    let shape = weight.shape();
    match how {
        Pruning::Threshold { threshold, minimum } => {
            let threshold = numbers.round(threshold as f32);
            let made = keep(&numbers, shape, |_, v| v.abs() > threshold)?;
            let all = numbers.len();
            let zeros = (all - made.nonzero.len()) as f64 / all.max(1) as f64;
            if zeros < minimum { Err(Refusal::TooDense { zeros, minimum }) } else { Ok(made) }
        }
        Pruning::Magnitude { sparsity } => {
            let limit = limit(part(sparsity)?, numbers.len(), |at| magnitudes(&numbers, at), &numbers);
            keep(&numbers, shape, |_, v| !goes(v.abs(), limit))
        }
        Pruning::Blocks { sparsity, size, dim } => {
            let norms = block_norms(&numbers, &numbers.all(), shape, size, dim)?;
            let sorted = |at: usize| pair_at(&mut norms.clone(), at, f32::total_cmp);
            let limit = limit(part(sparsity)?, norms.len(), sorted, &numbers);
            keep(&numbers, shape, |i, _| !goes(norms[i], limit))
        }
        Pruning::NOfM { n, m, dim } => {
            let mut values = numbers.all();
            n_of_m(&mut values, shape, n, m, dim)?;
            keep(&numbers, shape, |i, _| values[i] != 0.0)
        }
    }
}

/// The elements that are not zero and of which `wanted` says so by place and value.
fn keep(numbers: &Numbers, shape: &[usize], wanted: impl Fn(usize, f32) -> bool) -> Result<Pruned, Refusal> {
    let mut mask = vec![0u8; numbers.len().div_ceil(8)];
    let (mut fit, mut count) = (Fit::default(), 0);
    let (mut was, mut is) = ([0f32; CHUNK], [0f32; CHUNK]);
    for start in (0..numbers.len()).step_by(CHUNK) {
        let was = &*numbers.load(start, (numbers.len() - start).min(CHUNK), &mut was);
        let is = &mut is[..was.len()];
        for (i, (is, &v)) in is.iter_mut().zip(was).enumerate() {
            let kept = v != 0.0 && wanted(start + i, v);
            *is = if kept { v } else { 0.0 };
            mask[(start + i) / 8] |= u8::from(kept) << ((start + i) % 8);
            count += usize::from(kept);
        }
        fit.add(was, is);
    }
    let nonzero = numbers.picked(count, |i| mask[i / 8] >> (i % 8) & 1 == 1)?;
    let mask = Tensor::new(DType::U1, shape, mask).map_err(Refusal::Tensor)?;
    Ok(Pruned { nonzero, mask, fit })
}

fn part(sparsity: f64) -> Result<f64, Refusal> {
    if (0.0..=1.0).contains(&sparsity) { Ok(sparsity) } else { Err(Refusal::Sparsity(sparsity)) }
}

/// True when a magnitude is within the limit; none is within one that is no number.
fn goes(magnitude: f32, limit: Option<f32>) -> bool {
    limit.is_some_and(|l| magnitude <= l)
}

/// The largest magnitude that goes when the part `part` of `count` elements does; `None` when none goes.
///
/// `numpy.percentile` with linear interpolation (Hyndman and Fan's method 7), in the weight's type; `sorted` gives the
/// magnitude at a place in ascending order and the next one.
fn limit(part: f64, count: usize, sorted: impl FnOnce(usize) -> (f32, f32), n: &Numbers) -> Option<f32> {
    if part >= 1.0 {
        return Some(f32::INFINITY);
    }
    if part <= 0.0 || count == 0 {
        return None;
    }
    // There and back through percent, whose rounding decides which element is the limit.
    let at = (count - 1) as f64 * (part * 100.0 / 100.0);
    let below = at.floor();
    let (a, b) = sorted((below as usize).min(count - 1));
    let t = at - below;
    let weak = |x: f64| n.round(x as f32);
    let gap = n.round(b - a);
    Some(if t >= 0.5 {
        n.round(b - n.round(gap * weak(1.0 - t)))
    } else {
        n.round(a + n.round(gap * weak(t)))
    })
}

/// The item at a place in ascending order and the next one, or the same when it is the last.
fn pair_at<T: Copy>(items: &mut [T], at: usize, order: impl Fn(&T, &T) -> Ordering) -> (T, T) {
    let (_, &mut a, above) = items.select_nth_unstable_by(at, &order);
    (a, above.iter().copied().min_by(&order).unwrap_or(a))
}

/// The magnitude at a place in ascending order and the next one.
fn magnitudes(numbers: &Numbers, at: usize) -> (f32, f32) {
    if numbers.dtype() != DType::F16 {
        let mut all = numbers.all();
        all.iter_mut().for_each(|v| *v = v.abs());
        return pair_at(&mut all, at, f32::total_cmp);
    }
    // Without the sign, bits are in the order of the numbers.
    let mut all: Vec<u16> = numbers.half_bits(0, numbers.len()).map(|b| b & 0x7fff).collect();
    let (a, b) = pair_at(&mut all, at, u16::cmp);
    (f16::from_bits(a).to_f32(), f16::from_bits(b).to_f32())
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
