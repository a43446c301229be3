//! Requests that cannot be met: names, shapes and types that do not fit, and places that cannot be read or written.

use crate::command::{anemone, anemone_in, copy, corpus, list, ran};
use anemone_formats::safetensors;
use anemone_tensor::{DType, Tensor};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

#[test]
fn arguments_that_are_not_known_are_refused_with_the_known_ones() {
    let package = "packages/conv.mlpackage";
    for (args, words) in [
        (&["plan", package, "--device", "pdp11"][..], &["pdp11", "anemone devices"][..]),
        (&["plan", package, "--units", "npu"], &["npu", "cpu-and-ne", "cpu-only"]),
        (&["plan", package, "--function", "f"], &["\"f\"", "\"main\""]),
        (&["run", package, "--function", "f", "--random", "1"], &["\"f\"", "\"main\""]),
        (&["run", package, "--random", "many"], &["many"]),
        (&["run", package, "--input", "x"], &["name=FILE"]),
        (&["run", package, "--image", "x=a.png,zoom=2"], &["zoom=2", "scale="]),
        (&["run", package, "--image", "x=a.png,crop=7"], &["crop"]),
        (&["convert", "models/mnist.onnx", "--target", "ios3"], &["ios3", "ios17"]),
        (&["convert", "models/mnist.onnx", "--precision", "int8"], &["int8", "fp16"]),
        (&["convert", "models/mnist.onnx", "--device", "pdp11"], &["pdp11", "anemone devices"]),
        (&["convert", "models/mnist.onnx", "--input", "Input3"], &["name:1x3x224x224"]),
        (&["convert", "models/mnist.onnx", "--input", "Input3:1x0"], &["Input3:1x0"]),
        (&["convert", "models/mnist.onnx", "--input", "other:1x1"], &["`other`", "Input3"]),
        (&["convert", "models/mnist.onnx", "--input", "Input3:1x1x28x29"], &["`Input3`", "[1, 1, 28, 28]"]),
        (&["convert", "models/mnist.onnx", "-o", "mnist.zip"], &["mnist.zip", ".mlpackage"]),
        (&["convert", package], &["conv.mlpackage", ".onnx"]),
        (&["polish", package], &["polish"]),
    ] {
        anemone(args).fails(words);
    }
    assert!(!corpus("models/mnist.mlpackage").exists() && !corpus("mnist.zip").exists());
}

#[test]
fn models_that_are_not_there_or_something_else_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("words.mil"), "To be, or not to be").unwrap();
    fs::write(folder.path().join("noise.mil"), [0xff, 0xfe, 0]).unwrap();
    fs::write(folder.path().join("empty.onnx"), b"").unwrap();
    fs::create_dir(folder.path().join("empty.mlpackage")).unwrap();
    fs::create_dir(folder.path().join("empty.mlmodelc")).unwrap();
    fs::create_dir(folder.path().join("folder.onnx")).unwrap();
    for verb in ["show", "inspect", "run", "plan"] {
        for (model, word) in [
            ("absent.mlpackage", "does not exist"),
            ("empty.mlpackage", "Manifest.json"),
            ("empty.mlmodelc", "model.mil"),
            ("words.mil", "1:1"),
            ("noise.mil", "UTF-8"),
        ] {
            anemone_in(folder.path(), [verb, model]).fails(&[model, word]);
        }
    }
    for (source, word) in [
        ("absent.onnx", "does not exist"),
        ("folder.onnx", "folder"),
        ("empty.onnx", "no graph"),
        ("words.mil", ".onnx"),
    ] {
        anemone_in(folder.path(), ["convert", source]).fails(&[source, word]);
    }
}

/// A safetensors file of these tensors in `folder`.
fn inputs(folder: &Path, tensors: &[(&str, Tensor)]) {
    let tensors: Vec<(String, Tensor)> = tensors.iter().map(|(n, t)| ((*n).to_owned(), t.clone())).collect();
    fs::write(folder.join("in.safetensors"), safetensors::to_bytes(&tensors, &BTreeMap::new()).unwrap())
        .unwrap();
}

#[test]
fn inputs_that_are_missing_unknown_or_of_another_type_or_shape_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let zeros = |dtype, shape: &[usize]| Tensor::zeros(dtype, shape).unwrap();
    let fine = || zeros(DType::F32, &[2, 3]);
    let run = |package: &str, tensors: &[(&str, Tensor)], words: &[&str]| {
        inputs(folder.path(), tensors);
        let package = corpus(&format!("packages/{package}.mlpackage"));
        let args = ["run", package.to_str().unwrap(), "--inputs", "in.safetensors", "-o", "out"];
        anemone_in(folder.path(), args).fails(words);
        assert_eq!(list(folder.path()), ["in.safetensors"]);
    };
    run("optional-default", &[], &["`x`", "missing", "fp32 [2, 3]"]);
    run("optional-default", &[("y", fine())], &["`x`", "missing", "\"y\""]);
    run("optional-default", &[("x", fine()), ("z", fine())], &["`z`", "\"x\"", "\"y\""]);
    run("optional-default", &[("x", zeros(DType::I32, &[2, 3]))], &["`x`", "int32", "fp32"]);
    run("optional-default", &[("x", zeros(DType::F32, &[3, 2]))], &["`x`", "[3, 2]", "[2, 3]"]);
    run("optional-default", &[("x", zeros(DType::F32, &[6]))], &["`x`", "[6]", "[2, 3]"]);
    run("shape-range", &[("x", zeros(DType::F32, &[10, 3]))], &["`x`", "[10, 3]", "1..9"]);
    run("shape-range", &[("x", zeros(DType::F32, &[0, 3]))], &["`x`", "[0, 3]", "1..9"]);
    run("shape-enumerated", &[("x", zeros(DType::F32, &[3, 4]))], &["`x`", "[3, 4]", "[5, 4]"]);
    run("image-input", &[("x", zeros(DType::U8, &[5, 3, 3]))], &["`x`", "3 x 5", "5 x 3"]);
    run("image-input", &[("x", zeros(DType::U8, &[3, 5]))], &["`x`", "[3, 5]", "[height, width, 3]"]);
}

#[test]
fn files_of_inputs_that_do_not_serve_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("words.txt"), "words").unwrap();
    fs::write(path("words.npy"), "words").unwrap();
    fs::write(path("words.png"), "words").unwrap();
    fs::write(path("cut.png"), &fs::read(corpus("../examples/kitten.png")).unwrap()[..1000]).unwrap();
    fs::write(path("cut.jpg"), &fs::read(corpus("../examples/dog.jpg")).unwrap()[..300]).unwrap();
    fs::write(path("empty.safetensors"), "").unwrap();
    let picture = corpus("packages/image-input.mlpackage");
    let picture = picture.to_str().unwrap();
    for (args, words) in [
        (&["--inputs", "absent.npz"][..], &["absent.npz", "does not exist"][..]),
        (&["--inputs", "words.txt"], &["words.txt", ".safetensors or .npz"]),
        (&["--inputs", "empty.safetensors"], &["empty.safetensors"]),
        (&["--input", "x=words.npy"], &["words.npy"]),
        (&["--input", "x=words.png"], &["words.png", "neither PNG nor JPEG"]),
        (&["--image", "x=cut.png"], &["cut.png"]),
        (&["--image", "x=cut.jpg"], &["cut.jpg"]),
        (&["--image", "y=cut.png"], &["`y`", "\"x\""]),
        (&["--random", "1", "--labels", "absent.txt"], &["absent.txt", "does not exist"]),
        (&["--random", "1", "--labels", "words.txt"], &["1 labels"]),
        (&["--random", "1", "--save-image", "z=o.png"], &["`z`"]),
        (&["--random", "1", "--save-image", "reduce_mean_0=o.png"], &["picture", "[1, 3]"]),
    ] {
        let all = ["run", picture, "-o", "out"];
        anemone_in(folder.path(), all.iter().chain(args)).fails(words);
        assert!(!path("out").exists() && !path("o.png").exists(), "{args:?} left an output");
    }
}

#[test]
fn outputs_that_cannot_be_placed_are_refused_and_nothing_is_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    copy(&corpus("models/mnist.onnx"), &path("m.onnx"));
    fs::write(path("file.mlpackage"), "mine").unwrap();
    fs::create_dir(path("mine.mlpackage")).unwrap();
    fs::write(path("mine.mlpackage/thesis.txt"), "mine").unwrap();
    let before = list(folder.path());
    for (output, words) in [
        ("file.mlpackage", &["file.mlpackage", "is a file", "-o"][..]),
        ("mine.mlpackage", &["mine.mlpackage", "not a package", "-o"]),
        ("absent/o.mlpackage", &["absent", "does not exist"]),
        ("m.onnx/o.mlpackage", &["m.onnx", "folder"]),
    ] {
        anemone_in(folder.path(), ["convert", "m.onnx", "-o", output]).fails(words);
        assert_eq!(list(folder.path()), before, "{output}");
    }
    let model = corpus("packages/conv.mlpackage");
    for (output, words) in [
        ("m.onnx", &["m.onnx", "is a file"][..]),
        ("absent/deep", &["absent/deep", "does not exist"]),
        ("m.onnx/deep", &["m.onnx/deep", "folder"]),
    ] {
        anemone_in(folder.path(), ["run", model.to_str().unwrap(), "--random", "1", "-o", output])
            .fails(words);
        assert_eq!(list(folder.path()), before, "{output}");
    }
    assert_eq!(fs::read(path("file.mlpackage")).unwrap(), b"mine");
}

/// The command as a user who may not read or write; the superuser, who may, becomes somebody else for it.
#[cfg(unix)]
fn unprivileged(folder: &Path, args: &[&str]) -> crate::command::Ran {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    let own = folder.join("anemone");
    if !own.exists() {
        // Not by this process: a child that another test starts meanwhile would inherit the file open for writing.
        assert!(Command::new("cp").arg(env!("CARGO_BIN_EXE_anemone")).arg(&own).status().unwrap().success());
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let probe = folder.join("probe");
    fs::write(&probe, b"").unwrap();
    fs::set_permissions(&probe, fs::Permissions::from_mode(0o000)).unwrap();
    let superuser = fs::File::open(&probe).is_ok();
    fs::remove_file(&probe).unwrap();
    let mut command = Command::new(&own);
    command.args(args).current_dir(folder);
    if superuser {
        command.uid(65534).gid(65534);
    }
    ran(command)
}

#[test]
#[cfg(unix)]
fn files_and_folders_without_permission_are_refused() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let mode = |name: &str, mode| {
        fs::set_permissions(folder.path().join(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    copy(&corpus("models/mnist.onnx"), &folder.path().join("m.onnx"));
    copy(&corpus("packages/conv.mlpackage"), &folder.path().join("a.mlpackage"));
    fs::create_dir(folder.path().join("closed")).unwrap();
    mode("closed", 0o555);
    unprivileged(folder.path(), &["convert", "m.onnx", "-o", "closed/o.mlpackage"])
        .fails(&["closed", "may not"]);
    unprivileged(folder.path(), &["run", "a.mlpackage", "--random", "1", "-o", "closed/o"])
        .fails(&["closed/o", "may not"]);
    assert!(list(&folder.path().join("closed")).is_empty());
    mode("m.onnx", 0o000);
    unprivileged(folder.path(), &["convert", "m.onnx"]).fails(&["m.onnx", "may not be read"]);
    mode("a.mlpackage/Data/com.apple.CoreML/weights/weight.bin", 0o000);
    unprivileged(folder.path(), &["inspect", "a.mlpackage"]).fails(&["a.mlpackage", "weight.bin"]);
    mode("closed", 0o755);
}
