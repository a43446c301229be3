//! Functions that the Neural Engine reads from tables: 33 samples in `fp16`, straight lines between them.
//!
//! Ranges, steps and reductions are those of the study that `docs/emulate.md` names. What it leaves open is chosen so
//! that the errors it publishes come out: roots take their mantissa from [0.5, 2), an inverse from [0.5, 1), and the
//! values of `gelu` and `silu` are least squares over all `fp16` numbers in range, which gives both values and both
//! errors that were published. Reductions and lines are computed in `f64` and rounded once.

use super::number::{power_of_two, round_away};
use half::f16;
use std::f64::consts::{FRAC_PI_2, LN_2, LOG2_E, PI, TAU};

/// Samples of a table.
const SAMPLES: usize = 33;

/// Samples at equal steps.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    from: f64,
    step: f64,
    samples: [f64; SAMPLES],
}

impl Table {
    /// Exact values, rounded to `fp16`.
    fn sampled(from: f64, step: f64, f: impl Fn(f64) -> f64) -> Table {
        let samples = std::array::from_fn(|i| f64::from(round_away(f(from + i as f64 * step))));
        Table { from, step, samples }
    }

    /// The values whose lines are nearest to `f` over all `fp16` numbers in range, by least squares, rounded to `fp16`.
    fn fitted(from: f64, step: f64, f: impl Fn(f64) -> f64) -> Table {
        // Each number lies between two samples, so the normal equations have three diagonals.
        let (mut diagonal, mut beside, mut right) = ([0.0; SAMPLES], [0.0; SAMPLES], [0.0; SAMPLES]);
        let finite = (0..=u16::MAX).map(f16::from_bits).filter(|h| h.is_finite());
        for x in finite.map(f64::from).filter(|x| (0.0..=32.0).contains(&((x - from) / step))) {
            let (i, share) = place((x - from) / step);
            let (low, y) = (1.0 - share, f(x));
            diagonal[i] += low * low;
            diagonal[i + 1] += share * share;
            beside[i] += low * share;
            right[i] += low * y;
            right[i + 1] += share * y;
        }
        for i in 1..SAMPLES {
            let factor = beside[i - 1] / diagonal[i - 1];
            diagonal[i] -= factor * beside[i - 1];
            right[i] -= factor * right[i - 1];
        }
        let mut samples = [0.0; SAMPLES];
        for i in (0..SAMPLES).rev() {
            let next = samples.get(i + 1).copied().unwrap_or(0.0);
            samples[i] = (right[i] - beside[i] * next) / diagonal[i];
        }
        Table { from, step, samples: samples.map(|v| f64::from(round_away(v))) }
    }

    /// The sample at a place that is one of the table's.
    #[cfg(test)]
    pub(crate) fn sample(&self, x: f64) -> f64 {
        self.samples[((x - self.from) / self.step) as usize]
    }

    fn end(&self) -> f64 {
        self.from + 32.0 * self.step
    }

    /// The line between the samples around `x`, which is in range.
    fn at(&self, x: f64) -> f64 {
        let (i, share) = place((x - self.from) / self.step);
        self.samples[i] + share * (self.samples[i + 1] - self.samples[i])
    }
}

/// The sample before a place counted in steps, and how far behind it the place is.
fn place(t: f64) -> (usize, f64) {
    let i = (t.max(0.0) as usize).min(SAMPLES - 2);
    (i, t - i as f64)
}

/// A function with its table.
#[derive(Clone, Debug)]
pub(crate) struct Function {
    kind: Kind,
    table: Table,
    /// Added to the operand first.
    epsilon: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Sigmoid,
    /// `tanh` and `erf`: of the positive half, 1 behind the table.
    Odd,
    Sin,
    Exp,
    Exp2,
    Log,
    Sqrt,
    Rsqrt,
    Inverse,
    /// `gelu` and `silu`: 0 before the table, the operand behind it.
    Gate,
}

impl Function {
    /// The function of an op kind; `None` when it has no table.
    pub(crate) fn named(kind: &str, epsilon: f64) -> Option<Function> {
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let normal = |x: f64| 0.5 * (1.0 + erf(x * std::f64::consts::FRAC_1_SQRT_2));
        let (kind, table) = match kind {
            "sigmoid" => (Kind::Sigmoid, Table::sampled(-8.0, 0.5, sigmoid)),
            "tanh" => (Kind::Odd, Table::sampled(0.0, 0.125, f64::tanh)),
            "erf" => (Kind::Odd, Table::sampled(0.0, 0.0625, erf)),
            "sin" => (Kind::Sin, Table::sampled(0.0, PI / 64.0, f64::sin)),
            "exp" => (Kind::Exp, Table::sampled(0.0, 1.0 / 32.0, f64::exp2)),
            "exp2" => (Kind::Exp2, Table::sampled(0.0, 1.0 / 32.0, f64::exp2)),
            "log" => (Kind::Log, Table::sampled(0.5, 1.0 / 64.0, f64::log2)),
            "sqrt" => (Kind::Sqrt, Table::sampled(0.5, 1.0 / 16.0, f64::sqrt)),
            "rsqrt" => (Kind::Rsqrt, Table::sampled(0.5, 1.0 / 16.0, |x| 1.0 / x.sqrt())),
            "inverse" => (Kind::Inverse, Table::sampled(0.5, 1.0 / 64.0, |x| 1.0 / x)),
            "gelu" => (Kind::Gate, Table::fitted(-4.0, 0.25, |x| x * normal(x))),
            "silu" => (Kind::Gate, Table::fitted(-8.0, 0.5, |x| x * sigmoid(x))),
            _ => return None,
        };
        Some(Function { kind, table, epsilon })
    }

    /// Of a decoded operand.
    pub(crate) fn of(&self, x: f32) -> f32 {
        let x = f64::from(x);
        let x = if self.epsilon == 0.0 { x } else { f64::from(round_away(x + self.epsilon)) };
        round_away(self.exact(x))
    }

    fn exact(&self, x: f64) -> f64 {
        let t = &self.table;
        match self.kind {
            Kind::Sigmoid if x < t.from => 0.0,
            Kind::Sigmoid if x > t.end() => 1.0,
            Kind::Sigmoid => t.at(x),
            Kind::Odd if x.abs() > t.end() => 1f64.copysign(x),
            Kind::Odd => t.at(x.abs()).copysign(x),
            Kind::Sin => self.sin(x),
            Kind::Exp => self.power(x * LOG2_E),
            Kind::Exp2 => self.power(x),
            Kind::Log => self.log(x),
            Kind::Sqrt | Kind::Rsqrt | Kind::Inverse => self.root(x),
            Kind::Gate if x < t.from => 0.0,
            Kind::Gate if x > t.end() => x,
            Kind::Gate => t.at(x),
        }
    }

    /// By the symmetries of a quarter of the period.
    fn sin(&self, x: f64) -> f64 {
        let turn = x.abs() % TAU;
        let (half, sign) = if turn > PI { (turn - PI, -1.0) } else { (turn, 1.0) };
        let quarter = if half > FRAC_PI_2 { PI - half } else { half };
        (sign * self.table.at(quarter)).copysign(sign * x)
    }

    fn power(&self, x: f64) -> f64 {
        // fp16 ends long before.
        let x = x.clamp(-64.0, 64.0);
        let whole = x.floor();
        self.table.at(x - whole) * power_of_two(whole as i32)
    }

    fn log(&self, x: f64) -> f64 {
        if x < 0.0 {
            return f64::NAN;
        }
        if x == 0.0 {
            return f64::NEG_INFINITY;
        }
        let (mantissa, exponent) = parts(x);
        (self.table.at(mantissa) + f64::from(exponent)) * LN_2
    }

    fn root(&self, x: f64) -> f64 {
        let (mantissa, exponent) = parts(x.abs());
        // Roots take the exponent in pairs.
        let odd = exponent.rem_euclid(2);
        let root = || self.table.at(mantissa * f64::from(1 + odd));
        match self.kind {
            Kind::Sqrt | Kind::Rsqrt if x < 0.0 => f64::NAN,
            Kind::Sqrt if x == 0.0 => x,
            Kind::Rsqrt | Kind::Inverse if x == 0.0 => f64::INFINITY.copysign(x),
            Kind::Sqrt => root() * power_of_two((exponent - odd) / 2),
            Kind::Rsqrt => root() * power_of_two((odd - exponent) / 2),
            _ => (self.table.at(mantissa) * power_of_two(-exponent)).copysign(x),
        }
    }
}

/// Mantissa in [0.5, 1) and exponent of a positive normal number.
fn parts(x: f64) -> (f64, i32) {
    let exponent = ((x.to_bits() >> 52) & 0x7ff) as i32 - 1022;
    (x * power_of_two(-exponent), exponent)
}

/// The error function: its series for small arguments, a continued fraction for large ones (Abramowitz and Stegun,
/// 7.1.5 and 7.1.14).
fn erf(x: f64) -> f64 {
    let a = x.abs();
    if a > 6.0 {
        return 1f64.copysign(x);
    }
    let size = if a < 2.5 {
        let (mut term, mut sum, mut n) = (a, a, 0.0);
        while term.abs() > 1e-17 * sum {
            n += 1.0;
            term *= -a * a / n;
            sum += term / (2.0 * n + 1.0);
        }
        sum * std::f64::consts::FRAC_2_SQRT_PI
    } else {
        let fraction = (1..=60).rev().fold(0.0, |f, n| f64::from(n) / 2.0 / (a + f));
        1.0 - (-a * a).exp() / (PI.sqrt() * (a + fraction))
    };
    size.copysign(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(kind: &str) -> Function {
        Function::named(kind, 0.0).expect("has a table")
    }

    /// All `fp16` numbers in a range.
    fn all(from: f64, to: f64) -> impl Iterator<Item = f32> {
        let finite = (0..=u16::MAX).map(|b| f16::from_bits(b).to_f32());
        finite.filter(move |&x| x.is_finite() && (from..=to).contains(&f64::from(x)))
    }

    fn largest_error(kind: &str, range: (f64, f64), exact: impl Fn(f64) -> f64) -> f64 {
        let f = function(kind);
        all(range.0, range.1).map(|x| (f64::from(f.of(x)) - exact(f64::from(x))).abs()).fold(0.0, f64::max)
    }

    /// Largest error in units of the last place of `fp16`, over operands whose result is normal.
    fn largest_ulp(kind: &str, range: (f64, f64), exact: impl Fn(f64) -> f64) -> f64 {
        let f = function(kind);
        let one = |x: f32| {
            let y = exact(f64::from(x));
            let ulp = power_of_two(parts(y.abs()).1 - 11);
            let normal = (power_of_two(-14)..65504.0).contains(&y.abs());
            if normal { (f64::from(f.of(x)) - y).abs() / ulp } else { 0.0 }
        };
        all(range.0, range.1).map(one).fold(0.0, f64::max)
    }

    /// Expected: the largest errors that the study saw on an M6, to the digit that it gives; those of `exp`,
    /// `log`, `rsqrt` and `inverse` are bounds, because how the engine rounds beside the table is not published.
    #[test]
    fn tables_err_no_more_than_was_seen_on_a_chip() {
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let near = |error: f64, least: f64, most: f64| assert!((least..most).contains(&error), "{error}");
        near(largest_error("sigmoid", (-65504.0, 65504.0), sigmoid), 3.35e-3, 3.45e-3);
        near(largest_error("tanh", (-65504.0, 65504.0), f64::tanh), 1.55e-3, 1.65e-3);
        near(largest_error("erf", (-2.0, 2.0), erf), 8.55e-4, 8.65e-4);
        near(largest_error("sin", (-8.0, 8.0), f64::sin), 6.25e-4, 6.35e-4);
        assert!(largest_ulp("exp", (-20.0, 12.0), f64::exp) <= 9.0);
        assert!(
            largest_error("log", (0.0, 65504.0), |x| if x > 0.0 { x.ln() } else { f64::NEG_INFINITY })
                <= 6.65e-3
        );
        near(largest_ulp("sqrt", (0.0, 65504.0), f64::sqrt), 1.15, 1.25);
        assert!(largest_ulp("rsqrt", (0.0, 65504.0), |x| 1.0 / x.sqrt()) <= 2.15);
        assert!(largest_ulp("inverse", (-65504.0, 65504.0), |x| 1.0 / x) <= 13.55);
    }

    /// Expected: the two values and two errors that the study gives.
    #[test]
    fn fitted_tables_have_the_published_values_and_errors() {
        let (gelu, silu) = (function("gelu"), function("silu"));
        assert!((gelu.table.sample(0.25) - 0.1436).abs() < 0.5e-4, "{}", gelu.table.sample(0.25));
        assert!((silu.table.sample(0.5) - 0.296).abs() < 0.5e-3, "{}", silu.table.sample(0.5));
        let error = largest_error("gelu", (-65504.0, 65504.0), |x| x * 0.5 * (1.0 + erf(x / 2f64.sqrt())));
        assert!((6.1e-3..6.25e-3).contains(&error), "{error}");
        let error = largest_error("silu", (-65504.0, 65504.0), |x| x / (1.0 + (-x).exp()));
        assert!((1.45e-2..1.55e-2).contains(&error), "{error}");
    }

    #[test]
    fn samples_are_exact_and_lines_go_between_them() {
        let sigmoid = function("sigmoid");
        assert_eq!(sigmoid.of(0.0), 0.5);
        let (a, b) = (f64::from(sigmoid.of(0.5)), f64::from(sigmoid.of(1.0)));
        assert_eq!(f64::from(sigmoid.of(0.75)), f64::from(round_away((a + b) / 2.0)));
        let tanh = function("tanh");
        assert_eq!([tanh.of(4.003_906), tanh.of(-5.0), tanh.of(-0.125)], [1.0, -1.0, -tanh.of(0.125)]);
        assert!(tanh.of(4.0) < 1.0, "the table ends with a jump");
        assert_eq!([function("exp").of(0.0), function("exp").of(12.0)], [1.0, f32::INFINITY]);
        assert_eq!(
            [function("sqrt").of(4.0), function("rsqrt").of(4.0), function("inverse").of(-4.0)],
            [2.0, 0.5, -0.25]
        );
        assert_eq!([function("log").of(1.0), function("log").of(0.0)], [0.0, f32::NEG_INFINITY]);
        assert_eq!([function("rsqrt").of(0.0), function("inverse").of(0.0)], [f32::INFINITY; 2]);
    }

    /// Expected: Python's `math.erf`.
    #[test]
    fn the_error_function_is_that_of_the_c_library() {
        for (x, y) in [
            (0.5, 0.520_499_877_813_046_5),
            (2.0, 0.995_322_265_018_952_7),
            (2.6, 0.999_763_965_583_470_7),
            (-1.0, -0.842_700_792_949_714_9),
        ] {
            assert!((erf(x) - y).abs() < 1e-14, "erf({x}) = {}", erf(x));
        }
    }
}
