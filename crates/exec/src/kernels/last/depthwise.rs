//! Convolution of every channel on its own.

use super::{Finish, Residual};
use crate::kernels::conv::ConvGeometry;
use crate::kernels::simd::{Isa, Kernel, Simd};
use crate::kernels::window::Window;
use crate::kernels::{Misfit, fits};
use crate::pool::{Disjoint, Pool};
use std::ops::Range;

/// A convolution with one input and one output channel per group, over `x [batch, spatial, channels]`.
pub struct LastDepthwise {
    batch: usize,
    channels: usize,
    window: Window,
    /// `[taps, channels]`
    weights: Vec<f32>,
    bias: Vec<f32>,
    finish: Finish,
    isa: Isa,
}

/// Taps of a row of the kernel: where the first column reads, and its weights.
#[derive(Clone, Copy)]
struct Row {
    input: usize,
    weights: usize,
}

impl LastDepthwise {
    /// Turns `weights` (`[channels, 1, taps]`) and keeps `bias` (`[channels]`).
    ///
    /// # Errors
    /// [`Misfit`] when the convolution is another one, or `weights` or `bias` have another length.
    pub fn new(
        geometry: &ConvGeometry,
        weights: &[f32],
        bias: Option<&[f32]>,
        finish: Finish,
        isa: Isa,
    ) -> Result<Self, Misfit> {
        geometry.check()?;
        let ConvGeometry { batch, channels_in: channels, channels_out, groups, window } = *geometry;
        fits!(
            channels == groups && channels_out == groups,
            "{geometry:?} does not have one channel per group"
        );
        fits!(weights.len() == geometry.weights_len(), "{geometry:?} has {} weights", weights.len());
        fits!(bias.is_none_or(|b| b.len() == channels), "bias does not have one entry per channel");
        let taps = window.taps();
        let weights = (0..taps).flat_map(|t| (0..channels).map(move |c| weights[c * taps + t])).collect();
        let bias = bias.map_or_else(|| vec![0.0; channels], <[f32]>::to_vec);
        // A whole vector for a few channels would be mostly empty.
        let isa = if channels <= 8 { isa.narrow() } else { isa };
        Ok(Self { batch, channels, window, weights, bias, finish, isa })
    }

    /// Convolves `x` into `out`; `other` is added where [`Finish::residual`] says so.
    ///
    /// # Panics
    /// When a slice does not have the length of the geometry.
    pub fn run(&self, x: &[f32], other: Option<&[f32]>, out: &mut [f32], pool: &Pool) {
        let [oz, oy, ox] = self.window.output;
        assert_eq!(x.len(), self.batch * self.channels * self.window.input_len(), "elements of the input");
        assert_eq!(out.len(), self.batch * self.channels * ox * oy * oz, "elements of the output");
        let adds = self.finish.residual != Residual::None;
        assert!(!adds || other.is_some_and(|o| o.len() == out.len()), "elements of the tensor that is added");
        let rows = self.batch * oz * oy;
        let work = out.len() * self.window.taps();
        let tasks = if pool.threads() == 1 { 1 } else { (work >> 16).clamp(1, pool.threads() * 4).min(rows) };
        let row = ox * self.channels;
        let out = Disjoint::new(out);
        pool.run(tasks, |i| {
            let rows = rows * i / tasks..rows * (i + 1) / tasks;
            // SAFETY: the rows of tasks do not overlap.
            let out = unsafe { out.slice(rows.start * row..rows.end * row) };
            let other = other.map(|o| &o[rows.start * row..rows.end * row]);
            self.isa.run(Rows { conv: self, x, other, rows, out });
        });
    }

    /// The rows of taps of output row `row` that lie inside of the input.
    fn taps(&self, row: usize, taps: &mut Vec<Row>) {
        let w = &self.window;
        let [oz, oy, _] = w.output;
        let (image, z, y) = (row / (oy * oz), row / oy % oz, row % oy);
        taps.clear();
        for kz in 0..w.kernel[0] {
            let Some(iz) = w.source(0, z, kz) else { continue };
            for ky in 0..w.kernel[1] {
                let Some(iy) = w.source(1, y, ky) else { continue };
                let input = ((image * w.input[0] + iz) * w.input[1] + iy) * w.input[2] * self.channels;
                let weights = (kz * w.kernel[1] + ky) * w.kernel[2] * self.channels;
                taps.push(Row { input, weights });
            }
        }
    }

    /// Columns of the kernel that output column `x` reads inside of the input: the first, and the one behind.
    fn columns(&self, x: usize) -> Range<usize> {
        let w = &self.window;
        let at = x * w.stride[2];
        let first = w.before[2].saturating_sub(at).div_ceil(w.dilation[2]).min(w.kernel[2]);
        let room = (w.input[2] + w.before[2]).saturating_sub(at).div_ceil(w.dilation[2]);
        first..room.min(w.kernel[2]).max(first)
    }
}

/// `cells` channels from `x` on, a whole vector when `WHOLE`.
///
/// # Safety
/// They are readable.
#[inline(always)]
unsafe fn load<S: Simd, const WHOLE: bool>(s: S, x: *const f32, cells: usize) -> S::F {
    // SAFETY: the contract.
    unsafe { if WHOLE { s.load(x) } else { s.load_part(std::slice::from_raw_parts(x, cells)) } }
}

struct Rows<'a> {
    conv: &'a LastDepthwise,
    x: &'a [f32],
    other: Option<&'a [f32]>,
    rows: Range<usize>,
    out: &'a mut [f32],
}

impl Kernel for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { conv, x, other, rows, out } = self;
        let (channels, width) = (conv.channels, conv.window.output[2]);
        let whole = 0..conv.window.kernel[2];
        let inner = (0..width).find(|&x| conv.columns(x) == whole).unwrap_or(width);
        let outer = (inner..width).find(|&x| conv.columns(x) != whole).unwrap_or(width);
        let mut taps = Vec::new();
        let bounds = conv.finish.bounds();
        for (i, row) in rows.enumerate() {
            conv.taps(row, &mut taps);
            let start = i * width * channels;
            let out = &mut out[start..start + width * channels];
            let other = other.map_or(&[][..], |o| &o[start..start + width * channels]);
            let part = Part { conv, x, taps: &taps, other, bounds };
            if channels < S::LANES {
                for x in 0..width {
                    part.outputs::<S, 1, false>(s, x, conv.columns(x), 0, channels, out);
                }
                continue;
            }
            for c in (0..channels).step_by(S::LANES) {
                // The last vector moves back, so that it ends with the channels.
                let c = c.min(channels - S::LANES);
                for x in (0..inner).chain(outer..width) {
                    part.outputs::<S, 1, true>(s, x, conv.columns(x), c, S::LANES, out);
                }
                let mut at = inner;
                while outer - at >= 8 {
                    part.outputs::<S, 8, true>(s, at, whole.clone(), c, S::LANES, out);
                    at += 8;
                }
                if outer - at >= 4 {
                    part.outputs::<S, 4, true>(s, at, whole.clone(), c, S::LANES, out);
                    at += 4;
                }
                while outer > at {
                    part.outputs::<S, 1, true>(s, at, whole.clone(), c, S::LANES, out);
                    at += 1;
                }
            }
        }
    }
}

/// A row of the result.
struct Part<'a> {
    conv: &'a LastDepthwise,
    x: &'a [f32],
    taps: &'a [Row],
    other: &'a [f32],
    bounds: Option<(f32, f32)>,
}

impl Part<'_> {
    /// `N` output columns from `at` on, `cells` channels from `c` on, a whole vector of them when `WHOLE`.
    #[inline(always)]
    fn outputs<S: Simd, const N: usize, const WHOLE: bool>(
        &self,
        s: S,
        at: usize,
        columns: Range<usize>,
        c: usize,
        cells: usize,
        out: &mut [f32],
    ) {
        let (conv, channels) = (self.conv, self.conv.channels);
        let w = &conv.window;
        let (step, dilation) = (w.stride[2] * channels, w.dilation[2] * channels);
        assert!(c + cells <= channels && conv.bias.len() == channels && (cells == S::LANES || !WHOLE));
        // SAFETY: inside of the bias by the assertion.
        let mut sums = [unsafe { load::<S, WHOLE>(s, conv.bias.as_ptr().add(c), cells) }; N];
        if !columns.is_empty() {
            let first = at * w.stride[2] + columns.start * w.dilation[2] - w.before[2];
            let last = (at + N - 1) * w.stride[2] + (columns.end - 1) * w.dilation[2] - w.before[2];
            assert!(last < w.input[2]);
            for row in self.taps {
                assert!(row.input + (last + 1) * channels <= self.x.len());
                assert!(row.weights + columns.end * channels <= conv.weights.len());
                let mut x = self.x.as_ptr().wrapping_add(row.input + first * channels + c);
                let mut weight =
                    conv.weights.as_ptr().wrapping_add(row.weights + columns.start * channels + c);
                for _ in columns.clone() {
                    // SAFETY: from the first to the last column of the row, inside of both by the assertions.
                    unsafe {
                        let factor = load::<S, WHOLE>(s, weight, cells);
                        for (p, sum) in sums.iter_mut().enumerate() {
                            *sum = s.fma(factor, load::<S, WHOLE>(s, x.wrapping_add(p * step), cells), *sum);
                        }
                    }
                    x = x.wrapping_add(dilation);
                    weight = weight.wrapping_add(channels);
                }
            }
        }
        let place = at * channels + c;
        if let (Some((lo, hi)), true) = (self.bounds, conv.finish.residual == Residual::None) {
            let (lo, hi) = (s.splat(lo), s.splat(hi));
            for (p, &sum) in sums.iter().enumerate() {
                s.store_part(&mut out[place + p * channels..][..cells], s.min(hi, s.max(lo, sum)));
            }
            return;
        }
        let mut flat = [[0f32; 16]; N];
        for (flat, &sum) in flat.iter_mut().zip(&sums) {
            *flat = s.lanes(sum);
        }
        // Compiled once for all the forms of this function.
        let other = self.other;
        conv.isa.run(Finishing { finish: &conv.finish, flat: &flat, other, place, channels, cells, out });
    }
}

/// Finishes the sums of some columns.
struct Finishing<'a> {
    finish: &'a Finish,
    flat: &'a [[f32; 16]],
    other: &'a [f32],
    place: usize,
    channels: usize,
    cells: usize,
    out: &'a mut [f32],
}

impl Kernel for Finishing<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for (p, sums) in self.flat.iter().enumerate() {
            let range = self.place + p * self.channels..self.place + p * self.channels + self.cells;
            let adds = self.finish.residual != Residual::None;
            let other = if adds { s.load_part(&self.other[range.clone()]) } else { s.splat(0.0) };
            let y = self.finish.apply(s, s.load_part(&sums[..S::LANES]), other);
            s.store_part(&mut self.out[range], y);
        }
    }
}
