//! Where activations are quantised, and with which scales: as coremltools does, recorded in `corpus/compress/activations`.

use anemone::DType;
use anemone::mil::{Function, Level, ValueId, verify};
use anemone::schemes::config::{Activation, Scheme};
use anemone::schemes::{Config, LinearMode, Range, quantize_activations};
use serde_json::Value;
use std::collections::HashMap;
use std::path::PathBuf;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../corpus/compress/activations")
}

/// The value that an operand stands for, and its scale and zero point when it is quantised.
fn read(f: &Function, mut v: ValueId) -> (String, Option<(f64, i64)>) {
    let mut found = None;
    while let Some(op) =
        f.producer(v).map(|id| f.op(id)).filter(|op| op.is("dequantize") || op.is("quantize"))
    {
        let number = |param: &str| {
            let literal = f.constant(op.value(param)?)?.literal().ok()?;
            literal.as_tensor().map(|t| t.f64_at(0))
        };
        if op.is("dequantize") {
            found = Some((number("scale").expect("a scale"), number("zero_point").unwrap_or(0.0) as i64));
        }
        v = op.value("input").expect("an input");
    }
    (f.value(v).name.to_string(), found)
}

fn config(case: &Value) -> Config {
    let mode = if case["mode"] == "linear" { LinearMode::Affine } else { LinearMode::Symmetric };
    let dtype = if case["dtype"] == "uint8" { DType::U8 } else { DType::I8 };
    let mut config = Config::all(Scheme::Activation(Activation { mode, dtype }));
    let none = case["names"].as_object().into_iter().flatten();
    config.op_names.extend(none.map(|(name, _)| (name.clone(), None)));
    config
}

#[test]
fn the_same_operands_are_quantised_with_the_same_scales() {
    let text = std::fs::read_to_string(folder().join("expected.json")).expect("recorded");
    let recorded: Value = serde_json::from_str(&text).expect("JSON");
    let mut compared = 0;
    for model in recorded.as_array().expect("models") {
        let ranges: HashMap<String, Range> = model["ranges"]
            .as_object()
            .expect("ranges")
            .iter()
            .map(|(n, r)| {
                (
                    n.clone(),
                    Range {
                        min: r[0].as_f64().expect("min") as f32,
                        max: r[1].as_f64().expect("max") as f32,
                    },
                )
            })
            .collect();
        for case in model["cases"].as_array().expect("cases") {
            let path = folder().join(model["package"].as_str().expect("package"));
            let mut program = anemone::open(&path).expect("opens").program;
            quantize_activations(&mut program.functions[0], &config(case), &ranges).expect("quantises");
            verify(&program, Level::Canonical).expect("a sound program");
            let f = &program.functions[0];
            for expected in case["reads"].as_array().expect("reads") {
                let op = f.walk().into_iter().map(|(_, id)| f.op(id)).find(|op| {
                    op.outputs
                        .first()
                        .is_some_and(|&v| *f.value(v).name == *expected["result"].as_str().expect("name"))
                });
                let op = op.expect("the op is there");
                let operands =
                    op.values(expected["param"].as_str().expect("param")).iter().map(|&v| read(f, v));
                let wanted = expected["value"].as_str().expect("value");
                let (_, ours) = operands.into_iter().find(|(n, _)| n == wanted).expect("reads the value");
                let theirs = expected["quantised"].as_object().map(|q| {
                    (q["scale"].as_f64().expect("scale"), q["zero_point"].as_i64().expect("zero point"))
                });
                assert_eq!(ours, theirs, "{} of {case:?}", expected["result"]);
                compared += 1;
            }
        }
    }
    assert!(compared > 100, "{compared}");
}
