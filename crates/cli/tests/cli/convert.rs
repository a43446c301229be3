//! `convert`.

use crate::command::{Ran, anemone_in, copy, corpus, list, names};
use crate::protobuf;
use anemone_formats::safetensors;
use std::fs;
use tempfile::TempDir;

/// A folder with `mnist.onnx` in it.
fn mnist() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy(&corpus("models/mnist.onnx"), &folder.path().join("mnist.onnx"));
    folder
}

fn convert(folder: &TempDir, more: &[&str]) -> Ran {
    anemone_in(folder.path(), ["convert", "mnist.onnx"].iter().chain(more))
}

#[test]
fn the_report_says_what_came_in_went_out_and_where_it_runs() {
    let folder = mnist();
    let text = convert(&folder, &[]).report();
    for word in [
        "mnist.onnx -> mnist.mlpackage",
        "8 nodes -> 10 ops, fp16, ios17",
        "Input3",
        "fp32 1 x 1 x 28 x 28",
        "Plus214_Output_0",
        "conv 2",
        "Where it would run: m4",
        "of the estimated cost",
        "largest error",
        "Next: anemone ",
    ] {
        assert!(text.contains(word), "no {word:?} in {text}");
    }
    assert_eq!(list(folder.path()), ["mnist.mlpackage", "mnist.onnx"]);
}

#[test]
fn json_says_the_same_in_fields() {
    let folder = mnist();
    let json = convert(&folder, &["--json", "--units", "all"]).json("anemone.convert/1");
    assert_eq!((&json["source"], &json["output"]), (&"mnist.onnx".into(), &"mnist.mlpackage".into()));
    assert_eq!(json["source_bytes"], fs::metadata(folder.path().join("mnist.onnx")).unwrap().len());
    assert_eq!(names(&json["interface"]["inputs"], "name"), ["Input3"]);
    assert_eq!(names(&json["interface"]["outputs"], "name"), ["Plus214_Output_0"]);
    assert!(names(&json["ops"], "name").contains(&"conv".to_owned()));
    assert_eq!((&json["plan"]["schema"], &json["plan"]["units"]), (&"anemone.plan/1".into(), &"all".into()));
    let checked = &json["check"]["outputs"][0];
    assert_eq!(checked["name"], "Plus214_Output_0");
    assert!(checked["cosine"].as_f64().unwrap() > 0.999 && checked["same_top"] == true, "{checked}");
}

/// Expected values are what ONNX Runtime computes.
#[test]
fn the_package_computes_what_onnx_runtime_computes() {
    let folder = mnist();
    let [inputs, expected] = ["inputs", "expected"]
        .map(|n| corpus(&format!("models/mnist.{n}.safetensors")).to_str().unwrap().to_owned());
    let truth = safetensors::SafeTensors::read(&fs::read(&expected).unwrap().into()).unwrap();
    let largest = truth.tensors.values().flat_map(|t| t.to_f64s()).fold(0.0, |m: f64, v| m.max(v.abs()));
    for (precision, share) in [("fp32", 1e-4), ("fp16", 5e-3)] {
        convert(&folder, &["--precision", precision, "--no-check"]).report();
        let atol = (largest * share).to_string();
        let verify = ["verify", "mnist.mlpackage", "--inputs", &inputs, "--expected", &expected];
        anemone_in(folder.path(), verify.into_iter().chain(["--atol", &atol, "--rtol", "0"])).report();
    }
}

/// Core ML asks for specification version 6 on iOS 15, 7 on iOS 16 and so on.
#[test]
fn the_target_decides_the_specification_version() {
    let folder = mnist();
    for (target, version) in [("ios15", 6), ("macos13", 7), ("ios17", 8), ("macos15", 9)] {
        convert(&folder, &["--target", target, "--no-check", "-o", "o.mlpackage"]).report();
        let seen = anemone_in(folder.path(), ["inspect", "o.mlpackage", "--json"]).json("anemone.inspect/1");
        assert_eq!(seen["model"]["specification_version"], version, "{target}");
    }
    assert_eq!(list(folder.path()), ["mnist.onnx", "o.mlpackage"]);
}

#[test]
fn the_same_model_gives_the_same_bytes() {
    let folder = mnist();
    for out in ["a.mlpackage", "b.mlpackage"] {
        convert(&folder, &["--no-check", "-o", out]).report();
    }
    for file in
        ["Manifest.json", "Data/com.apple.CoreML/model.mlmodel", "Data/com.apple.CoreML/weights/weight.bin"]
    {
        let [a, b] =
            ["a", "b"].map(|n| fs::read(folder.path().join(format!("{n}.mlpackage/{file}"))).unwrap());
        assert_eq!(a, b, "{file}");
    }
}

#[test]
fn a_package_that_is_there_is_replaced_whole() {
    let folder = mnist();
    convert(&folder, &["--no-check"]).report();
    fs::write(folder.path().join("mnist.mlpackage/stale"), b"old").unwrap();
    convert(&folder, &["--no-check"]).report();
    assert_eq!(list(&folder.path().join("mnist.mlpackage")), ["Data", "Manifest.json"]);
    assert_eq!(list(folder.path()), ["mnist.mlpackage", "mnist.onnx"]);
}

#[test]
fn input_fixes_a_symbolic_dim() {
    let folder = tempfile::tempdir().unwrap();
    let relu = protobuf::node("Relu", "r", &["x"], &["y"], None);
    let (x, y) = (protobuf::value("x", &[Err("n"), Ok(4)]), protobuf::value("y", &[Err("n"), Ok(4)]));
    fs::write(folder.path().join("free.onnx"), protobuf::model(&[relu], &[], &[x], &[y])).unwrap();
    let convert =
        |more: &[&str]| anemone_in(folder.path(), ["convert", "free.onnx", "--json"].iter().chain(more));
    let kind = |json: serde_json::Value| json["interface"]["inputs"][0]["type"].as_str().unwrap().to_owned();
    assert!(kind(convert(&[]).json("anemone.convert/1")).contains("within"));
    assert_eq!(kind(convert(&["--input", "x:3x4"]).json("anemone.convert/1")), "fp32 3 x 4");
    convert(&["--input", "x:3x5"]).fails(&["free.onnx", "`x`", "[3, 5]"]);
    convert(&["--input", "z:3x4"]).fails(&["free.onnx", "`z`", "\"x\""]);
}
