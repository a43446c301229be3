//! Convolution as a matrix product whose right operand, the unfolded input, is packed straight from the planes.

use super::ConvPlan;
use crate::kernels::gemm::{Columns, Lhs, PackColumns, PackedLhs, Product};
use crate::kernels::simd::{Kernel, Simd};
use crate::kernels::window::Planes;
use crate::pool::{Disjoint, Pool};
use std::ops::Range;

/// The unfolded input of a group: row `k`, column `q` is `data[rows[k] + position(q)]`.
struct Unfolded<'a> {
    data: &'a [f32],
    rows: &'a [usize],
    planes: &'a Planes,
    output: [usize; 3],
}

/// Output positions that follow one another in the planes: `len` of them from column `column` on, at `position`.
#[derive(Clone, Copy, Default)]
struct Run {
    column: usize,
    position: usize,
    len: usize,
}

impl Unfolded<'_> {
    /// The runs of `columns`, at most one per column; gives back how many there are.
    #[inline(always)]
    fn runs(&self, columns: Range<usize>, runs: &mut [Run; 32]) -> usize {
        let [_, height, width] = self.output;
        if self.planes.dense() {
            runs[0] = Run { column: 0, position: columns.start, len: columns.len() };
            return 1;
        }
        let (mut at, mut count) = (columns.start, 0);
        while at < columns.end {
            let (row, x) = (at / width, at % width);
            let len = (width - x).min(columns.end - at);
            let position = self.planes.row(row / height, row % height) + x;
            runs[count] = Run { column: at - columns.start, position, len };
            (at, count) = (at + len, count + 1);
        }
        count
    }
}

impl PackColumns for Unfolded<'_> {
    #[inline(always)]
    fn pack<S: Simd>(&self, s: S, depth: Range<usize>, columns: Range<usize>, width: usize, out: &mut [f32]) {
        let mut runs = [Run::default(); 32];
        let count = self.runs(columns.clone(), &mut runs);
        assert!(columns.len() <= width && out.len() >= depth.len() * width + S::LANES);
        let mut row = out.as_mut_ptr();
        for &start in &self.rows[depth] {
            for run in &runs[..count] {
                for v in (0..run.len).step_by(S::LANES) {
                    let source = &self.data[start + run.position + v..];
                    let vector = s.load_part(&source[..S::LANES.min(source.len())]);
                    // SAFETY: the first cell lies in the row, since `column + v` is below `width`, and up to a
                    // vector behind the last row is there by the assertion. What is written beyond the run is
                    // overwritten by the runs and rows that follow, or padding.
                    unsafe { s.store(row.add(run.column + v), vector) };
                }
            }
            // SAFETY: at most one past the last row.
            row = unsafe { row.add(width) };
        }
    }
}

/// Copies the channels of a group into their planes.
struct Fill<'a> {
    planes: &'a Planes,
    input: &'a [f32],
    out: &'a mut [f32],
}

impl Kernel for Fill<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        self.planes.fill(self.input, 0.0, self.out);
    }
}

pub(super) fn run(
    plan: &ConvPlan,
    packed: &[PackedLhs],
    rows: &[usize],
    x: &[f32],
    out: &mut [f32],
    scratch: &mut [f32],
    pool: &Pool,
) {
    let g = &plan.geometry;
    let out = Disjoint::new(out);
    let groups = g.batch * g.groups;
    let single = Pool::with_isa(1, plan.isa);
    if !plan.groups_first(pool) {
        (0..groups).for_each(|i| group(plan, &packed[i % g.groups], rows, x, &out, i, scratch, pool));
        return;
    }
    let seat = plan.unfolded() + plan.product_scratch();
    let scratch = Disjoint::new(scratch);
    pool.run_seated(groups, |at, i| {
        // SAFETY: no two running tasks have the same seat.
        let scratch = unsafe { scratch.slice(at * seat..(at + 1) * seat) };
        group(plan, &packed[i % g.groups], rows, x, &out, i, scratch, &single);
    });
}

/// Convolves group `i`, counted over all images.
#[allow(clippy::too_many_arguments)] // one call site's locals
fn group(
    plan: &ConvPlan,
    packed: &PackedLhs,
    rows: &[usize],
    x: &[f32],
    out: &Disjoint<'_, f32>,
    i: usize,
    scratch: &mut [f32],
    pool: &Pool,
) {
    let g = &plan.geometry;
    let channel = g.window.input_len();
    let x = &x[i * g.group_in() * channel..][..g.group_in() * channel];
    let (planes, scratch) = scratch.split_at_mut(plan.unfolded());
    if !plan.planes.direct {
        pool.rows_mut(planes, plan.planes.len, 1 << 14, |first, planes| {
            for (c, out) in planes.chunks_exact_mut(plan.planes.len).enumerate() {
                let input = &x[(first + c) * channel..][..channel];
                plan.isa.run(Fill { planes: &plan.planes, input, out });
            }
        });
    }
    let data = if plan.planes.direct { x } else { planes };
    let unfolded = Unfolded { data, rows, planes: &plan.planes, output: g.window.output };
    let n = g.window.output_len();
    let product = Product {
        m: g.group_out(),
        k: rows.len(),
        n,
        lhs: Lhs::Packed(packed),
        rhs: Columns::Pack(&unfolded),
        epilogue: plan.epilogue().from(i % g.groups * g.group_out(), 0),
        out,
        offset: i * g.group_out() * n,
    };
    product.run(plan.isa, scratch, pool);
}
