//! Narrow numbers and codes in the vectors of x86.

use super::Unpack;
use super::x86::{Avx2, Avx512};
use std::arch::x86_64::*;

// SAFETY of all blocks below: the tokens prove the features; where memory is read, the contract of the trait says
// that it may be.
impl Unpack for Avx512 {
    type F = __m512;
    type Codes = __m512i;
    type Table = __m512;

    #[inline(always)]
    unsafe fn load_f16(self, p: *const u8) -> __m512 {
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(p.cast())) }
    }
    #[inline(always)]
    unsafe fn store_f16(self, p: *mut u8, v: __m512) {
        unsafe {
            _mm256_storeu_si256(
                p.cast(),
                _mm512_cvtps_ph::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(v),
            )
        }
    }
    #[inline(always)]
    unsafe fn load_i8(self, p: *const u8) -> __m512 {
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(p.cast()))) }
    }
    #[inline(always)]
    unsafe fn load_u8(self, p: *const u8) -> __m512 {
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(p.cast()))) }
    }
    #[inline(always)]
    unsafe fn load_4_bytes(self, p: *const u8) -> __m512i {
        unsafe { _mm512_loadu_si512(p.cast()) }
    }
    #[inline(always)]
    unsafe fn load_3_bytes(self, p: *const u8) -> __m512i {
        unsafe {
            // 12 bytes to every 128-bit lane, then 3 of them to every 32.
            let spread = _mm512_setr_epi32(0, 1, 2, 2, 3, 4, 5, 5, 6, 7, 8, 8, 9, 10, 11, 11);
            let bytes = _mm512_permutexvar_epi32(spread, _mm512_maskz_loadu_epi32(0x0fff, p.cast()));
            let pick = _mm_setr_epi8(0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11, -1);
            _mm512_shuffle_epi8(bytes, _mm512_broadcast_i32x4(pick))
        }
    }
    #[inline(always)]
    fn shift(self, codes: __m512i, n: u32) -> __m512i {
        unsafe { _mm512_srlv_epi32(codes, _mm512_set1_epi32(n.cast_signed())) }
    }
    #[inline(always)]
    fn table(self, entries: &[f32; 16]) -> __m512 {
        unsafe { _mm512_loadu_ps(entries.as_ptr()) }
    }
    #[inline(always)]
    fn look_up(self, table: __m512, codes: __m512i) -> __m512 {
        unsafe { _mm512_permutexvar_ps(codes, table) }
    }
    #[inline(always)]
    unsafe fn gather(self, p: *const f32, codes: __m512i, bits: u32) -> __m512 {
        unsafe {
            let mask = _mm512_set1_epi32((1 << bits) - 1);
            _mm512_i32gather_ps::<4>(_mm512_and_si512(codes, mask), p)
        }
    }
    #[inline(always)]
    fn sum(self, a: __m512) -> f32 {
        unsafe { _mm512_reduce_add_ps(a) }
    }
    #[inline(always)]
    fn prefetch(self, p: *const u8) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
    }
}

impl Unpack for Avx2 {
    type F = __m256;
    type Codes = __m256i;
    type Table = (__m256, __m256);

    #[inline(always)]
    unsafe fn load_f16(self, p: *const u8) -> __m256 {
        unsafe { _mm256_cvtph_ps(_mm_loadu_si128(p.cast())) }
    }
    #[inline(always)]
    unsafe fn store_f16(self, p: *mut u8, v: __m256) {
        unsafe { _mm_storeu_si128(p.cast(), _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(v)) }
    }
    #[inline(always)]
    unsafe fn load_i8(self, p: *const u8) -> __m256 {
        unsafe { _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(p.cast()))) }
    }
    #[inline(always)]
    unsafe fn load_u8(self, p: *const u8) -> __m256 {
        unsafe { _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(p.cast()))) }
    }
    #[inline(always)]
    unsafe fn load_4_bytes(self, p: *const u8) -> __m256i {
        unsafe { _mm256_loadu_si256(p.cast()) }
    }
    #[inline(always)]
    unsafe fn load_3_bytes(self, p: *const u8) -> __m256i {
        unsafe {
            let (low, high) = (_mm_loadu_si128(p.cast()), _mm_loadu_si128(p.add(12).cast()));
            let pick = _mm_setr_epi8(0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11, -1);
            _mm256_shuffle_epi8(_mm256_set_m128i(high, low), _mm256_broadcastsi128_si256(pick))
        }
    }
    #[inline(always)]
    fn shift(self, codes: __m256i, n: u32) -> __m256i {
        unsafe { _mm256_srlv_epi32(codes, _mm256_set1_epi32(n.cast_signed())) }
    }
    #[inline(always)]
    fn table(self, entries: &[f32; 16]) -> (__m256, __m256) {
        unsafe { (_mm256_loadu_ps(entries.as_ptr()), _mm256_loadu_ps(entries.as_ptr().add(8))) }
    }
    #[inline(always)]
    fn look_up(self, (low, high): (__m256, __m256), codes: __m256i) -> __m256 {
        unsafe {
            let (low, high) = (_mm256_permutevar8x32_ps(low, codes), _mm256_permutevar8x32_ps(high, codes));
            // Bit 3 becomes the sign, which the blend goes by.
            _mm256_blendv_ps(low, high, _mm256_castsi256_ps(_mm256_slli_epi32::<28>(codes)))
        }
    }
    #[inline(always)]
    unsafe fn gather(self, p: *const f32, codes: __m256i, bits: u32) -> __m256 {
        unsafe {
            let mask = _mm256_set1_epi32((1 << bits) - 1);
            _mm256_i32gather_ps::<4>(p, _mm256_and_si256(codes, mask))
        }
    }
    #[inline(always)]
    fn sum(self, a: __m256) -> f32 {
        unsafe {
            let four = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
        }
    }
    #[inline(always)]
    fn prefetch(self, p: *const u8) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
    }
}
