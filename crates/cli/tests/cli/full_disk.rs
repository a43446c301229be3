//! Writing fails half way: nothing must be left.

use crate::command::{Ran, copy, corpus, list, ran};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Runs `script` in `folder` where no file may grow beyond a few kilobytes; the signal for that is ignored, so that the
/// write itself fails, as on a full disk.
fn limited(folder: &Path, script: &str) -> Ran {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("trap '' XFSZ; ulimit -f 8; exec \"$A\" {script}")]);
    command.env("A", env!("CARGO_BIN_EXE_anemone")).current_dir(folder);
    ran(command)
}

#[test]
fn convert_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    copy(&corpus("models/mnist.onnx"), &folder.path().join("m.onnx"));
    limited(folder.path(), "convert m.onnx -o out.mlpackage")
        .fails(&["out.mlpackage", "nothing was written"]);
    assert_eq!(list(folder.path()), ["m.onnx"]);
}

#[test]
fn convert_leaves_the_package_that_was_there() {
    let folder = tempfile::tempdir().unwrap();
    copy(&corpus("models/mnist.onnx"), &folder.path().join("m.onnx"));
    copy(&corpus("packages/conv.mlpackage"), &folder.path().join("m.mlpackage"));
    let manifest = fs::read(folder.path().join("m.mlpackage/Manifest.json")).unwrap();
    limited(folder.path(), "convert m.onnx").fails(&["m.mlpackage", "nothing was written"]);
    assert_eq!(list(folder.path()), ["m.mlpackage", "m.onnx"]);
    assert_eq!(fs::read(folder.path().join("m.mlpackage/Manifest.json")).unwrap(), manifest);
}

#[test]
fn run_leaves_neither_outputs_nor_their_folder() {
    let folder = tempfile::tempdir().unwrap();
    copy(&corpus("models/mnist.onnx"), &folder.path().join("m.onnx"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_anemone"));
    command.args(["convert", "m.onnx", "--no-check"]).current_dir(folder.path());
    ran(command).report();
    // A limit of no blocks at all, because the outputs are small.
    let mut command = Command::new("sh");
    let script = "trap '' XFSZ; ulimit -f 0; exec \"$A\" run m.mlpackage --random 1 -o out";
    command.args(["-c", script]).env("A", env!("CARGO_BIN_EXE_anemone")).current_dir(folder.path());
    ran(command).fails(&["out/outputs.safetensors", "nothing was written"]);
    assert_eq!(list(folder.path()), ["m.mlpackage", "m.onnx"]);
}
