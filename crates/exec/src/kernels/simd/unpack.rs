//! From packed numbers and codes to vectors of f32.

use super::{PORTABLE, Portable};

/// Loads of narrow numbers, and look-ups by narrow codes.
///
/// Codes are taken from lanes of 32 bits: the code at hand is the lowest bits of its lane, whatever stands above.
pub trait Unpack: Copy + Send + Sync + 'static {
    /// A vector of f32.
    type F: Copy;
    /// A vector of as many lanes of 32 bits.
    type Codes: Copy;
    /// A table of 16 numbers.
    type Table: Copy;

    /// One f16 per lane.
    ///
    /// # Safety
    /// `p` is readable for 2 bytes per lane; any alignment.
    unsafe fn load_f16(self, p: *const u8) -> Self::F;
    /// One f16 per lane, rounded, ties to even.
    ///
    /// # Safety
    /// `p` is writable for 2 bytes per lane; any alignment.
    unsafe fn store_f16(self, p: *mut u8, v: Self::F);
    /// One signed byte per lane.
    ///
    /// # Safety
    /// `p` is readable for a byte per lane.
    unsafe fn load_i8(self, p: *const u8) -> Self::F;
    /// One unsigned byte per lane.
    ///
    /// # Safety
    /// `p` is readable for a byte per lane.
    unsafe fn load_u8(self, p: *const u8) -> Self::F;
    /// Four bytes per lane, the first lowest.
    ///
    /// # Safety
    /// `p` is readable for 4 bytes per lane; any alignment.
    unsafe fn load_4_bytes(self, p: *const u8) -> Self::Codes;
    /// Three bytes per lane, the first lowest.
    ///
    /// # Safety
    /// `p` is readable for 4 bytes per lane, though only 3 of each are used.
    unsafe fn load_3_bytes(self, p: *const u8) -> Self::Codes;
    /// Every lane moved down by `n` bits.
    fn shift(self, codes: Self::Codes, n: u32) -> Self::Codes;
    /// The table of these numbers.
    fn table(self, entries: &[f32; 16]) -> Self::Table;
    /// The entry that the lowest 4 bits name.
    fn look_up(self, table: Self::Table, codes: Self::Codes) -> Self::F;
    /// The entry that the lowest `bits` bits name.
    ///
    /// # Safety
    /// `p` is readable for `2^bits` numbers.
    unsafe fn gather(self, p: *const f32, codes: Self::Codes, bits: u32) -> Self::F;
    /// Sum of the lanes.
    fn sum(self, a: Self::F) -> f32;
    /// Asks for the cache line at `p`, which may be anywhere.
    #[inline(always)]
    fn prefetch(self, _: *const u8) {}
}

impl Unpack for Portable {
    type F = [f32; PORTABLE];
    type Codes = [u32; PORTABLE];
    type Table = [f32; 16];

    #[inline(always)]
    unsafe fn load_f16(self, p: *const u8) -> Self::F {
        // SAFETY: readable by the contract; unaligned read.
        let raw = unsafe { p.cast::<[u16; PORTABLE]>().read_unaligned() };
        raw.map(|b| half::f16::from_bits(u16::from_le(b)).to_f32())
    }
    #[inline(always)]
    unsafe fn store_f16(self, p: *mut u8, v: Self::F) {
        let raw = v.map(|v| half::f16::from_f32(v).to_bits().to_le());
        // SAFETY: writable by the contract; unaligned write.
        unsafe { p.cast::<[u16; PORTABLE]>().write_unaligned(raw) }
    }
    #[inline(always)]
    unsafe fn load_i8(self, p: *const u8) -> Self::F {
        // SAFETY: readable by the contract.
        unsafe { p.cast::<[i8; PORTABLE]>().read() }.map(f32::from)
    }
    #[inline(always)]
    unsafe fn load_u8(self, p: *const u8) -> Self::F {
        // SAFETY: readable by the contract.
        unsafe { p.cast::<[u8; PORTABLE]>().read() }.map(f32::from)
    }
    #[inline(always)]
    unsafe fn load_4_bytes(self, p: *const u8) -> Self::Codes {
        // SAFETY: readable by the contract; unaligned read.
        unsafe { p.cast::<[u32; PORTABLE]>().read_unaligned() }.map(u32::from_le)
    }
    #[inline(always)]
    unsafe fn load_3_bytes(self, p: *const u8) -> Self::Codes {
        // SAFETY: lane `i` reads bytes `3 i` to `3 i + 2`.
        let byte = |i: usize| u32::from(unsafe { *p.add(i) });
        std::array::from_fn(|i| byte(3 * i) | byte(3 * i + 1) << 8 | byte(3 * i + 2) << 16)
    }
    #[inline(always)]
    fn shift(self, codes: Self::Codes, n: u32) -> Self::Codes {
        codes.map(|c| c >> n)
    }
    #[inline(always)]
    fn table(self, entries: &[f32; 16]) -> Self::Table {
        *entries
    }
    #[inline(always)]
    fn look_up(self, table: Self::Table, codes: Self::Codes) -> Self::F {
        codes.map(|c| table[(c & 15) as usize])
    }
    #[inline(always)]
    unsafe fn gather(self, p: *const f32, codes: Self::Codes, bits: u32) -> Self::F {
        // SAFETY: the index is below `2^bits`.
        codes.map(|c| unsafe { *p.add((c & ((1 << bits) - 1)) as usize) })
    }
    #[inline(always)]
    fn sum(self, a: Self::F) -> f32 {
        a.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use crate::kernels::simd::{Isa, Kernel, Simd};

    struct Narrow<'a>(&'a [u8]);

    impl Kernel for Narrow<'_> {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            let (bytes, n) = (self.0, S::LANES);
            let p = bytes.as_ptr();
            assert!(bytes.len() >= 4 * n);
            // SAFETY: 4 bytes per lane are there.
            let (half, signed, unsigned, four, three) =
                unsafe { (s.load_f16(p), s.load_i8(p), s.load_u8(p), s.load_4_bytes(p), s.load_3_bytes(p)) };
            let mut back = vec![0u8; 2 * n];
            // SAFETY: 2 bytes per lane.
            unsafe { s.store_f16(back.as_mut_ptr(), half) };
            let entries: [f32; 16] = std::array::from_fn(|i| i as f32);
            let wide: Vec<f32> = (0..256).map(|i| i as f32).collect();
            let table = s.table(&entries);
            let code = |width: usize, lane: usize, shift: u32| {
                let lane = (0..width).map(|b| u32::from(bytes[width * lane + b]) << (8 * b)).sum::<u32>();
                lane >> shift
            };
            for i in 0..n {
                let raw = u16::from_le_bytes([bytes[2 * i], bytes[2 * i + 1]]);
                let want = half::f16::from_bits(raw).to_f32();
                let got = s.lanes(half)[i];
                assert!(got == want || (got.is_nan() && want.is_nan()), "{got} {want}");
                let got = half::f16::from_le_bytes([back[2 * i], back[2 * i + 1]]).to_f32();
                assert!(got == want || (got.is_nan() && want.is_nan()), "{got} stored, {want}");
                assert_eq!(s.lanes(signed)[i], f32::from(bytes[i] as i8));
                assert_eq!(s.lanes(unsigned)[i], f32::from(bytes[i]));
                for shift in [0, 3, 4, 7, 12] {
                    let got = s.lanes(s.look_up(table, s.shift(four, shift)))[i];
                    assert_eq!(got, (code(4, i, shift) & 15) as f32);
                    let got = s.lanes(s.look_up(table, s.shift(three, shift)))[i];
                    assert_eq!(got, (code(3, i, shift) & 15) as f32);
                    for bits in [6, 8] {
                        // SAFETY: the table has 256 numbers.
                        let got = s.lanes(unsafe { s.gather(wide.as_ptr(), s.shift(four, shift), bits) })[i];
                        assert_eq!(got, (code(4, i, shift) & ((1 << bits) - 1)) as f32);
                    }
                }
            }
            assert_eq!(s.sum(unsigned), bytes[..n].iter().map(|&b| f32::from(b)).sum::<f32>());
        }
    }

    #[test]
    fn narrow_numbers_and_codes_become_the_numbers_they_stand_for() {
        let bytes: Vec<u8> = (0..64u32).map(|i| (i * 167 + 13) as u8).collect();
        for isa in Isa::available() {
            isa.run(Narrow(&bytes));
        }
    }
}
