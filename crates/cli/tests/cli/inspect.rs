//! `inspect`.

use crate::command::{anemone, anemone_in, copy, corpus, corpus_json, list, names};
use serde_json::Value;

fn inspect(model: &str) -> Value {
    anemone(["inspect", model, "--json"]).json("anemone.inspect/1")
}

fn text(model: &str) -> String {
    anemone(["inspect", model]).report()
}

/// `expected.json` is what coremltools' schema says about each package.
#[test]
fn interface_and_ops_are_those_that_coremltools_reads() {
    for (name, expected) in corpus_json("packages/expected.json").as_object().unwrap() {
        let seen = inspect(&format!("packages/{name}.mlpackage"));
        let model = &seen["model"];
        assert_eq!(model["type"], expected["type"], "{name}");
        assert_eq!(model["specification_version"], expected["specificationVersion"], "{name}");
        let functions: Vec<&String> = expected["functions"].as_object().unwrap().keys().collect();
        let mut shown = names(&model["functions"], "name");
        shown.sort();
        assert_eq!(shown.iter().collect::<Vec<_>>(), functions, "{name}");
        for function in model["functions"].as_array().unwrap() {
            let own = &expected["functionInterfaces"][function["name"].as_str().unwrap()];
            let described = if own.is_null() { &expected["interface"] } else { own };
            for (ours, theirs) in [("inputs", "input"), ("outputs", "output"), ("states", "state")] {
                let wanted: Vec<&str> =
                    described[theirs].as_array().unwrap().iter().map(|f| f[0].as_str().unwrap()).collect();
                assert_eq!(names(&function[ours], "name"), wanted, "{name} {ours}");
            }
        }
        let mut ops = std::collections::BTreeMap::new();
        for function in expected["functions"].as_object().unwrap().values() {
            for (op, n) in function["ops"].as_object().unwrap() {
                *ops.entry(op.clone()).or_insert(0) += n.as_u64().unwrap();
            }
        }
        ops.remove("const");
        let shown: std::collections::BTreeMap<String, u64> = seen["ops"]
            .as_array()
            .unwrap()
            .iter()
            .map(|o| (o["name"].as_str().unwrap().to_owned(), o["count"].as_u64().unwrap()))
            .collect();
        assert_eq!(shown, ops, "{name}");
        assert_eq!(seen["container"], "package");
        assert!(seen["bytes"].as_u64().unwrap() > 0);
    }
}

#[test]
fn a_classifier_names_its_label_and_probabilities() {
    let seen = inspect("packages/classifier.mlpackage");
    let function = &seen["model"]["functions"][0];
    assert_eq!(function["predicted_feature"], "classLabel");
    assert_eq!(function["predicted_probabilities"], "classLabel_probs");
    let text = text("packages/classifier.mlpackage");
    assert!(text.contains("label classLabel, probabilities classLabel_probs"), "{text}");
}

#[test]
fn pictures_states_functions_and_flexible_shapes_are_told_in_words() {
    for (model, words) in [
        ("image-input", &["RGB picture 5 x 3 (width x height)"][..]),
        ("image-output", &["picture  RGB picture 5 x 3"]),
        ("state", &["state  s", "state fp16 1 x 3"]),
        ("functions", &["Function plain (default)", "Function alpha", "Function beta"]),
        ("shape-range", &["fp32 3 x 3, within 1..9 x 3"]),
        ("shape-enumerated", &["or one of 1 x 4; 2 x 4; 5 x 4"]),
        ("optional-default", &["fp32 2 x 3, optional"]),
        ("constexpr18-lut-6bit", &["lut_to_dense (6 bits)", "21 parameters"]),
        ("constexpr18-int4-blockwise", &["blockwise_shift_scale (4 bits)"]),
        ("conv", &["com.github.apple.coremltools.version", "9.0"]),
    ] {
        let text = text(&format!("packages/{model}.mlpackage"));
        words.iter().for_each(|w| assert!(text.contains(w), "no {w:?} in {text}"));
    }
}

#[test]
fn compiled_models_and_text_are_inspected_too() {
    let seen = inspect("mlmodelc/silero-int8.mlmodelc");
    assert_eq!(seen["container"], "compiled model");
    assert!(!names(&seen["model"]["functions"][0]["inputs"], "name").is_empty());
    text("mlmodelc/silero-int8.mlmodelc");
    let seen = inspect("mil/silero-vad.mil");
    assert_eq!(seen["container"], "MIL text");
    text("mil/silero-vad.mil");
}

/// `not-a-program` is a neural network, `pipeline` holds it and a program.
#[test]
fn the_interface_of_other_model_types_is_shown_too() {
    let seen = inspect("bad/packages/not-a-program.mlpackage");
    assert_eq!(seen["model"]["type"], "neuralNetwork");
    let function = &seen["model"]["functions"][0];
    assert_eq!(
        (names(&function["inputs"], "name"), names(&function["outputs"], "name")),
        (vec!["x".into()], vec!["y".into()])
    );
    assert!(seen["ops"].is_null());
    assert!(text("bad/packages/not-a-program.mlpackage").contains("of type neuralNetwork"));
    let seen = inspect("bad/packages/pipeline.mlpackage");
    assert_eq!(names(&seen["model"]["stages"], "name"), ["body", "head"]);
    text("bad/packages/pipeline.mlpackage");
    anemone(["show", "bad/packages/not-a-program.mlpackage"]).fails(&["neuralNetwork", "only ML programs"]);
    anemone(["run", "bad/packages/pipeline.mlpackage", "--random", "1"]).fails(&[
        "stage 1 \"head\" of the pipeline",
        "neuralNetwork",
        "a stage that runs is of type mlProgram, nonMaximumSuppression",
    ]);
}

#[test]
fn stages_of_inner_pipelines_and_defaults_are_shown() {
    let seen = text("interfaces/nested-two/model.mlpackage");
    assert!(seen.contains("Stage 1 head: pipeline") && seen.contains("Stage 1.0: mlProgram"), "{seen}");
    let seen = text("interfaces/optional-int/model.mlpackage");
    assert!(seen.contains("int32 1, optional: 3"), "{seen}");
}

#[test]
fn a_single_model_file_is_inspected_and_says_why_it_does_not_run() {
    let folder = tempfile::tempdir().unwrap();
    let model = "bad/packages/not-a-program.mlpackage/Data/com.apple.CoreML/model.mlmodel";
    copy(&corpus(model), &folder.path().join("a.mlmodel"));
    let seen = anemone_in(folder.path(), ["inspect", "a.mlmodel", "--json"]).json("anemone.inspect/1");
    assert_eq!((&seen["container"], &seen["model"]["type"]), (&"model file".into(), &"neuralNetwork".into()));
    anemone_in(folder.path(), ["run", "a.mlmodel"]).fails(&["a.mlmodel", "neuralNetwork"]);
    assert_eq!(list(folder.path()), ["a.mlmodel"]);
}
