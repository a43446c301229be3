//! The innermost loop: a register tile of `C`.

use crate::kernels::simd::{Isa, Kernel, Simd};

/// Where a tile goes.
#[derive(Clone, Copy)]
pub(super) struct Target {
    /// Its first element.
    pub(super) c: *mut f32,
    /// Distance of its rows.
    pub(super) pitch: usize,
    /// Columns that exist; the panel of `B` is padded to whole vectors.
    pub(super) valid: usize,
    /// Adds to what is there instead of replacing it.
    pub(super) add: bool,
}

/// `C (+)= A * B` for a panel `a` of `mr` rows and a panel `b` of `valid` columns, padded to whole vectors.
///
/// # Safety
/// `mr` rows of `valid` elements at `to.c`, `to.pitch` apart, are writable and nobody else's.
#[inline(always)]
pub(super) unsafe fn multiply<S: Simd>(_: S, isa: Isa, mr: usize, a: &[f32], b: &[f32], to: Target) {
    macro_rules! rows {
        ($nv:literal: $($mr:literal)*) => {
            match mr {
                $($mr if $mr <= S::MR => isa.run(Tile::<$mr, $nv> { a, b, to }),)*
                _ => unreachable!("tile of {mr} rows"),
            }
        };
    }
    if S::NV > 1 && to.valid > S::LANES {
        rows!(2: 1 2 3 4 5 6 7 8 9 10 11 12);
    } else {
        rows!(1: 1 2 3 4 5 6 7 8 9 10 11 12);
    }
}

/// A tile of `MR` rows and `NV` vectors of columns, a function of its own; made by [`multiply`] alone, whose contract
/// it needs.
struct Tile<'a, const MR: usize, const NV: usize> {
    a: &'a [f32],
    b: &'a [f32],
    to: Target,
}

impl<const MR: usize, const NV: usize> Kernel for Tile<'_, MR, NV> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        // SAFETY: the contract of `multiply`.
        unsafe { tile::<S, MR, NV>(s, self.a, self.b, self.to) }
    }
}

/// # Safety
/// As [`multiply`], with `MR` rows and `NV` vectors of columns.
#[inline(always)]
unsafe fn tile<S: Simd, const MR: usize, const NV: usize>(s: S, a: &[f32], b: &[f32], to: Target) {
    let depth = a.len() / MR;
    assert!(b.len() >= depth * NV * S::LANES && to.valid <= NV * S::LANES);
    let mut sums = [[s.splat(0.0); NV]; MR];
    let (mut pa, mut pb) = (a.as_ptr(), b.as_ptr());
    for _ in 0..depth {
        // SAFETY: `depth` steps of `MR` and `NV * LANES` elements stay inside the slices.
        unsafe {
            let mut row = [s.splat(0.0); NV];
            for (v, x) in row.iter_mut().enumerate() {
                *x = s.load(pb.add(v * S::LANES));
            }
            for (i, sums) in sums.iter_mut().enumerate() {
                let x = s.splat(*pa.add(i));
                for v in 0..NV {
                    sums[v] = s.fma(x, row[v], sums[v]);
                }
            }
            pa = pa.add(MR);
            pb = pb.add(NV * S::LANES);
        }
    }
    for (i, sums) in sums.iter().enumerate() {
        for (v, &sum) in sums.iter().enumerate() {
            let cells = S::LANES.min(to.valid - v * S::LANES);
            // SAFETY: row `i` has `valid` cells by the contract.
            let c = unsafe { std::slice::from_raw_parts_mut(to.c.add(i * to.pitch + v * S::LANES), cells) };
            let sum = if to.add { s.add(sum, s.load_part(c)) } else { sum };
            s.store_part(c, sum);
        }
    }
}
