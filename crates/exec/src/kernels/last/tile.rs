//! The innermost loop: output positions by channels.

use super::{Finish, Residual};
use crate::kernels::simd::{Isa, Kernel, Simd};

/// What a tile reads and where it goes.
#[derive(Clone, Copy)]
pub(super) struct Tile<'a> {
    /// Addresses of the rows, `taps x rows`.
    pub(super) table: &'a [*const f32],
    /// Floats read from each address.
    pub(super) depth: usize,
    /// Weights, `taps * depth` rows of whole vectors.
    pub(super) weights: &'a [f32],
    /// Added first, a whole number of vectors.
    pub(super) bias: &'a [f32],
    /// What follows.
    pub(super) finish: &'a Finish,
    /// Bounds when that is all that follows.
    pub(super) bounds: Option<(f32, f32)>,
    /// First element of the result.
    pub(super) out: *mut f32,
    /// Where the other tensor has it, when there is one.
    pub(super) other: *const f32,
    /// Distance of rows of the result.
    pub(super) pitch: usize,
    /// Channels that exist.
    pub(super) valid: usize,
    /// The instruction set that runs.
    pub(super) isa: Isa,
}

/// Rows that tiles can have, most first.
const SIZES: [usize; 6] = [12, 8, 6, 4, 2, 1];

/// Most rows of tiles that are `width` channels wide: a narrow one needs more of them to keep the machine busy.
pub(super) const fn rows<S: Simd>(width: usize) -> usize {
    if S::NV == 1 || width > S::LANES {
        S::MR
    } else if S::MR * 2 < SIZES[0] {
        S::MR * 2
    } else {
        SIZES[0]
    }
}

/// Rows of the next tile where `left` of them are left and tiles have at most `most`.
pub(super) fn size(left: usize, most: usize) -> usize {
    SIZES.into_iter().find(|&size| size <= left && size <= most).unwrap_or(1)
}

/// Computes `count` rows, one of the sizes that [`size`] gives.
///
/// # Safety
/// The addresses are readable for `depth` floats, `out` (and `other`, when something is added) for `valid` floats in
/// each row, and nobody else writes there.
#[inline(always)]
pub(super) unsafe fn multiply<S: Simd>(_: S, count: usize, tile: Tile<'_>) {
    let isa = tile.isa;
    macro_rules! rows {
        ($nv:literal: $($mr:literal)*) => {
            match count {
                $($mr if $mr <= rows::<S>(($nv - 1) * S::LANES + 1) => isa.run(Block::<$mr, $nv>(tile)),)*
                _ => unreachable!("tile of {count} rows"),
            }
        };
    }
    if S::NV > 1 && tile.valid > S::LANES {
        rows!(2: 1 2 4 6 8 12);
    } else {
        rows!(1: 1 2 4 6 8 12);
    }
}

/// A tile of `MR` rows and `NV` vectors of channels, a function of its own; made by [`multiply`] alone, whose contract
/// it needs.
struct Block<'a, const MR: usize, const NV: usize>(Tile<'a>);

impl<const MR: usize, const NV: usize> Kernel for Block<'_, MR, NV> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        // SAFETY: the contract of `multiply`.
        unsafe { block::<S, MR, NV>(s, self.0) }
    }
}

/// # Safety
/// As [`multiply`], with `MR` rows and `NV` vectors of channels.
#[inline(always)]
unsafe fn block<S: Simd, const MR: usize, const NV: usize>(s: S, tile: Tile<'_>) {
    let width = NV * S::LANES;
    let taps = tile.table.len() / MR;
    assert!(tile.weights.len() >= taps * tile.depth * width && tile.bias.len() >= width);
    let (depth, mut b) = (tile.depth, tile.weights.as_ptr());
    let mut start = [s.splat(0.0); NV];
    for (v, x) in start.iter_mut().enumerate() {
        // SAFETY: `bias` holds `NV` vectors.
        *x = unsafe { s.load(tile.bias.as_ptr().add(v * S::LANES)) };
    }
    let mut sums = [start; MR];
    for rows in tile.table.chunks_exact(MR) {
        let rows: [*const f32; MR] = std::array::from_fn(|i| rows[i]);
        for k in 0..depth {
            // SAFETY: the rows are readable for `depth` floats, the weights hold `taps * depth` rows of `NV` vectors.
            unsafe {
                let mut row = [s.splat(0.0); NV];
                for (v, x) in row.iter_mut().enumerate() {
                    *x = s.load(b.add(v * S::LANES));
                }
                for (i, sums) in sums.iter_mut().enumerate() {
                    let x = s.splat(*rows[i].add(k));
                    for v in 0..NV {
                        sums[v] = s.fma(x, row[v], sums[v]);
                    }
                }
                b = b.add(width);
            }
        }
    }
    let Some((lo, hi)) = tile.bounds else {
        // SAFETY: the contract.
        return unsafe { slowly(s, &sums, tile) };
    };
    let (lo, hi) = (s.splat(lo), s.splat(hi));
    let adds = tile.finish.residual != Residual::None;
    for (i, sums) in sums.iter().enumerate() {
        for (v, &sum) in sums.iter().enumerate() {
            let at = i * tile.pitch + v * S::LANES;
            let cells = S::LANES.min(tile.valid - v * S::LANES);
            // SAFETY: `valid` floats of every row by the contract.
            unsafe {
                let mut x = sum;
                if adds {
                    x = s.add(x, s.load_part(std::slice::from_raw_parts(tile.other.add(at), cells)));
                }
                let x = s.min(hi, s.max(lo, x));
                s.store_part(std::slice::from_raw_parts_mut(tile.out.add(at), cells), x);
            }
        }
    }
}

/// Stores through memory, so that the activations stand in the code once.
///
/// # Safety
/// As [`multiply`].
#[inline(always)]
unsafe fn slowly<S: Simd, const MR: usize, const NV: usize>(s: S, sums: &[[S::F; NV]; MR], tile: Tile<'_>) {
    let mut flat = [0f32; SIZES[0] * 32];
    for (i, sums) in sums.iter().enumerate() {
        for (v, &sum) in sums.iter().enumerate() {
            // SAFETY: at most 12 rows of 32 floats.
            unsafe { s.store(flat.as_mut_ptr().add(i * NV * S::LANES + v * S::LANES), sum) };
        }
    }
    // Compiled once for all tiles.
    tile.isa.run(FinishRows { flat: &flat[..MR * NV * S::LANES], width: NV * S::LANES, tile });
}

/// Finishes and stores rows of `width` floats; made by [`slowly`] alone, whose contract it needs.
struct FinishRows<'a> {
    flat: &'a [f32],
    width: usize,
    tile: Tile<'a>,
}

impl Kernel for FinishRows<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { flat, width, tile } = self;
        let adds = tile.finish.residual != Residual::None;
        for (i, row) in flat.chunks_exact(width).enumerate() {
            for (v, x) in row.chunks_exact(S::LANES).enumerate() {
                let at = i * tile.pitch + v * S::LANES;
                let cells = S::LANES.min(tile.valid.saturating_sub(v * S::LANES));
                // SAFETY: `valid` floats of every row are there, as the contract of the tile says.
                unsafe {
                    let other = if adds {
                        s.load_part(std::slice::from_raw_parts(tile.other.add(at), cells))
                    } else {
                        s.splat(0.0)
                    };
                    let y = tile.finish.apply(s, s.load_part(x), other);
                    s.store_part(std::slice::from_raw_parts_mut(tile.out.add(at), cells), y);
                }
            }
        }
    }
}
