//! Trained models from ONNX to packages: what they compute against what ONNX Runtime recorded.
//!
//! `crates/xtask/python/record_models.py` recorded the cases; `fp32` must be within 1e-4 of the largest magnitude,
//! `fp16` must have a cosine of at least 0.999, and the same best class where an output is one row of scores. (A detector
//! has thousands of scores within rounding of each other; which one is the largest says nothing.)

use anemone::compare::{Difference, Tolerance, compare};
use anemone::{ConvertOptions, DType, Features, Model, Opset, convert};
use anemone_formats::safetensors::SafeTensors;
use std::path::{Path, PathBuf};

const EXACT: f64 = 1e-4;
const COSINE: f64 = 0.999;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../corpus/models")
}

fn arrays(name: &str) -> Features {
    let path = corpus().join(name);
    let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    SafeTensors::read(&bytes.into()).expect("recorded arrays").tensors.into_iter().collect()
}

/// Converts the model of a case, runs the package and compares every output with the recorded one.
fn differences(case: &str, model: &str, shapes: &[(&str, &[usize])], precision: DType) -> Vec<Difference> {
    let folder = tempfile::tempdir().expect("a folder");
    let options = ConvertOptions {
        output: Some(folder.path().join("model.mlpackage")),
        target: Opset::Ios17,
        precision,
        inputs: shapes.iter().map(|(n, s)| ((*n).to_owned(), s.to_vec())).collect(),
        check: false,
        ..ConvertOptions::default()
    };
    let conversion = convert(&corpus().join(model), &options, &mut |_| {});
    let conversion = conversion.unwrap_or_else(|e| panic!("{case}: {e}"));
    let mut package = Model::load(&conversion.output).unwrap_or_else(|e| panic!("{case}: {e}"));
    let inputs = arrays(&format!("{case}.inputs.safetensors"));
    let actual = package.predict(&inputs).unwrap_or_else(|e| panic!("{case}: {e}"));
    let expected = arrays(&format!("{case}.expected.safetensors"));
    compare(&actual, &expected, Tolerance { atol: 0.0, rtol: 0.0 })
}

fn holds(case: &str, model: &str, shapes: &[(&str, &[usize])]) {
    for d in differences(case, model, shapes, DType::F32) {
        assert_eq!(d.mismatch, None, "{case}: {}", d.name);
        assert!(d.relative <= EXACT, "{case}: {} differs by {} of the largest magnitude", d.name, d.relative);
    }
    let expected = arrays(&format!("{case}.expected.safetensors"));
    for d in differences(case, model, shapes, DType::F16) {
        assert_eq!(d.mismatch, None, "{case}: {}", d.name);

        assert!(d.relative.is_finite(), "{case} in fp16: {} is no number somewhere", d.name);
        assert!(d.cosine >= COSINE, "{case} in fp16: {} has cosine {}", d.name, d.cosine);
        let classes = expected.tensor(&d.name).is_some_and(|t| t.rank() == 2 && t.shape()[0] == 1);
        assert!(d.same_top || !classes, "{case} in fp16: {} has another best class", d.name);
    }
}

macro_rules! models {
    ($($test:ident: $case:literal of $model:literal $({ $($input:literal: $shape:expr),* })?;)*) => {
        $(
            #[test]
            fn $test() {
                holds($case, $model, &[$($(($input, &$shape)),*)?]);
            }
        )*

        /// The cases above by name.
        const CASES: &[&str] = &[$($case),*];
    };
}

models! {
    efficientnet_lite0_sees_the_dog: "efficientnet-lite0" of "../../examples/efficientnet-lite0.onnx";
    efficientnet_lite0_on_noise: "efficientnet-lite0-random" of "../../examples/efficientnet-lite0.onnx";
    mnist: "mnist" of "mnist.onnx";
    fastestdet: "fastestdet" of "fastestdet.onnx";
    ultraface_rfb: "ultraface-rfb-320" of "ultraface-rfb-320.onnx";
    ultraface_rfb_simplified: "ultraface-rfb-320-simplified" of "ultraface-rfb-320-simplified.onnx";
    ultraface_slim: "ultraface-slim-320" of "ultraface-slim-320.onnx";
    magika: "magika" of "magika.onnx" { "bytes": [1, 2048] };
    basic_pitch: "basic-pitch" of "basic-pitch.onnx" { "serving_default_input_2:0": [1, 43844, 1] };
    ppocr_direction: "ppocr-cls" of "ppocr-cls.onnx" { "x": [1, 3, 48, 192] };
    silero_voice_activity: "silero-vad-16k" of "silero-vad-16k.onnx";
}

/// Its norms are written out and stretched to the open batch; in `fp16` they must be recognised nonetheless.
#[test]
fn magika_of_any_batch() {
    holds("magika", "magika.onnx", &[]);
}

/// The squares of its spectrum are far below what `fp16` has, and a logarithm is taken of them.
///
/// Off by `ERROR` of the largest magnitude: rounded inputs, weights and 20 rounded layers of 2^-11 each.
#[test]
fn quiet_notes_are_not_lost_in_fp16() {
    const ERROR: f64 = 20.0 / 2048.0;
    let shape: (&str, &[usize]) = ("serving_default_input_2:0", &[1, 43844, 1]);
    for d in differences("basic-pitch", "basic-pitch.onnx", &[shape], DType::F16) {
        assert!(d.relative < ERROR, "{}: {}", d.name, d.relative);
    }
}

#[test]
fn every_recorded_case_has_a_test() {
    let text = std::fs::read_to_string(corpus().join("index.json")).expect("an index");
    let names: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("{\"name\": \"")?.split('"').next()).collect();
    assert_eq!(names, CASES);
}
