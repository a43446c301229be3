//! Running sums along an axis.

use super::elementwise::GRAIN;
use crate::pool::{Disjoint, Pool};

/// Columns that are summed side by side.
const COLUMNS: usize = 64;

/// Which elements a running sum takes in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// Those before the element only.
    pub exclusive: bool,
    /// From the last element on.
    pub reverse: bool,
}

impl Scan {
    /// Adds `x` to `sum`, which is held in double precision; the element of the result.
    fn step(self, sum: &mut f64, x: f32) -> f32 {
        let before = *sum;
        *sum += f64::from(x);
        (if self.exclusive { before } else { *sum }) as f32
    }
}

/// Running sums along the middle of `[outer, n, inner]`.
///
/// # Panics
/// When the lengths do not fit the extents.
pub fn running_sum(
    scan: Scan,
    x: &[f32],
    (outer, n, inner): (usize, usize, usize),
    out: &mut [f32],
    pool: &Pool,
) {
    assert_eq!([x.len(), out.len()], [outer * n * inner; 2], "elements of a running sum");
    if inner == 1 {
        pool.rows_mut(out, n, GRAIN, |first, lines| {
            for (i, line) in lines.chunks_exact_mut(n.max(1)).enumerate() {
                let (mut sum, x) = (0.0, &x[(first + i) * n..][..n]);
                let pairs = line.iter_mut().zip(x);
                let step = |(o, &x): (&mut f32, &f32)| *o = scan.step(&mut sum, x);
                if scan.reverse { pairs.rev().for_each(step) } else { pairs.for_each(step) }
            }
        });
        return;
    }
    let (blocks, out) = (inner.div_ceil(COLUMNS), Disjoint::new(out));
    pool.parallel_for(outer * blocks, GRAIN / (n * COLUMNS).max(1), |range| {
        for task in range {
            let (o, column) = (task / blocks, task % blocks * COLUMNS);
            let width = COLUMNS.min(inner - column);
            let mut sums = [0.0; COLUMNS];
            for i in 0..n {
                let at = (o * n + if scan.reverse { n - 1 - i } else { i }) * inner + column;
                // SAFETY: every block of columns belongs to one task.
                let out = unsafe { out.slice(at..at + width) };
                for ((o, &x), sum) in out.iter_mut().zip(&x[at..at + width]).zip(&mut sums) {
                    *o = scan.step(sum, x);
                }
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{Rng, on_every_pool};

    #[test]
    fn sums_run_along_any_axis_in_both_directions() {
        let mut rng = Rng::new(1);
        for (outer, n, inner) in [(1, 1, 1), (300, 201, 1), (2, 37, 700), (1, 5, 65), (3, 7, 2)] {
            let x: Vec<f32> = (0..outer * n * inner).map(|_| rng.int(0, 9) as f32).collect();
            for (exclusive, reverse) in [(false, false), (true, false), (false, true), (true, true)] {
                let want: Vec<f32> = (0..x.len())
                    .map(|at| {
                        let (o, i, j) = (at / (n * inner), at / inner % n, at % inner);
                        let taken = if reverse { i..n } else { 0..i + 1 };
                        let taken = taken.filter(|&t| !exclusive || t != i);
                        taken.map(|t| x[(o * n + t) * inner + j]).sum()
                    })
                    .collect();
                on_every_pool(|pool| {
                    let mut out = vec![f32::NAN; x.len()];
                    running_sum(Scan { exclusive, reverse }, &x, (outer, n, inner), &mut out, pool);
                    assert!(out == want, "[{outer}, {n}, {inner}]");
                });
            }
        }
    }
}
