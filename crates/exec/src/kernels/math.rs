//! Vector forms of the functions that the standard library has for one number at a time.
//!
//! The argument reductions and the polynomials are those of the Cephes library's single precision functions
//! (S. L. Moshier, `expf`, `logf`, `tanhf`, `ndtrf`). Measured against f64: `exp`, `log`, `tanh` and `sigmoid` within
//! 3 units in the last place, `erf` within 4 (see the tests).

use super::simd::Simd;

#[inline(always)]
fn poly<S: Simd>(s: S, x: S::F, coefficients: &[f32]) -> S::F {
    let mut y = s.splat(coefficients[0]);
    for &c in &coefficients[1..] {
        y = s.fma(y, x, s.splat(c));
    }
    y
}

/// `e^x`, including infinities, denormal results and NaN.
#[inline(always)]
pub fn exp<S: Simd>(s: S, x: S::F) -> S::F {
    let x = s.min(s.splat(89.0), s.max(s.splat(-104.0), x));
    let n = s.round(s.mul(x, s.splat(std::f32::consts::LOG2_E)));
    let r = s.fma(n, s.splat(-0.693_359_4), x);
    let r = s.fma(n, s.splat(2.121_944_4e-4), r);
    const P: [f32; 6] =
        [1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 5.0e-1];
    let y = s.add(s.fma(poly(s, r, &P), s.mul(r, r), r), s.splat(1.0));
    // Two factors, since one would leave the range of exponents at both ends.
    let half = s.floor(s.mul(n, s.splat(0.5)));
    s.mul(s.mul(y, s.pow2(half)), s.pow2(s.sub(n, half)))
}

/// Natural logarithm; -inf at 0, NaN below.
#[inline(always)]
pub fn log<S: Simd>(s: S, x: S::F) -> S::F {
    let (zero, one) = (s.splat(0.0), s.splat(1.0));
    let tiny = s.splat(f32::MIN_POSITIVE);
    let scaled = s.if_lt(x, tiny, s.mul(x, s.splat(8_388_608.0)), x);
    let (e, m) = s.frexp(scaled);
    let e = s.if_lt(x, tiny, s.sub(e, s.splat(23.0)), e);
    let low = s.splat(std::f32::consts::FRAC_1_SQRT_2);
    let (e, m) = (s.if_lt(m, low, s.sub(e, one), e), s.if_lt(m, low, s.sub(s.add(m, m), one), s.sub(m, one)));
    const P: [f32; 9] = [
        7.037_683_6e-2,
        -1.151_461e-1,
        1.167_699_9e-1,
        -1.242_014_1e-1,
        1.424_932_3e-1,
        -1.666_805_8e-1,
        2.000_071_5e-1,
        -2.499_999_4e-1,
        3.333_333e-1,
    ];
    let z = s.mul(m, m);
    let y = s.mul(s.mul(m, z), poly(s, m, &P));
    let y = s.fma(e, s.splat(-2.121_944_4e-4), y);
    let y = s.add(m, s.fma(z, s.splat(-0.5), y));
    let y = s.fma(e, s.splat(0.693_359_4), y);
    let y = s.if_lt(x, zero, s.splat(f32::NAN), y);
    let y = s.if_eq(x, zero, s.splat(f32::NEG_INFINITY), y);
    let y = s.if_eq(x, s.splat(f32::INFINITY), x, y);
    s.if_eq(x, x, y, x)
}

/// `1 / (1 + e^-x)`
#[inline(always)]
pub fn sigmoid<S: Simd>(s: S, x: S::F) -> S::F {
    let one = s.splat(1.0);
    s.div(one, s.add(one, exp(s, s.neg(x))))
}

/// Hyperbolic tangent.
#[inline(always)]
pub fn tanh<S: Simd>(s: S, x: S::F) -> S::F {
    const P: [f32; 5] = [-5.704_988_7e-3, 2.063_909e-2, -5.373_971_6e-2, 1.333_144_2e-1, -3.333_328e-1];
    let (a, z) = (s.abs(x), s.mul(x, x));
    let small = s.fma(s.mul(x, z), poly(s, z, &P), x);
    let (one, two) = (s.splat(1.0), s.splat(2.0));
    let large = s.sub(one, s.div(two, s.add(exp(s, s.add(a, a)), one)));
    let large = s.if_lt(x, s.splat(0.0), s.neg(large), large);
    s.if_lt(a, s.splat(0.625), small, large)
}

/// The error function.
#[inline(always)]
pub fn erf<S: Simd>(s: S, x: S::F) -> S::F {
    const NEAR: [f32; 7] = [
        7.853_861_4e-5,
        -8.010_193_6e-4,
        5.188_327_7e-3,
        -2.685_381_2e-2,
        1.128_358_5e-1,
        -3.761_262_6e-1,
        std::f32::consts::FRAC_2_SQRT_PI,
    ];
    const FAR: [f32; 9] = [
        2.326_82e-2,
        -1.387_039_4e-1,
        3.687_424_6e-1,
        -5.824_733e-1,
        6.210_004_6e-1,
        -4.944_515_3e-1,
        3.404_88e-1,
        -2.741_127e-1,
        5.638_259_4e-1,
    ];
    let a = s.min(s.splat(4.5), s.abs(x));
    let near = s.mul(x, poly(s, s.mul(x, x), &NEAR));
    let r = s.div(s.splat(1.0), a);
    let tail = s.mul(s.mul(exp(s, s.neg(s.mul(a, a))), r), poly(s, s.mul(r, r), &FAR));
    let far = s.sub(s.splat(1.0), tail);
    let far = s.if_lt(x, s.splat(0.0), s.neg(far), far);
    let y = s.if_lt(s.abs(x), s.splat(1.0), near, far);
    s.if_eq(x, x, y, x)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::simd::{Isa, Kernel};

    struct Each<'a, F>(&'a [f32], &'a mut [f32], F);

    trait Function: Copy {
        fn at<S: Simd>(self, s: S, x: S::F) -> S::F;
    }

    impl<F: Function> Kernel for Each<'_, F> {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            for (x, y) in self.0.chunks(S::LANES).zip(self.1.chunks_mut(S::LANES)) {
                s.store_part(y, self.2.at(s, s.load_part(x)));
            }
        }
    }

    macro_rules! function {
        ($name:ident, $path:path) => {
            #[derive(Clone, Copy)]
            struct $name;
            impl Function for $name {
                #[inline(always)]
                fn at<S: Simd>(self, s: S, x: S::F) -> S::F {
                    $path(s, x)
                }
            }
        };
    }
    function!(Exp, exp);
    function!(Log, log);
    function!(Sigmoid, sigmoid);
    function!(Tanh, tanh);
    function!(Erf, erf);

    fn ulps(got: f32, want: f64) -> f64 {
        let near = want as f32;
        if got == near || (got.is_nan() && want.is_nan()) {
            return 0.0;
        }
        let ulp = f64::from(f32::from_bits(near.abs().to_bits() + 1)) - f64::from(near.abs());
        (f64::from(got) - want).abs() / ulp
    }

    fn worst(f: impl Function, xs: &[f32], want: impl Fn(f64) -> f64) -> f64 {
        let mut worst = 0f64;
        for isa in Isa::available() {
            let mut y = vec![0f32; xs.len()];
            isa.run(Each(xs, &mut y, f));
            for (&x, &y) in xs.iter().zip(&y) {
                let error = ulps(y, want(f64::from(x)));
                assert!(error < 1e6, "{} at {x}: {y}, not {}", isa.name(), want(f64::from(x)));
                worst = worst.max(error);
            }
        }
        worst
    }

    fn grid(low: f32, high: f32) -> Vec<f32> {
        (0..200_000).map(|i| low + (high - low) * (i as f32 / 199_999.0)).collect()
    }

    /// Series near 0, continued fraction of erfc beyond: Abramowitz & Stegun 7.1.6 and 7.1.14.
    fn erf_f64(x: f64) -> f64 {
        let a = x.abs();
        let y = if a < 2.5 {
            let (mut term, mut sum, mut n) = (a, a, 0.0);
            while term > sum * 1e-17 {
                n += 1.0;
                term *= 2.0 * a * a / (2.0 * n + 1.0);
                sum += term;
            }
            sum * (-a * a).exp() * std::f64::consts::FRAC_2_SQRT_PI
        } else {
            let fraction = (1..80).rev().fold(a, |f, n| a + f64::from(n) / 2.0 / f);
            1.0 - (-a * a).exp() / fraction / std::f64::consts::PI.sqrt()
        };
        y.copysign(x)
    }

    #[test]
    fn exp_is_within_3_ulp() {
        assert!(worst(Exp, &grid(-87.3, 88.7), f64::exp) < 3.0);
        assert!(worst(Exp, &grid(-1.0, 1.0), f64::exp) < 3.0);
        let edges = [f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 200.0, -200.0, 0.0];
        assert_eq!(worst(Exp, &edges, |x| f64::from((x as f32).exp())), 0.0);
    }

    #[test]
    fn log_is_within_3_ulp() {
        assert!(worst(Log, &grid(1e-3, 4.0), f64::ln) < 3.0);
        let wide: Vec<f32> = (1..2000).map(|i| f32::from_bits(i * 1_000_003)).collect();
        assert!(worst(Log, &wide, f64::ln) < 3.0);
        let edges = [f32::INFINITY, f32::NAN, 0.0, -0.0, -1.0, f32::NEG_INFINITY, 1.0];
        assert_eq!(worst(Log, &edges, f64::ln), 0.0);
    }

    #[test]
    fn sigmoid_is_within_3_ulp() {
        assert!(worst(Sigmoid, &grid(-80.0, 80.0), |x| 1.0 / (1.0 + (-x).exp())) < 3.0);
        assert!(worst(Sigmoid, &grid(-2.0, 2.0), |x| 1.0 / (1.0 + (-x).exp())) < 3.0);
    }

    #[test]
    fn tanh_is_within_3_ulp() {
        assert!(worst(Tanh, &grid(-12.0, 12.0), f64::tanh) < 3.0);
        assert!(worst(Tanh, &grid(-1.0, 1.0), f64::tanh) < 3.0);
        assert_eq!(worst(Tanh, &[f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 0.0], f64::tanh), 0.0);
    }

    /// Values printed by Python's `math.erf`.
    #[test]
    fn the_judge_of_erf_agrees_with_python() {
        for (x, want) in [
            (0.1, 0.1124629160182849),
            (0.75, 0.7111556336535151),
            (1.3, 0.9340079449406524),
            (2.7, 0.9998656672600594),
            (3.5, 0.9999992569016276),
        ] {
            assert!((erf_f64(x) - want).abs() < 1e-15, "erf({x})");
        }
    }

    #[test]
    fn erf_is_within_4_ulp() {
        assert!(worst(Erf, &grid(-6.0, 6.0), erf_f64) < 4.0);
        assert!(worst(Erf, &grid(-0.01, 0.01), erf_f64) < 4.0);
        assert_eq!(
            worst(Erf, &[f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 0.0], |x| {
                if x.is_finite() || x.is_nan() { x } else { x.signum() }
            }),
            0.0
        );
    }
}
