//! Convolutions in the accumulator: taps one after the other, all input channels of a tap before the next.

use super::number::decode;
use super::product::{Finish, Product, ProductKernel, Side};
use super::sums::{Gauge, LANES, Lanes, Rows, Sums, panel_bytes, run};
use crate::kernels::Window;
use crate::kernels::conv::ConvGeometry;
use crate::lower::{Io, Kernel};
use crate::pool::Pool;
use std::sync::Arc;

/// A convolution with constant weights.
pub(crate) struct Conv {
    geometry: ConvGeometry,
    /// Extents of the part of the padded input that windows reach.
    padded: [usize; 3],
    /// Where each tap lies from the first.
    taps: Vec<usize>,
    way: Way,
    finish: Finish,
    gauge: Option<Arc<Gauge>>,
}

enum Way {
    /// Weights are the rows, positions the columns.
    Positions(Rows),
    /// Positions are unfolded, and weights `[channels_out, terms]` are the columns: for fewer positions than lanes.
    Channels { weights: Vec<f32>, product: ProductKernel },
}

impl Conv {
    /// Takes weights `[channels_out, channels_in / groups, taps]`; `None` when they do not fit the geometry.
    pub(crate) fn new(
        geometry: ConvGeometry,
        weights: &[f32],
        finish: Finish,
        gauge: Option<Arc<Gauge>>,
    ) -> Option<Conv> {
        let w = geometry.window;
        let (inner, taps) = (geometry.channels_in / geometry.groups, w.taps());
        let terms = inner * taps;
        if weights.len() != geometry.channels_out * terms || terms == 0 || geometry.batch == 0 {
            return None;
        }
        let reach = |d: usize| (w.output[d] - 1) * w.stride[d] + (w.kernel[d] - 1) * w.dilation[d] + 1;
        let padded = [reach(0), reach(1), reach(2)];
        let volume = [geometry.batch, geometry.channels_in].into_iter().chain(padded);
        volume
            .into_iter()
            .try_fold(1usize, |n, d| n.checked_mul(d))
            .filter(|&n| n <= isize::MAX as usize / 64)?;
        let mut offsets = Vec::with_capacity(taps);
        for z in 0..w.kernel[0] {
            for y in 0..w.kernel[1] {
                for x in 0..w.kernel[2] {
                    let at = (z * w.dilation[0] * padded[1] + y * w.dilation[1]) * padded[2];
                    offsets.push(at + x * w.dilation[2]);
                }
            }
        }
        let ordered = (0..geometry.channels_out).flat_map(|o| {
            (0..taps).flat_map(move |t| (0..inner).map(move |c| decode(weights[(o * inner + c) * taps + t])))
        });
        let few = geometry.groups == 1 && w.output_len() < LANES && geometry.channels_out > w.output_len();
        let way = if few {
            let weights: Vec<f32> = ordered.collect();
            let product = by_channels(&geometry, terms, finish.clone(), gauge.clone()).kernel();
            Way::Channels { weights, product }
        } else {
            Way::Positions(Rows::new(ordered.map(|x| finish.factor(x)).collect(), terms))
        };
        Some(Conv { geometry, padded, taps: offsets, way, finish, gauge })
    }

    fn plane(&self) -> usize {
        self.padded.iter().product()
    }

    /// Input `[batch, channels, spatial]` decoded and padded with zeros, as far as windows reach.
    fn pad(&self, x: &[f32], out: &mut [f32], pool: &Pool) {
        let (w, plane) = (self.geometry.window, self.plane());
        let len = w.input_len();
        pool.chunks_mut(out, plane, |c, out| {
            let x = &x[c * len..(c + 1) * len];
            out.fill(0.0);
            for (row, out) in out.chunks_exact_mut(self.padded[2]).enumerate() {
                let (z, y) = (row / self.padded[1], row % self.padded[1]);
                let inside = |at: usize, d: usize| at.checked_sub(w.before[d]).filter(|&i| i < w.input[d]);
                let (Some(z), Some(y)) = (inside(z, 0), inside(y, 1)) else { continue };
                let line = &x[(z * w.input[1] + y) * w.input[2]..][..w.input[2]];
                let to = out.iter_mut().skip(w.before[2]);
                to.zip(line).for_each(|(o, &v)| *o = decode(v));
            }
        });
    }

    /// Where the window of an output position begins.
    fn base(&self, position: usize) -> usize {
        let w: &Window = &self.geometry.window;
        let x = position % w.output[2];
        let y = position / w.output[2] % w.output[1];
        let z = position / (w.output[2] * w.output[1]);
        (z * w.stride[0] * self.padded[1] + y * w.stride[1]) * self.padded[2] + x * w.stride[2]
    }

    /// `[batch, positions, terms]`, without groups.
    fn unfold(&self, padded: &[f32]) -> Vec<f32> {
        let (inner, plane) = (self.geometry.channels_in, self.plane());
        let mut out = Vec::new();
        for n in 0..self.geometry.batch {
            for p in 0..self.geometry.window.output_len() {
                let base = n * inner * plane + self.base(p);
                for tap in &self.taps {
                    out.extend((0..inner).map(|c| padded[base + tap + c * plane]));
                }
            }
        }
        out
    }

    /// The convolution of an input, with memory for [`Conv::memory`] elements.
    pub(crate) fn compute(&self, x: &[f32], out: &mut [f32], memory: &mut [f32], pool: &Pool) {
        let padded = &mut memory[..self.memory()];
        self.pad(x, padded, pool);
        match &self.way {
            Way::Positions(rows) => {
                let largest = padded.iter().fold(0.0f32, |m, x| m.max(x.abs()));
                run(&Running { conv: self, rows, padded, largest }, out, self.gauge.as_deref(), pool);
            }
            Way::Channels { weights, product } => product.compute(&self.unfold(padded), weights, out, pool),
        }
    }

    /// Bytes that [`Conv::compute`] allocates by itself: the unfolded input, and what its sums take.
    pub(crate) fn own_memory(&self, pool: &Pool) -> usize {
        let terms = self.geometry.channels_in / self.geometry.groups * self.taps.len();
        match &self.way {
            Way::Positions(_) => pool.threads() * panel_bytes(terms),
            Way::Channels { product, .. } => {
                let positions = self.geometry.batch.saturating_mul(self.geometry.window.output_len());
                let unfolded = positions.saturating_mul(terms).saturating_mul(size_of::<f32>());
                unfolded.saturating_add(product.own_memory(pool))
            }
        }
    }

    /// Elements of the padded input.
    pub(crate) fn memory(&self) -> usize {
        self.geometry.batch * self.geometry.channels_in * self.plane()
    }
}

/// Positions of a convolution without groups are the rows there, output channels the columns.
fn by_channels(g: &ConvGeometry, terms: usize, finish: Finish, gauge: Option<Arc<Gauge>>) -> Product {
    let (positions, outputs) = (g.window.output_len(), g.channels_out);
    let every = |len: usize| (0..g.batch).map(|n| n * len).collect();
    Product {
        left: Side { offsets: every(positions * terms), step: terms, term: 1, count: positions },
        right: Side { offsets: vec![0; g.batch], step: terms, term: 1, count: outputs },
        terms,
        out: (every(outputs * positions), 1, positions),
        channels_are_rows: false,
        finish,
        gauge,
    }
}

/// A convolution that is being computed.
struct Running<'a> {
    conv: &'a Conv,
    rows: &'a Rows,
    padded: &'a [f32],
    largest: f32,
}

impl Running<'_> {
    #[inline(always)]
    fn channel(&self, outer: usize, row: usize) -> usize {
        let g = &self.conv.geometry;
        outer % g.groups * (g.channels_out / g.groups) + row
    }
}

impl Sums for Running<'_> {
    fn outer(&self) -> usize {
        self.conv.geometry.batch * self.conv.geometry.groups
    }

    fn rows(&self, outer: usize) -> (&Rows, usize) {
        (self.rows, self.channel(outer, 0))
    }

    fn row_count(&self) -> usize {
        self.conv.geometry.channels_out / self.conv.geometry.groups
    }

    fn columns(&self) -> usize {
        self.conv.geometry.window.output_len()
    }

    fn largest(&self) -> f32 {
        self.largest
    }

    fn fill(&self, outer: usize, at: usize, count: usize, panel: &mut [Lanes]) {
        let conv = self.conv;
        let (inner, plane) = (conv.geometry.channels_in / conv.geometry.groups, conv.plane());
        let mut bases = [0; LANES];
        for (l, b) in bases.iter_mut().enumerate().take(count) {
            *b = conv.base(at + l);
        }
        let in_line = bases[..count].windows(2).all(|pair| pair[1] == pair[0] + 1);
        let mut lanes = panel.iter_mut();
        for tap in &conv.taps {
            for (c, lanes) in (0..inner).zip(&mut lanes) {
                let from = (outer * inner + c) * plane + tap;
                if in_line {
                    lanes[..count].copy_from_slice(&self.padded[from + bases[0]..][..count]);
                } else {
                    let places = lanes[..count].iter_mut().zip(&bases);
                    places.for_each(|(lane, base)| *lane = self.padded[from + base]);
                }
            }
        }
    }

    #[inline(always)]
    fn start(&self, outer: usize, row: usize, _: usize) -> f64 {
        self.conv.finish.start(self.channel(outer, row))
    }

    #[inline(always)]
    fn finish(&self, outer: usize, row: usize, column: usize, sum: f64) -> (usize, f32) {
        let g = &self.conv.geometry;
        let (n, channel) = (outer / g.groups, self.channel(outer, row));
        let at = (n * g.channels_out + channel) * g.window.output_len() + column;
        (at, self.conv.finish.result(channel, sum))
    }
}

impl Kernel for Conv {
    fn scratch(&self, _: &Pool) -> usize {
        self.memory()
    }

    fn own_memory(&self, pool: &Pool) -> usize {
        Conv::own_memory(self, pool)
    }

    fn rounds_after(&self) -> bool {
        false
    }

    fn name(&self) -> &'static str {
        "emulated convolution"
    }

    fn run(&self, io: Io<'_, '_>, pool: &Pool) {
        self.compute(io.inputs[0], io.outputs[0], io.scratch, pool);
    }
}
