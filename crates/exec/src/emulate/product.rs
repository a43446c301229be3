//! Matrix products in the accumulator: `matmul`, `linear`, `einsum`, and convolutions over few positions.

use super::number::{LIMIT, decode, in_steps, round_away};
use super::sums::{Factor, Gauge, LANES, Lanes, Rows, Sums, fixed_result, panel_bytes, row_bytes, run};
use crate::lower::{Io, Kernel};
use crate::pool::Pool;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// What becomes of a sum, by output channel.
#[derive(Clone, Debug)]
pub(crate) enum Finish {
    /// Steps of 2^-16, begun with these; none is 0.
    Fixed(Vec<f64>),
    /// Whole numbers, each with its scale and what is added after it; one entry or one for each channel.
    Scaled {
        /// Scales of input and weight, multiplied.
        scales: Vec<f64>,
        /// Biases; none is 0.
        bias: Vec<f64>,
    },
}

impl Finish {
    /// The fixed-point path with a bias.
    pub(crate) fn fixed(bias: Option<&[f32]>) -> Finish {
        Finish::Fixed(bias.unwrap_or_default().iter().map(|&b| in_steps(decode(b))).collect())
    }

    /// A factor of a row.
    pub(crate) fn factor(&self, x: f32) -> Factor {
        match self {
            Finish::Fixed(_) => Factor::fixed(x),
            Finish::Scaled { .. } => Factor::integer(x),
        }
    }

    #[inline(always)]
    pub(crate) fn start(&self, channel: usize) -> f64 {
        match self {
            Finish::Fixed(starts) => starts.get(channel).copied().unwrap_or(0.0),
            Finish::Scaled { .. } => 0.0,
        }
    }

    #[inline(always)]
    pub(crate) fn result(&self, channel: usize, sum: f64) -> f32 {
        match self {
            Finish::Fixed(_) => fixed_result(sum),
            Finish::Scaled { scales, bias } => {
                let of = |list: &[f64]| list.get(channel).or(list.first()).copied();
                if sum.abs() >= LIMIT {
                    return f32::INFINITY.copysign(sum as f32);
                }
                round_away(sum * of(scales).unwrap_or(1.0) + of(bias).unwrap_or(0.0)) + 0.0
            }
        }
    }
}

/// How the rows or columns of a product lie in their operand.
#[derive(Clone, Debug)]
pub(crate) struct Side {
    /// Where they begin, for each product.
    pub offsets: Vec<usize>,
    /// From one row or column to the next.
    pub step: usize,
    /// From one term to the next.
    pub term: usize,
    /// How many there are.
    pub count: usize,
}

/// Products of rows and columns that lie in two operands.
#[derive(Clone, Debug)]
pub(crate) struct Product {
    /// Rows of the first operand.
    pub left: Side,
    /// Columns of the second.
    pub right: Side,
    /// Terms of a sum.
    pub terms: usize,
    /// Where results begin, and the steps from row to row and from column to column.
    pub out: (Vec<usize>, usize, usize),
    /// True when the output channels are the rows, else they are the columns.
    pub channels_are_rows: bool,
    /// What becomes of sums.
    pub finish: Finish,
    /// Told how near sums come to the limit.
    pub gauge: Option<Arc<Gauge>>,
}

impl Product {
    /// With rows and columns exchanged where that fills the lanes better.
    fn lanes_filled(mut self) -> (Product, bool) {
        let swap = self.right.count < LANES && self.left.count > self.right.count;
        if swap {
            std::mem::swap(&mut self.left, &mut self.right);
            self.out = (self.out.0, self.out.2, self.out.1);
            self.channels_are_rows = !self.channels_are_rows;
        }
        (self, swap)
    }

    /// A kernel that reads both operands.
    pub(crate) fn kernel(self) -> ProductKernel {
        let (product, swapped) = self.lanes_filled();
        ProductKernel { product, swapped }
    }

    /// Bytes of decoded factors, of their rows, and of the panels of every thread.
    pub(crate) fn own_memory(&self, pool: &Pool) -> usize {
        let factors = |s: &Side| {
            let distinct = s.offsets.iter().collect::<HashSet<_>>().len();
            distinct.saturating_mul(s.count).saturating_mul(self.terms)
        };
        let rows = factors(&self.left).saturating_mul(row_bytes(self.terms)) / self.terms.max(1);
        let right = factors(&self.right).saturating_mul(size_of::<f32>());
        rows.saturating_add(right).saturating_add(pool.threads() * panel_bytes(self.terms))
    }

    fn run(&self, left: &[f32], right: &[f32], out: &mut [f32], pool: &Pool) {
        let right: Vec<f32> = right.iter().map(|&x| decode(x)).collect();
        let (mut first, mut factors) = (HashMap::new(), Vec::new());
        let mut order = Vec::with_capacity(self.left.offsets.len());
        for &offset in &self.left.offsets {
            let rows = first.len() * self.left.count;
            let at = *first.entry(offset).or_insert(rows);
            order.push(at);
            if at == rows && factors.len() == rows * self.terms {
                for r in 0..self.left.count {
                    let of = |k| left[offset + r * self.left.step + k * self.left.term];
                    factors.extend((0..self.terms).map(|k| self.finish.factor(decode(of(k)))));
                }
            }
        }
        let largest = right.iter().fold(0.0f32, |m, x| m.max(x.abs()));
        let running =
            Running { product: self, rows: Rows::new(factors, self.terms), order, right: &right, largest };
        run(&running, out, self.gauge.as_deref(), pool);
    }
}

/// A product that is being computed.
struct Running<'a> {
    product: &'a Product,
    rows: Rows,
    /// The first row of each product.
    order: Vec<usize>,
    right: &'a [f32],
    largest: f32,
}

impl Running<'_> {
    #[inline(always)]
    fn channel(&self, row: usize, column: usize) -> usize {
        if self.product.channels_are_rows { row } else { column }
    }
}

impl Sums for Running<'_> {
    fn outer(&self) -> usize {
        self.order.len()
    }

    fn rows(&self, outer: usize) -> (&Rows, usize) {
        (&self.rows, self.order[outer])
    }

    fn row_count(&self) -> usize {
        self.product.left.count
    }

    fn columns(&self) -> usize {
        self.product.right.count
    }

    fn largest(&self) -> f32 {
        self.largest
    }

    fn fill(&self, outer: usize, at: usize, count: usize, panel: &mut [Lanes]) {
        let Side { offsets, step, term, .. } = &self.product.right;
        let start = offsets[outer] + at * step;
        for (k, lanes) in panel.iter_mut().enumerate() {
            let from = start + k * term;
            if *step == 1 {
                lanes[..count].copy_from_slice(&self.right[from..from + count]);
            } else {
                for (l, lane) in lanes[..count].iter_mut().enumerate() {
                    *lane = self.right[from + l * step];
                }
            }
        }
    }

    #[inline(always)]
    fn start(&self, _: usize, row: usize, column: usize) -> f64 {
        self.product.finish.start(self.channel(row, column))
    }

    #[inline(always)]
    fn finish(&self, outer: usize, row: usize, column: usize, sum: f64) -> (usize, f32) {
        let (offsets, down, across) = &self.product.out;
        let value = self.product.finish.result(self.channel(row, column), sum);
        (offsets[outer] + row * down + column * across, value)
    }
}

/// A product of two operands of an op.
pub(crate) struct ProductKernel {
    product: Product,
    swapped: bool,
}

impl ProductKernel {
    /// The product of these operands.
    pub(crate) fn compute(&self, left: &[f32], right: &[f32], out: &mut [f32], pool: &Pool) {
        let (left, right) = if self.swapped { (right, left) } else { (left, right) };
        self.product.run(left, right, out, pool);
    }

    /// Bytes that [`ProductKernel::compute`] allocates.
    pub(crate) fn own_memory(&self, pool: &Pool) -> usize {
        self.product.own_memory(pool)
    }
}

impl Kernel for ProductKernel {
    fn own_memory(&self, pool: &Pool) -> usize {
        ProductKernel::own_memory(self, pool)
    }

    fn rounds_after(&self) -> bool {
        false
    }

    fn name(&self) -> &'static str {
        "emulated product"
    }

    fn run(&self, io: Io<'_, '_>, pool: &Pool) {
        self.compute(io.inputs[0], io.inputs[1], io.outputs[0], pool);
    }
}
