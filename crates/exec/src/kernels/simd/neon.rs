//! The vectors of 64-bit ARM.
//!
//! Elsewhere `cargo xtask neon` runs its tests under an emulator.

use super::{Kernel, Simd, Unpack};
use std::arch::aarch64::*;
use std::arch::asm;

/// Proof of NEON.
#[derive(Clone, Copy)]
pub struct Neon(());

#[target_feature(enable = "neon")]
pub fn run<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Neon(()))
}

/// Methods that are one expression of intrinsics.
macro_rules! intrinsics {
    ($($name:ident($($arg:ident),*) $body:expr;)*) => {$(
        #[inline(always)]
        fn $name(self, $($arg: Self::F),*) -> Self::F {
            // SAFETY: the token `self` exists only where the features are (see `run`); none of these touches memory.
            unsafe { $body }
        }
    )*};
}

impl Simd for Neon {
    const LANES: usize = 4;
    const MR: usize = 12;
    const NV: usize = 2;

    #[inline(always)]
    fn splat(self, x: f32) -> float32x4_t {
        // SAFETY: the token proves the feature.
        unsafe { vdupq_n_f32(x) }
    }
    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> float32x4_t {
        // SAFETY: the token proves the feature, the contract the memory.
        unsafe { vld1q_f32(p) }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: float32x4_t) {
        // SAFETY: the token proves the feature, the contract the memory.
        unsafe { vst1q_f32(p, v) }
    }
    intrinsics! {
        add(a, b) vaddq_f32(a, b);
        sub(a, b) vsubq_f32(a, b);
        mul(a, b) vmulq_f32(a, b);
        div(a, b) vdivq_f32(a, b);
        fma(a, b, c) vfmaq_f32(c, a, b);
        // The instructions of these names propagate NaN, which the contract does not.
        max(a, b) vbslq_f32(vcgtq_f32(a, b), a, b);
        min(a, b) vbslq_f32(vcltq_f32(a, b), a, b);
        sqrt(a) vsqrtq_f32(a);
        floor(a) vrndmq_f32(a);
        ceil(a) vrndpq_f32(a);
        round(a) vrndnq_f32(a);
        abs(a) vabsq_f32(a);
        neg(a) vnegq_f32(a);
        if_lt(a, b, x, y) vbslq_f32(vcltq_f32(a, b), x, y);
        if_eq(a, b, x, y) vbslq_f32(vceqq_f32(a, b), x, y);
        pow2(n) vreinterpretq_f32_s32(vshlq_n_s32::<23>(vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127))));
    }
    #[inline(always)]
    fn frexp(self, a: float32x4_t) -> (float32x4_t, float32x4_t) {
        // SAFETY: the token proves the feature.
        unsafe {
            let bits = vreinterpretq_s32_f32(a);
            let exponent = vsubq_s32(vshrq_n_s32::<23>(bits), vdupq_n_s32(126));
            let mantissa = vandq_s32(bits, vdupq_n_s32(0x007f_ffff));
            let mantissa = vorrq_s32(mantissa, vdupq_n_s32(0x3f00_0000));
            (vcvtq_f32_s32(exponent), vreinterpretq_f32_s32(mantissa))
        }
    }
    #[inline(always)]
    fn round_f16(self, a: float32x4_t) -> float32x4_t {
        let result: float32x4_t;
        // SAFETY: both conversions belong to the base instruction set; their intrinsics are not stable yet.
        unsafe {
            asm!(
                "fcvtn {t:v}.4h, {a:v}.4s",
                "fcvtl {r:v}.4s, {t:v}.4h",
                a = in(vreg) a,
                t = out(vreg) _,
                r = lateout(vreg) result,
                options(pure, nomem, nostack, preserves_flags)
            );
        }
        result
    }
}

// SAFETY of all blocks below: the token proves the feature; where memory is read, the contract of the trait says
// that it may be.
impl Unpack for Neon {
    type F = float32x4_t;
    type Codes = uint32x4_t;
    type Table = uint8x16x4_t;

    #[inline(always)]
    unsafe fn load_f16(self, p: *const u8) -> float32x4_t {
        let result: float32x4_t;
        unsafe {
            let raw = vld1_u8(p);
            // A conversion of the base instruction set; its intrinsic is not stable yet.
            asm!(
                "fcvtl {r:v}.4s, {a:v}.4h",
                a = in(vreg) raw,
                r = lateout(vreg) result,
                options(pure, nomem, nostack, preserves_flags)
            );
        }
        result
    }
    #[inline(always)]
    unsafe fn store_f16(self, p: *mut u8, v: float32x4_t) {
        unsafe {
            let raw: uint8x8_t;
            // A conversion of the base instruction set; its intrinsic is not stable yet.
            asm!(
                "fcvtn {r:v}.4h, {a:v}.4s",
                a = in(vreg) v,
                r = lateout(vreg) raw,
                options(pure, nomem, nostack, preserves_flags)
            );
            vst1_u8(p, raw);
        }
    }
    #[inline(always)]
    unsafe fn load_i8(self, p: *const u8) -> float32x4_t {
        unsafe {
            let raw = vcreate_s8(u64::from(p.cast::<u32>().read_unaligned()));
            vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(raw))))
        }
    }
    #[inline(always)]
    unsafe fn load_u8(self, p: *const u8) -> float32x4_t {
        unsafe {
            let raw = vcreate_u8(u64::from(p.cast::<u32>().read_unaligned()));
            vcvtq_f32_u32(vmovl_u16(vget_low_u16(vmovl_u8(raw))))
        }
    }
    #[inline(always)]
    unsafe fn load_4_bytes(self, p: *const u8) -> uint32x4_t {
        unsafe { vreinterpretq_u32_u8(vld1q_u8(p)) }
    }
    #[inline(always)]
    unsafe fn load_3_bytes(self, p: *const u8) -> uint32x4_t {
        const PICK: [u8; 16] = [0, 1, 2, 255, 3, 4, 5, 255, 6, 7, 8, 255, 9, 10, 11, 255];
        unsafe { vreinterpretq_u32_u8(vqtbl1q_u8(vld1q_u8(p), vld1q_u8(PICK.as_ptr()))) }
    }
    #[inline(always)]
    fn shift(self, codes: uint32x4_t, n: u32) -> uint32x4_t {
        unsafe { vshlq_u32(codes, vdupq_n_s32(-n.cast_signed())) }
    }
    #[inline(always)]
    fn table(self, entries: &[f32; 16]) -> uint8x16x4_t {
        unsafe { vld1q_u8_x4(entries.as_ptr().cast()) }
    }
    #[inline(always)]
    fn look_up(self, table: uint8x16x4_t, codes: uint32x4_t) -> float32x4_t {
        unsafe {
            // Bytes 4 c, 4 c + 1, 4 c + 2, 4 c + 3 of the table.
            let first = vandq_u32(codes, vdupq_n_u32(15));
            let at = vmlaq_u32(vdupq_n_u32(0x0302_0100), first, vdupq_n_u32(0x0404_0404));
            vreinterpretq_f32_u8(vqtbl4q_u8(table, vreinterpretq_u8_u32(at)))
        }
    }
    #[inline(always)]
    unsafe fn gather(self, p: *const f32, codes: uint32x4_t, bits: u32) -> float32x4_t {
        unsafe {
            let mut at = [0u32; 4];
            vst1q_u32(at.as_mut_ptr(), vandq_u32(codes, vdupq_n_u32((1 << bits) - 1)));
            vld1q_f32(at.map(|i| *p.add(i as usize)).as_ptr())
        }
    }
    #[inline(always)]
    fn sum(self, a: float32x4_t) -> f32 {
        unsafe { vaddvq_f32(a) }
    }
}
