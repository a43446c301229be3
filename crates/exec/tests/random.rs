//! What random ops draw, in the engine and in the reference evaluation: the distribution, and the same numbers in both.
//!
//! Every bound is the critical value of its test at a significance of 0.001. The draws are seeded, so that a test which
//! passes once always passes.

use anemone_exec::{Options, Session};
use anemone_mil::text::plain_interface;
use anemone_mil::{
    Builder, DType, Level, Literal, OpBuilder, Opset, Program, Tensor, TensorType, eval, verify,
};
use anemone_model::{Features, Predict};
use std::collections::BTreeMap;

const DRAWS: usize = 20_000;
/// Two-sided normal quantile.
const Z: f64 = 3.2905;
/// Kolmogorov: `sqrt(-ln(0.001 / 2) / 2)`, over the root of the number of draws.
const KOLMOGOROV: f64 = 1.9495;
/// Chi-square of 15 degrees of freedom.
const CHI_SQUARE_15: f64 = 37.697;
/// Chi-square of 3 degrees of freedom.
const CHI_SQUARE_3: f64 = 16.266;

/// Runs a program of one op in both; they must draw the same.
fn draw(kind: &str, dtype: DType, op: impl Fn(OpBuilder<'_>) -> OpBuilder<'_>) -> Vec<f64> {
    let mut b = Builder::new("main", Opset::Ios17);
    b.input("x", TensorType::new(dtype, [1]));
    let y = op(b.op(kind)).one("y").expect("types fit");
    b.output(y);
    let function = b.finish();
    let x = Tensor::zeros(dtype, [1]).expect("small");
    let inputs = BTreeMap::from([("x".into(), Literal::from(x.clone()))]);
    let reference =
        eval::run(&function, &inputs, &mut BTreeMap::new(), &mut eval::Options::default()).expect("runs");
    let interface = plain_interface(std::slice::from_ref(&function));
    let program = Program::new(function, interface);
    let verified = verify(&program, Level::Imported).expect("valid");
    let mut session =
        Session::new(verified.function(None).expect("one"), &Options::default()).expect("loads");
    let features = Features::from_iter([("x", x)]);
    let first = session.predict(&features).expect("runs").tensor("y").cloned().expect("y");
    let again = session.predict(&features).expect("runs").tensor("y").cloned().expect("y");
    assert_eq!(first, again, "{kind}: the same seed draws the same");
    assert_eq!(Some(&first), reference["y"].as_tensor(), "{kind}: engine and reference draw the same");
    assert_eq!(first.dtype(), dtype);
    first.to_f64s()
}

fn count() -> i32 {
    i32::try_from(DRAWS).expect("small")
}

fn number(dtype: DType, v: f64) -> Literal {
    Tensor::scalar_f64(dtype, v).into()
}

fn mean_and_variance(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    (mean, values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0))
}

/// Mean within its standard error, variance within its own: `sqrt((kurtosis - 1) / n)` of itself.
fn moments_fit(values: &[f64], mean: f64, variance: f64, kurtosis: f64) {
    let n = values.len() as f64;
    let (m, v) = mean_and_variance(values);
    assert!((m - mean).abs() < Z * (variance / n).sqrt(), "mean {m}, not {mean}");
    assert!(
        (v - variance).abs() < Z * variance * ((kurtosis - 1.0) / n).sqrt(),
        "variance {v}, not {variance}"
    );
}

/// Neighbouring draws have nothing to do with each other.
fn neighbours_are_independent(values: &[f64]) {
    let (mean, variance) = mean_and_variance(values);
    let n = values.len() as f64;
    let sum: f64 = values.windows(2).map(|w| (w[0] - mean) * (w[1] - mean)).sum();
    assert!((sum / (n * variance)).abs() < Z / n.sqrt(), "correlation {}", sum / (n * variance));
}

fn chi_square(observed: &[usize], expected: &[f64]) -> f64 {
    observed.iter().zip(expected).map(|(&o, e)| (o as f64 - e).powi(2) / e).sum()
}

/// How many values fall between neighbouring edges.
fn binned(values: &[f64], edges: &[f64]) -> Vec<usize> {
    let mut bins = vec![0; edges.len() + 1];
    values.iter().for_each(|v| bins[edges.partition_point(|e| e <= v)] += 1);
    bins
}

#[test]
fn uniform_draws_are_uniform() {
    for dtype in [DType::F32, DType::F16] {
        for seed in [0, 7, -1] {
            let values = draw("random_uniform", dtype, |b| {
                let b = b.ints("shape", &[count()]).int("seed", seed);
                b.literal("low", number(dtype, -2.0)).literal("high", number(dtype, 6.0))
            });
            assert!(values.iter().all(|v| (-2.0..6.0).contains(v)));
            moments_fit(&values, 2.0, 64.0 / 12.0, 1.8);
            neighbours_are_independent(&values);
            let mut sorted = values;
            sorted.sort_by(f64::total_cmp);
            let n = DRAWS as f64;
            let far = |(i, v): (usize, &f64)| {
                let share = (v + 2.0) / 8.0;
                (share - i as f64 / n).abs().max((share - (i + 1) as f64 / n).abs())
            };
            let gap = sorted.iter().enumerate().map(far).fold(0.0, f64::max);
            // fp16 has steps of 2^-8 between 4 and 6, so that up to 2^-9 of 8 are moved by rounding.
            let coarse = if dtype == DType::F16 { 1.0 / 4096.0 } else { 0.0 };
            assert!(gap < KOLMOGOROV / n.sqrt() + coarse, "{dtype}, seed {seed}: {gap}");
        }
    }
}

/// Edges: quantiles of the standard normal distribution at 1/16, 2/16 and so on (`scipy.stats.norm.ppf`).
#[test]
fn normal_draws_are_normal() {
    let half = [0.0, 0.157311, 0.318639, 0.488776, 0.674490, 0.887147, 1.150349, 1.534121];
    let mut edges: Vec<f64> = half[1..].iter().rev().map(|v| -v).collect();
    edges.extend(half);
    for dtype in [DType::F32, DType::F16] {
        for seed in [0, 7, -1] {
            let values = draw("random_normal", dtype, |b| {
                let b = b.ints("shape", &[count()]).int("seed", seed);
                b.literal("mean", number(dtype, 3.0)).literal("stddev", number(dtype, 2.0))
            });
            moments_fit(&values, 3.0, 4.0, 3.0);
            neighbours_are_independent(&values);
            let standard: Vec<f64> = values.iter().map(|v| (v - 3.0) / 2.0).collect();
            let found = chi_square(&binned(&standard, &edges), &[DRAWS as f64 / 16.0; 16]);
            assert!(found < CHI_SQUARE_15, "{dtype}, seed {seed}: {found}");
        }
    }
}

#[test]
fn bernoulli_draws_are_one_as_often_as_told() {
    for dtype in [DType::F32, DType::F16] {
        for prob in [0.25, 0.5, 0.875] {
            let values = draw("random_bernoulli", dtype, |b| {
                b.ints("shape", &[count()]).int("seed", 3).literal("prob", number(dtype, prob))
            });
            assert!(values.iter().all(|&v| v == 0.0 || v == 1.0));
            neighbours_are_independent(&values);
            let ones = values.iter().sum::<f64>();
            let n = DRAWS as f64;
            assert!(
                (ones - n * prob).abs() < Z * (n * prob * (1.0 - prob)).sqrt(),
                "{ones} of {n} at {prob}"
            );
        }
    }
}

#[test]
fn categories_are_drawn_in_proportion() {
    let probs = [0.125, 0.5, 0.25, 0.125];
    for dtype in [DType::F32, DType::F16] {
        for mode in ["probs", "logits"] {
            let of = |p: f64| if mode == "probs" { p } else { p.ln() };
            let x = Tensor::from_f64s(dtype, [1, 4], &probs.map(of)).expect("fits");
            let values = draw("random_categorical", dtype, |b| {
                b.literal("x", x.clone()).str("mode", mode).int("size", 2_000).int("seed", 5)
            });
            let found = chi_square(&binned(&values, &[0.5, 1.5, 2.5]), &probs.map(|p| 2_000.0 * p));
            assert!(found < CHI_SQUARE_3, "{dtype} {mode}: {found}");
        }
    }
}

/// Without a seed the engine chooses, for each op on its own: their difference has twice the variance of one.
#[test]
fn ops_without_a_seed_have_nothing_to_do_with_each_other() {
    let mut b = Builder::new("main", Opset::Ios17);
    let mut one = |name: &str| {
        let op = b.op("random_normal").ints("shape", &[count()]).literal("stddev", number(DType::F32, 1.0));
        op.one(name).expect("types fit")
    };
    let (x, y) = (one("x"), one("y"));
    let z = b.op("sub").arg("x", x).arg("y", y).one("z").expect("floats");
    b.output(z);
    let drawn = eval::run(&b.finish(), &BTreeMap::new(), &mut BTreeMap::new(), &mut eval::Options::default());
    let values = drawn.expect("runs")["z"].as_tensor().expect("a tensor").to_f64s();
    moments_fit(&values, 0.0, 2.0, 3.0);
}
