//! Kernels that move elements without computing: any element type.

use super::elementwise::GRAIN;
use super::{Misfit, fits};
use crate::pool::{Disjoint, Pool};

/// The steps of a dense row-major tensor.
pub fn dense_steps(shape: &[usize]) -> Vec<isize> {
    let mut steps = vec![1; shape.len()];
    for d in (1..shape.len()).rev() {
        steps[d - 1] = steps[d] * shape[d] as isize;
    }
    steps
}

/// A copy from a strided source to a dense result: transposes, slices, reversals, broadcasts.
#[derive(Clone, Debug)]
pub struct CopyPlan {
    /// Extent and source step of each dimension, outer to inner, as few as possible.
    dims: Vec<(usize, isize)>,
    start: usize,
    source_len: usize,
}

impl CopyPlan {
    /// Element `i` of the result is element `start + sum of i[d] * steps[d]` of a source of `source_len` elements.
    ///
    /// # Errors
    /// [`Misfit`] when ranks differ or an element lies outside of the source.
    pub fn new(shape: &[usize], start: usize, steps: &[isize], source_len: usize) -> Result<Self, Misfit> {
        fits!(shape.len() == steps.len(), "copy of rank {} has {} steps", shape.len(), steps.len());
        let (mut low, mut high, mut dims) = (start as i128, start as i128, Vec::<(usize, isize)>::new());
        for (&extent, &step) in shape.iter().zip(steps) {
            let reach = extent.saturating_sub(1) as i128 * step as i128;
            (low, high) = (low + reach.min(0), high + reach.max(0));
            match dims.last_mut() {
                _ if extent == 1 => {}
                Some((n, s)) if Some(*s) == step.checked_mul(extent as isize) => {
                    (*n, *s) = (*n * extent, step)
                }
                _ => dims.push((extent, step)),
            }
        }
        let inside = shape.contains(&0) || (low >= 0 && high < source_len as i128);
        fits!(inside, "copy of {shape:?} with steps {steps:?} reads {low}..={high} of {source_len} elements");
        if dims.is_empty() {
            dims.push((1, 1));
        }
        Ok(Self { dims, start, source_len })
    }

    /// Dimension `d` of the result is dimension `perm[d]` of `shape`.
    ///
    /// # Errors
    /// [`Misfit`] when `perm` is no permutation.
    pub fn transpose(shape: &[usize], perm: &[usize]) -> Result<Self, Misfit> {
        let valid = perm.len() == shape.len() && (0..shape.len()).all(|d| perm.contains(&d));
        fits!(valid, "{perm:?} is no permutation of the axes of {shape:?}");
        let steps = dense_steps(shape);
        let extents: Vec<usize> = perm.iter().map(|&p| shape[p]).collect();
        let steps: Vec<isize> = perm.iter().map(|&p| steps[p]).collect();
        Self::new(&extents, 0, &steps, shape.iter().product())
    }

    /// `count[d]` elements of each dimension of `shape`, from `begin[d]` on, `stride[d]` apart; a stride may be
    /// negative.
    ///
    /// # Errors
    /// [`Misfit`] when ranks differ or an element lies outside of `shape`.
    pub fn slice(
        shape: &[usize],
        begin: &[usize],
        stride: &[isize],
        count: &[usize],
    ) -> Result<Self, Misfit> {
        let rank = shape.len();
        fits!(
            [begin.len(), stride.len(), count.len()] == [rank; 3],
            "slice of rank {rank} needs {rank} entries each"
        );
        for d in 0..rank {
            let last = begin[d] as i128 + count[d].saturating_sub(1) as i128 * stride[d] as i128;
            let inside = count[d] == 0 || (begin[d] < shape[d] && (0..shape[d] as i128).contains(&last));
            fits!(inside, "slice {}..={last} of dimension {d}, which has {}", begin[d], shape[d]);
        }
        let dense = dense_steps(shape);
        let empty = count.contains(&0);
        let start = if empty { 0 } else { begin.iter().zip(&dense).map(|(&b, &s)| b * s as usize).sum() };
        let steps: Vec<isize> = dense.iter().zip(stride).map(|(d, s)| d.saturating_mul(*s)).collect();
        Self::new(count, start, &steps, shape.iter().product())
    }

    /// Elements of the result.
    pub fn output_len(&self) -> usize {
        self.dims.iter().map(|d| d.0).product()
    }

    /// Copies.
    ///
    /// # Panics
    /// When `x` or `out` do not have the lengths of the plan.
    pub fn run<T: Copy + Send + Sync>(&self, x: &[T], out: &mut [T], pool: &Pool) {
        assert_eq!(x.len(), self.source_len, "elements of a copy's source");
        assert_eq!(out.len(), self.output_len(), "elements of a copy");
        if out.is_empty() {
            return;
        }
        let (inner, step) = self.dims[self.dims.len() - 1];
        let fast = self.dims.iter().position(|d| d.1 == 1);
        match fast {
            Some(d) if step != 1 => self.run_tiles(d, x, out, pool),
            _ => pool.row_parts_mut(out, inner, GRAIN, |row, offset, out| {
                let from = self.source(row, usize::MAX) as isize + offset as isize * step;
                copy_row(x, from as usize, step, out);
            }),
        }
    }

    /// Where row `row` begins, rows counted over all dimensions but the last and `left_out`.
    fn source(&self, mut row: usize, left_out: usize) -> usize {
        let mut at = self.start as isize;
        for (d, &(extent, step)) in self.dims[..self.dims.len() - 1].iter().enumerate().rev() {
            if d != left_out {
                at += (row % extent) as isize * step;
                row /= extent;
            }
        }
        at as usize
    }

    /// Dimension `fast` runs along the source, the last one along the result: square tiles serve both.
    fn run_tiles<T: Copy + Send + Sync>(&self, fast: usize, x: &[T], out: &mut [T], pool: &Pool) {
        let (columns, step) = self.dims[self.dims.len() - 1];
        let rows = self.dims[fast].0;
        let inside: usize = self.dims[fast + 1..].iter().map(|d| d.0).product();
        let planes = out.len() / (rows * columns);
        let between = inside / columns;
        // Long rows are cut, so that few of them are work for many threads.
        let wide = (GRAIN / TILE).max(columns.div_ceil(4 * pool.threads())).next_multiple_of(TILE);
        let (pieces, cuts) = (rows.div_ceil(TILE), columns.div_ceil(wide));
        let out = Disjoint::new(out);
        pool.parallel_for(planes * pieces * cuts, GRAIN.div_ceil(TILE * columns.min(wide)), |range| {
            for i in range {
                let (plane, piece, cut) = (i / cuts / pieces, i / cuts % pieces, i % cuts);
                let rows = piece * TILE..rows.min((piece + 1) * TILE);
                let (source, target) = (
                    self.source(plane, fast) + rows.start,
                    (plane / between * self.dims[fast].0 + rows.start) * inside + plane % between * columns,
                );
                let end = columns.min((cut + 1) * wide);
                for j in (cut * wide..end).step_by(TILE) {
                    let width = TILE.min(end - j);
                    let mut tile = [x[0]; TILE * TILE];
                    for c in 0..width {
                        let at = (source as isize + (j + c) as isize * step) as usize;
                        let line = &x[at..at + rows.len()];
                        line.iter().enumerate().for_each(|(r, &v)| tile[r * TILE + c] = v);
                    }
                    for r in 0..rows.len() {
                        let at = target + r * inside + j;
                        // SAFETY: every tile of the result belongs to one task.
                        unsafe { out.slice(at..at + width) }.copy_from_slice(&tile[r * TILE..][..width]);
                    }
                }
            }
        });
    }
}

const TILE: usize = 16;

fn copy_row<T: Copy>(x: &[T], at: usize, step: isize, row: &mut [T]) {
    match step {
        1 => row.copy_from_slice(&x[at..at + row.len()]),
        0 => row.fill(x[at]),
        2.. => row.iter_mut().zip(x[at..].iter().step_by(step as usize)).for_each(|(o, v)| *o = *v),
        _ => {
            let back = x[..=at].iter().rev().step_by(step.unsigned_abs());
            row.iter_mut().zip(back).for_each(|(o, v)| *o = *v);
        }
    }
}

/// Copies `x` to `out`.
///
/// # Panics
/// When the lengths differ.
pub fn copy<T: Copy + Send + Sync>(x: &[T], out: &mut [T], pool: &Pool) {
    assert_eq!(x.len(), out.len(), "elements of a copy");
    pool.rows_mut(out, 1, 4 * GRAIN, |first, out| out.copy_from_slice(&x[first..first + out.len()]));
}

/// Joins `parts` along an axis: each is `[outer, extent, inner]` with its own extent, given beside it.
///
/// # Panics
/// When a length does not fit.
pub fn concat<T: Copy + Send + Sync>(
    parts: &[(&[T], usize)],
    outer: usize,
    inner: usize,
    out: &mut [T],
    pool: &Pool,
) {
    let total: usize = parts.iter().map(|p| p.1 * inner).sum();
    assert_eq!(out.len(), outer * total, "elements of a concatenation");
    assert!(parts.iter().all(|p| p.0.len() == outer * p.1 * inner), "elements of a part of a concatenation");
    pool.row_parts_mut(out, total, GRAIN, |row, mut offset, mut out| {
        for (part, extent) in parts {
            let len = extent * inner;
            let (own, rest) = out.split_at_mut(out.len().min(len.saturating_sub(offset)));
            own.copy_from_slice(&part[(row * len + offset).min(part.len())..][..own.len()]);
            (out, offset) = (rest, offset.saturating_sub(len));
        }
    });
}

/// Cuts `x [outer, sum of extents, inner]` along its middle into `outs`, each beside its extent.
///
/// # Panics
/// When a length does not fit.
pub fn split<T: Copy + Send + Sync>(
    x: &[T],
    outer: usize,
    inner: usize,
    outs: &mut [(&mut [T], usize)],
    pool: &Pool,
) {
    let total: usize = outs.iter().map(|p| p.1 * inner).sum();
    assert_eq!(x.len(), outer * total, "elements of a split");
    let mut at = 0;
    for (out, extent) in outs {
        let own = *extent * inner;
        assert_eq!(out.len(), outer * own, "elements of a part of a split");
        pool.row_parts_mut(out, own, GRAIN, |row, offset, out| {
            out.copy_from_slice(&x[row * total + at + offset..][..out.len()]);
        });
        at += own;
    }
}

/// Which source index each index of a dimension of the result takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Indices {
    /// All of them in their order.
    All,
    /// The listed ones; [`FILL`] takes the fill value.
    List(Vec<usize>),
}

/// An index that stands for the fill value.
pub const FILL: usize = usize::MAX;

/// How [`padded`] continues a dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PadMode {
    /// With the fill value.
    Constant,
    /// Mirrored at the edge element, which is not repeated.
    Reflect,
    /// With the edge element.
    Replicate,
}

/// The indices of a dimension of `extent` elements with `before` and `after` more around it.
///
/// # Errors
/// [`Misfit`] when a reflection is wider than the dimension allows, or there is nothing to continue.
pub fn padded(extent: usize, before: usize, after: usize, mode: PadMode) -> Result<Indices, Misfit> {
    if before + after == 0 {
        return Ok(Indices::All);
    }
    let needs_edge = mode != PadMode::Constant;
    fits!(!needs_edge || extent > 0, "padding of mode {mode:?} of an empty dimension");
    let widest = before.max(after);
    fits!(mode != PadMode::Reflect || widest < extent, "reflection by {widest} of a dimension of {extent}");
    let left = (0..before).map(|i| match mode {
        PadMode::Constant => FILL,
        PadMode::Reflect => before - i,
        PadMode::Replicate => 0,
    });
    let right = (0..after).map(|i| match mode {
        PadMode::Constant => FILL,
        PadMode::Reflect => extent - 2 - i,
        PadMode::Replicate => extent - 1,
    });
    Ok(Indices::List(left.chain(0..extent).chain(right).collect()))
}

/// The indices of a dimension of `extent` elements repeated `times` times.
pub fn tiled(extent: usize, times: usize) -> Indices {
    if times == 1 { Indices::All } else { Indices::List((0..extent * times).map(|i| i % extent).collect()) }
}

/// A copy that takes given indices of every dimension: padding, tiling, gathering, repeating.
#[derive(Clone, Debug)]
pub struct RemapPlan {
    /// Source extent and indices, outer to inner; the last dimension is the one of `runs`.
    outer: Vec<(usize, Vec<usize>)>,
    /// Stretches of the innermost dimension that follow one another in the source.
    runs: Vec<Run>,
    inner_in: usize,
    inner_out: usize,
    source_len: usize,
}

impl RemapPlan {
    /// Takes `indices[d]` of dimension `d` of `shape`.
    ///
    /// # Errors
    /// [`Misfit`] when ranks differ or an index does not exist.
    pub fn new(shape: &[usize], indices: &[Indices]) -> Result<Self, Misfit> {
        fits!(shape.len() == indices.len(), "indices for {} of {} dimensions", indices.len(), shape.len());
        let mut dims: Vec<(usize, Vec<usize>)> = Vec::new();
        // Innermost dimensions that are taken whole are one with the first that is not.
        let (mut block, mut inner) = (1, None);
        for (d, (&extent, list)) in shape.iter().zip(indices).enumerate().rev() {
            if let Indices::List(list) = list {
                let wrong = list.iter().find(|&&i| i >= extent && i != FILL);
                fits!(wrong.is_none(), "index {wrong:?} of dimension {d}, which has {extent}");
            }
            match (list, &inner) {
                (Indices::All, None) => block *= extent,
                (Indices::List(list), None) => inner = Some((extent * block, runs(list, block))),
                (Indices::All, Some(_)) => dims.push((extent, (0..extent).collect())),
                (Indices::List(list), Some(_)) => dims.push((extent, list.clone())),
            }
        }
        dims.reverse();
        let (inner_in, runs) = inner.unwrap_or_else(|| (block, runs(&[0], block)));
        let inner_out = runs.last().map_or(0, |r| r.to + r.len);
        Ok(Self { outer: dims, runs, inner_in, inner_out, source_len: shape.iter().product() })
    }

    /// Takes `indices` of dimension `axis` and all of the others.
    ///
    /// # Errors
    /// As [`RemapPlan::new`].
    pub fn gather(shape: &[usize], axis: usize, indices: &[usize]) -> Result<Self, Misfit> {
        fits!(axis < shape.len(), "axis {axis} of a tensor of rank {}", shape.len());
        let mut lists = vec![Indices::All; shape.len()];
        lists[axis] = Indices::List(indices.to_vec());
        Self::new(shape, &lists)
    }

    /// Elements of the result.
    pub fn output_len(&self) -> usize {
        self.outer.iter().map(|d| d.1.len()).product::<usize>() * self.inner_out
    }

    /// Copies.
    ///
    /// # Panics
    /// When `x` or `out` do not have the lengths of the plan.
    pub fn run<T: Copy + Send + Sync>(&self, x: &[T], fill: T, out: &mut [T], pool: &Pool) {
        assert_eq!(x.len(), self.source_len, "elements of an indexed copy's source");
        assert_eq!(out.len(), self.output_len(), "elements of an indexed copy");
        pool.row_parts_mut(out, self.inner_out, GRAIN, |row, offset, out| match self.source(row) {
            Some(at) => copy_runs(&self.runs, offset, &[&x[at..at + self.inner_in]], fill, out),
            None => out.fill(fill),
        });
    }

    /// Where the source row of row `row` begins, unless it is fill.
    fn source(&self, mut row: usize) -> Option<usize> {
        let (mut at, mut step) = (0, self.inner_in);
        for (extent, list) in self.outer.iter().rev() {
            let index = list[row % list.len()];
            if index == FILL {
                return None;
            }
            at += index * step;
            (row, step) = (row / list.len(), step * extent);
        }
        Some(at)
    }
}

/// `len` elements of a result from `to` on: those of operand `operand` from `from` on, or the fill value ([`FILL`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub operand: u32,
    pub to: usize,
    pub from: usize,
    pub len: usize,
}

/// Appends `len` elements, to the last of `runs` where they go on from there.
pub(crate) fn push_run(runs: &mut Vec<Run>, operand: u32, from: usize, len: usize) {
    match runs.last_mut() {
        Some(r) if from == FILL && r.from == FILL => r.len += len,
        Some(r) if from != FILL && r.from != FILL && r.operand == operand && r.from + r.len == from => {
            r.len += len;
        }
        last => {
            let to = last.map_or(0, |r| r.to + r.len);
            runs.push(Run { operand, to, from, len });
        }
    }
}

/// Copies what `runs` say for the elements of the result from `first` on.
pub(crate) fn copy_runs<T: Copy>(runs: &[Run], first: usize, sources: &[&[T]], fill: T, mut out: &mut [T]) {
    let (mut at, begin) =
        (first, if first == 0 { 0 } else { runs.partition_point(|r| r.to + r.len <= first) });
    for run in &runs[begin..] {
        let skipped = at - run.to;
        let (own, rest) = out.split_at_mut((run.len - skipped).min(out.len()));
        match (run.from, own) {
            (FILL, own) => own.fill(fill),
            (from, [own]) => *own = sources[run.operand as usize][from + skipped],
            (from, own) => own.copy_from_slice(&sources[run.operand as usize][from + skipped..][..own.len()]),
        }
        if rest.is_empty() {
            return;
        }
        (out, at) = (rest, run.to + run.len);
    }
}

/// Stretches of `list` that follow one another, in elements of `block` each.
fn runs(list: &[usize], block: usize) -> Vec<Run> {
    let mut runs = Vec::new();
    for &index in list {
        push_run(&mut runs, 0, if index == FILL { FILL } else { index * block }, block);
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{Rng, on_every_pool};

    /// Calls `f(index)` for every index of `shape` in row-major order and collects.
    fn each_index<T>(shape: &[usize], mut f: impl FnMut(&[usize]) -> T) -> Vec<T> {
        (0..shape.iter().product())
            .map(|mut i: usize| {
                let mut index = vec![0; shape.len()];
                for d in (0..shape.len()).rev() {
                    (index[d], i) = (i % shape[d], i / shape[d]);
                }
                f(&index)
            })
            .collect()
    }

    fn at(shape: &[usize], index: impl Iterator<Item = usize>) -> i32 {
        shape.iter().zip(index).fold(0, |at, (n, i)| at * n + i) as i32
    }

    fn count_up(shape: &[usize]) -> Vec<i32> {
        (0..shape.iter().product::<usize>() as i32).collect()
    }

    fn check(what: &str, len: usize, want: &[i32], run: impl Fn(&mut [i32], &Pool)) {
        assert_eq!(len, want.len(), "{what}");
        on_every_pool(|pool| {
            let mut out = vec![-1; len];
            run(&mut out, pool);
            assert!(out == want, "{what}");
        });
    }

    #[test]
    fn transposes_of_any_rank_move_every_element() {
        let mut rng = Rng::new(1);
        for i in 0..60 {
            let rank = i % 5 + 1;
            let shape: Vec<usize> = (0..rank).map(|_| rng.int(1, [900, 90, 30, 12, 6][rank - 1])).collect();
            let mut perm: Vec<usize> = (0..rank).collect();
            (1..rank).for_each(|d| perm.swap(d, rng.int(0, d)));
            let extents: Vec<usize> = perm.iter().map(|&p| shape[p]).collect();
            let want = each_index(&extents, |index| {
                at(&shape, (0..rank).map(|d| index[perm.iter().position(|&p| p == d).unwrap()]))
            });
            let (plan, x) = (CopyPlan::transpose(&shape, &perm).unwrap(), count_up(&shape));
            check(&format!("{shape:?} {perm:?}"), plan.output_len(), &want, |out, pool| {
                plan.run(&x, out, pool)
            });
        }
        assert!(CopyPlan::transpose(&[2, 3], &[0, 0]).is_err());
    }

    #[test]
    fn slices_take_strides_of_both_signs() {
        let mut rng = Rng::new(2);
        for i in 0..60 {
            let rank = i % 4 + 1;
            let shape: Vec<usize> = (0..rank).map(|_| rng.int(1, 14)).collect();
            let (mut begin, mut stride, mut count) = (Vec::new(), Vec::new(), Vec::new());
            for &n in &shape {
                let (b, s) = (rng.int(0, n - 1), rng.int(1, 3));
                let back = rng.int(0, 1) == 1;
                count.push(rng.int(1, if back { b / s + 1 } else { (n - 1 - b) / s + 1 }));
                begin.push(b);
                stride.push(if back { -(s as isize) } else { s as isize });
            }
            let want = each_index(&count, |index| {
                at(&shape, (0..rank).map(|d| (begin[d] as isize + index[d] as isize * stride[d]) as usize))
            });
            let (plan, x) = (CopyPlan::slice(&shape, &begin, &stride, &count).unwrap(), count_up(&shape));
            check(&format!("{shape:?} {stride:?}"), plan.output_len(), &want, |out, pool| {
                plan.run(&x, out, pool)
            });
        }
        assert!(CopyPlan::slice(&[4], &[2], &[1], &[3]).is_err());
        assert!(CopyPlan::slice(&[4], &[2], &[-1], &[4]).is_err());
        assert_eq!(CopyPlan::slice(&[4], &[4], &[1], &[0]).unwrap().output_len(), 0);
        assert!(CopyPlan::new(&[3, 3], 0, &[3, 1], 8).is_err());
    }

    #[test]
    fn broadcasts_repeat_elements() {
        let plan = CopyPlan::new(&[2, 3, 2], 1, &[0, 1, 0], 5).unwrap();
        check("broadcast", 12, &[1, 1, 2, 2, 3, 3, 1, 1, 2, 2, 3, 3], |out, pool| {
            plan.run(&count_up(&[5]), out, pool)
        });
    }

    #[test]
    fn concat_and_split_are_inverse() {
        let (a, b, c) = (count_up(&[3, 2, 4]), count_up(&[3, 1, 4]), count_up(&[3, 5, 4]));
        let parts: [(&[i32], usize); 3] = [(&a, 2), (&b, 1), (&c, 5)];
        let want = each_index(&[3, 8, 4], |i| match i[1] {
            0..2 => a[(i[0] * 2 + i[1]) * 4 + i[2]],
            2 => b[i[0] * 4 + i[2]],
            _ => c[(i[0] * 5 + i[1] - 3) * 4 + i[2]],
        });
        check("concat", 96, &want, |out, pool| concat(&parts, 3, 4, out, pool));
        on_every_pool(|pool| {
            let (mut x, mut y, mut z) = (vec![-1; 24], vec![-1; 12], vec![-1; 60]);
            split(&want, 3, 4, &mut [(&mut x, 2), (&mut y, 1), (&mut z, 5)], pool);
            assert!((&x, &y, &z) == (&a, &b, &c));
        });
    }

    /// Each as one long row, and as many short ones.
    #[test]
    fn large_copies_are_shared() {
        for (outer, extents, inner) in [(1, [3, 1, 2], 20_011), (9001, [1, 2, 1], 3)] {
            let total: usize = extents.iter().sum();
            let all = count_up(&[outer, total, inner]);
            let mut begin = 0;
            let parts = extents.map(|n| {
                let plan =
                    CopyPlan::slice(&[outer, total, inner], &[0, begin, 0], &[1; 3], &[outer, n, inner]);
                let indices =
                    RemapPlan::gather(&[outer, total, inner], 1, &(begin..begin + n).collect::<Vec<_>>());
                let want: Vec<i32> = (0..outer * n * inner)
                    .map(|i| ((i / (n * inner) * total + begin) * inner + i % (n * inner)) as i32)
                    .collect();
                let (plan, indices) = (plan.unwrap(), indices.unwrap());
                check("slice", plan.output_len(), &want, |out, pool| plan.run(&all, out, pool));
                check("gather", indices.output_len(), &want, |out, pool| indices.run(&all, 0, out, pool));
                begin += n;
                (want, n)
            });
            let given = [0, 1, 2].map(|p| (parts[p].0.as_slice(), parts[p].1));
            check("concat", all.len(), &all, |out, pool| concat(&given, outer, inner, out, pool));
            on_every_pool(|pool| {
                let [mut a, mut b, mut c] = [0, 1, 2].map(|p| vec![-1; parts[p].0.len()]);
                let mut outs = [(&mut a[..], extents[0]), (&mut b[..], extents[1]), (&mut c[..], extents[2])];
                split(&all, outer, inner, &mut outs, pool);
                assert!(outs.iter().zip(&parts).all(|(got, want)| *got.0 == want.0));
            });
        }
        for (shape, perm) in [([3, 30_001], [1, 0]), ([30_001, 3], [1, 0]), ([301, 203], [1, 0])] {
            let want = each_index(&[shape[1], shape[0]], |i| at(&shape, [i[1], i[0]].into_iter()));
            let plan = CopyPlan::transpose(&shape, &perm).unwrap();
            check("transpose", want.len(), &want, |out, pool| plan.run(&count_up(&shape), out, pool));
        }
    }

    #[test]
    fn indexed_copies_take_the_named_elements() {
        let mut rng = Rng::new(3);
        for i in 0..60 {
            let rank = i % 4 + 1;
            let shape: Vec<usize> = (0..rank).map(|_| rng.int(1, 9)).collect();
            let mut indices = Vec::new();
            for &n in &shape {
                indices.push(match rng.int(0, 4) {
                    0 => Indices::List((0..rng.int(1, 12)).map(|_| rng.int(0, n - 1)).collect()),
                    1 => tiled(n, rng.int(1, 3)),
                    2 => padded(n, rng.int(0, 3), rng.int(0, 3), PadMode::Constant).unwrap(),
                    3 => padded(n, rng.int(0, 3), rng.int(0, 3), PadMode::Replicate).unwrap(),
                    _ => Indices::All,
                });
            }
            let lists: Vec<Vec<usize>> = indices
                .iter()
                .zip(&shape)
                .map(|(list, &n)| match list {
                    Indices::All => (0..n).collect(),
                    Indices::List(list) => list.clone(),
                })
                .collect();
            let extents: Vec<usize> = lists.iter().map(Vec::len).collect();
            let want = each_index(&extents, |index| {
                let source: Vec<usize> = (0..rank).map(|d| lists[d][index[d]]).collect();
                if source.contains(&FILL) { -7 } else { at(&shape, source.into_iter()) }
            });
            let (plan, x) = (RemapPlan::new(&shape, &indices).unwrap(), count_up(&shape));
            check(&format!("{indices:?}"), plan.output_len(), &want, |out, pool| plan.run(&x, -7, out, pool));
        }
    }

    /// `numpy.pad([0, 1, 2, 3], (2, 3), mode)`
    #[test]
    fn padding_continues_as_numpy_does() {
        let list = |mode| padded(4, 2, 3, mode).unwrap();
        assert_eq!(list(PadMode::Reflect), Indices::List(vec![2, 1, 0, 1, 2, 3, 2, 1, 0]));
        assert_eq!(list(PadMode::Replicate), Indices::List(vec![0, 0, 0, 1, 2, 3, 3, 3, 3]));
        assert_eq!(list(PadMode::Constant), Indices::List(vec![FILL, FILL, 0, 1, 2, 3, FILL, FILL, FILL]));
        assert!(padded(3, 3, 0, PadMode::Reflect).is_err());
        assert!(padded(0, 1, 0, PadMode::Replicate).is_err());
        assert!(RemapPlan::gather(&[2, 3], 1, &[3]).is_err());
        let gather = RemapPlan::gather(&[2, 3], 1, &[2, 0, 2]).unwrap();
        check("gather", 6, &[2, 0, 2, 5, 3, 5], |out, pool| gather.run(&count_up(&[2, 3]), 0, out, pool));
    }
}
