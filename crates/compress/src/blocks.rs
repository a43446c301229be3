//! Blocks of a tensor that share a scale or a table.

use crate::Refusal;

/// A tensor cut into equal blocks: along dim `i` a block is `size[i]` long, and there are `grid[i]` of them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Blocks {
    grid: Vec<usize>,
    /// Dims and block sizes after joining neighbours that no block divides.
    dims: Vec<(usize, usize)>,
    len: usize,
}

/// A run of neighbours in a row: elements `start..start + count` belong to block `block`, or, when `each` is set, every
/// one of them to a block of its own, `block` and those behind it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Run {
    pub(crate) start: usize,
    pub(crate) count: usize,
    pub(crate) block: usize,
    pub(crate) each: bool,
}

impl Blocks {
    /// Cuts `shape`; a size of 0 means the whole dim, as coremltools has it.
    ///
    /// # Errors
    /// When a size does not divide its dim, or there is not one size per dim.
    pub(crate) fn new(shape: &[usize], sizes: &[usize]) -> Result<Blocks, Refusal> {
        if shape.len() != sizes.len() {
            return Err(Refusal::BlockRank { shape: shape.to_vec(), sizes: sizes.to_vec() });
        }
        let mut dims: Vec<(usize, usize)> = Vec::new();
        let mut grid = Vec::new();
        for (axis, (&dim, &size)) in shape.iter().zip(sizes).enumerate() {
            let size = if size == 0 { dim } else { size };
            if size == 0 || dim % size != 0 {
                return Err(Refusal::Indivisible { axis, dim, size });
            }
            grid.push(dim / size);
            if dims == [(1, 1)] {
                dims.clear();
            }
            match dims.last_mut() {
                // A whole dim behind any block only makes that block longer.
                Some((d, s)) if size == dim => (*d, *s) = (*d * dim, *s * dim),
                _ => dims.push((dim, size)),
            }
        }
        Ok(Blocks { grid, dims, len: shape.iter().product() })
    }

    /// Blocks along each dim: the shape of the scales.
    pub(crate) fn grid(&self) -> &[usize] {
        &self.grid
    }

    /// Number of blocks.
    pub(crate) fn count(&self) -> usize {
        self.grid.iter().product()
    }

    /// Number of elements.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Length of a row: what [`Blocks::runs`] never cuts across.
    fn row(&self) -> (usize, usize) {
        self.dims.last().copied().unwrap_or((1, 1))
    }

    /// Places where the tensor may be cut so that every part starts a row, about `parts` of them.
    pub(crate) fn cuts(&self, parts: usize) -> Vec<std::ops::Range<usize>> {
        let (row, block) = self.row();
        let unit = if self.dims.len() <= 1 && block < row { block } else { row };
        let units = (self.len / unit.max(1)).max(1);
        let per = units.div_ceil(parts.max(1)).max(1) * unit;
        (0..self.len).step_by(per.max(1)).map(|s| s..(s + per).min(self.len)).collect()
    }

    /// The runs of a part that starts and ends as [`Blocks::cuts`] says, each at most `longest` elements.
    pub(crate) fn runs(&self, part: std::ops::Range<usize>, longest: usize, mut visit: impl FnMut(Run)) {
        let (row, block) = self.row();
        let mut at = part.start;
        while at < part.end {
            let within = at % row;
            let base = self.block_of_row(at / row);
            if block == 1 {
                let count = (row - within).min(part.end - at).min(longest);
                visit(Run { start: at, count, block: base + within, each: true });
                at += count;
            } else {
                let count = (block - within % block).min(part.end - at).min(longest);
                visit(Run { start: at, count, block: base + within / block, each: false });
                at += count;
            }
        }
    }

    /// Number of the first block in row `row`.
    fn block_of_row(&self, mut row: usize) -> usize {
        let (last, last_size) = self.row();
        let mut stride = last / last_size.max(1);
        let mut block = 0;
        for &(dim, size) in self.dims.iter().rev().skip(1) {
            block += (row % dim) / size * stride;
            row /= dim;
            stride *= dim / size;
        }
        block
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The block of every element, by the definition.
    fn expected(shape: &[usize], sizes: &[usize]) -> Vec<usize> {
        let n: usize = shape.iter().product();
        let block = |mut i: usize| {
            let (mut stride, mut block) = (1, 0);
            for (&dim, &size) in shape.iter().zip(sizes).rev() {
                let size = if size == 0 { dim } else { size };
                block += (i % dim) / size * stride;
                stride *= dim / size;
                i /= dim;
            }
            block
        };
        (0..n).map(block).collect()
    }

    #[test]
    fn runs_visit_every_element_in_its_block() {
        let cases: &[(&[usize], &[usize])] = &[
            (&[4, 6], &[1, 0]),
            (&[4, 6], &[0, 1]),
            (&[4, 6], &[1, 3]),
            (&[4, 6], &[2, 3]),
            (&[1, 6], &[1, 2]),
            (&[4, 3, 2, 2], &[1, 0, 0, 0]),
            (&[4, 3, 2, 2], &[0, 1, 0, 0]),
            (&[4, 3, 2, 2], &[0, 0, 0, 0]),
            (&[2, 3, 4], &[0, 0, 1]),
            (&[2, 4, 3], &[1, 2, 1]),
        ];
        for (shape, sizes) in cases {
            let blocks = Blocks::new(shape, sizes).expect("divides");
            for parts in [1, 3] {
                let mut seen = Vec::new();
                for part in blocks.cuts(parts) {
                    blocks.runs(part, 5, |r| {
                        assert_eq!(r.start, seen.len());
                        seen.extend((0..r.count).map(|i| if r.each { r.block + i } else { r.block }));
                    });
                }
                assert_eq!(seen, expected(shape, sizes), "{shape:?} {sizes:?} in {parts}");
            }
        }
    }

    #[test]
    fn a_size_that_does_not_divide_is_refused() {
        let refused = Blocks::new(&[4, 7], &[1, 2]).expect_err("7 / 2");
        assert_eq!(refused.to_string(), "dim 1 of 7 is not divisible by a block of 2");
    }
}
