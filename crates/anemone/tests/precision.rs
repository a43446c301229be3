//! Predictions in every precision, on packages whose results NumPy worked out step by step.
//!
//! `crates/xtask/python/record_precision.py` recorded them.

use anemone::data::Inputs;
use anemone::mil::{
    Builder, Dim, Function, Level, Opset, Program, TensorType, text::plain_interface, verify,
};
use anemone::{DType, Fault, Feature, Features, Overflow, Precision, Predict, Tensor, find_overflow, open};
use anemone_exec::{Options, Session};
use anemone_formats::npy;
use anemone_testkit::corpus;
use serde_json::Value;

/// An exponential or a root may be rounded the other way, by one step of 2^-10, and so may a quotient of two such.
const TOLERANCE: f64 = 2.0 / 1024.0;

fn tensor(dtype: DType, recorded: &Value) -> Tensor {
    let number = |v: &Value| v.as_f64().unwrap_or_else(|| v.as_str().unwrap().parse().unwrap());
    let list = |key: &str| recorded[key].as_array().unwrap();
    let values: Vec<f64> = list("values").iter().map(number).collect();
    let shape: Vec<usize> = list("shape").iter().map(|d| d.as_u64().unwrap() as usize).collect();
    Tensor::from_f64s(dtype, shape, &values).unwrap()
}

fn predict(case: &str, recorded: &Value, precision: Precision) -> Tensor {
    let package = open(&corpus::path(&format!("precision/{case}.mlpackage"))).unwrap();
    let options = Options { precision, ..Options::default() };
    let mut session = Session::new(package.verified(None).unwrap(), &options).unwrap();
    let inputs = recorded["inputs"].as_object().unwrap();
    let inputs: Features = inputs.iter().map(|(n, t)| (n.clone(), tensor(DType::F32, t))).collect();
    let outputs = session.predict(&inputs).unwrap();
    outputs.find("y").and_then(Feature::tensor).cloned().unwrap()
}

#[expect(clippy::float_cmp, reason = "infinities are equal or not")]
fn near(a: f64, b: f64) -> bool {
    a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= TOLERANCE * b.abs()
}

/// The arithmetic of each precision is that of NumPy with a rounding wherever `docs/precision.md` says one is.
#[test]
fn every_precision_computes_what_numpy_does() {
    let all = corpus::json("precision/expected.json");
    for (case, recorded) in all.as_object().unwrap() {
        for (precision, key) in
            [(Precision::Declared, "declared"), (Precision::F32, "f32"), (Precision::Fp16Strict, "strict")]
        {
            let (actual, expected) = (predict(case, recorded, precision), tensor(DType::F16, &recorded[key]));
            assert_eq!((actual.dtype(), actual.shape()), (DType::F16, expected.shape()), "{case} {key}");
            let same = actual.to_f64s().iter().zip(expected.to_f64s()).all(|(&a, b)| near(a, b));
            assert!(same, "{case} {key}: {:?}, but NumPy has {:?}", actual.to_f64s(), expected.to_f64s());
        }
    }
    assert!(all.as_object().unwrap().len() >= 29);
}

fn search(case: &str, recorded: &Value, precision: Precision, loss: f64) -> Overflow {
    let folder = tempfile::tempdir().unwrap();
    let mut inputs = Inputs::default();
    for (name, value) in recorded["inputs"].as_object().unwrap() {
        let path = folder.path().join(format!("{name}.npy"));
        npy::write(&mut std::fs::File::create(&path).unwrap(), &tensor(DType::F32, value)).unwrap();
        inputs.tensors.push((name.clone(), path));
    }
    find_overflow(&corpus::path(&format!("precision/{case}.mlpackage")), None, precision, &inputs, loss)
        .unwrap()
}

#[test]
fn the_first_op_that_fp16_is_too_small_for_is_named() {
    let all = corpus::json("precision/expected.json");
    for (case, recorded) in all.as_object().unwrap() {
        let found = search(case, recorded, Precision::Declared, 0.01);
        let first = found.findings.first().map(|f| (f.kind.as_str(), f.fault));
        let fault = match recorded["finding"]["reason"].as_str() {
            Some("overflow") => Some(Fault::Infinite),
            Some("loss") => Some(Fault::Loss),
            _ => None,
        };
        let wanted = recorded["finding"]["kind"].as_str().zip(fault);
        assert_eq!(first, wanted, "{case}: {found:?}");
    }
}

/// `300 * 400` and `310 * 400` are both beyond 65504: each product is at fault, the difference of the two is not.
#[test]
fn what_an_op_inherits_is_not_its_fault() {
    let all = corpus::json("precision/expected.json");
    let found = search("no-number", &all["no-number"], Precision::Declared, 0.01);
    let kinds: Vec<&str> = found.findings.iter().map(|f| f.kind.as_str()).collect();
    assert_eq!(kinds, ["mul", "mul"]);
    let first = &found.findings[0];
    assert_eq!(first.wide.largest(), 120_000.0);
    assert_eq!((first.inputs[0].0.as_str(), first.inputs[0].1.largest()), ("x", 400.0));
    assert_eq!(first.declared.not_finite, 1);
}

/// NumPy: `float16(x + 2048) - 2048` is 0 for every x of the case, so all of the result is lost.
#[test]
fn the_share_that_is_lost_decides() {
    let all = corpus::json("precision/expected.json");
    let found = search("cancellation", &all["cancellation"], Precision::Declared, 0.01);
    assert_eq!((found.findings[0].own, found.findings[0].total), (1.0, 1.0));
    assert!(search("cancellation", &all["cancellation"], Precision::Declared, 1.0).findings.is_empty());
}

/// The deviations of the case are near 1000: NumPy's `float16(1000) ** 2` is infinite.
#[test]
fn steps_within_a_norm_are_at_fault_when_they_are_rounded() {
    let all = corpus::json("precision/expected.json");
    let found = search("layer-norm", &all["layer-norm"], Precision::Fp16Strict, 0.01);
    let first = &found.findings[0];
    assert_eq!((first.kind.as_str(), first.fault), ("square", Fault::Infinite));
}

#[test]
fn every_kind_of_package_can_be_searched() {
    let inputs = Inputs { random: Some(1), ..Inputs::default() };
    for name in corpus::list("packages").iter().filter(|n| n.ends_with(".mlpackage")) {
        let path = corpus::path(&format!("packages/{name}"));
        let found = find_overflow(&path, None, Precision::Declared, &inputs, 0.05);
        let found = found.unwrap_or_else(|e| panic!("{e}"));
        assert!(found.findings.is_empty(), "{name}: {found:?}");
    }
}

/// With an observer every op is run by itself; without one, activations are part of the product before them.
#[test]
fn an_op_that_takes_in_an_activation_rounds_where_the_two_do() {
    for activation in ["relu", "sigmoid", "silu", "tanh"] {
        let mut b = Builder::new("main", Opset::Ios17);
        let x = b.input("x", TensorType::new(DType::F16, [4, 64]));
        let weights: Vec<f64> = (0..64 * 8).map(|i| f64::from(i * 37 % 101) / 101.0 - 0.5).collect();
        let weight = b.constant("w", Tensor::from_f64s(DType::F16, [8, 64], &weights).unwrap());
        let y = b.op("linear").arg("x", x).arg("weight", weight).one("p").unwrap();
        let y = b.op(activation).arg("x", y).one("y").unwrap();
        b.output(y);
        let function = b.finish();
        let program = Program::new(function.clone(), plain_interface(&[function]));
        let verified = verify(&program, Level::Imported).unwrap();
        let mut session = Session::new(verified.function(None).unwrap(), &Options::default()).unwrap();
        let values: Vec<f64> = (0..256).map(|i| f64::from(i * 53 % 97) / 97.0 - 0.5).collect();
        let x = Tensor::from_f64s(DType::F16, [4, 64], &values).unwrap();
        let inputs = Features::from_iter([("x", x)]);
        let fused = session.predict(&inputs).unwrap();
        let apart = session.predict_observed(&inputs, &mut |_, _| {}).unwrap();
        assert_eq!(fused, apart, "{activation}");
    }
}

/// A layer `[steps, 2, 3]` of four hidden elements, its weights far from 0.
fn rnn(steps: Dim) -> Function {
    let mut b = Builder::new("main", Opset::Ios17);
    let x = b.input("x", TensorType::new(DType::F16, [steps, 2.into(), 3.into()]));
    let mut numbers = |name: &str, shape: &[usize], scale: f64| {
        let count = shape.iter().product::<usize>();
        let values: Vec<f64> = (0..count).map(|i| ((i * 37 % 101) as f64 / 50.5 - 1.0) * scale).collect();
        b.constant(name, Tensor::from_f64s(DType::F16, shape.to_vec(), &values).unwrap())
    };
    let (input, hidden) = (numbers("input", &[4, 3], 60.0), numbers("hidden", &[4, 4], 0.9));
    let first = numbers("first", &[2, 4], 1.0);
    let layer = b.op("rnn").arg("x", x).arg("initial_h", first).arg("weight_ih", input);
    let layer = layer.arg("weight_hh", hidden).str("activation", "relu").bool("output_sequence", true);
    let results = layer.all("y").unwrap();
    b.output(results[0]);
    b.finish()
}

fn last_of(function: Function, precision: Precision, steps: usize) -> Tensor {
    let program = Program::new(function.clone(), plain_interface(&[function]));
    let verified = verify(&program, Level::Imported).unwrap();
    let options = Options { precision, ..Options::default() };
    let mut session = Session::new(verified.function(None).unwrap(), &options).unwrap();
    let values: Vec<f64> = (0..steps * 6).map(|i| (i * 53 % 97) as f64 / 48.5 - 1.0).collect();
    let x = Tensor::from_f64s(DType::F16, [steps, 2, 3], &values).unwrap();
    let outputs = session.predict(&Features::from_iter([("x", x)])).unwrap();
    outputs.iter().next().unwrap().1.tensor().unwrap().clone()
}

/// How many steps there are is known when a prediction brings its shapes; the cases that NumPy recorded have fixed ones.
#[test]
fn layers_of_free_length_round_as_those_of_fixed_length_do() {
    for steps in [3, 8] {
        let free = last_of(rnn(Dim::Symbol("steps".into())), Precision::Fp16Strict, steps);
        assert_eq!(free, last_of(rnn(steps.into()), Precision::Fp16Strict, steps));
        assert_ne!(free, last_of(rnn(steps.into()), Precision::Declared, steps));
    }
}
