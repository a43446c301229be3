//! Convolution of every channel on its own.

use super::ConvPlan;
use crate::kernels::activation::{Bias, Epilogue};
use crate::kernels::simd::{Kernel, Simd};
use crate::kernels::stencil::{SLACK, Stencil, Taps, seat_scratch};
use crate::pool::{Disjoint, Pool};
use std::ops::Range;

pub(super) fn run(
    plan: &ConvPlan,
    weights: &[f32],
    x: &[f32],
    out: &mut [f32],
    scratch: &mut [f32],
    pool: &Pool,
) {
    let g = &plan.geometry;
    let (seat, sites) = (seat_scratch(&plan.planes, g.window.output), g.batch * g.channels_in);
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
                let taps = Weighted { weights: &weights[o * taps..][..taps], bias };
                let stencil = Stencil { planes: &plan.planes, taps };
                stencil.run(s, planes, g.window.output, out, flat);
                if !epilogue.is_identity() {
                    epilogue.apply_row(s, 0, out);
                }
            }
        }
    }
}

/// The weighted sum of the taps.
struct Weighted<'a> {
    weights: &'a [f32],
    bias: f32,
}

impl Taps for Weighted<'_> {
    #[inline(always)]
    fn start<S: Simd>(&self, s: S) -> S::F {
        s.splat(self.bias)
    }
    #[inline(always)]
    fn step<S: Simd>(&self, s: S, sum: S::F, tap: usize, x: S::F) -> S::F {
        s.fma(s.splat(self.weights[tap]), x, sum)
    }
}
