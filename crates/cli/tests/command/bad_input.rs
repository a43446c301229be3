//! Bad input gets one clear error with its place and exit status 2: no panic, no hang, nothing half written.

use crate::common::{anemone, anemone_in, arg, corpus, finish};
use std::fs;
use std::path::Path;
use std::process::Command;

fn entries(folder: &str) -> Vec<String> {
    let list = fs::read_dir(corpus(folder)).expect("a folder");
    let mut names: Vec<String> =
        list.map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Copies a folder.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("makes a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).expect("copies");
        }
    }
}

#[test]
fn every_damaged_package_is_refused_by_every_verb_that_runs_it() {
    let mut seen = 0;
    for name in entries("bad/packages").iter().filter(|n| n.ends_with(".mlpackage")) {
        let path = format!("bad/packages/{name}");
        for args in [&["run", &path, "--random", "1"][..], &["show", &path], &["plan", &path]] {
            anemone(args).fails(&format!("{args:?}"), &[name.as_str()]);
        }
        seen += 1;
    }
    assert!(seen >= 20, "{seen} packages");
}

#[test]
fn every_damaged_onnx_file_is_refused_and_nothing_is_written() {
    let folder = tempfile::tempdir().expect("a folder");
    for name in entries("bad/onnx") {
        let source = corpus("bad/onnx").join(&name);
        let args = ["convert", arg(&source), "-o", "out.mlpackage"];
        anemone_in(folder.path(), &args).fails(&name, &[name.as_str()]);
        assert_eq!(fs::read_dir(folder.path()).expect("lists").count(), 0, "{name} leaves something behind");
    }
}

#[test]
fn cut_off_and_flipped_models_never_panic() {
    let folder = tempfile::tempdir().expect("a folder");
    let whole = fs::read(corpus("models/mnist.onnx")).expect("reads");
    let file = folder.path().join("a.onnx");
    for i in 0..24 {
        let mut bytes = whole.clone();
        let at = (i * 7919) % bytes.len();
        if i % 2 == 0 {
            bytes.truncate(at)
        } else {
            bytes[at] ^= 1 << (i % 8)
        }
        fs::write(&file, &bytes).expect("writes");
        let ran = anemone_in(folder.path(), &["convert", "a.onnx"]);
        assert!(ran.status == 0 || ran.status == 2, "{i}: {} {}", ran.status, ran.stderr);
        assert!(!ran.stderr.contains("panicked"), "{i}: {}", ran.stderr);
    }
}

#[test]
fn a_link_out_of_the_package_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let package = folder.path().join("a.mlpackage");
    copy(&corpus("packages/conv.mlpackage"), &package);
    let weights = package.join("Data/com.apple.CoreML/weights/weight.bin");
    let model = package.join("Data/com.apple.CoreML/model.mlmodel");
    let target = if weights.exists() { weights } else { model };
    let secret = folder.path().join("secret");
    fs::rename(&target, &secret).expect("moves");
    std::os::unix::fs::symlink(&secret, &target).expect("links");
    anemone(&["run", arg(&package), "--random", "1"]).fails("link", &["leads out of the package"]);
}

#[test]
fn a_full_disk_leaves_nothing_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = corpus("models/fastestdet.onnx");
    let mut command = Command::new("sh");
    // A limit on the size of files stands for a disk that is full: writes fail in the middle.
    let script = "trap '' XFSZ; ulimit -f 16; exec \"$0\" convert \"$1\" -o out.mlpackage";
    command.args(["-c", script, env!("CARGO_BIN_EXE_anemone"), arg(&model)]).current_dir(folder.path());
    finish(command, "convert").fails("full disk", &["out.mlpackage"]);
    assert_eq!(fs::read_dir(folder.path()).expect("lists").count(), 0);
}

#[test]
fn places_that_cannot_be_written_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = corpus("models/mnist.onnx");
    fs::write(folder.path().join("file.mlpackage"), "x").expect("writes");
    let convert = |out: &str| anemone_in(folder.path(), &["convert", arg(&model), "-o", out]);
    convert("file.mlpackage").fails("a file in the way", &["file.mlpackage", "is a file"]);
    convert("no/such/folder.mlpackage").fails("no folder", &["does not exist"]);
    convert("out.mlmodel").fails("another ending", &["must end in .mlpackage"]);
    assert_eq!(fs::read_dir(folder.path()).expect("lists").count(), 1);
}

#[test]
fn words_that_mean_nothing_are_refused_with_those_that_do() {
    let model = "packages/conv.mlpackage";
    let cases: &[(&[&str], &[&str])] = &[
        (&["plan", model, "--device", "m99"], &["m99", "m4"]),
        (&["plan", model, "--function", "other"], &["other", "main"]),
        (&["show", model, "--function", "other"], &["other"]),
        (&["run", model, "--input", "nothing=models/mnist.onnx"], &["mnist.onnx"]),
        (&["run", model], &["missing"]),
        (&["run", "absent.mlpackage", "--random", "1"], &["absent.mlpackage", "does not exist"]),
        (&["inspect", "models/mnist.onnx"], &["mnist.onnx"]),
        (&["run", model, "--random", "1", "--labels", "absent.txt"], &["absent.txt"]),
        (
            &["convert", "models/mnist.onnx", "--input", "Input3:1x2x3", "-o", "x.mlpackage"],
            &["Input3", "[1, 1, 28, 28]"],
        ),
        (
            &["convert", "models/mnist.onnx", "--input", "other:1x2x3", "-o", "x.mlpackage"],
            &["other", "Input3"],
        ),
    ];
    for (args, words) in cases {
        anemone(args).fails(&format!("{args:?}"), words);
    }
}

#[test]
fn inputs_of_another_type_or_shape_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = arg(&corpus("packages/conv.mlpackage")).to_owned();
    let wrong = arg(&corpus("models/mnist.inputs.safetensors")).to_owned();
    anemone_in(folder.path(), &["run", &model, "--inputs", &wrong])
        .fails("another model's inputs", &["Input3"]);
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let mut command = Command::new("sh");
    let script = "\"$0\" show \"$1\" | head -n 1";
    command.args([
        "-c",
        script,
        env!("CARGO_BIN_EXE_anemone"),
        arg(&corpus("mlmodelc/silero-int8.mlmodelc")),
    ]);
    let ran = finish(command, "show");
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
    assert!(ran.stdout.starts_with("program("), "{}", ran.stdout);
}
