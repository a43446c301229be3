//! Models whose interfaces are out of the ordinary: pipelines, pictures of several sizes, flexible shapes, defaults.
//!
//! `corpus/interfaces/make.py` made them with coremltools, and worked the outputs out in NumPy.

use anemone::data::Inputs;
use anemone::{DictKey, ErrorKind, Fault, Feature, Features, Model, Precision, Tensor, find_overflow};
use anemone_formats::safetensors::SafeTensors;
use anemone_testkit::corpus;
use serde_json::Value;
use std::path::{Path, PathBuf};

fn folder(case: &str) -> PathBuf {
    corpus::path("interfaces").join(case)
}

fn meta(case: &str) -> Value {
    serde_json::from_slice(&std::fs::read(folder(case).join("meta.json")).unwrap()).unwrap()
}

fn arrays(path: &Path) -> Features {
    if !path.exists() {
        return Features::new();
    }
    let bytes = std::fs::read(path).unwrap();
    SafeTensors::read(&bytes.into()).unwrap().tensors.into_iter().collect()
}

fn step(case: &str, what: &str, step: usize) -> Features {
    let suffix = if step == 0 { String::new() } else { format!(".{step}") };
    arrays(&folder(case).join(format!("{what}{suffix}.safetensors")))
}

fn load(case: &str) -> Model {
    Model::options()
        .threads(1)
        .load(folder(case).join("model.mlpackage"))
        .unwrap_or_else(|e| panic!("{case}: {e}"))
}

fn near(actual: &Tensor, expected: &Tensor, tolerance: &Value) -> bool {
    let [atol, rtol] = ["atol", "rtol"].map(|k| tolerance[k].as_f64().unwrap());
    let pairs = actual.to_f64s().into_iter().zip(expected.to_f64s());
    actual.shape() == expected.shape()
        && pairs.into_iter().all(|(a, e)| a == e || (a - e).abs() <= atol + rtol * e.abs())
}

/// Runs all steps of a case on one model and compares all there is to compare.
fn holds(case: &str) {
    let (meta, mut model) = (meta(case), load(case));
    for at in 0..meta["steps"].as_u64().unwrap() as usize {
        let found = model.predict(&step(case, "inputs", at)).unwrap_or_else(|e| panic!("{case} {at}: {e}"));
        for (name, expected) in step(case, "expected", at).iter() {
            let (actual, expected) = (found.tensor(name), expected.tensor().unwrap());
            let same = actual.is_some_and(|a| near(a, expected, &meta["tolerance"]));
            assert!(same, "{case} {at}: {name} is {actual:?}, but NumPy has {expected:?}");
        }
        for (name, label) in meta["labels"].as_object().into_iter().flatten() {
            let expected =
                label.as_i64().map_or_else(|| Feature::Text(label.as_str().unwrap().into()), Feature::Int);
            assert_eq!(found.find(name), Some(&expected), "{case}");
        }
        for (name, entries) in meta["dicts"].as_object().into_iter().flatten() {
            let Some(Feature::Dict(actual)) = found.find(name) else { panic!("{case}: no {name}") };
            let expected = entries.as_array().unwrap();
            assert_eq!(actual.len(), expected.len());
            for ((key, p), entry) in actual.iter().zip(expected) {
                let wanted = entry[0]
                    .as_i64()
                    .map_or_else(|| DictKey::Text(entry[0].as_str().unwrap().into()), DictKey::Int);
                assert!(
                    *key == wanted && (p - entry[1].as_f64().unwrap()).abs() < 1e-5,
                    "{case}: {key:?} {p}"
                );
            }
        }
    }
}

/// Every shape that the interface does not allow is refused with the set of those that it does.
fn refuses(case: &str, input: &str, allowed: &str) {
    let (meta, mut model) = (meta(case), load(case));
    let usual = step(case, "inputs", 0);
    for shape in meta["refuses"].as_array().unwrap() {
        let shape: Vec<usize> =
            shape.as_array().unwrap().iter().map(|d| d.as_u64().unwrap() as usize).collect();
        let mut inputs = usual.clone();
        inputs.insert(input, Tensor::zeros(usual.tensor(input).unwrap().dtype(), shape.clone()).unwrap());
        let error = model.predict(&inputs).expect_err("a shape that is not allowed");
        assert_eq!(error.kind(), ErrorKind::WrongShape, "{case} {shape:?}: {error}");
        let text = error.to_string();
        assert!(text.contains(allowed) && text.contains(&format!("`{input}`")), "{case} {shape:?}: {text}");
    }
    holds(case);
}

#[test]
fn a_pipeline_hands_features_from_stage_to_stage() {
    holds("pipeline-two");
    holds("pipeline-regressor");
}

#[test]
fn a_stage_takes_inputs_of_the_pipeline_beside_the_outputs_of_stages() {
    holds("pipeline-joined");
    let missing = load("pipeline-joined").predict(&Features::new()).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::MissingInput);
    assert!(
        missing.to_string().contains("`features` (fp32 [1, 8])") && missing.to_string().contains("`extra`")
    );
}

#[test]
fn a_picture_between_two_stages_has_whole_pixels() {
    holds("pipeline-picture");
}

#[test]
fn a_pipeline_that_ends_in_a_classifier_gives_label_and_probabilities() {
    holds("pipeline-classifier");
    holds("pipeline-classifier-int");
}

/// The model does not load, and the error has the words of the case.
fn does_not_load(case: &str) {
    let error = Model::load(folder(case).join("model.mlpackage")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{case}: {error}");
    for word in meta(case)["refused"].as_array().unwrap() {
        assert!(error.to_string().contains(word.as_str().unwrap()), "{case}: {error}");
    }
}

#[test]
fn a_stage_of_another_type_is_refused_by_name() {
    does_not_load("pipeline-scaler");
}

#[test]
fn pipelines_within_a_pipeline_keep_their_features_to_themselves() {
    holds("nested-two");
    assert_eq!(load("nested-two").stages(), ["body", "head"]);
}

#[test]
fn a_classifier_two_pipelines_deep_gives_label_and_probabilities() {
    holds("nested-classifier");
}

#[test]
fn a_stage_of_several_functions_runs_its_default_one() {
    holds("nested-functions");
}

#[test]
fn overflow_in_a_stage_is_found_and_named_with_the_stage() {
    let path = folder("pipeline-overflow").join("model.mlpackage");
    let files = vec![folder("pipeline-overflow").join("inputs.safetensors")];
    let inputs = Inputs { files, ..Inputs::default() };
    let found = find_overflow(&path, None, Precision::Declared, &inputs, 0.01).unwrap();
    let [finding] = found.findings.as_slice() else { panic!("{found:?}") };
    assert_eq!((finding.name.as_str(), finding.fault), ("1/square", Fault::Infinite));
    assert_eq!(
        finding.declared.not_finite,
        meta("pipeline-overflow")["overflow"]["elements"].as_u64().unwrap() as usize
    );
    assert_eq!(finding.wide.max, 160_000.0, "the square of 400");
    holds("pipeline-overflow");
}

#[test]
fn pipelines_too_deep_within_each_other_are_refused() {
    does_not_load("nested-deep");
}

#[test]
fn a_label_is_no_input_of_a_program() {
    does_not_load("nested-label");
}

#[test]
fn a_detector_keeps_the_best_of_boxes_that_overlap() {
    holds("detector");
    holds("detector-any-class");
}

#[test]
fn a_detector_gives_as_many_boxes_as_its_interface_says() {
    holds("detector-fixed");
    holds("detector-range");
}

#[test]
fn thresholds_of_a_detector_may_be_left_out_and_have_a_range() {
    for case in ["detector", "detector-any-class"] {
        let mut model = load(case);
        let optional: Vec<bool> = model.inputs().iter().map(|f| f.optional).collect();
        assert_eq!(optional, [false, true, true], "{case}");
        let mut inputs = step(case, "inputs", 0);
        inputs.insert("iouThreshold", Feature::Double(1.5));
        let error = model.predict(&inputs).unwrap_err().to_string();
        assert!(error.contains("`iouThreshold` is 1.5") && error.contains("from 0 to 1"), "{error}");
    }
}

#[test]
fn pictures_take_any_size_of_an_enumeration() {
    refuses("picture-enumerated", "photo", "6 x 4, 8 x 8, 10 x 2");
}

#[test]
fn pictures_take_any_size_within_ranges() {
    refuses("picture-range", "photo", "3..12 x 2..16");
}

#[test]
fn grayscale_pictures_have_8_bits_or_are_half_floats() {
    refuses("picture-gray", "photo", "5 x 3");
    refuses("picture-gray16", "photo", "5 x 3");
}

#[test]
fn shapes_are_within_ranges_that_may_be_open() {
    refuses("range-open", "a", "[2.., 4]");
}

#[test]
fn inputs_whose_shapes_contradict_each_other_are_refused() {
    let zeros = |n: usize| Tensor::zeros(anemone::DType::F32, [n, 4]).unwrap();
    let error =
        load("range-open").predict(&Features::from_iter([("a", zeros(3)), ("b", zeros(5))])).unwrap_err();
    assert!(error.to_string().contains("add"), "{error}");
}

#[test]
fn shapes_are_those_of_an_enumeration() {
    refuses("enumerated", "x", "[[1, 4], [1, 1], [1, 9]]");
}

#[test]
fn an_input_that_is_left_out_has_its_default() {
    holds("optional-int");
    holds("optional-float");
}

#[test]
fn loops_end_at_the_limit_of_steps() {
    holds("loop");
    let mut short = Model::options().max_steps(10).load(folder("loop").join("model.mlpackage")).unwrap();
    let n = |v: f32| Features::from_iter([("n", Tensor::from_f32s([1], &[v]).unwrap())]);
    assert!(short.predict(&n(10.0)).is_ok());
    let error = short.predict(&n(11.0)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StepLimit, "{error}");
    assert!(error.to_string().contains("10"), "{error}");
    assert!(short.predict(&n(3.0)).is_ok(), "the model lives on");
}

#[test]
fn every_case_has_a_test() {
    let source = include_str!("interfaces.rs");
    for entry in std::fs::read_dir(corpus::path("interfaces")).unwrap().map(|e| e.unwrap()) {
        let name = entry.file_name().into_string().unwrap();
        assert!(!entry.path().is_dir() || source.contains(&format!("\"{name}\"")), "{name} has no test");
    }
}
