//! Resampling of the last two dimensions, and the sampling modes of MIL.

use super::simd::{Kernel, Simd};
use crate::pool::{Disjoint, Pool};

/// Where output coordinates fall on the input, by the names of MIL's `sampling_mode`; the formulas are those of the
/// documentation of coremltools' `resize_bilinear`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sampling {
    /// Steps of `(in - in / out) / (out - 1)`
    Default,
    /// Steps of `(in - 1) / (out - 1)`
    StrictAlignCorners,
    /// The same, and the middle when there is one output
    AlignCorners,
    /// Steps of `in / out` between pixel centres
    UnalignCorners,
    /// Steps of `max(1, in - 1) / out`, from half a step on
    OffsetCorners,
}

/// The two neighbours of every output coordinate and the weight of the second.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    input: usize,
    low: Vec<usize>,
    high: Vec<usize>,
    weight: Vec<f32>,
}

impl Axis {
    /// Output `i` of `output` samples coordinate `i * scale + offset`, moved into `0..=input - 1`.
    ///
    /// # Panics
    /// When `input` is 0.
    pub fn linear(scale: f64, offset: f64, input: usize, output: usize) -> Self {
        Self::at((0..output).map(|i| i as f64 * scale + offset), input)
    }

    /// The coordinates of a sampling mode.
    ///
    /// # Panics
    /// When `input` is 0.
    pub fn sampled(mode: Sampling, input: usize, output: usize) -> Self {
        let (n, m) = (input as f64, output as f64);
        let per_gap = |length: f64| if output > 1 { length / (m - 1.0) } else { 0.0 };
        let (scale, offset) = match mode {
            Sampling::Default => (per_gap(n - n / m), 0.0),
            Sampling::AlignCorners if output == 1 => (0.0, (n - 1.0) / 2.0),
            Sampling::AlignCorners | Sampling::StrictAlignCorners => (per_gap(n - 1.0), 0.0),
            Sampling::UnalignCorners => (n / m, 0.5 * n / m - 0.5),
            Sampling::OffsetCorners => ((n - 1.0).max(1.0) / m, 0.5 * (n - 1.0).max(1.0) / m),
        };
        Self::linear(scale, offset, input, output)
    }

    /// Any coordinates, moved into `0..=input - 1`; NaN counts as 0.
    ///
    /// # Panics
    /// When `input` is 0.
    pub fn at(coordinates: impl Iterator<Item = f64>, input: usize) -> Self {
        assert!(input > 0, "resize of an empty dimension");
        let mut axis = Self { input, low: Vec::new(), high: Vec::new(), weight: Vec::new() };
        for c in coordinates {
            let c = c.max(0.0).min((input - 1) as f64);
            let low = c.floor() as usize;
            axis.low.push(low);
            axis.high.push((low + 1).min(input - 1));
            axis.weight.push((c - low as f64) as f32);
        }
        axis
    }

    /// Given neighbours and weights: `(low, high, weight of high)` of every output, among `input` elements.
    ///
    /// # Panics
    /// When a neighbour does not exist.
    pub fn of(input: usize, taps: impl Iterator<Item = (usize, usize, f32)>) -> Self {
        let mut axis = Self { input, low: Vec::new(), high: Vec::new(), weight: Vec::new() };
        for (low, high, weight) in taps {
            assert!(low < input && high < input, "neighbours {low} and {high} of {input} elements");
            axis.low.push(low);
            axis.high.push(high);
            axis.weight.push(weight);
        }
        axis
    }

    /// Output length.
    pub fn len(&self) -> usize {
        self.low.len()
    }

    /// True when there is no output.
    pub fn is_empty(&self) -> bool {
        self.low.is_empty()
    }

    /// The lower neighbours: the indices of a nearest-neighbour resize that rounds down.
    pub fn floor(&self) -> &[usize] {
        &self.low
    }
}

/// The indices of a nearest-neighbour resize that repeats pixels: output `i` takes `floor(i * input / output)`.
pub fn nearest(input: usize, output: usize) -> Vec<usize> {
    (0..output).map(|i| i * input / output).collect()
}

/// Scratch elements that [`bilinear`] needs.
pub fn bilinear_scratch(x: &Axis, pool: &Pool) -> usize {
    2 * x.len() * pool.threads()
}

/// Resamples the rows and columns of `planes` images `x [planes, y.input, x.input]` into `out [planes, y, x]`.
///
/// # Panics
/// When a length does not fit the axes.
pub fn bilinear(x: &[f32], (ay, ax): (&Axis, &Axis), out: &mut [f32], scratch: &mut [f32], pool: &Pool) {
    let (size_in, size_out) = (ay.input * ax.input, ay.len() * ax.len());
    assert_eq!(x.len() % size_in, 0, "elements of a resize");
    let planes = x.len() / size_in;
    assert_eq!(out.len(), planes * size_out, "elements of a resize's result");
    assert!(scratch.len() >= bilinear_scratch(ax, pool), "scratch of a resize");
    let (out, scratch, seat) = (Disjoint::new(out), Disjoint::new(scratch), 2 * ax.len());
    let tasks = ((planes * size_out) >> 13).clamp(1, pool.threads() * 4).min(planes.max(1));
    pool.run_seated(tasks, |at, i| {
        // SAFETY: no two running tasks have the same seat.
        let rows = unsafe { scratch.slice(at * seat..(at + 1) * seat) };
        for p in planes * i / tasks..planes * (i + 1) / tasks {
            // SAFETY: every plane belongs to one task.
            let out = unsafe { out.slice(p * size_out..(p + 1) * size_out) };
            pool.isa().run(Plane { x: &x[p * size_in..][..size_in], ay, ax, rows, out });
        }
    });
}

struct Plane<'a> {
    x: &'a [f32],
    ay: &'a Axis,
    ax: &'a Axis,
    rows: &'a mut [f32],
    out: &'a mut [f32],
}

impl Kernel for Plane<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { x, ay, ax, rows, out } = self;
        let (mut top, mut bottom) = rows.split_at_mut(ax.len());
        // Which input row each of the two stretched rows holds.
        let (mut has_top, mut has_bottom) = (usize::MAX, usize::MAX);
        for (y, out) in out.chunks_exact_mut(ax.len().max(1)).enumerate() {
            let (low, high) = (ay.low[y], ay.high[y]);
            if low == has_bottom {
                std::mem::swap(&mut top, &mut bottom);
                std::mem::swap(&mut has_top, &mut has_bottom);
            }
            if low != has_top {
                stretch(&x[low * ax.input..][..ax.input], ax, top);
                has_top = low;
            }
            if high != has_bottom {
                stretch(&x[high * ax.input..][..ax.input], ax, bottom);
                has_bottom = high;
            }
            let weight = s.splat(ay.weight[y]);
            let rows = top.chunks(S::LANES).zip(bottom.chunks(S::LANES));
            for (out, (top, bottom)) in out.chunks_mut(S::LANES).zip(rows) {
                let (top, bottom) = (s.load_part(top), s.load_part(bottom));
                s.store_part(out, s.fma(weight, s.sub(bottom, top), top));
            }
        }
    }
}

#[inline(always)]
fn stretch(row: &[f32], axis: &Axis, out: &mut [f32]) {
    for (((o, &low), &high), &weight) in out.iter_mut().zip(&axis.low).zip(&axis.high).zip(&axis.weight) {
        *o = row[low] + weight * (row[high] - row[low]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{Rng, assert_close, on_every_pool};

    /// The example of the documentation of coremltools' `resize_bilinear`: an input of two pixels.
    #[test]
    fn sampling_modes_agree_with_the_documented_grids() {
        let grid = |mode, output| {
            let axis = Axis::sampled(mode, 2, output);
            axis.low.iter().zip(&axis.weight).map(|(&l, w)| l as f32 + w).collect::<Vec<_>>()
        };
        for (mode, five, six) in [
            (Sampling::UnalignCorners, [0., 0.1, 0.5, 0.9, 1.], [0., 0., 0.33, 0.67, 1., 1.]),
            (Sampling::StrictAlignCorners, [0., 0.25, 0.5, 0.75, 1.], [0., 0.2, 0.4, 0.6, 0.8, 1.]),
            (Sampling::AlignCorners, [0., 0.25, 0.5, 0.75, 1.], [0., 0.2, 0.4, 0.6, 0.8, 1.]),
            (Sampling::Default, [0., 0.4, 0.8, 1., 1.], [0., 0.33, 0.67, 1., 1., 1.]),
            (Sampling::OffsetCorners, [0.1, 0.3, 0.5, 0.7, 0.9], [0.08, 0.25, 0.42, 0.58, 0.75, 0.92]),
        ] {
            // The documentation prints two digits.
            assert_close(&grid(mode, 5), &five, 5e-3, &format!("{mode:?}"));
            assert_close(&grid(mode, 6), &six, 5e-3, &format!("{mode:?}"));
        }
        assert_eq!(Axis::sampled(Sampling::AlignCorners, 5, 1).low, [2]);
    }

    #[test]
    fn bilinear_agrees_with_its_formula() {
        let mut rng = Rng::new(1);
        for (h, w, oh, ow) in [(1, 1, 3, 3), (7, 9, 14, 18), (20, 31, 9, 50), (5, 4, 5, 4), (33, 40, 8, 7)] {
            let x = rng.floats(3 * h * w);
            for mode in [Sampling::Default, Sampling::UnalignCorners, Sampling::AlignCorners] {
                let (ay, ax) = (Axis::sampled(mode, h, oh), Axis::sampled(mode, w, ow));
                let mut want = Vec::new();
                for p in 0..3 {
                    for (i, j) in (0..oh).flat_map(|i| (0..ow).map(move |j| (i, j))) {
                        let at = |y: usize, x_: usize| f64::from(x[(p * h + y) * w + x_]);
                        let (v, u) = (f64::from(ay.weight[i]), f64::from(ax.weight[j]));
                        let row = |y| at(y, ax.low[j]) * (1.0 - u) + at(y, ax.high[j]) * u;
                        want.push((row(ay.low[i]) * (1.0 - v) + row(ay.high[i]) * v) as f32);
                    }
                }
                on_every_pool(|pool| {
                    let mut out = vec![f32::NAN; want.len()];
                    let mut scratch = vec![f32::NAN; bilinear_scratch(&ax, pool)];
                    bilinear(&x, (&ay, &ax), &mut out, &mut scratch, pool);
                    assert_close(&out, &want, 1e-6, &format!("{mode:?} {h}x{w} to {oh}x{ow}"));
                });
            }
        }
    }

    #[test]
    fn nearest_repeats_pixels() {
        assert_eq!(nearest(3, 6), [0, 0, 1, 1, 2, 2]);
        assert_eq!(nearest(5, 2), [0, 2]);
    }
}
