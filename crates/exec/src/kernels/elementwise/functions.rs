//! The functions, each written once for all instruction sets.

use crate::kernels::activation::Activation;
use crate::kernels::math;
use crate::kernels::simd::Simd;

/// A function of one element.
pub(super) trait Unary: Copy + Sync {
    fn at<S: Simd>(self, s: S, x: S::F) -> S::F;
}

/// Code that is compiled for every unary function.
pub(super) trait UnaryVisitor {
    fn visit(self, f: impl Unary);
}

/// A function of two elements.
pub(super) trait Binary: Copy + Sync {
    fn at<S: Simd>(self, s: S, a: S::F, b: S::F) -> S::F;
}

/// Code that is compiled for every binary function.
pub(super) trait BinaryVisitor {
    fn visit(self, f: impl Binary);
}

macro_rules! unary_ops {
    ($($(#[$doc:meta])* $name:ident$(($($p:ident),+))? |$s:ident, $x:ident| $body:expr;)*) => {
        /// A function of one number, by the names and formulas of the MIL ops.
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub enum UnaryOp {
            $($(#[$doc])* $name$(($(unary_ops!(@f32 $p)),+))?,)*
        }

        mod unary {
            $(#[derive(Clone, Copy)] pub(super) struct $name($($(pub(super) unary_ops!(@f32 $p)),+)?);)*
        }

        $(impl Unary for unary::$name {
            #[inline(always)]
            fn at<S: Simd>(self, $s: S, $x: S::F) -> S::F {
                $(let Self($($p),+) = self;)?
                $body
            }
        })*

        impl UnaryOp {
            pub(super) fn visit(self, visitor: impl UnaryVisitor) {
                match self {
                    $(Self::$name$(($($p),+))? => visitor.visit(unary::$name($($($p),+)?)),)*
                }
            }
        }
    };
    (@f32 $p:ident) => { f32 };
}

unary_ops! {
    /// `|x|`
    Abs |s, x| s.abs(x);
    /// `-x`
    Neg |s, x| s.neg(x);
    /// `max(0, x)`
    Relu |s, x| Activation::Relu.apply(s, x);
    /// `min(6, max(0, x))`
    Relu6 |s, x| Activation::Relu6.apply(s, x);
    /// `min(hi, max(lo, x))`: bounds `(lo, hi)`
    Clip(lo, hi) |s, x| Activation::Clamp(lo, hi).apply(s, x);
    /// `min(beta, x)` where `x >= 0`, `min(beta, alpha * x)` elsewhere: `(alpha, beta)`
    ClampedRelu(alpha, beta) |s, x| {
        let y = Activation::LeakyRelu(alpha).apply(s, x);
        s.min(s.splat(beta), y)
    };
    /// `x` where positive, `alpha * x` elsewhere
    LeakyRelu(alpha) |s, x| Activation::LeakyRelu(alpha).apply(s, x);
    /// `x` where `x >= alpha`, 0 elsewhere
    ThresholdedRelu(alpha) |s, x| s.if_lt(x, s.splat(alpha), s.splat(0.0), x);
    /// `max(x, alpha)`
    Threshold(alpha) |s, x| s.max(s.splat(alpha), x);
    /// `x` where positive, `alpha * (e^x - 1)` elsewhere
    Elu(alpha) |s, x| {
        // Near 0 the difference cancels; there the series serves: x + x^2 / 2 + x^3 / 6 + x^4 / 24.
        let far = s.sub(math::exp(s, x), s.splat(1.0));
        let series = s.fma(s.fma(s.fma(x, s.splat(1.0 / 24.0), s.splat(1.0 / 6.0)), x, s.splat(0.5)), s.mul(x, x), x);
        let below = s.if_lt(s.abs(x), s.splat(0.03), series, far);
        s.if_lt(x, s.splat(0.0), s.mul(s.splat(alpha), below), x)
    };
    /// `1 / (1 + e^-x)`
    Sigmoid |s, x| math::sigmoid(s, x);
    /// `min(1, max(0, alpha * x + beta))`: `(alpha, beta)`
    SigmoidHard(alpha, beta) |s, x| Activation::HardSigmoid(alpha, beta).apply(s, x);
    /// `x * sigmoid(x)`
    Silu |s, x| Activation::Silu.apply(s, x);
    /// `tanh(x)`
    Tanh |s, x| math::tanh(s, x);
    /// `alpha * tanh(beta * x)`: `(alpha, beta)`
    ScaledTanh(alpha, beta) |s, x| Activation::ScaledTanh(alpha, beta).apply(s, x);
    /// `x / 2 * (1 + erf(x / sqrt(2)))`
    Gelu |s, x| Activation::Gelu.apply(s, x);
    /// `x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3)))`
    GeluTanh |s, x| {
        let inner = s.fma(s.mul(s.mul(x, x), x), s.splat(0.044_715), x);
        let t = math::tanh(s, s.mul(inner, s.splat(0.797_884_6)));
        let half = s.mul(x, s.splat(0.5));
        s.fma(half, t, half)
    };
    /// `x * sigmoid(1.702 * x)`
    GeluSigmoid |s, x| s.mul(x, math::sigmoid(s, s.mul(x, s.splat(1.702))));
    /// `log(1 + e^x)`
    Softplus |s, x| {
        let tail = math::exp(s, s.neg(s.abs(x)));
        s.add(s.max(s.splat(0.0), x), math::log(s, s.add(s.splat(1.0), tail)))
    };
    /// `x / (1 + |x|)`
    Softsign |s, x| s.div(x, s.add(s.splat(1.0), s.abs(x)));
    /// `alpha * x + beta`: `(alpha, beta)`
    Linear(alpha, beta) |s, x| s.fma(s.splat(alpha), x, s.splat(beta));
    /// `e^x`
    Exp |s, x| math::exp(s, x);
    /// `2^x`
    Exp2 |s, x| s.each(x, f32::exp2);
    /// `log(x + epsilon)`
    Log(epsilon) |s, x| math::log(s, s.add(x, s.splat(epsilon)));
    /// `sqrt(x)`
    Sqrt |s, x| s.sqrt(x);
    /// `1 / sqrt(x + epsilon)`
    Rsqrt(epsilon) |s, x| s.div(s.splat(1.0), s.sqrt(s.add(x, s.splat(epsilon))));
    /// `1 / (x + epsilon)`
    Inverse(epsilon) |s, x| s.div(s.splat(1.0), s.add(x, s.splat(epsilon)));
    /// `x * x`
    Square |s, x| s.mul(x, x);
    /// The error function.
    Erf |s, x| math::erf(s, x);
    /// Smallest whole number not below `x`
    Ceil |s, x| s.ceil(x);
    /// Largest whole number not above `x`
    Floor |s, x| s.floor(x);
    /// Nearest whole number, ties to even
    Round |s, x| s.round(x);
    /// `x` without its fraction: what a cast to an integer does
    Trunc |s, x| s.if_lt(x, s.splat(0.0), s.ceil(x), s.floor(x));
    /// -1, 0 or 1
    Sign |s, x| {
        let negative = s.if_lt(x, s.splat(0.0), s.splat(-1.0), x);
        s.if_lt(s.splat(0.0), x, s.splat(1.0), negative)
    };
    /// 1 where `x` is 0, 0 elsewhere
    Not |s, x| s.if_eq(x, s.splat(0.0), s.splat(1.0), s.splat(0.0));
    /// 0 where `x` is 0, 1 elsewhere: what a cast to bool does
    Truth |s, x| s.if_eq(x, s.splat(0.0), s.splat(0.0), s.splat(1.0));
    /// `sin(x)`
    Sin |s, x| s.each(x, f32::sin);
    /// `cos(x)`
    Cos |s, x| s.each(x, f32::cos);
    /// `tan(x)`
    Tan |s, x| s.each(x, f32::tan);
    /// `asin(x)`
    Asin |s, x| s.each(x, f32::asin);
    /// `acos(x)`
    Acos |s, x| s.each(x, f32::acos);
    /// `atan(x)`
    Atan |s, x| s.each(x, f32::atan);
    /// `sinh(x)`
    Sinh |s, x| s.each(x, f32::sinh);
    /// `cosh(x)`
    Cosh |s, x| s.each(x, f32::cosh);
    /// `atanh(x)`
    Atanh |s, x| s.each(x, |x| f64::from(x).atanh() as f32);
    /// Nearest f16
    RoundToHalf |s, x| s.round_f16(x);
}

macro_rules! binary_ops {
    ($($(#[$doc:meta])* $name:ident |$s:ident, $a:ident, $b:ident| $body:expr;)*) => {
        /// A function of two numbers, by the names of the MIL ops; truth is 1, falsehood 0.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum BinaryOp {
            $($(#[$doc])* $name,)*
        }

        mod binary {
            $(#[derive(Clone, Copy)] pub(super) struct $name;)*
        }

        $(impl Binary for binary::$name {
            #[inline(always)]
            fn at<S: Simd>(self, $s: S, $a: S::F, $b: S::F) -> S::F {
                $body
            }
        })*

        impl BinaryOp {
            pub(super) fn visit(self, visitor: impl BinaryVisitor) {
                match self {
                    $(Self::$name => visitor.visit(binary::$name),)*
                }
            }
        }
    };
}

/// `f` on every pair of lanes, for functions that have no vector form.
#[inline(always)]
fn each<S: Simd>(s: S, a: S::F, b: S::F, f: impl Fn(f32, f32) -> f32) -> S::F {
    let (a, b) = (s.lanes(a), s.lanes(b));
    let lanes: [f32; 16] = std::array::from_fn(|i| if i < S::LANES { f(a[i], b[i]) } else { 0.0 });
    s.load_part(&lanes[..S::LANES])
}

/// numpy's `%`: the sign of the divisor.
fn modulo(a: f32, b: f32) -> f32 {
    let rest = a % b;
    if rest != 0.0 && (rest < 0.0) != (b < 0.0) {
        rest + b
    } else {
        rest.copysign(if rest == 0.0 { b } else { rest })
    }
}

/// numpy's `//`: by the remainder, since the quotient may round up to the next whole number.
fn floor_div(a: f32, b: f32) -> f32 {
    if b == 0.0 {
        return a / b;
    }
    let rest = a % b;
    let quotient = (a - rest) / b;
    let quotient = if rest != 0.0 && (rest < 0.0) != (b < 0.0) { quotient - 1.0 } else { quotient };
    quotient.round()
}

macro_rules! truth {
    ($s:ident.$test:ident($a:expr, $b:expr)) => {
        $s.$test($a, $b, $s.splat(1.0), $s.splat(0.0))
    };
}

binary_ops! {
    /// `a + b`
    Add |s, a, b| s.add(a, b);
    /// `a - b`
    Sub |s, a, b| s.sub(a, b);
    /// `a * b`
    Mul |s, a, b| s.mul(a, b);
    /// `a / b`
    RealDiv |s, a, b| s.div(a, b);
    /// `floor(a / b)`
    FloorDiv |s, a, b| each(s, a, b, floor_div);
    /// `a - b * floor(a / b)`
    Mod |s, a, b| each(s, a, b, modulo);
    /// The larger; NaN when either is
    Maximum |s, a, b| s.if_eq(a, a, s.max(a, b), a);
    /// The smaller; NaN when either is
    Minimum |s, a, b| s.if_eq(a, a, s.min(a, b), a);
    /// `a` to the power `b`
    Pow |s, a, b| each(s, a, b, f32::powf);
    /// `a == b`
    Equal |s, a, b| truth!(s.if_eq(a, b));
    /// `a != b`
    NotEqual |s, a, b| s.if_eq(a, b, s.splat(0.0), s.splat(1.0));
    /// `a < b`
    Less |s, a, b| truth!(s.if_lt(a, b));
    /// `a <= b`
    LessEqual |s, a, b| s.if_eq(a, b, s.splat(1.0), truth!(s.if_lt(a, b)));
    /// `a > b`
    Greater |s, a, b| truth!(s.if_lt(b, a));
    /// `a >= b`
    GreaterEqual |s, a, b| s.if_eq(a, b, s.splat(1.0), truth!(s.if_lt(b, a)));
    /// Both are not 0
    And |s, a, b| s.if_eq(a, s.splat(0.0), s.splat(0.0), s.if_eq(b, s.splat(0.0), s.splat(0.0), s.splat(1.0)));
    /// One is not 0
    Or |s, a, b| s.if_eq(a, s.splat(0.0), s.if_eq(b, s.splat(0.0), s.splat(0.0), s.splat(1.0)), s.splat(1.0));
    /// Exactly one is not 0
    Xor |s, a, b| {
        let (zero, one) = (s.splat(0.0), s.splat(1.0));
        s.if_eq(a, zero, s.if_eq(b, zero, zero, one), s.if_eq(b, zero, one, zero))
    };
    /// `a` where positive, `a * b` elsewhere
    Prelu |s, a, b| s.if_lt(a, s.splat(0.0), s.mul(a, b), a);
}
