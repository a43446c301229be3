//! Sorting along an axis.
//!
//! An element becomes one number: a key of 32 bits that orders as the element does, and its position below, so that
//! equal elements keep their order and sorting compares whole numbers only.

use super::elementwise::GRAIN;
use super::{Misfit, fits};
use crate::pool::{Disjoint, Pool};

/// Orders floats; NaN comes last in both directions, zeros of both signs are equal.
pub fn float_key(x: f32, ascending: bool) -> u32 {
    if x.is_nan() {
        return u32::MAX;
    }
    // The sum makes one zero of both.
    let bits = (x + 0.0).to_bits();
    let key = if bits >> 31 == 0 { bits | 1 << 31 } else { !bits };
    if ascending { key } else { !key }
}

/// The first elements of every line along an axis, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ranking {
    outer: usize,
    n: usize,
    inner: usize,
    k: usize,
}

impl Ranking {
    /// The first `k` along the middle of `[outer, n, inner]`.
    ///
    /// # Errors
    /// [`Misfit`] when lines are shorter than `k` or longer than 32 bits can count.
    pub fn new((outer, n, inner): (usize, usize, usize), k: usize) -> Result<Self, Misfit> {
        fits!(k <= n && u32::try_from(n).is_ok(), "the first {k} of lines of {n} elements");
        Ok(Self { outer, n, inner, k })
    }

    /// Into how many sorted runs a line is cut: several where there are more threads than lines.
    fn runs(&self, pool: &Pool) -> usize {
        let alone = self.outer * self.inner < pool.threads();
        if alone { pool.threads().min(self.n / GRAIN).max(1) } else { 1 }
    }

    /// Scratch elements that [`Ranking::run`] needs.
    pub fn scratch(&self, pool: &Pool) -> usize {
        let lines = if self.runs(pool) > 1 { 1 } else { pool.threads().min(self.outer * self.inner) };
        lines * self.n
    }

    /// Calls `put(place in [outer, k, inner], place in the source, position along the line)` for every place once;
    /// `key` orders the places of the source.
    ///
    /// # Panics
    /// When `scratch` is shorter than [`Ranking::scratch`].
    pub fn run(
        &self,
        key: impl Fn(usize) -> u32 + Sync,
        scratch: &mut [u64],
        pool: &Pool,
        put: impl Fn(usize, usize, usize) + Sync,
    ) {
        let Ranking { outer, n, inner, k } = *self;
        let (lines, runs) = (outer * inner, self.runs(pool));
        if lines * k == 0 {
            return;
        }
        let source = |line: usize, i: usize| (line / inner * n + i) * inner + line % inner;
        let sort = |line: usize, first: usize, run: &mut [u64]| {
            let numbers = (first..).map(|i| u64::from(key(source(line, i))) << 32 | i as u64);
            run.iter_mut().zip(numbers).for_each(|(r, v)| *r = v);
            let kept = k.min(run.len());
            if kept < run.len() {
                run.select_nth_unstable(kept - 1);
            }
            run[..kept].sort_unstable();
        };
        let emit = |line: usize, rank: usize, number: u64| {
            let i = number as u32 as usize;
            put((line / inner * k + rank) * inner + line % inner, source(line, i), i);
        };
        if runs > 1 {
            let length = n.div_ceil(runs);
            for line in 0..lines {
                pool.chunks_mut(&mut scratch[..n], length, |r, run| sort(line, r * length, run));
                let heads = scratch[..n].chunks(length).map(|run| &run[..k.min(run.len())]);
                merged(heads.collect(), k, |rank, number| emit(line, rank, number));
            }
            return;
        }
        let per_task = (GRAIN / n).max(lines.div_ceil(pool.threads() * 4)).max(1);
        let scratch = Disjoint::new(scratch);
        pool.run_seated(lines.div_ceil(per_task), |seat, task| {
            // SAFETY: no two running tasks have the same seat.
            let run = unsafe { scratch.slice(seat * n..(seat + 1) * n) };
            for line in task * per_task..lines.min((task + 1) * per_task) {
                sort(line, 0, run);
                run[..k].iter().enumerate().for_each(|(rank, &number)| emit(line, rank, number));
            }
        });
    }
}

/// Calls `emit(rank, number)` for the first `k` of all runs, each of which is sorted.
fn merged(mut runs: Vec<&[u64]>, k: usize, emit: impl Fn(usize, u64)) {
    for rank in 0..k {
        let least = (0..runs.len()).min_by_key(|&r| runs[r].first().copied().unwrap_or(u64::MAX));
        if let Some(run) = least.map(|r| &mut runs[r])
            && let Some((&number, rest)) = run.split_first()
        {
            emit(rank, number);
            *run = rest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{Rng, on_every_pool};
    use std::sync::Mutex;

    #[test]
    fn keys_order_as_floats_do() {
        let sorted = [f32::NEG_INFINITY, -2.0, -f32::MIN_POSITIVE, 0.0, 1e-40, 1.0, f32::MAX, f32::INFINITY];
        for pair in sorted.windows(2) {
            assert!(float_key(pair[0], true) < float_key(pair[1], true), "{pair:?}");
            assert!(float_key(pair[0], false) > float_key(pair[1], false), "{pair:?}");
        }
        for ascending in [true, false] {
            assert_eq!(float_key(-0.0, ascending), float_key(0.0, ascending));
            assert!(sorted.iter().all(|&x| float_key(x, ascending) < float_key(-f32::NAN, ascending)));
        }
    }

    #[test]
    fn lines_are_ranked_as_a_stable_sort_ranks_them() {
        let mut rng = Rng::new(1);
        for ((outer, n, inner), k) in [
            ((7, 5000, 1), 9),
            ((3, 31, 400), 31),
            ((1, 70_001, 1), 70_001),
            ((2, 1, 1), 1),
            ((1, 50_000, 1), 3),
        ] {
            let x: Vec<u32> = (0..outer * n * inner).map(|_| rng.int(0, 2000) as u32).collect();
            let mut want = vec![0; outer * k * inner];
            for (o, i) in (0..outer).flat_map(|o| (0..inner).map(move |i| (o, i))) {
                let mut line: Vec<usize> = (0..n).collect();
                line.sort_by_key(|j| x[(o * n + j) * inner + i]);
                (0..k).for_each(|r| want[(o * k + r) * inner + i] = line[r]);
            }
            on_every_pool(|pool| {
                let plan = Ranking::new((outer, n, inner), k).expect("fits");
                let (found, mut scratch) =
                    (Mutex::new(vec![usize::MAX; want.len()]), vec![0; plan.scratch(pool)]);
                plan.run(|at| x[at], &mut scratch, pool, |to, _, i| found.lock().expect("no panic")[to] = i);
                assert!(found.into_inner().expect("no panic") == want, "[{outer}, {n}, {inner}], {k}");
            });
        }
        assert!(Ranking::new((1, 3, 1), 4).is_err());
    }
}
