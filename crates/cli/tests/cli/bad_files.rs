//! Damaged files: one error that names the file and the place in it, status 2, and nothing written.

use crate::command::{Ran, anemone, anemone_in, copy, corpus, corpus_list, list};
use crate::protobuf::{external, field, model, node, value};
use std::fs;
use std::path::Path;

/// What an error about each package under `corpus/bad/packages` must say.
const PACKAGES: &[(&str, &[&str])] = &[
    ("constant-rank-differs", &["const \"w\"", "rank 3"]),
    ("constant-too-short", &["const \"w\"", "2 elements", "16"]),
    ("constant-without-value", &["const \"w\"", "`val`"]),
    ("cycle", &["relu \"a\"", "\"b\"", "cycles"]),
    ("manifest-missing", &["Manifest.json", "missing"]),
    ("manifest-path-absolute", &["Manifest.json", "/com.apple.CoreML/model.mlmodel", "absolute"]),
    ("manifest-path-outside", &["Manifest.json", "../com.apple.CoreML/model.mlmodel", ".."]),
    ("model-cut-off", &["model.mlmodel", "at byte"]),
    ("model-missing", &["model.mlmodel", "missing"]),
    ("name-defined-twice", &["relu \"a\"", "twice"]),
    ("name-leaves-its-block", &["add \"y\"", "\"inner\""]),
    ("name-undefined", &["add \"y\"", "\"nowhere\""]),
    ("opset-unknown", &["CoreML77", "CoreML7"]),
    ("opset-without-body", &["CoreML8", "CoreML7"]),
    ("output-undefined", &["outputs", "\"y\""]),
    ("type-unknown", &["relu \"y\"", "99"]),
    ("weight-dims-overflow", &["const \"w\"", "1099511627776"]),
    ("weight-file-absolute", &["const \"w\"", "/etc/hostname"]),
    ("weight-file-cut-off", &["weight.bin", "150 bytes", "at byte 72"]),
    ("weight-file-outside", &["const \"w\"", "../../../weight.bin"]),
    ("weight-of-other-size", &["const \"w\"", "48 bytes", "64 bytes"]),
    ("weight-of-other-type", &["const \"w\"", "fp16", "fp32"]),
    ("weight-offset-beyond-file", &["weight.bin", "4096", "192 bytes"]),
    ("weights-missing", &["weight.bin", "missing"]),
];

#[test]
fn every_bad_package_is_refused_by_every_verb_that_opens_it() {
    let mut told: Vec<&str> = PACKAGES.iter().map(|(name, _)| *name).collect();
    told.extend(["not-a-program", "pipeline"]);
    for name in corpus_list("bad/packages").iter().filter_map(|n| n.strip_suffix(".mlpackage")) {
        assert!(told.contains(&name), "no words for {name}");
    }
    for (name, words) in PACKAGES {
        let package = format!("bad/packages/{name}.mlpackage");
        let words: Vec<&str> = words.iter().copied().chain([package.as_str()]).collect();
        for more in [&["inspect"][..], &["show"], &["plan"], &["run", "--random", "1"]] {
            anemone(more.iter().chain([&package.as_str()])).fails(&words);
        }
    }
}

#[test]
fn every_bad_manifest_is_refused() {
    for name in corpus_list("bad/manifest") {
        let folder = tempfile::tempdir().unwrap();
        copy(&corpus("packages/conv.mlpackage"), &folder.path().join("a.mlpackage"));
        copy(&corpus(&format!("bad/manifest/{name}")), &folder.path().join("a.mlpackage/Manifest.json"));
        anemone_in(folder.path(), ["inspect", "a.mlpackage"]).fails(&["a.mlpackage: Manifest.json: "]);
    }
}

#[test]
fn every_bad_model_file_is_refused() {
    for name in corpus_list("bad/model") {
        let path = format!("bad/model/{name}");
        let error = anemone(["inspect", &path]).fails(&[&path, "at byte"]);
        assert!(error.len() < 600, "{} bytes of error: {error}", error.len());
    }
}

#[test]
fn every_bad_onnx_file_is_refused_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("o.mlpackage");
    for name in corpus_list("bad/onnx") {
        let path = format!("bad/onnx/{name}");
        anemone(["convert", &path, "-o", output.to_str().unwrap()]).fails(&[&path, "ONNX model: "]);
        assert!(list(folder.path()).is_empty());
    }
}

#[test]
fn every_bad_array_file_is_refused() {
    for (kind, option) in [("npy", "--input"), ("npz", "--inputs"), ("safetensors", "--inputs")] {
        for name in corpus_list(&format!("bad/{kind}")) {
            let path = format!("bad/{kind}/{name}");
            let argument = if option == "--input" { format!("x={path}") } else { path.clone() };
            anemone(["run", "packages/conv.mlpackage", option, &argument]).fails(&[&path]);
        }
    }
}

/// The program is in `model.mil`; what only describes it may be of a form that nobody has documented.
#[test]
fn a_bad_description_of_a_compiled_model_is_told_and_the_program_still_shown() {
    for name in corpus_list("bad/coremldata") {
        let folder = tempfile::tempdir().unwrap();
        copy(&corpus("mlmodelc/silero-int8.mlmodelc"), &folder.path().join("a.mlmodelc"));
        copy(&corpus(&format!("bad/coremldata/{name}")), &folder.path().join("a.mlmodelc/coremldata.bin"));
        let run = anemone_in(folder.path(), ["inspect", "a.mlmodelc"]);
        assert!(run.err.contains("coremldata.bin is not readable"), "{name}: {run:?}");
        assert!(run.report().contains("audio_input"), "{name}");
    }
}

/// A damaged file may happen to be valid; if not, there is one error with its path.
#[track_caller]
fn sane(run: Ran, path: &str) -> bool {
    if run.status == Some(0) {
        return true;
    }
    run.fails(&[path]);
    false
}

#[test]
fn cut_and_flipped_packages_are_refused_or_still_valid() {
    let folder = tempfile::tempdir().unwrap();
    let package = folder.path().join("a.mlpackage");
    copy(&corpus("packages/nested-cond.mlpackage"), &package);
    let file = package.join("Data/com.apple.CoreML/model.mlmodel");
    let whole = fs::read(&file).unwrap();
    let mut refused = 0;
    let mut judge = |bytes: &[u8], verb: &[&str]| {
        fs::write(&file, bytes).unwrap();
        refused +=
            usize::from(!sane(anemone_in(folder.path(), verb.iter().chain(&["a.mlpackage"])), "a.mlpackage"));
    };
    for (i, at) in (0..whole.len()).step_by(31).enumerate() {
        judge(&whole[..at], &["inspect"]);
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (i % 8);
        judge(&flipped, if i % 2 == 0 { &["show"] } else { &["run", "--random", "1"] });
    }
    assert!(refused > whole.len() / 31, "only {refused} were refused");
}

#[test]
fn cut_and_flipped_onnx_files_are_refused_or_still_valid() {
    let folder = tempfile::tempdir().unwrap();
    let whole = fs::read(corpus("models/mnist.onnx")).unwrap();
    let mut refused = 0;
    // Most of the file is weights; structure is at both ends.
    let places = (0..600).step_by(29).chain((600..whole.len()).step_by(1117));
    for (i, at) in places.enumerate() {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (i % 8);
        for bytes in [&whole[..at], &flipped] {
            fs::write(folder.path().join("m.onnx"), bytes).unwrap();
            let run = anemone_in(folder.path(), ["convert", "m.onnx", "--no-check", "-o", "o.mlpackage"]);
            if sane(run, "m.onnx") {
                fs::remove_dir_all(folder.path().join("o.mlpackage")).unwrap();
            } else {
                refused += 1;
            }
            assert_eq!(list(folder.path()), ["m.onnx"]);
        }
    }
    assert!(refused > 40, "only {refused} were refused");
}

fn convert_bytes(folder: &Path, bytes: &[u8]) -> Ran {
    fs::write(folder.join("m.onnx"), bytes).unwrap();
    anemone_in(folder, ["convert", "m.onnx"])
}

#[test]
fn all_nodes_that_cannot_be_converted_are_listed_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let nodes = [
        node("Relu", "fine", &["x"], &["a"], None),
        node("Quux", "first", &["a"], &["b"], Some(("depth", 3))),
        node("StringNormalizer", "second", &["b"], &["y"], None),
    ];
    let bytes = model(&nodes, &[], &[value("x", &[Ok(4)])], &[value("y", &[Ok(4)])]);
    let error = convert_bytes(folder.path(), &bytes).fails(&[
        "m.onnx",
        "\"first\" (Quux, opset 17)",
        "depth=3",
        "\"second\" (StringNormalizer, opset 17)",
    ]);
    assert!(!error.contains("fine"), "{error}");
    assert_eq!(list(folder.path()), ["m.onnx"]);
}

#[test]
fn graphs_with_cycles_undefined_names_and_names_twice_are_refused() {
    let (x, y) = (value("x", &[Ok(4)]), value("y", &[Ok(4)]));
    let relu = |name: &str, from: &str, to: &str| node("Relu", name, &[from], &[to], None);
    for (nodes, words) in [
        (vec![relu("a", "q", "p"), relu("b", "p", "q"), relu("c", "q", "y")], &["\"a\"", "`q`"][..]),
        (vec![relu("a", "nowhere", "y")], &["\"a\"", "`nowhere`"]),
        (vec![relu("a", "x", "p"), relu("b", "x", "p"), relu("c", "p", "y")], &["\"b\"", "`p`"]),
        (vec![relu("a", "x", "p")], &["`y`"]),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let bytes = model(&nodes, &[], std::slice::from_ref(&x), std::slice::from_ref(&y));
        let words: Vec<&str> = words.iter().copied().chain(["m.onnx"]).collect();
        convert_bytes(folder.path(), &bytes).fails(&words);
        assert_eq!(list(folder.path()), ["m.onnx"]);
    }
}

#[test]
fn external_data_stays_beside_the_model_and_inside_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("own");
    fs::create_dir(&own).unwrap();
    fs::write(folder.path().join("secret"), [0; 64]).unwrap();
    fs::write(own.join("short"), [0; 8]).unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink("../secret", own.join("link")).unwrap();
    let absolute = folder.path().join("secret");
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[("location", "../secret")], "../secret"),
        (&[("location", absolute.to_str().unwrap())], "secret"),
        #[cfg(unix)]
        (&[("location", "link")], "link"),
        (&[("location", "absent")], "absent"),
        (&[("location", "short")], "short"),
        (
            &[("location", "short"), ("offset", "18446744073709551615"), ("length", "16")],
            "18446744073709551615",
        ),
        (&[("location", "short"), ("offset", "4"), ("length", "16")], "short"),
        (&[("location", "short"), ("length", "-16")], "-16"),
        (&[], "location"),
    ];
    for (entries, word) in cases {
        let add = node("Add", "n", &["x", "w"], &["y"], None);
        let weight = external("w", &[4], entries);
        let bytes = model(&[add], &[weight], &[value("x", &[Ok(4)])], &[value("y", &[Ok(4)])]);
        convert_bytes(&own, &bytes).fails(&["m.onnx", word]);
        assert!(!own.join("m.mlpackage").exists());
    }
}

#[test]
fn tensors_whose_size_overflows_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let add = node("Add", "n", &["x", "w"], &["y"], None);
    let dims = [1 << 40, 1 << 40];
    fs::write(folder.path().join("data"), [0; 64]).unwrap();
    let weight = external("w", &dims, &[("location", "data")]);
    let bytes = model(&[add], &[weight], &[value("x", &[Ok(4)])], &[value("y", &[Ok(4)])]);
    convert_bytes(folder.path(), &bytes).fails(&["m.onnx", "1099511627776"]);
    let x = value("x", &[Ok(1 << 62), Ok(1 << 62)]);
    let relu = node("Relu", "n", &["x"], &["y"], None);
    let bytes = model(&[relu], &[], &[x], &[value("y", &[Ok(1 << 62), Ok(1 << 62)])]);
    convert_bytes(folder.path(), &bytes).fails(&["m.onnx", "4611686018427387904"]);
    // A field that announces more bytes than there are.
    let mut cut = field(7, vec![0; 100]);
    cut.truncate(20);
    convert_bytes(folder.path(), &cut).fails(&["m.onnx", "100 bytes"]);
    assert_eq!(list(folder.path()), ["data", "m.onnx"]);
}
