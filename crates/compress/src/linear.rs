//! Linear quantisation: `scale * (data - offset)`, a scale and an offset per block.
//!
//! Every step is done and rounded in the weight's own precision, in the order of coremltools 9.0
//! (`optimize/_utils.py`, `quantize_weight_by_dtype`), so that the result is the same bit for bit.

use crate::blocks::{Blocks, Run};
use crate::weight::{CHUNK, Numbers, pack_bits, rint};
use crate::{Fit, Refusal, threads};
use anemone_tensor::{DType, Tensor};

/// Where the range of a quantised weight lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LinearMode {
    /// Around zero: the largest magnitude of the block sets the scale.
    #[default]
    Symmetric,
    /// From the smallest to the largest element of the block, zero included; has an offset.
    Affine,
}

/// A quantised weight.
#[derive(Clone, Debug)]
pub struct Quantized {
    /// Integers, in the weight's shape.
    pub data: Tensor,
    /// One scale per block, in the weight's type.
    pub scale: Tensor,
    /// One offset per block, in the type of the data; none where it would be zero by definition.
    pub offset: Option<Tensor>,
    /// How near the weight is to what it was.
    pub fit: Fit,
}

/// Range of the integers that `mode` uses of a type.
fn range(dtype: DType, mode: LinearMode) -> Result<(f32, f32), Refusal> {
    Ok(match (dtype, mode) {
        (DType::I8, LinearMode::Symmetric) => (-127.0, 127.0),
        (DType::I8, LinearMode::Affine) => (-128.0, 127.0),
        (DType::U8, LinearMode::Symmetric) => (0.0, 254.0),
        (DType::U8, LinearMode::Affine) => (0.0, 255.0),
        (DType::I4, LinearMode::Symmetric) => (-7.0, 7.0),
        (DType::I4, LinearMode::Affine) => (-8.0, 7.0),
        (DType::U4, LinearMode::Symmetric) => (0.0, 14.0),
        (DType::U4, LinearMode::Affine) => (0.0, 15.0),
        _ => return Err(Refusal::Type(dtype)),
    })
}

/// Quantises a weight; `sizes` says how long a block is along each dim, 0 for the whole dim.
///
/// # Errors
/// When the weight is not of floats, has an infinity, or the sizes do not divide its dims.
pub fn quantize(
    weight: &Tensor,
    dtype: DType,
    mode: LinearMode,
    sizes: &[usize],
    workers: usize,
) -> Result<Quantized, Refusal> {
    let numbers = Numbers::of(weight)?;
    let blocks = Blocks::new(weight.shape(), sizes)?;
    let (low, high) = range(dtype, mode)?;
    let unsigned_middle = (mode == LinearMode::Symmetric && low == 0.0).then(|| (high / 2.0).floor());
    let parameters: Vec<(f32, f32)> = extremes(&numbers, &blocks, workers)
        .into_iter()
        .map(|(min, max)| parameters(&numbers, mode, (low, high), min, max))
        .map(|(scale, zero)| (scale, unsigned_middle.unwrap_or(zero)))
        .collect();
    let (data, fit) = integers(&numbers, &blocks, &parameters, (low, high), workers);
    let data = Tensor::new(dtype, weight.shape(), pack_bits(&data, dtype.bits())).map_err(Refusal::Tensor)?;
    let scales: Vec<f32> = parameters.iter().map(|p| p.0).collect();
    let has_offset = mode == LinearMode::Affine || unsigned_middle.is_some();
    let offset = || {
        let bytes: Vec<u8> = parameters.iter().map(|p| low_byte(p.1)).collect();
        Tensor::new(dtype, blocks.grid(), pack_bits(&bytes, dtype.bits())).map_err(Refusal::Tensor)
    };
    let offset = has_offset.then(offset).transpose()?;
    Ok(Quantized { data, scale: numbers.tensor(blocks.grid(), &scales)?, offset, fit })
}

/// Smallest and largest element of each block.
fn extremes(numbers: &Numbers, blocks: &Blocks, workers: usize) -> Vec<(f32, f32)> {
    let parts = threads::map(blocks.cuts(workers), workers, |part| {
        let mut found = vec![(f32::INFINITY, f32::NEG_INFINITY); blocks.count()];
        let mut buffer = [0f32; CHUNK];
        blocks.runs(part, CHUNK, |run| {
            let xs = numbers.load(run.start, run.count, &mut buffer);
            if run.each {
                let slots = &mut found[run.block..run.block + run.count];
                slots.iter_mut().zip(xs).for_each(|(f, x)| *f = (f.0.min(*x), f.1.max(*x)));
            } else {
                let slot = &mut found[run.block];
                let (min, max) = bounds(xs);
                *slot = (slot.0.min(min), slot.1.max(max));
            }
        });
        found
    });
    let mut parts = parts.into_iter();
    let mut all = parts.next().unwrap_or_default();
    for part in parts {
        all.iter_mut().zip(part).for_each(|(a, p)| *a = (a.0.min(p.0), a.1.max(p.1)));
    }
    all
}

/// Smallest and largest of some numbers, in sixteen strands that the compiler puts into vectors.
fn bounds(xs: &[f32]) -> (f32, f32) {
    let (mut low, mut high) = ([f32::INFINITY; 16], [f32::NEG_INFINITY; 16]);
    let (strands, rest) = xs.as_chunks::<16>();
    for s in strands {
        for i in 0..16 {
            low[i] = if s[i] < low[i] { s[i] } else { low[i] };
            high[i] = if s[i] > high[i] { s[i] } else { high[i] };
        }
    }
    let low = low.iter().chain(rest).fold(f32::INFINITY, |a, &b| a.min(b));
    let high = high.iter().chain(rest).fold(f32::NEG_INFINITY, |a, &b| a.max(b));
    (low, high)
}

/// Scale and zero point of a block.
fn parameters(n: &Numbers, mode: LinearMode, (low, high): (f32, f32), min: f32, max: f32) -> (f32, f32) {
    let (min, max) = match mode {
        LinearMode::Symmetric => {
            let magnitude = min.abs().max(max.abs());
            (-magnitude, magnitude)
        }
        LinearMode::Affine => (min.min(0.0), max.max(0.0)),
    };
    let span = n.round(max - min);
    let scale = n.round(span / (high - low));
    let zero = n.round(n.round(n.round(low * max) - n.round(high * min)) / span);
    let zero = if mode == LinearMode::Affine { rint(zero).clamp(low, high) } else { 0.0 };
    (scale, zero)
}

/// The integers, one byte each.
fn integers(
    numbers: &Numbers,
    blocks: &Blocks,
    parameters: &[(f32, f32)],
    range: (f32, f32),
    workers: usize,
) -> (Vec<u8>, Fit) {
    let mut out = vec![0u8; blocks.len()];
    let cuts = blocks.cuts(workers);
    let parts = threads::split(&mut out, &cuts);
    let fits = threads::map(cuts.into_iter().zip(parts).collect(), workers, |(part, out)| {
        let from = part.start;
        let (mut buffer, mut original) = ([0f32; CHUNK], [0f32; CHUNK]);
        let mut fit = Fit::default();
        blocks.runs(part, CHUNK, |run| {
            let xs = numbers.load(run.start, run.count, &mut buffer);
            let original = &mut original[..run.count];
            original.copy_from_slice(xs);
            quantize_run(numbers, xs, run, parameters, range);
            let out = &mut out[run.start - from..][..run.count];
            out.iter_mut().zip(&*xs).for_each(|(o, x)| *o = low_byte(*x));
            dequantize_run(numbers, xs, run, parameters);
            fit.add(original, xs);
        });
        fit
    });
    (out, fits.into_iter().fold(Fit::default(), Fit::and))
}

fn dequantize_run(n: &Numbers, xs: &mut [f32], run: Run, parameters: &[(f32, f32)]) {
    // A block of zeros has the scale 0 and no zero point.
    let known = |z: f32| if z.is_nan() { 0.0 } else { z };
    if run.each {
        let p = &parameters[run.block..run.block + run.count];
        xs.iter_mut().zip(p).for_each(|(x, p)| *x = (known(*x) - known(p.1)) * p.0);
    } else {
        let (scale, zero) = parameters[run.block];
        let zero = known(zero);
        xs.iter_mut().for_each(|x| *x = (known(*x) - zero) * scale);
    }
    n.round_all(xs);
}

fn quantize_run(n: &Numbers, xs: &mut [f32], run: Run, parameters: &[(f32, f32)], (low, high): (f32, f32)) {
    if run.each {
        let p = &parameters[run.block..run.block + run.count];
        xs.iter_mut().zip(p).for_each(|(x, p)| *x /= p.0);
        n.round_all(xs);
        xs.iter_mut().zip(p).for_each(|(x, p)| *x = (rint(*x) + p.1).clamp(low, high));
    } else {
        let (scale, zero) = parameters[run.block];
        xs.iter_mut().for_each(|x| *x /= scale);
        n.round_all(xs);
        xs.iter_mut().for_each(|x| *x = (rint(*x) + zero).clamp(low, high));
    }
}

/// The low byte of an integer between -128 and 255; 0 for what is no number, as numpy casts it.
fn low_byte(x: f32) -> u8 {
    // In this range adding 1.5 * 2^23 puts the two's complement into the low bits of the mantissa.
    if x.is_nan() { 0 } else { (x + 12_582_912.0).to_bits().to_le_bytes()[0] }
}
