//! Convolution of every channel on its own.

use super::{ConvGeometry, ConvPlan};
use crate::kernels::activation::{Bias, Epilogue};
use crate::kernels::simd::{Kernel, Simd};
use crate::kernels::window::Planes;
use crate::pool::{Disjoint, Pool};
use std::ops::Range;

/// Room for the vectors that reach behind the last element.
const SLACK: usize = 64;

/// Scratch elements of a thread: the planes of a channel, and an output with their row distance.
pub(super) fn seat_scratch(planes: &Planes, geometry: &ConvGeometry) -> usize {
    let [z, y, _] = geometry.window.output;
    planes.len + SLACK + planes.row(z, y) + SLACK
}

pub(super) fn run(
    plan: &ConvPlan,
    weights: &[f32],
    x: &[f32],
    out: &mut [f32],
    scratch: &mut [f32],
    pool: &Pool,
) {
    let g = &plan.geometry;
    let (seat, sites) = (seat_scratch(&plan.planes, g), g.batch * g.channels_in);
    let group = g.group_out() * g.window.output_len();
    let work = sites * group * g.window.taps();
    let tasks = (work >> 17).clamp(1, pool.threads() * 4).min(sites.max(1));
    let (out, scratch) = (Disjoint::new(out), Disjoint::new(scratch));
    pool.run_seated(tasks, |at, i| {
        let channels = sites * i / tasks..sites * (i + 1) / tasks;
        // SAFETY: no two running tasks have the same seat, and each has channels of its own.
        let (scratch, out) = unsafe {
            (
                scratch.slice(at * seat..(at + 1) * seat),
                out.slice(channels.start * group..channels.end * group),
            )
        };
        plan.isa.run(Channels { plan, weights, x, channels, out, scratch });
    });
}

/// Input channels, counted over all images, with the outputs they make.
struct Channels<'a> {
    plan: &'a ConvPlan,
    weights: &'a [f32],
    x: &'a [f32],
    channels: Range<usize>,
    out: &'a mut [f32],
    scratch: &'a mut [f32],
}

impl Kernel for Channels<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { plan, weights, x, channels, out, scratch } = self;
        let (g, taps) = (&plan.geometry, plan.planes.taps.len());
        let (size_in, size_out) = (g.window.input_len(), g.window.output_len());
        let (planes, flat) = scratch.split_at_mut(plan.planes.len + SLACK);
        let epilogue = Epilogue { bias: Bias::None, ..plan.epilogue() };
        let mut outputs = out.chunks_exact_mut(size_out);
        for channel in channels {
            let input = &x[channel * size_in..][..size_in];
            if plan.planes.direct {
                planes[..size_in].copy_from_slice(input);
            } else {
                plan.planes.fill(input, 0.0, planes);
            }
            for (j, out) in outputs.by_ref().take(g.group_out()).enumerate() {
                let o = channel % g.channels_in * g.group_out() + j;
                let bias = plan.bias.as_ref().map_or(0.0, |b| b[o]);
                let stencil = Stencil { planes: &plan.planes, weights: &weights[o * taps..][..taps], bias };
                stencil.run(s, planes, g.window.output, out, flat);
                if !epilogue.is_identity() {
                    epilogue.apply_row(s, 0, out);
                }
            }
        }
    }
}

/// The weighted sum of the taps, at every output position.
struct Stencil<'a> {
    planes: &'a Planes,
    weights: &'a [f32],
    bias: f32,
}

impl Stencil<'_> {
    #[inline(always)]
    fn run<S: Simd>(&self, s: S, data: &[f32], output: [usize; 3], out: &mut [f32], flat: &mut [f32]) {
        let [depth, height, width] = output;
        if width >= S::LANES {
            for (i, row) in out.chunks_exact_mut(width).enumerate() {
                self.span(s, &data[self.planes.row(i / height, i % height)..], row);
            }
            return;
        }
        // Narrow images: the whole plane as one row, its padding computed along and left out.
        let len = self.planes.row(depth - 1, height - 1) + width;
        self.span(s, data, &mut flat[..len.next_multiple_of(S::LANES)]);
        for (i, row) in out.chunks_exact_mut(width).enumerate() {
            row.copy_from_slice(&flat[self.planes.row(i / height, i % height)..][..width]);
        }
    }

    /// `out[i] = bias + sum of weights[t] * data[taps[t] + i]`; `out` holds at least a vector.
    #[inline(always)]
    fn span<S: Simd>(&self, s: S, data: &[f32], out: &mut [f32]) {
        let vectors = out.len().div_ceil(S::LANES);
        let mut v = 0;
        while vectors - v >= 4 {
            self.vectors::<S, 4>(s, data, out, v);
            v += 4;
        }
        match vectors - v {
            1 => self.vectors::<S, 1>(s, data, out, v),
            2 => self.vectors::<S, 2>(s, data, out, v),
            3 => self.vectors::<S, 3>(s, data, out, v),
            _ => {}
        }
    }

    #[inline(always)]
    fn vectors<S: Simd, const N: usize>(&self, s: S, data: &[f32], out: &mut [f32], first: usize) {
        match self.weights.len() {
            9 => self.sums::<S, N, 9>(s, data, out, first),
            25 => self.sums::<S, N, 25>(s, data, out, first),
            _ => self.sums::<S, N, 0>(s, data, out, first),
        }
    }

    /// `N` vectors from vector `first` on, the last moved back so that it ends with `out`; `T` taps, or any number
    /// when `T` is 0.
    #[inline(always)]
    fn sums<S: Simd, const N: usize, const T: usize>(
        &self,
        s: S,
        data: &[f32],
        out: &mut [f32],
        first: usize,
    ) {
        let taps = if T == 0 { self.weights.len() } else { T };
        let (weights, offsets) = (&self.weights[..taps], &self.planes.taps[..taps]);
        assert!(out.len() >= S::LANES && offsets.iter().all(|t| t + out.len() <= data.len()));
        let starts: [usize; N] = std::array::from_fn(|v| ((first + v) * S::LANES).min(out.len() - S::LANES));
        let mut sums = [s.splat(self.bias); N];
        for t in 0..taps {
            let weight = s.splat(weights[t]);
            for v in 0..N {
                // SAFETY: a vector from `starts[v]` on ends inside `out`, and `data` reaches as far behind every tap.
                let x = unsafe { s.load(data.as_ptr().add(offsets[t] + starts[v])) };
                sums[v] = s.fma(weight, x, sums[v]);
            }
        }
        for v in 0..N {
            // SAFETY: as above.
            unsafe { s.store(out.as_mut_ptr().add(starts[v]), sums[v]) };
        }
    }
}
