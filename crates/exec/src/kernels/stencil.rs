//! Sums, maxima and the like over the taps of sliding windows, one channel at a time.

use super::simd::Simd;
use super::window::Planes;

/// Room for the vectors that reach behind the last element of the planes.
pub(crate) const SLACK: usize = 64;

/// What happens at a tap.
pub(crate) trait Taps {
    fn start<S: Simd>(&self, s: S) -> S::F;
    fn step<S: Simd>(&self, s: S, sum: S::F, tap: usize, x: S::F) -> S::F;
}

/// A window operation on the planes of a channel.
pub(crate) struct Stencil<'a, T> {
    pub(crate) planes: &'a Planes,
    pub(crate) taps: T,
}

/// Scratch elements for the planes of a channel and an output with their row distance.
pub(crate) fn seat_scratch(planes: &Planes, output: [usize; 3]) -> usize {
    planes.len + SLACK + planes.row(output[0], output[1]) + SLACK
}

impl<T: Taps> Stencil<'_, T> {
    /// Fills `out` from the planes in `data`; `flat` is scratch (see [`seat_scratch`]).
    #[inline(always)]
    pub(crate) fn run<S: Simd>(
        &self,
        s: S,
        data: &[f32],
        output: [usize; 3],
        out: &mut [f32],
        flat: &mut [f32],
    ) {
        let [depth, height, width] = output;
        if width >= S::LANES {
            for (i, row) in out.chunks_exact_mut(width).enumerate() {
                self.span(s, &data[self.planes.row(i / height, i % height)..], row);
            }
            return;
        }
        // Narrow images: the whole plane as one row, its padding computed along and left out.
        let len = self.planes.row(depth - 1, height - 1) + width;
        self.span(s, data, &mut flat[..len.next_multiple_of(S::LANES)]);
        for (i, row) in out.chunks_exact_mut(width).enumerate() {
            row.copy_from_slice(&flat[self.planes.row(i / height, i % height)..][..width]);
        }
    }

    /// `out[i]` from `data[tap + i]`; `out` holds at least a vector.
    #[inline(always)]
    fn span<S: Simd>(&self, s: S, data: &[f32], out: &mut [f32]) {
        let vectors = out.len().div_ceil(S::LANES);
        let mut v = 0;
        while vectors - v >= 4 {
            self.vectors::<S, 4>(s, data, out, v);
            v += 4;
        }
        match vectors - v {
            1 => self.vectors::<S, 1>(s, data, out, v),
            2 => self.vectors::<S, 2>(s, data, out, v),
            3 => self.vectors::<S, 3>(s, data, out, v),
            _ => {}
        }
    }

    #[inline(always)]
    fn vectors<S: Simd, const N: usize>(&self, s: S, data: &[f32], out: &mut [f32], first: usize) {
        match self.planes.taps.len() {
            9 => self.sums::<S, N, 9>(s, data, out, first),
            25 => self.sums::<S, N, 25>(s, data, out, first),
            _ => self.sums::<S, N, 0>(s, data, out, first),
        }
    }

    /// `N` vectors from vector `first` on, the last moved back so that it ends with `out`; `K` taps, or any number
    /// when `K` is 0.
    #[inline(always)]
    fn sums<S: Simd, const N: usize, const K: usize>(
        &self,
        s: S,
        data: &[f32],
        out: &mut [f32],
        first: usize,
    ) {
        let taps = if K == 0 { self.planes.taps.len() } else { K };
        let offsets = &self.planes.taps[..taps];
        assert!(out.len() >= S::LANES && self.planes.furthest + out.len() <= data.len());
        let starts: [usize; N] = std::array::from_fn(|v| ((first + v) * S::LANES).min(out.len() - S::LANES));
        let mut sums = [self.taps.start(s); N];
        for (t, &offset) in offsets.iter().enumerate() {
            for v in 0..N {
                // SAFETY: a vector from `starts[v]` on ends inside `out`, and `data` reaches as far behind every tap.
                let x = unsafe { s.load(data.as_ptr().add(offset + starts[v])) };
                sums[v] = self.taps.step(s, sums[v], t, x);
            }
        }
        for v in 0..N {
            // SAFETY: as above.
            unsafe { s.store(out.as_mut_ptr().add(starts[v]), sums[v]) };
        }
    }
}
