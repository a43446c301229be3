//! Vectors of f32 for the instruction sets we know, behind one trait.
//!
//! A kernel is written once, generic over [`Simd`], as an `#[inline(always)]` body; [`Isa::run`] compiles it into
//! one function per instruction set and calls the one that the machine has.
//!
//! Methods of vectors stand in loops, not in closures that `map` or `from_fn` call: a closure that LLVM does not inline
//! lacks the instructions, and every method in it becomes a call that passes vectors through memory.

mod unpack;
#[cfg(target_arch = "x86_64")]
mod unpack_x86;

pub use unpack::Unpack;

/// A piece of work that can be compiled for any instruction set.
pub trait Kernel {
    /// What it gives back.
    type Output;
    /// Does the work with the vectors of `s`. Mark the implementation `#[inline(always)]`.
    fn run<S: Simd>(self, s: S) -> Self::Output;
}

/// Vectors of f32. A value of an implementing type proves that the machine has the instructions.
pub trait Simd: Unpack {
    /// f32 elements in a vector.
    const LANES: usize;
    /// Rows of the matrix-product tile.
    const MR: usize;
    /// Vectors in a row of the matrix-product tile.
    const NV: usize;

    /// All lanes `x`.
    fn splat(self, x: f32) -> Self::F;
    /// `LANES` elements from `p`.
    ///
    /// # Safety
    /// `p` is readable for `LANES` elements; any alignment.
    unsafe fn load(self, p: *const f32) -> Self::F;
    /// `LANES` elements to `p`.
    ///
    /// # Safety
    /// `p` is writable for `LANES` elements; any alignment.
    unsafe fn store(self, p: *mut f32, v: Self::F);
    /// `a + b`
    fn add(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a - b`
    fn sub(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a * b`
    fn mul(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a / b`
    fn div(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a * b + c`, rounded once where the machine can.
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// `a > b ? a : b`, so `b` when either is NaN.
    fn max(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a < b ? a : b`, so `b` when either is NaN.
    fn min(self, a: Self::F, b: Self::F) -> Self::F;
    /// Square root, correctly rounded.
    fn sqrt(self, a: Self::F) -> Self::F;
    /// Largest whole number not above `a`.
    fn floor(self, a: Self::F) -> Self::F;
    /// Smallest whole number not below `a`.
    fn ceil(self, a: Self::F) -> Self::F;
    /// Nearest whole number, ties to even.
    fn round(self, a: Self::F) -> Self::F;
    /// `|a|`
    fn abs(self, a: Self::F) -> Self::F;
    /// `a < b ? x : y`
    fn if_lt(self, a: Self::F, b: Self::F, x: Self::F, y: Self::F) -> Self::F;
    /// `a == b ? x : y`
    fn if_eq(self, a: Self::F, b: Self::F, x: Self::F, y: Self::F) -> Self::F;
    /// 2 to the power `n`, for whole `n` in -126..=127.
    fn pow2(self, n: Self::F) -> Self::F;
    /// For positive normal `a`: whole `e` and `m` in [0.5, 1) with `a = m * 2^e`.
    fn frexp(self, a: Self::F) -> (Self::F, Self::F);
    /// Rounded to f16 and back, ties to even, too large becomes infinite.
    fn round_f16(self, a: Self::F) -> Self::F;

    /// The first `x.len()` lanes from `x`, which is not longer than a vector; the others are 0.
    #[inline(always)]
    fn load_part(self, x: &[f32]) -> Self::F {
        if x.len() == Self::LANES {
            // SAFETY: the slice is as long as a vector.
            return unsafe { self.load(x.as_ptr()) };
        }
        let mut lanes = [0f32; 16];
        lanes[..x.len()].copy_from_slice(x);
        // SAFETY: 16 elements, and no vector has more.
        unsafe { self.load(lanes.as_ptr()) }
    }
    /// The first `out.len()` lanes to `out`, which is not longer than a vector.
    #[inline(always)]
    fn store_part(self, out: &mut [f32], v: Self::F) {
        if out.len() == Self::LANES {
            // SAFETY: the slice is as long as a vector.
            return unsafe { self.store(out.as_mut_ptr(), v) };
        }
        let lanes = self.lanes(v);
        out.copy_from_slice(&lanes[..out.len()]);
    }
    /// The lanes as numbers, the first [`Simd::LANES`] of them valid.
    #[inline(always)]
    fn lanes(self, v: Self::F) -> [f32; 16] {
        let mut lanes = [0f32; 16];
        // SAFETY: 16 elements, and no vector has more.
        unsafe { self.store(lanes.as_mut_ptr(), v) };
        lanes
    }
    /// `-a`
    #[inline(always)]
    fn neg(self, a: Self::F) -> Self::F {
        self.mul(a, self.splat(-1.0))
    }
    /// Every lane through `f`, for functions that have no vector form.
    #[inline(always)]
    fn each(self, a: Self::F, f: impl Fn(f32) -> f32) -> Self::F {
        let lanes = self.lanes(a).map(f);
        // SAFETY: 16 elements, and no vector has more.
        unsafe { self.load(lanes.as_ptr()) }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "aarch64")]
    Neon,
    Portable,
}

/// An instruction set that this machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Isa(Level);

impl Isa {
    /// The fastest one.
    pub fn best() -> Self {
        Self::available()[0]
    }

    /// The one that every machine has.
    pub fn portable() -> Self {
        Self(Level::Portable)
    }

    /// All that this machine has, fastest first.
    pub fn available() -> Vec<Self> {
        let mut found = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("fma")
                && is_x86_feature_detected!("f16c");
            if avx2
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512bw")
            {
                found.push(Self(Level::Avx512));
            }
            if avx2 {
                found.push(Self(Level::Avx2));
            }
        }
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("neon") {
            found.push(Self(Level::Neon));
        }
        found.push(Self::portable());
        found
    }

    /// Short name for reports.
    pub fn name(self) -> &'static str {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => "avx2",
            #[cfg(target_arch = "aarch64")]
            Level::Neon => "neon",
            Level::Portable => "portable",
        }
    }

    /// The one with vectors of 8 elements at most, for results that would leave longer ones mostly empty.
    pub fn narrow(self) -> Self {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => Self(Level::Avx2),
            _ => self,
        }
    }

    /// Rows and columns of the matrix-product tile, and f32 elements in a vector.
    pub(crate) fn tile(self) -> Tile {
        self.run(TileOf)
    }

    /// Runs `kernel` compiled for this instruction set.
    #[inline]
    pub fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self.0 {
            // SAFETY: only `available` makes these levels, and only after it saw the features.
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => unsafe { x86::run_avx512(kernel) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => unsafe { x86::run_avx2(kernel) },
            // SAFETY: as above.
            #[cfg(target_arch = "aarch64")]
            Level::Neon => unsafe { neon::run(kernel) },
            Level::Portable => kernel.run(Portable),
        }
    }
}

/// The shape of the matrix-product tile of an instruction set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tile {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) lanes: usize,
}

struct TileOf;

impl Kernel for TileOf {
    type Output = Tile;
    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> Tile {
        Tile { rows: S::MR, columns: S::NV * S::LANES, lanes: S::LANES }
    }
}

const PORTABLE: usize = 8;

/// Arrays that the compiler turns into whatever vectors the target has.
#[derive(Clone, Copy)]
pub struct Portable;

#[inline(always)]
fn zip(a: [f32; PORTABLE], b: [f32; PORTABLE], f: impl Fn(f32, f32) -> f32) -> [f32; PORTABLE] {
    std::array::from_fn(|i| f(a[i], b[i]))
}

impl Simd for Portable {
    const LANES: usize = PORTABLE;
    const MR: usize = if cfg!(target_arch = "aarch64") { 8 } else { 4 };
    const NV: usize = 1;

    #[inline(always)]
    fn splat(self, x: f32) -> Self::F {
        [x; PORTABLE]
    }
    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> Self::F {
        // SAFETY: readable by the contract; unaligned read.
        unsafe { p.cast::<Self::F>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: Self::F) {
        // SAFETY: writable by the contract; unaligned write.
        unsafe { p.cast::<Self::F>().write_unaligned(v) }
    }
    #[inline(always)]
    fn add(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| a * b)
    }
    #[inline(always)]
    fn div(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| a / b)
    }
    #[inline(always)]
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        std::array::from_fn(|i| {
            // A fused product is an instruction on ARM and a slow call elsewhere.
            if cfg!(target_arch = "aarch64") { a[i].mul_add(b[i], c[i]) } else { a[i] * b[i] + c[i] }
        })
    }
    #[inline(always)]
    fn max(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    fn min(self, a: Self::F, b: Self::F) -> Self::F {
        zip(a, b, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    fn sqrt(self, a: Self::F) -> Self::F {
        a.map(f32::sqrt)
    }
    #[inline(always)]
    fn floor(self, a: Self::F) -> Self::F {
        a.map(f32::floor)
    }
    #[inline(always)]
    fn ceil(self, a: Self::F) -> Self::F {
        a.map(f32::ceil)
    }
    #[inline(always)]
    fn round(self, a: Self::F) -> Self::F {
        a.map(f32::round_ties_even)
    }
    #[inline(always)]
    fn abs(self, a: Self::F) -> Self::F {
        a.map(f32::abs)
    }
    #[inline(always)]
    fn if_lt(self, a: Self::F, b: Self::F, x: Self::F, y: Self::F) -> Self::F {
        std::array::from_fn(|i| if a[i] < b[i] { x[i] } else { y[i] })
    }
    #[inline(always)]
    fn if_eq(self, a: Self::F, b: Self::F, x: Self::F, y: Self::F) -> Self::F {
        std::array::from_fn(|i| if a[i] == b[i] { x[i] } else { y[i] })
    }
    #[inline(always)]
    fn pow2(self, n: Self::F) -> Self::F {
        n.map(|n| f32::from_bits(((n as i32 + 127) as u32) << 23))
    }
    #[inline(always)]
    fn frexp(self, a: Self::F) -> (Self::F, Self::F) {
        let exponent = a.map(|a| ((a.to_bits() >> 23) as i32 - 126) as f32);
        (exponent, a.map(|a| f32::from_bits(a.to_bits() & 0x007f_ffff | 0x3f00_0000)))
    }
    #[inline(always)]
    fn round_f16(self, a: Self::F) -> Self::F {
        a.map(|a| half::f16::from_f32(a).to_f32())
    }
}

#[cfg(target_arch = "aarch64")]
mod neon;

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Kernel, Simd};
    use std::arch::x86_64::*;

    /// Proof of AVX-512 F, DQ and BW, and of all that [`Avx2`] proves.
    #[derive(Clone, Copy)]
    pub struct Avx512(());
    /// Proof of AVX2, FMA and F16C.
    #[derive(Clone, Copy)]
    pub struct Avx2(());

    // Never inlined: a kernel inside of a kernel stays a function of its own, and large ones stay quick to compile.
    #[inline(never)]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx2,fma,f16c")]
    pub fn run_avx512<K: Kernel>(kernel: K) -> K::Output {
        kernel.run(Avx512(()))
    }

    #[inline(never)]
    #[target_feature(enable = "avx2,fma,f16c")]
    pub fn run_avx2<K: Kernel>(kernel: K) -> K::Output {
        kernel.run(Avx2(()))
    }

    /// Methods that are one expression of intrinsics.
    macro_rules! intrinsics {
        ($($name:ident($($arg:ident),*) $body:expr;)*) => {$(
            #[inline(always)]
            fn $name(self, $($arg: Self::F),*) -> Self::F {
                // SAFETY: the token `self` exists only where the features are (see `run_avx512`, `run_avx2`);
                // none of these touches memory.
                unsafe { $body }
            }
        )*};
    }

    impl Simd for Avx512 {
        const LANES: usize = 16;
        const MR: usize = 12;
        const NV: usize = 2;

        #[inline(always)]
        fn splat(self, x: f32) -> __m512 {
            // SAFETY: the token proves the feature.
            unsafe { _mm512_set1_ps(x) }
        }
        #[inline(always)]
        unsafe fn load(self, p: *const f32) -> __m512 {
            // SAFETY: the token proves the feature, the contract the memory.
            unsafe { _mm512_loadu_ps(p) }
        }
        #[inline(always)]
        unsafe fn store(self, p: *mut f32, v: __m512) {
            // SAFETY: the token proves the feature, the contract the memory.
            unsafe { _mm512_storeu_ps(p, v) }
        }
        #[inline(always)]
        fn load_part(self, x: &[f32]) -> __m512 {
            let mask = ((1u32 << x.len().min(16)) - 1) as u16;
            // SAFETY: the token proves the feature; masked-out lanes are not read.
            unsafe { _mm512_maskz_loadu_ps(mask, x.as_ptr()) }
        }
        #[inline(always)]
        fn store_part(self, out: &mut [f32], v: __m512) {
            let mask = ((1u32 << out.len().min(16)) - 1) as u16;
            // SAFETY: the token proves the feature; masked-out lanes are not written.
            unsafe { _mm512_mask_storeu_ps(out.as_mut_ptr(), mask, v) }
        }
        intrinsics! {
            add(a, b) _mm512_add_ps(a, b);
            sub(a, b) _mm512_sub_ps(a, b);
            mul(a, b) _mm512_mul_ps(a, b);
            div(a, b) _mm512_div_ps(a, b);
            fma(a, b, c) _mm512_fmadd_ps(a, b, c);
            max(a, b) _mm512_max_ps(a, b);
            min(a, b) _mm512_min_ps(a, b);
            sqrt(a) _mm512_sqrt_ps(a);
            floor(a) _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC }>(a);
            ceil(a) _mm512_roundscale_ps::<{ _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC }>(a);
            round(a) _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a);
            abs(a) _mm512_abs_ps(a);
            if_lt(a, b, x, y) _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b), y, x);
            if_eq(a, b, x, y) _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_EQ_OQ>(a, b), y, x);
            pow2(n) _mm512_scalef_ps(_mm512_set1_ps(1.0), n);
            round_f16(a) _mm512_cvtph_ps(_mm512_cvtps_ph::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a));
        }
        #[inline(always)]
        fn frexp(self, a: __m512) -> (__m512, __m512) {
            // SAFETY: the token proves the feature.
            unsafe {
                let exponent = _mm512_add_ps(_mm512_getexp_ps(a), _mm512_set1_ps(1.0));
                (exponent, _mm512_getmant_ps::<_MM_MANT_NORM_P5_1, _MM_MANT_SIGN_SRC>(a))
            }
        }
    }

    impl Simd for Avx2 {
        const LANES: usize = 8;
        const MR: usize = 6;
        const NV: usize = 2;

        #[inline(always)]
        fn splat(self, x: f32) -> __m256 {
            // SAFETY: the token proves the feature.
            unsafe { _mm256_set1_ps(x) }
        }
        #[inline(always)]
        unsafe fn load(self, p: *const f32) -> __m256 {
            // SAFETY: the token proves the feature, the contract the memory.
            unsafe { _mm256_loadu_ps(p) }
        }
        #[inline(always)]
        unsafe fn store(self, p: *mut f32, v: __m256) {
            // SAFETY: the token proves the feature, the contract the memory.
            unsafe { _mm256_storeu_ps(p, v) }
        }
        intrinsics! {
            add(a, b) _mm256_add_ps(a, b);
            sub(a, b) _mm256_sub_ps(a, b);
            mul(a, b) _mm256_mul_ps(a, b);
            div(a, b) _mm256_div_ps(a, b);
            fma(a, b, c) _mm256_fmadd_ps(a, b, c);
            max(a, b) _mm256_max_ps(a, b);
            min(a, b) _mm256_min_ps(a, b);
            sqrt(a) _mm256_sqrt_ps(a);
            floor(a) _mm256_floor_ps(a);
            ceil(a) _mm256_ceil_ps(a);
            round(a) _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a);
            abs(a) _mm256_andnot_ps(_mm256_set1_ps(-0.0), a);
            if_lt(a, b, x, y) _mm256_blendv_ps(y, x, _mm256_cmp_ps::<_CMP_LT_OQ>(a, b));
            if_eq(a, b, x, y) _mm256_blendv_ps(y, x, _mm256_cmp_ps::<_CMP_EQ_OQ>(a, b));
            pow2(n) _mm256_castsi256_ps(_mm256_slli_epi32::<23>(
                _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127))));
            round_f16(a) _mm256_cvtph_ps(_mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(a));
        }
        #[inline(always)]
        fn frexp(self, a: __m256) -> (__m256, __m256) {
            // SAFETY: the token proves the feature.
            unsafe {
                let bits = _mm256_castps_si256(a);
                let exponent = _mm256_sub_epi32(_mm256_srli_epi32::<23>(bits), _mm256_set1_epi32(126));
                let mantissa = _mm256_and_si256(bits, _mm256_set1_epi32(0x007f_ffff));
                let mantissa = _mm256_or_si256(mantissa, _mm256_set1_epi32(0x3f00_0000));
                (_mm256_cvtepi32_ps(exponent), _mm256_castsi256_ps(mantissa))
            }
        }
    }
}
