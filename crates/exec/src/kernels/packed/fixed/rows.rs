//! The walk over rows, whatever the instructions: streams, segments, ends of rows.

use super::{Activations, BLOCK};
use crate::kernels::packed::product::{AHEAD, STREAMS, apart};
use crate::kernels::packed::{Grid, PackedMatrix};
use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
use std::ops::Range;

/// How the codes of a row of a weight are multiplied.
pub(super) trait Dot<'w>: Copy {
    /// Blocks of a step.
    const BLOCKS: usize;
    /// Bytes of a step.
    const BYTES: usize;
    /// A vector of f32.
    type Sums: Copy;

    /// The kernel of a row with this table, and these scales of blocks of `segment` columns where those are short.
    fn of_row(table: &'w [u8], scales: &'w [f32], segment: usize) -> Self;

    /// Nothing yet.
    fn zero() -> Self::Sums;

    /// Adds a step of every row, units of the activations included; `at` is its first block. Asks between the rows for what
    /// comes later ([`prefetch`]).
    ///
    /// # Safety
    /// A step of bytes at every `p`, and one of activations from block `at` on, are readable.
    unsafe fn step(
        rows: &[Self; STREAMS],
        p: [*const u8; STREAMS],
        x: &Activations<'_>,
        at: usize,
        sums: &mut [Self::Sums; STREAMS],
    );

    /// Sums of all lanes.
    fn total(sums: [Self::Sums; STREAMS]) -> [f32; STREAMS];
}

/// Asks for the line of memory that comes [`AHEAD`] bytes after `p`.
#[inline(always)]
pub(super) fn prefetch(p: *const u8) {
    // SAFETY: a hint, whatever the address.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(p.wrapping_add(AHEAD).cast()) };
}

/// Adds `steps` steps from block `at` on.
///
/// # Safety
/// As [`Dot::step`], for as many steps.
#[inline(always)]
unsafe fn run<'w, D: Dot<'w>>(
    rows: &[D; STREAMS],
    p: [*const u8; STREAMS],
    x: &Activations<'_>,
    at: usize,
    steps: usize,
    sums: &mut [D::Sums; STREAMS],
) {
    for i in 0..steps {
        let here = i * D::BYTES;
        let mut at_hand = p;
        for p in &mut at_hand {
            *p = p.wrapping_add(here);
        }
        // SAFETY: the contract.
        unsafe { D::step(rows, at_hand, x, at + i * D::BLOCKS, sums) };
    }
}

/// The sums of rows of a weight, scales included, offsets not.
#[inline(always)]
pub(super) fn each_row<'w, D: Dot<'w>>(
    w: &'w PackedMatrix,
    x: &Activations<'_>,
    rows: Range<usize>,
    out: &mut [f32],
) {
    let walk = Walk::over(w);
    for group in 0..rows.len().div_ceil(STREAMS) {
        let j = apart::<STREAMS>(&rows, group);
        let sums = walk.rows::<D>(x, j);
        for (j, sum) in j.into_iter().zip(sums) {
            out[j - rows.start] = sum;
        }
    }
}

/// The blocks of a grid.
#[derive(Clone, Copy)]
struct Blocks {
    /// Rows of a block.
    rows: usize,
    /// Columns of a block.
    columns: usize,
    /// Blocks from left to right.
    across: usize,
}

impl Blocks {
    /// The blocks of `grid`, or the one block that all is.
    fn of(grid: Option<&Grid>, w: &PackedMatrix) -> Self {
        let (down, across) = grid.map_or((1, 1), |g| (g.down, g.across));
        Self { rows: w.rows / down, columns: w.columns / across, across }
    }

    /// The block of an element.
    #[inline(always)]
    fn at(self, j: usize, column: usize) -> usize {
        // Divisions are slow enough to show in rows of few bytes.
        let row = if self.rows == 1 { j } else { j / self.rows };
        row * self.across + if self.across == 1 { 0 } else { column / self.columns }
    }
}

/// What does not change from row to row.
struct Walk<'w> {
    w: &'w PackedMatrix,
    tables: Blocks,
    scales: Blocks,
    /// Columns over which tables and scales stay the same.
    segment: usize,
    /// Scales change within a block of activations: kernels apply them.
    short: bool,
}

impl<'w> Walk<'w> {
    #[inline(always)]
    fn over(w: &'w PackedMatrix) -> Self {
        let segment = w.segment();
        let short = segment < w.columns && !segment.is_multiple_of(BLOCK);
        let (tables, scales) = (Blocks::of(w.tables.as_ref(), w), Blocks::of(w.scales.as_ref(), w));
        Self { w, tables, scales, segment, short }
    }

    /// Sums of rows `j`, segment by segment.
    #[inline(always)]
    fn rows<D: Dot<'w>>(&self, x: &Activations<'_>, j: [usize; STREAMS]) -> [f32; STREAMS] {
        let (w, bits) = (self.w, self.w.code.bits() as usize);
        let segment = if self.short { w.columns } else { self.segment };
        let mut totals = [0f32; STREAMS];
        for first in (0..w.columns).step_by(segment) {
            let len = segment.min(w.columns - first);
            let (kind, unit) = self.row::<D>(j[0], first);
            let (mut kinds, mut units, mut bytes) = ([kind; STREAMS], [unit; STREAMS], [&[][..]; STREAMS]);
            for r in 0..STREAMS {
                (kinds[r], units[r]) = self.row(j[r], first);
                bytes[r] = &w.row(j[r])[first * bits / 8..][..(len * bits).div_ceil(8)];
            }
            let sums = segment_sums(&kinds, bytes, x, first / BLOCK);
            for r in 0..STREAMS {
                totals[r] += sums[r] * units[r];
            }
        }
        totals
    }

    /// The kernel of row `j` from column `first` on, and the factor of what it adds up.
    #[inline(always)]
    fn row<D: Dot<'w>>(&self, j: usize, first: usize) -> (D, f32) {
        let w = self.w;
        let (table, unit) = match &w.fixed {
            Some(fixed) => fixed.table(self.tables.at(j, first)),
            None => (&[][..], 1.0),
        };
        match &w.scales {
            Some(g) if self.short => {
                let scales = &g.values[self.scales.at(j, 0)..][..g.across];
                (D::of_row(table, scales, self.segment), unit)
            }
            Some(g) => (D::of_row(table, &[], BLOCK), unit * g.values[self.scales.at(j, first)]),
            None => (D::of_row(table, &[], BLOCK), unit),
        }
    }
}

/// The longest step in bytes.
const LONGEST: usize = 128;

/// Sums over a segment whose activations begin with block `at`.
#[inline(always)]
fn segment_sums<'w, D: Dot<'w>>(
    rows: &[D; STREAMS],
    bytes: [&[u8]; STREAMS],
    x: &Activations<'_>,
    at: usize,
) -> [f32; STREAMS] {
    const { assert!(D::BYTES <= LONGEST) };
    let steps = bytes[0].len() / D::BYTES;
    let rest = bytes[0].len() - steps * D::BYTES;
    let blocks = (steps + usize::from(rest > 0)) * D::BLOCKS;
    assert!((at + blocks) * BLOCK <= x.numbers.len() && bytes.iter().all(|b| b.len() == bytes[0].len()));
    let mut sums = [D::zero(); STREAMS];
    // SAFETY: as many bytes and activations are there.
    unsafe { run(rows, bytes.map(<[u8]>::as_ptr), x, at, steps, &mut sums) };
    if rest > 0 {
        let mut tails = [[0u8; LONGEST]; STREAMS];
        for (tail, bytes) in tails.iter_mut().zip(bytes) {
            tail[..rest].copy_from_slice(&bytes[steps * D::BYTES..]);
        }
        let p = tails.each_ref().map(|tail| tail.as_ptr());
        // SAFETY: a step of bytes each, and activations that are zero beyond the columns.
        unsafe { D::step(rows, p, x, at + steps * D::BLOCKS, &mut sums) };
    }
    D::total(sums)
}
