//! `verify`, on programs whose outputs NumPy worked out.

use crate::command::{anemone, anemone_in, corpus, corpus_json, corpus_list, document, fits};
use anemone_formats::{npy, safetensors};
use anemone_tensor::Tensor;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// The cases: folder name and what `meta.json` says.
fn cases() -> Vec<(String, Value)> {
    let all: Vec<(String, Value)> = corpus_list("cases")
        .into_iter()
        .map(|n| (n.clone(), corpus_json(&format!("cases/{n}/meta.json"))))
        .collect();
    assert!(all.len() >= 13);
    all
}

fn arguments(case: &str, meta: &Value, expected: &str) -> Vec<String> {
    let tolerance = &meta["strict"];
    let mut args: Vec<String> = ["verify", &format!("cases/{case}/model.mlpackage"), "--inputs"]
        .into_iter()
        .map(str::to_owned)
        .collect();
    args.extend([
        format!("cases/{case}/inputs.safetensors"),
        "--expected".into(),
        expected.into(),
        "--atol".into(),
        tolerance["atol"].to_string(),
        "--rtol".into(),
        tolerance["rtol"].to_string(),
    ]);
    if let Some(function) = meta["function"].as_str() {
        args.extend(["--function".into(), function.into()]);
    }
    args
}

fn tensors(path: &Path) -> BTreeMap<String, Tensor> {
    let bytes = std::fs::read(path).unwrap();
    safetensors::SafeTensors::read(&bytes.into()).unwrap().tensors.into_iter().collect()
}

#[test]
fn outputs_of_the_cases_are_as_expected() {
    for (case, meta) in cases().into_iter().filter(|(_, m)| m["labels"].is_null()) {
        let args = arguments(&case, &meta, &format!("cases/{case}/expected.safetensors"));
        let text = anemone(&args).report();
        assert!(text.contains("equal") && !text.contains("DIFFERS"), "{}: {text}", meta["test"]);
        let found = anemone(args.iter().map(String::as_str).chain(["--json"])).json("anemone.verify/1");
        assert_eq!(found["equal"], true);
        let expected = tensors(&corpus(&format!("cases/{case}/expected.safetensors")));
        assert_eq!(found["outputs"].as_array().unwrap().len(), expected.len());
    }
}

#[test]
fn a_difference_is_a_finding_with_its_worst_elements() {
    let folder = tempfile::tempdir().unwrap();
    for (case, meta) in cases() {
        let mut expected = tensors(&corpus(&format!("cases/{case}/expected.safetensors")));
        let Some((name, tensor)) = expected
            .iter()
            .find(|(_, t)| t.dtype().is_float() && t.len() > 1)
            .map(|(n, t)| (n.clone(), t.clone()))
        else {
            continue;
        };
        let mut values = tensor.to_f64s();
        let last = values.len() - 1;
        values[last] = if values[last].is_finite() { values[last] + 1000.0 } else { 7.0 };
        expected.insert(name.clone(), Tensor::from_f64s(tensor.dtype(), tensor.shape(), &values).unwrap());
        let file = folder.path().join("wrong.safetensors");
        let all: Vec<(String, Tensor)> = expected.into_iter().collect();
        std::fs::write(&file, safetensors::to_bytes(&all, &BTreeMap::new()).unwrap()).unwrap();
        let args = arguments(&case, &meta, file.to_str().unwrap());
        let text = anemone(&args).ended(1);
        fits(&text);
        assert!(text.contains("DIFFERS") && text.contains(&format!("Worst elements of {name}")), "{text}");
        let out = anemone(args.iter().map(String::as_str).chain(["--json"])).ended(1);
        let found = document(&out, "anemone.verify/1");
        assert_eq!(found["equal"], false);
        let differs =
            found["outputs"].as_array().unwrap().iter().find(|o| o["name"] == name.as_str()).unwrap();
        let index: Vec<usize> = tensor.shape().iter().map(|d| d - 1).collect();
        assert_eq!((&differs["outside"], &differs["worst"][0]["index"]), (&1.into(), &index.into()));
    }
}

#[test]
fn outputs_of_another_shape_and_unknown_ones_are_findings() {
    let folder = tempfile::tempdir().unwrap();
    let conv = cases().into_iter().find(|(_, m)| m["test"] == "made/conv_by_hand[3]").unwrap().0;
    let inputs = corpus(&format!("cases/{conv}/inputs.safetensors"));
    for (name, tensor) in [
        ("conv_0", Tensor::from_f32s([3], &[1.0, 2.0, 3.0]).unwrap()),
        ("nowhere", Tensor::from_f32s([1], &[1.0]).unwrap()),
    ] {
        let bytes = safetensors::to_bytes(&[(name.to_owned(), tensor)], &BTreeMap::new()).unwrap();
        std::fs::write(folder.path().join("e.safetensors"), bytes).unwrap();
        let model = corpus(&format!("cases/{conv}/model.mlpackage"));
        let args = ["verify", model.to_str().unwrap(), "--expected", "e.safetensors", "--inputs"];
        let found = anemone_in(folder.path(), args.into_iter().chain([inputs.to_str().unwrap(), "--json"]));
        let found = document(&found.ended(1), "anemone.verify/1");
        assert!(
            found["outputs"][0]["mismatch"]
                .as_str()
                .is_some_and(|m| m.contains("shape") || m.contains("not an output")),
            "{found}"
        );
    }
}

#[test]
fn nothing_to_compare_is_an_error() {
    let (case, meta) = cases().into_iter().find(|(_, m)| !m["labels"].is_null()).unwrap();
    let expected = format!("cases/{case}/expected.safetensors");
    anemone(arguments(&case, &meta, &expected)).fails(&["expected.safetensors", "no tensor"]);
}

#[test]
fn arrays_of_numpy_serve_as_inputs_and_expectations() {
    let folder = tempfile::tempdir().unwrap();
    let (case, meta) = cases().into_iter().find(|(_, m)| m["test"] == "made/conv_by_hand[3]").unwrap();
    for name in ["inputs", "expected"] {
        let all: Vec<_> = tensors(&corpus(&format!("cases/{case}/{name}.safetensors"))).into_iter().collect();
        assert_eq!(all.len(), 1, "one array a file");
        let mut bytes = Vec::new();
        npy::write(&mut bytes, &all[0].1).unwrap();
        std::fs::write(folder.path().join(format!("{name}.npy")), bytes).unwrap();
    }
    let input = format!("{}={}", "x", folder.path().join("inputs.npy").display());
    let model = format!("cases/{case}/model.mlpackage");
    let expected = format!("cases/{case}/expected.safetensors");
    anemone(["verify", &model, "--input", &input, "--expected", &expected]).report();
    let tolerance = &meta["strict"];
    assert!(tolerance["atol"].as_f64().unwrap() < 1e-2);
}

#[test]
fn an_overflow_is_named_with_its_range_and_the_rewrite_that_helps() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.npy");
    let x = Tensor::from_f32s([1, 3], &[1.0, -20.0, 300.0]).unwrap();
    npy::write(&mut std::fs::File::create(&file).unwrap(), &x).unwrap();
    let input = format!("x={}", file.display());
    let args = ["verify", "precision/square.mlpackage", "--find-overflow", "--input", &input];
    let ran = anemone(args);
    assert_eq!(ran.status, Some(1), "{ran:?}");
    assert!(
        ran.out.contains("makes 1 elements infinite") && ran.out.contains("scaled-square norm"),
        "{ran:?}"
    );
    fits(&ran.out);
    let ran = anemone(args.into_iter().chain(["--json"]));
    let found: Value = serde_json::from_str(&ran.out).unwrap();
    let first = &found["findings"][0];
    assert_eq!((&found["schema"], &first["kind"]), (&"anemone.overflow/1".into(), &"mul".into()));
    assert_eq!((&first["fault"], &first["fp32"]["max"]), (&"infinite".into(), &90_000.0.into()));
    assert_eq!(first["inputs"][0]["absmax"], 300.0);
}

#[test]
fn where_fp16_holds_nothing_is_found() {
    let args = ["verify", "precision/clean.mlpackage", "--find-overflow", "--random", "1", "--loss", "2%"];
    let text = anemone(args).report();
    assert!(text.starts_with("fp16 holds for these inputs"), "{text}");
}
