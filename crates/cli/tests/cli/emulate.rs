//! `run` and `verify` with `--emulate`, on a product whose sum is known: 64 times `x` times 20.

use crate::command::{anemone, document, fits};
use anemone_formats::npy;
use anemone_formats::safetensors::to_bytes;
use anemone_tensor::Tensor;
use serde_json::Value;
use std::collections::BTreeMap;
use tempfile::TempDir;

const MODEL: &str = "precision/long-sum.mlpackage";

/// A file of 64 equal inputs.
fn inputs(folder: &TempDir, x: f32) -> String {
    let path = folder.path().join("x.npy");
    let tensor = Tensor::from_f32s([1, 64], &[x; 64]).unwrap();
    npy::write(&mut std::fs::File::create(&path).unwrap(), &tensor).unwrap();
    format!("x={}", path.display())
}

fn emulated(verb: &str, x: f32, more: &[&str]) -> crate::command::Ran {
    let folder = tempfile::tempdir().unwrap();
    let input = inputs(&folder, x);
    anemone([&[verb, MODEL, "--input", &input, "--emulate", "ane-eligible"], more].concat())
}

/// 64 * 100 * 20 = 128000, a quarter of which is below 32768.
#[test]
fn the_first_op_that_overflows_is_named_with_the_scale_that_helps() {
    let text = emulated("verify", 100.0, &["--device", "m6"]).ended(1);
    fits(&text);
    for part in
        ["Neural Engine of M6", "matmul", "128000", "391 %", "First op at fault", "by 4, and multiply"]
    {
        assert!(text.contains(part), "no {part:?} in:\n{text}");
    }
    let found =
        document(&emulated("verify", 100.0, &["--device", "m6", "--json"]).ended(1), "anemone.emulate/1");
    let layer = &found["layers"][0];
    let number = |name: &str| layer[name].as_f64().unwrap();
    assert_eq!(
        [number("largest_running_sum"), number("limit"), number("safe_scale")],
        [128_000.0, 32768.0, 4.0]
    );
    assert_eq!((&layer["kind"], number("infinite"), number("results")), (&"matmul".into(), 2.0, 2.0));
    assert_eq!(
        (&found["findings"][0]["kind"], &found["findings"][0]["fault"]),
        (&"matmul".into(), &"infinite".into())
    );
    assert_eq!((&found["device"], &found["arithmetic"]), (&"M6".into(), &"M6".into()));
}

/// 64 * 10 * 20 = 12800: 39 % of the limit.
#[test]
fn sums_in_range_leave_headroom() {
    let text = emulated("verify", 10.0, &["--assume", "m6"]).report();
    assert!(text.contains("12800") && text.contains("39 %") && text.contains("2.6 x"), "{text}");
    let found = emulated("verify", 10.0, &["--json"]).json("anemone.emulate/1");
    assert_eq!(found["layers"][0]["safe_scale"], Value::Null);
    assert_eq!(found["not_known"].as_array().unwrap().len(), 3, "of an M4 the sums alone are known");
    assert_eq!(found["ops"]["fixed_point_sums"], 1);
}

/// 128000 is infinite; 0.001 of it as well.
#[test]
fn run_computes_as_the_engine_does_and_says_how_much() {
    let ran = emulated("run", 100.0, &["--json"]);
    assert!(ran.err.contains("not known of M4") && ran.err.contains("1 in fixed-point sums"), "{}", ran.err);
    let found = ran.json("anemone.run/1");
    assert_eq!(found["outputs"][0]["tensor"]["not_finite"], 2, "{found}");
    let plain = anemone(["run", MODEL, "--random", "1", "--json"]).json("anemone.run/1");
    assert_eq!(plain["outputs"][0]["tensor"]["not_finite"], 0);
}

#[test]
fn chips_of_unknown_arithmetic_need_one_to_assume() {
    let ran = emulated("run", 1.0, &["--device", "m2"]);
    assert_eq!(ran.status, Some(2));
    for part in ["M2", "not known", "M6 and M4", "--assume m4"] {
        assert!(ran.err.contains(part), "no {part:?} in {}", ran.err);
    }
    emulated("run", 1.0, &["--device", "m2", "--assume", "m6"]).clean();
    let ran = emulated("verify", 1.0, &["--precision", "f32"]);
    assert!(ran.status == Some(2) && ran.err.contains("--precision f32"), "{}", ran.err);
}

/// 12800 times 0.001 in `fp16`.
#[test]
fn outputs_are_compared_where_expected_ones_are_given() {
    let folder = tempfile::tempdir().unwrap();
    let (input, expected) = (inputs(&folder, 10.0), folder.path().join("y.safetensors"));
    let y = Tensor::from_f32s([1, 2], &[12.8; 2]).unwrap();
    std::fs::write(&expected, to_bytes(&[("y".to_owned(), y)], &BTreeMap::new()).unwrap()).unwrap();
    let expected = expected.display().to_string();
    let args = ["verify", MODEL, "--input", &input, "--expected", &expected, "--emulate", "ane-eligible"];
    let text = anemone(args).report();
    assert!(text.contains("equal"), "{text}");
}
