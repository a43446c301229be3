//! Predictions in every precision, on packages whose results NumPy worked out step by step.
//!
//! `crates/xtask/python/record_precision.py` recorded them.

use anemone::{DType, Feature, Features, Predict, Tensor, open};
use anemone_exec::{Options, Precision, Session};
use anemone_testkit::corpus;
use serde_json::Value;

/// An exponential or a root may be rounded the other way, by one step of 2^-10, and so may a quotient of two such.
const TOLERANCE: f64 = 2.0 / 1024.0;

fn tensor(recorded: &Value) -> Tensor {
    let number = |v: &Value| v.as_f64().unwrap_or_else(|| v.as_str().unwrap().parse().unwrap());
    let list = |key: &str| recorded[key].as_array().unwrap();
    let values: Vec<f64> = list("values").iter().map(number).collect();
    let shape: Vec<usize> = list("shape").iter().map(|d| d.as_u64().unwrap() as usize).collect();
    Tensor::from_f64s(DType::F16, shape, &values).unwrap()
}

fn predict(case: &str, recorded: &Value, precision: Precision) -> Tensor {
    let package = open(&corpus::path(&format!("precision/{case}.mlpackage"))).unwrap();
    let options = Options { precision, ..Options::default() };
    let mut session = Session::new(package.verified(None).unwrap(), &options).unwrap();
    let inputs = recorded["inputs"].as_object().unwrap();
    let inputs: Features = inputs.iter().map(|(n, t)| (n.clone(), tensor(t))).collect();
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
            let (actual, expected) = (predict(case, recorded, precision), tensor(&recorded[key]));
            assert_eq!((actual.dtype(), actual.shape()), (DType::F16, expected.shape()), "{case} {key}");
            let same = actual.to_f64s().iter().zip(expected.to_f64s()).all(|(&a, b)| near(a, b));
            assert!(same, "{case} {key}: {:?}, but NumPy has {:?}", actual.to_f64s(), expected.to_f64s());
        }
    }
    assert!(all.as_object().unwrap().len() >= 11);
}
