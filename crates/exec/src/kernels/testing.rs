//! What the tests of kernels share.

use super::simd::Isa;
use crate::pool::Pool;

/// A small deterministic generator (xorshift64*, Vigna 2016).
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32
    }

    /// A whole number in `low..=high`.
    pub(crate) fn int(&mut self, low: usize, high: usize) -> usize {
        low + (self.next() as usize) % (high - low + 1)
    }

    /// A number in [-1, 1).
    pub(crate) fn float(&mut self) -> f32 {
        self.next() as f32 / 2_147_483_648.0 - 1.0
    }

    pub(crate) fn floats(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.float()).collect()
    }
}

/// Runs `f` with every instruction set of this machine, on one thread and on three.
pub(crate) fn on_every_pool(f: impl Fn(&Pool)) {
    for isa in Isa::available() {
        for threads in [1, 3] {
            f(&Pool::with_isa(threads, isa));
        }
    }
}

/// Asserts that no element is further from `want` than `tolerance * (1 + |want|)`.
#[track_caller]
pub(crate) fn assert_close(got: &[f32], want: &[f32], tolerance: f32, what: &str) {
    assert_eq!(got.len(), want.len(), "{what}: length");
    for (i, (&g, &w)) in got.iter().zip(want).enumerate() {
        let same = g == w || (g.is_nan() && w.is_nan()) || (g - w).abs() <= tolerance * (1.0 + w.abs());
        assert!(same, "{what}: element {i} is {g}, should be {w}");
    }
}
