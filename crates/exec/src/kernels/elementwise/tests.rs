use super::*;
use crate::kernels::testing::{Rng, assert_close, on_every_pool};

fn check(op: UnaryOp, x: &[f32], tolerance: f32, want: impl Fn(f64) -> f64) {
    let want: Vec<f32> = x.iter().map(|&x| want(f64::from(x)) as f32).collect();
    on_every_pool(|pool| {
        let mut out = vec![f32::NAN; x.len()];
        unary(op, x, &mut out, pool);
        let what = format!("{} {op:?}", pool.isa().name());
        assert_close(&out, &want, tolerance, &what);
        let mut data = x.to_vec();
        unary_in_place(op, &mut data, pool);
        assert!(data.iter().zip(&out).all(|(a, b)| a.to_bits() == b.to_bits()), "{what} in place");
    });
}

/// Tolerances are a few units in the last place of a sum or product of numbers of this size.
#[test]
fn unary_functions_agree_with_their_formulas() {
    let mut rng = Rng::new(1);
    let mut x: Vec<f32> = (0..40_003).map(|_| rng.float() * 8.0).collect();
    x[..8].copy_from_slice(&[0.0, -0.0, 0.5, -0.5, 1.5, 2.5, f32::INFINITY, f32::NEG_INFINITY]);
    let finite = &x[8..];
    let positive: Vec<f32> = finite.iter().map(|x| x.abs() + 1e-3).collect();
    let unit: Vec<f32> = finite.iter().map(|x| x / 8.01).collect();
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    check(UnaryOp::Abs, &x, 0.0, f64::abs);
    check(UnaryOp::Neg, &x, 0.0, |x| -x);
    check(UnaryOp::Relu, &x, 0.0, |x| x.max(0.0));
    check(UnaryOp::Relu6, &x, 0.0, |x| x.clamp(0.0, 6.0));
    check(UnaryOp::Clip(-0.5, 1.5), &x, 0.0, |x| x.clamp(-0.5, 1.5));
    check(UnaryOp::ClampedRelu(0.25, 2.0), &x, 0.0, |x| (if x < 0.0 { 0.25 * x } else { x }).min(2.0));
    check(UnaryOp::LeakyRelu(0.25), &x, 0.0, |x| if x < 0.0 { 0.25 * x } else { x });
    check(UnaryOp::ThresholdedRelu(0.75), &x, 0.0, |x| if x < 0.75 { 0.0 } else { x });
    check(UnaryOp::Threshold(0.75), &x, 0.0, |x| x.max(0.75));
    check(UnaryOp::Elu(1.5), &x, 1e-6, |x| if x < 0.0 { 1.5 * x.exp_m1() } else { x });
    check(UnaryOp::Sigmoid, &x, 3e-7, sigmoid);
    check(UnaryOp::SigmoidHard(0.25, 0.5), &x, 0.0, |x| (0.25 * x + 0.5).clamp(0.0, 1.0));
    check(UnaryOp::Silu, finite, 1e-6, |x| x * sigmoid(x));
    check(UnaryOp::Tanh, &x, 3e-7, f64::tanh);
    check(UnaryOp::ScaledTanh(1.7, 0.6), &x, 1e-6, |x| f64::from(1.7f32) * (f64::from(0.6f32) * x).tanh());
    check(UnaryOp::GeluTanh, finite, 2e-6, |x| {
        0.5 * x * (1.0 + (0.797_884_560_8 * (x + 0.044_715 * x.powi(3))).tanh())
    });
    check(UnaryOp::GeluSigmoid, finite, 1e-6, |x| x * sigmoid(1.702 * x));
    check(UnaryOp::Softplus, &x, 1e-6, |x| x.max(0.0) + (-x.abs()).exp().ln_1p());
    check(UnaryOp::Softsign, finite, 1e-7, |x| x / (1.0 + x.abs()));
    check(UnaryOp::Linear(2.0, 0.5), &x, 1e-6, |x| 2.0 * x + 0.5);
    check(UnaryOp::Exp, &x, 3e-7, f64::exp);
    check(UnaryOp::Exp2, &x, 3e-7, f64::exp2);
    check(UnaryOp::Log(0.5), &positive, 3e-7, |x| (x + 0.5).ln());
    check(UnaryOp::Sqrt, &positive, 0.0, f64::sqrt);
    check(UnaryOp::Rsqrt(0.25), &positive, 3e-7, |x| 1.0 / (x + 0.25).sqrt());
    check(UnaryOp::Inverse(0.25), &positive, 3e-7, |x| 1.0 / (x + 0.25));
    check(UnaryOp::Square, finite, 0.0, |x| f64::from((x * x) as f32));
    check(UnaryOp::Ceil, &x, 0.0, f64::ceil);
    check(UnaryOp::Floor, &x, 0.0, f64::floor);
    check(UnaryOp::Round, &x, 0.0, f64::round_ties_even);
    check(UnaryOp::Trunc, &x, 0.0, f64::trunc);
    check(UnaryOp::Sign, &x, 0.0, |x| if x == 0.0 { 0.0 } else { x.signum() });
    check(UnaryOp::Not, &x, 0.0, |x| f64::from(u8::from(x == 0.0)));
    check(UnaryOp::Truth, &x, 0.0, |x| f64::from(u8::from(x != 0.0)));
    check(UnaryOp::Sin, finite, 3e-7, f64::sin);
    check(UnaryOp::Cos, finite, 3e-7, f64::cos);
    check(UnaryOp::Tan, &unit, 1e-6, f64::tan);
    check(UnaryOp::Asin, &unit, 1e-6, f64::asin);
    check(UnaryOp::Acos, &unit, 1e-6, f64::acos);
    check(UnaryOp::Atan, finite, 3e-7, f64::atan);
    check(UnaryOp::Sinh, finite, 1e-6, f64::sinh);
    check(UnaryOp::Cosh, finite, 1e-6, f64::cosh);
    check(UnaryOp::Atanh, &unit, 1e-6, f64::atanh);
    check(UnaryOp::RoundToHalf, &x, 0.0, |x| half::f16::from_f64(x).to_f64());
}

/// Values printed by Python: `0.5 * x * (1 + math.erf(x / math.sqrt(2)))`.
#[test]
fn gelu_and_erf_agree_with_python() {
    let x = [-3.0, -1.0, -0.25, 0.0, 0.5, 1.0, 2.5];
    let gelu = [
        -0.00404969409489031,
        -0.15865525393145707,
        -0.10032341857926907,
        0.0,
        0.34573123063700656,
        0.8413447460685429,
        2.4844758366855597,
    ];
    let erf = [
        -0.9999779095030014,
        -0.8427007929497149,
        -0.2763263901682369,
        0.0,
        0.5204998778130465,
        0.8427007929497149,
        0.999593047982555,
    ];
    let value = |table: [f64; 7]| move |v: f64| table[x.iter().position(|&x| x == v).unwrap()];
    let points: Vec<f32> = x.iter().map(|&x| x as f32).collect();
    check(UnaryOp::Gelu, &points, 3e-7, value(gelu));
    check(UnaryOp::Erf, &points, 3e-7, value(erf));
}

#[test]
fn not_a_number_stays_one() {
    on_every_pool(|pool| {
        for op in [
            UnaryOp::Relu,
            UnaryOp::Relu6,
            UnaryOp::Clip(0.0, 1.0),
            UnaryOp::Exp,
            UnaryOp::Tanh,
            UnaryOp::Gelu,
        ] {
            let mut x = vec![f32::NAN; 20];
            unary_in_place(op, &mut x, pool);
            assert!(x.iter().all(|x| x.is_nan()), "{op:?}");
        }
        for op in [BinaryOp::Maximum, BinaryOp::Minimum] {
            let (a, b, mut out) = ([f32::NAN, 1.0], [1.0, f32::NAN], [0.0; 2]);
            let view = |data| View { data, shape: &[2] };
            binary(op, view(&a), view(&b), &[2], &mut out, pool);
            assert!(out[0].is_nan() && out[1].is_nan(), "{op:?}");
        }
    });
}

fn naive(a: View<'_>, b: View<'_>, shape: &[usize], f: impl Fn(f32, f32) -> f32) -> Vec<f32> {
    let at = |v: View<'_>, mut i: usize| {
        let (mut offset, mut step) = (0, 1);
        for (d, &extent) in shape.iter().rev().enumerate() {
            let own = if d < v.shape.len() { v.shape[v.shape.len() - 1 - d] } else { 1 };
            offset += (i % extent) % own * step;
            (i, step) = (i / extent, step * own);
        }
        v.data[offset]
    };
    (0..shape.iter().product()).map(|i| f(at(a, i), at(b, i))).collect()
}

#[test]
fn operands_broadcast_as_in_numpy() {
    let mut rng = Rng::new(2);
    for _ in 0..80 {
        let shape: Vec<usize> = (0..rng.int(0, 5)).map(|_| rng.int(1, 20)).collect();
        let mut operand = || {
            let skip = rng.int(0, shape.len());
            let own: Vec<usize> =
                shape[skip..].iter().map(|&d| if rng.int(0, 2) == 0 { 1 } else { d }).collect();
            let data = rng.floats(own.iter().product());
            (own, data)
        };
        let (a, b) = (operand(), operand());
        let (a, b) = (View { data: &a.1, shape: &a.0 }, View { data: &b.1, shape: &b.0 });
        let want = naive(a, b, &shape, |a, b| a - b);
        on_every_pool(|pool| {
            let mut out = vec![f32::NAN; want.len()];
            binary(BinaryOp::Sub, a, b, &shape, &mut out, pool);
            assert_eq!(out, want, "{a:?} {b:?}");
        });
    }
}

#[test]
fn large_operands_are_split_over_threads() {
    let mut rng = Rng::new(3);
    let (a, b) = (rng.floats(3 * 70_000), rng.floats(70_000));
    let (a, b) = (View { data: &a, shape: &[3, 70_000] }, View { data: &b, shape: &[70_000] });
    let (sum, product) = (naive(a, b, a.shape, |a, b| a + b), naive(a, a, a.shape, |a, b| a * b));
    on_every_pool(|pool| {
        let mut out = vec![f32::NAN; sum.len()];
        binary(BinaryOp::Add, a, b, a.shape, &mut out, pool);
        assert!(out == sum);
        binary(BinaryOp::Pow, a, View { data: &[2.0], shape: &[] }, a.shape, &mut out, pool);
        assert!(out == product);
    });
}

/// Values printed by numpy 2: `a // b`, `a % b` for float32.
#[test]
fn division_with_remainder_agrees_with_numpy() {
    let a = [7.0, -7.0, 7.0, -7.0, 1.0, 6.0, -0.5, 5.5];
    let b = [2.0, 2.0, -2.0, -2.0, 0.1, 3.0, 3.0, -1.5];
    let truth = |op: BinaryOp, want: [f32; 8]| {
        on_every_pool(|pool| {
            let (mut out, shape) = ([0.0; 8], [8usize]);
            binary(
                op,
                View { data: &a, shape: &shape },
                View { data: &b, shape: &shape },
                &shape,
                &mut out,
                pool,
            );
            assert_close(&out, &want, 1e-6, &format!("{op:?}"));
        });
    };
    truth(BinaryOp::FloorDiv, NUMPY_FLOOR_DIV);
    truth(BinaryOp::Mod, NUMPY_MOD);
    truth(BinaryOp::LessEqual, [0., 1., 0., 1., 0., 0., 1., 0.]);
    truth(BinaryOp::GreaterEqual, [1., 0., 1., 0., 1., 1., 0., 1.]);
    truth(BinaryOp::Prelu, [7.0, -14.0, 7.0, 14.0, 1.0, 6.0, -1.5, 5.5]);
}

#[test]
fn logic_follows_its_tables() {
    let (a, b) = ([0.0, 0.0, 1.0, 1.0], [0.0, 1.0, 0.0, 1.0]);
    for (op, want) in [
        (BinaryOp::And, [0., 0., 0., 1.]),
        (BinaryOp::Or, [0., 1., 1., 1.]),
        (BinaryOp::Xor, [0., 1., 1., 0.]),
        (BinaryOp::Equal, [1., 0., 0., 1.]),
        (BinaryOp::NotEqual, [0., 1., 1., 0.]),
        (BinaryOp::Less, [0., 1., 0., 0.]),
        (BinaryOp::Greater, [0., 0., 1., 0.]),
    ] {
        on_every_pool(|pool| {
            let mut out = [f32::NAN; 4];
            binary(op, View { data: &a, shape: &[4] }, View { data: &b, shape: &[4] }, &[4], &mut out, pool);
            assert_eq!(out, want, "{op:?}");
        });
    }
}

const NUMPY_FLOOR_DIV: [f32; 8] = [3.0, -4.0, -4.0, 3.0, 9.0, 2.0, -1.0, -4.0];
const NUMPY_MOD: [f32; 8] = [1.0, 1.0, -1.0, -1.0, 0.09999999, 0.0, 2.5, -0.5];
