//! Pooling over one to three spatial dimensions.

use super::reduce::{Fold, Largest, Squares, Sum, fold_run};
use super::simd::{Kernel, Simd};
use super::stencil::{SLACK, Stencil, Taps, seat_scratch};
use super::window::{Planes, Window};
use crate::pool::{Disjoint, Pool};
use std::ops::Range;

/// What an average divides by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Divisor {
    /// All taps, wherever they fall.
    Taps,
    /// The taps inside the input.
    Inside,
    /// The taps inside the input and its padding, whose far sides are given; what a rounded up output reads
    /// beyond that does not count.
    Padded([usize; 3]),
}

/// The kind of pooling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolKind {
    /// The largest element; padding never wins.
    Max,
    /// The mean.
    Average(Divisor),
    /// The square root of the sum of squares.
    L2,
}

/// A pooling ready to run.
pub struct PoolPlan {
    kind: PoolKind,
    window: Window,
    planes: Planes,
    /// 1 / divisor of every output position, one number when they agree.
    scale: Vec<f32>,
}

impl PoolPlan {
    /// Pools the windows of `window`, channel by channel.
    pub fn new(kind: PoolKind, window: Window) -> Self {
        let scale = match kind {
            PoolKind::Average(divisor) => scales(&window, divisor),
            _ => vec![1.0],
        };
        Self { kind, window, planes: Planes::new(window), scale }
    }

    /// True when the window is the whole input.
    fn is_global(&self) -> bool {
        let w = &self.window;
        w.kernel == w.input && w.output == [1; 3] && w.before == [0; 3] && w.dilation == [1; 3]
    }

    /// Scratch elements that [`PoolPlan::run`] needs.
    pub fn scratch(&self, pool: &Pool) -> usize {
        seat_scratch(&self.planes, self.window.output) * pool.threads()
    }

    /// Pools `channels` (images times channels) planes of `x` into `out`.
    ///
    /// # Panics
    /// When `x`, `out` or `scratch` do not have the lengths of the windows.
    pub fn run(&self, x: &[f32], channels: usize, out: &mut [f32], scratch: &mut [f32], pool: &Pool) {
        let (size, seat) = (self.window.output_len(), seat_scratch(&self.planes, self.window.output));
        assert_eq!(x.len(), channels * self.window.input_len(), "elements of a pooling");
        assert_eq!(out.len(), channels * size, "elements of a pooling's result");
        assert!(scratch.len() >= self.scratch(pool), "scratch of a pooling");
        let work = channels * size * self.window.taps();
        let tasks = (work >> 16).clamp(1, pool.threads() * 4).min(channels.max(1));
        let (out, scratch) = (Disjoint::new(out), Disjoint::new(scratch));
        pool.run_seated(tasks, |at, i| {
            let channels = channels * i / tasks..channels * (i + 1) / tasks;
            // SAFETY: no two running tasks have the same seat, and each has channels of its own.
            let (out, scratch) = unsafe {
                (
                    out.slice(channels.start * size..channels.end * size),
                    scratch.slice(at * seat..(at + 1) * seat),
                )
            };
            pool.isa().run(Channels { plan: self, x, channels, out, scratch });
        });
    }
}

/// 1 / divisor of every output position.
pub(crate) fn scales(w: &Window, divisor: Divisor) -> Vec<f32> {
    let count = |d: usize, o: usize| {
        let counts = |k: &usize| match divisor {
            Divisor::Taps => true,
            Divisor::Inside => w.source(d, o, *k).is_some(),
            Divisor::Padded(after) => {
                o * w.stride[d] + k * w.dilation[d] < w.before[d] + w.input[d] + after[d]
            }
        };
        (0..w.kernel[d]).filter(counts).count()
    };
    let [z, y, x]: [Vec<usize>; 3] = std::array::from_fn(|d| (0..w.output[d]).map(|o| count(d, o)).collect());
    let mut scales = Vec::new();
    for z in &z {
        for y in &y {
            scales.extend(x.iter().map(|x| 1.0 / (x * y * z).max(1) as f32));
        }
    }
    if scales.iter().all(|s| *s == scales[0]) {
        scales.truncate(1);
    }
    scales
}

struct Channels<'a> {
    plan: &'a PoolPlan,
    x: &'a [f32],
    channels: Range<usize>,
    out: &'a mut [f32],
    scratch: &'a mut [f32],
}

/// A fold as what happens at a tap.
struct Folding<F>(F);

impl<F: Fold> Taps for Folding<F> {
    #[inline(always)]
    fn start<S: Simd>(&self, s: S) -> S::F {
        s.splat(F::START)
    }
    #[inline(always)]
    fn step<S: Simd>(&self, s: S, sum: S::F, _: usize, x: S::F) -> S::F {
        self.0.step(s, sum, x, s.splat(0.0))
    }
}

impl Kernel for Channels<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        match self.plan.kind {
            PoolKind::Max => self.each(s, Largest),
            PoolKind::Average(_) => self.each(s, Sum),
            PoolKind::L2 => self.each(s, Squares),
        }
    }
}

impl Channels<'_> {
    #[inline(always)]
    fn each<S: Simd, F: Fold>(self, s: S, fold: F) {
        let Self { plan, x, channels, out, scratch } = self;
        let (size_in, size_out) = (plan.window.input_len(), plan.window.output_len());
        let (data, flat) = scratch.split_at_mut(plan.planes.len + SLACK);
        let (stencil, global) = (Stencil { planes: &plan.planes, taps: Folding(fold) }, plan.is_global());
        for (channel, out) in channels.zip(out.chunks_exact_mut(size_out)) {
            let x = &x[channel * size_in..][..size_in];
            if global {
                out[0] = fold_run(s, fold, x, 0.0);
            } else if plan.planes.direct {
                data[..size_in].copy_from_slice(x);
                stencil.run(s, data, plan.window.output, out, flat);
            } else {
                plan.planes.fill(x, F::START, data);
                stencil.run(s, data, plan.window.output, out, flat);
            }
            match (plan.kind, &plan.scale[..]) {
                (PoolKind::Max, _) => {}
                (PoolKind::L2, _) => out.iter_mut().for_each(|o| *o = o.sqrt()),
                (_, [scale]) => out.iter_mut().for_each(|o| *o *= scale),
                (_, scales) => out.iter_mut().zip(scales).for_each(|(o, scale)| *o *= scale),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{Rng, assert_close, on_every_pool};

    fn naive(kind: PoolKind, w: &Window, x: &[f32]) -> Vec<f32> {
        let [_, ih, iw] = w.input;
        let mut out = Vec::new();
        for x in x.chunks(w.input_len()) {
            for q in 0..w.output_len() {
                let at = [q / (w.output[1] * w.output[2]), q / w.output[2] % w.output[1], q % w.output[2]];
                let (mut seen, mut padded) = (Vec::new(), 0);
                for t in 0..w.taps() {
                    let k = [t / (w.kernel[1] * w.kernel[2]), t / w.kernel[2] % w.kernel[1], t % w.kernel[2]];
                    let i: Option<Vec<usize>> = (0..3).map(|d| w.source(d, at[d], k[d])).collect();
                    seen.extend(i.map(|i| f64::from(x[(i[0] * ih + i[1]) * iw + i[2]])));
                    padded += usize::from((0..3).all(|d| {
                        at[d] * w.stride[d] + k[d] * w.dilation[d]
                            < w.before[d] + w.input[d] + usize::from(d == 2)
                    }));
                }
                let sum: f64 = seen.iter().sum();
                out.push(match kind {
                    PoolKind::Max => seen.iter().copied().fold(f64::NEG_INFINITY, f64::max),
                    PoolKind::Average(Divisor::Taps) => sum / w.taps() as f64,
                    PoolKind::Average(Divisor::Inside) => sum / seen.len().max(1) as f64,
                    PoolKind::Average(Divisor::Padded(_)) => sum / padded.max(1) as f64,
                    PoolKind::L2 => seen.iter().map(|x| x * x).sum::<f64>().sqrt(),
                } as f32);
            }
        }
        out
    }

    #[test]
    fn poolings_agree_with_their_definitions() {
        let mut rng = Rng::new(1);
        let kinds = [
            PoolKind::Max,
            PoolKind::Average(Divisor::Taps),
            PoolKind::Average(Divisor::Inside),
            PoolKind::Average(Divisor::Padded([0, 0, 1])),
            PoolKind::L2,
        ];
        for i in 0..75 {
            let rank = i % 3 + 1;
            let list = |rng: &mut Rng, low, high| (0..rank).map(|_| rng.int(low, high)).collect::<Vec<_>>();
            let input = list(&mut rng, 1, [80, 30, 9][rank - 1]);
            let kernel = if i % 7 == 0 { input.clone() } else { list(&mut rng, 1, 4) };
            let (stride, dilation) = (list(&mut rng, 1, 3), list(&mut rng, 1, 2));
            let pads: Vec<_> =
                (0..rank).map(|_| if i % 7 == 0 { (0, 0) } else { (rng.int(0, 2), rng.int(0, 2)) }).collect();
            let Ok(window) = Window::padded(&input, &kernel, &stride, &dilation, &pads) else { continue };
            let (kind, x) = (kinds[i % kinds.len()], rng.floats(5 * window.input_len()));
            let want = naive(kind, &window, &x);
            on_every_pool(|pool| {
                let plan = PoolPlan::new(kind, window);
                let mut out = vec![f32::NAN; want.len()];
                let mut scratch = vec![f32::NAN; plan.scratch(pool)];
                plan.run(&x, 5, &mut out, &mut scratch, pool);
                assert_close(&out, &want, 1e-6, &format!("{kind:?} {window:?}"));
            });
        }
    }
}
