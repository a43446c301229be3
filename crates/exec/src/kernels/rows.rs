//! Walks several tensors that broadcast to one shape, row by row, on several threads where that is worth it.

use super::elementwise::GRAIN;
use super::{Misfit, fits};
use crate::pool::Pool;

/// How `N` operands lie beside a result of one shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rows<const N: usize> {
    /// Extent and operand steps of each dimension but the innermost, outer to inner, as few as possible.
    outer: Vec<(usize, [usize; N])>,
    /// Length of a row.
    pub len: usize,
    /// Whether each operand goes on along a row (1) or stays (0).
    pub steps: [usize; N],
}

impl<const N: usize> Rows<N> {
    /// Operands of these shapes, which broadcast to `shape` by NumPy's rules.
    ///
    /// # Errors
    /// [`Misfit`] when one does not.
    pub fn new(shape: &[usize], operands: [&[usize]; N]) -> Result<Self, Misfit> {
        let mut steps = vec![[0; N]; shape.len()];
        for (k, from) in operands.iter().enumerate() {
            let missing = shape.len().checked_sub(from.len());
            let stretches =
                missing.is_some_and(|m| from.iter().zip(&shape[m..]).all(|(f, s)| f == s || *f == 1));
            fits!(stretches, "{from:?} does not broadcast to {shape:?}");
            let mut step = 1;
            for (d, &extent) in from.iter().enumerate().rev() {
                steps[shape.len() - from.len() + d][k] = if extent == 1 { 0 } else { step };
                step *= extent;
            }
        }
        let mut dims: Vec<(usize, [usize; N])> = Vec::new();
        for (&extent, &step) in shape.iter().zip(&steps).rev().filter(|(e, _)| **e != 1) {
            match dims.last_mut() {
                Some((n, inner)) if (0..N).all(|k| step[k] == inner[k] * *n) => *n *= extent,
                _ => dims.push((extent, step)),
            }
        }
        dims.reverse();
        let (len, steps) = dims.pop().unwrap_or((1, [0; N]));
        Ok(Self { outer: dims, len, steps })
    }

    /// Calls `f(elements of the result, where they begin in each operand)` for pieces of rows that together are all of
    /// `out`, on the threads of `pool`; an element of the result is `width` entries of `out`.
    ///
    /// # Panics
    /// When `out` does not have the extents that the rows were made for.
    pub fn share<T: Send>(
        &self,
        out: &mut [T],
        width: usize,
        pool: &Pool,
        f: impl Fn(&mut [T], [usize; N]) + Sync,
    ) {
        let rows: usize = self.outer.iter().map(|d| d.0).product();
        assert_eq!(out.len(), rows * self.len * width, "elements of a result that operands stretch to");
        self.share_from(0, out, width, pool, f);
    }

    /// As [`Rows::share`], where `out` is a part of the result: its elements from `from` on.
    pub fn share_from<T: Send>(
        &self,
        from: usize,
        out: &mut [T],
        width: usize,
        pool: &Pool,
        f: impl Fn(&mut [T], [usize; N]) + Sync,
    ) {
        pool.rows_mut(out, width, GRAIN * width, |first, mut part| {
            let mut at = from + first;
            while !part.is_empty() {
                let (row, skipped) = (at / self.len, at % self.len);
                let count = (self.len - skipped).min(part.len() / width);
                let (own, rest) = part.split_at_mut(count * width);
                let start = self.start(row);
                f(own, std::array::from_fn(|k| start[k] + skipped * self.steps[k]));
                (part, at) = (rest, at + count);
            }
        });
    }

    /// Where the operands of row `row` begin.
    fn start(&self, mut row: usize) -> [usize; N] {
        let mut at = [0; N];
        for (extent, steps) in self.outer.iter().rev() {
            let i = row % extent;
            row /= extent;
            (0..N).for_each(|k| at[k] += i * steps[k]);
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The element of each operand beside every element of the result.
    fn pairs(rows: &Rows<2>, len: usize, pool: &Pool) -> Vec<[usize; 2]> {
        let mut seen = vec![[usize::MAX; 2]; len];
        rows.share(&mut seen, 1, pool, |out, at| {
            let steps = rows.steps;
            out.iter_mut().enumerate().for_each(|(i, o)| *o = [at[0] + i * steps[0], at[1] + i * steps[1]]);
        });
        seen
    }

    #[test]
    fn rows_visit_what_numpy_pairs() {
        let rows = Rows::new(&[2, 3, 4], [&[3, 1], &[2, 1, 4]]).expect("broadcast");
        let wanted: Vec<_> = (0..24).map(|i| [i / 4 % 3, i / 12 * 4 + i % 4]).collect();
        assert_eq!(pairs(&rows, 24, &Pool::new(1)), wanted);
    }

    #[test]
    fn threads_share_long_rows_and_many() {
        for [a, b] in [[3, 30_001], [30_001, 3], [1, 70_001]] {
            let rows = Rows::new(&[a, b], [&[a, 1], &[b]]).expect("broadcast");
            let wanted: Vec<_> = (0..a * b).map(|i| [i / b, i % b]).collect();
            for threads in [1, 2, 3] {
                assert!(pairs(&rows, a * b, &Pool::new(threads)) == wanted, "[{a}, {b}] on {threads}");
            }
        }
    }

    #[test]
    fn equal_shapes_are_one_row_and_empty_ones_none() {
        let rows = Rows::new(&[2, 3], [&[2, 3], &[1, 1]]).expect("broadcast");
        assert_eq!((rows.outer.len(), rows.len, rows.steps), (0, 6, [1, 0]));
        let none = Rows::new(&[2, 0], [&[2, 0]]).expect("broadcast");
        none.share(&mut [0u8; 0], 1, &Pool::new(1), |_, _| panic!("no row"));
        assert!(Rows::new(&[2], [&[3]]).is_err());
    }
}
