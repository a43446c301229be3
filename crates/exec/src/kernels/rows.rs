//! Walks several tensors that broadcast to one shape, row by row.

use super::{Misfit, fits};

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

    /// Calls `f(start of the row in the result, start in each operand)` for every row.
    pub fn each(&self, mut f: impl FnMut(usize, [usize; N])) {
        let count: usize = self.outer.iter().map(|d| d.0).product();
        if self.len == 0 {
            return;
        }
        let (mut index, mut at) = (vec![0; self.outer.len()], [0; N]);
        for row in 0..count {
            f(row * self.len, at);
            for (i, (extent, steps)) in index.iter_mut().zip(&self.outer).rev() {
                *i += 1;
                (0..N).for_each(|k| at[k] += steps[k]);
                if *i < *extent {
                    break;
                }
                (0..N).for_each(|k| at[k] -= steps[k] * extent);
                *i = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_visit_what_numpy_pairs() {
        let rows = Rows::new(&[2, 3, 4], [&[3, 1], &[2, 1, 4]]).expect("broadcast");
        let mut seen = Vec::new();
        rows.each(|out, at| {
            for i in 0..rows.len {
                seen.push((out + i, at[0] + i * rows.steps[0], at[1] + i * rows.steps[1]));
            }
        });
        let wanted: Vec<_> = (0..24).map(|i| (i, i / 4 % 3, i / 12 * 4 + i % 4)).collect();
        assert_eq!(seen, wanted);
    }

    #[test]
    fn equal_shapes_are_one_row_and_empty_ones_none() {
        let rows = Rows::new(&[2, 3], [&[2, 3], &[1, 1]]).expect("broadcast");
        assert_eq!((rows.outer.len(), rows.len, rows.steps), (0, 6, [1, 0]));
        Rows::new(&[2, 0], [&[2, 0]]).expect("broadcast").each(|_, _| panic!("no row"));
        assert!(Rows::new(&[2], [&[3]]).is_err());
    }
}
