//! `compress` and `decompress`.

use crate::command::{anemone, anemone_in, corpus, list};
use std::fs;

/// A package of the corpus that has a weight to compress once the threshold is low.
const PACKAGE: &str = "packages/conv.mlpackage";

#[test]
fn a_package_is_compressed_runs_and_is_unpacked_again() {
    let folder = tempfile::tempdir().unwrap();
    let small = folder.path().join("small.mlpackage");
    let source = corpus(PACKAGE);
    let (source, small) = (source.to_str().unwrap(), small.to_str().unwrap());
    let args = ["compress", source, "-o", small, "--linear", "int8", "--weight-threshold", "10"];
    let report = anemone(args.into_iter().chain(["--json"])).json("anemone.compress/1");
    let weights = report["steps"][0].as_array().unwrap();
    assert!(!weights.is_empty());
    assert!(weights.iter().all(|w| w["refused"].is_null() && w["snr"].as_f64().unwrap() > 30.0), "{report}");
    let inspected = anemone(["inspect", small, "--json"]).json("anemone.inspect/1");
    assert!(inspected["ops"].to_string().contains("constexpr_"), "{inspected}");
    anemone(["run", small, "--random", "1"]).report();
    let plain = folder.path().join("plain.mlpackage");
    let undone =
        anemone(["decompress", small, "-o", plain.to_str().unwrap(), "--json"]).json("anemone.decompress/1");
    assert_eq!(undone["weights"], weights.len());
    let inspected = anemone(["inspect", plain.to_str().unwrap(), "--json"]).json("anemone.inspect/1");
    assert!(!inspected["ops"].to_string().contains("constexpr_"), "{inspected}");
    assert_eq!(list(folder.path()), ["plain.mlpackage", "small.mlpackage"]);
}

#[test]
fn a_configuration_of_coremltools_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let config = "config_type: OpPalettizerConfig\nglobal_config:\n  mode: kmeans\n  nbits: 2\n  weight_threshold: 10\n";
    fs::write(folder.path().join("recipe.yaml"), config).unwrap();
    let source = corpus(PACKAGE);
    let args = ["compress", source.to_str().unwrap(), "-o", "out.mlpackage", "--config", "recipe.yaml"];
    let text = anemone_in(folder.path(), args).report();
    assert!(text.contains("2-bit palette"), "{text}");
}

#[test]
fn what_cannot_be_done_is_said_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("bad.yaml"), "config_type: OpPalettizerConfig\nglobal_config: {nbits: 5}\n")
        .unwrap();
    let source = corpus(PACKAGE);
    let run = |more: &[&str]| {
        let args = ["compress", source.to_str().unwrap(), "-o", "out.mlpackage"];
        anemone_in(folder.path(), args.iter().chain(more))
    };
    run(&[]).fails(&["--linear", "--palettize"]);
    run(&["--palettize", "5"]).fails(&["1, 2, 3, 4, 6 or 8"]);
    run(&["--linear", "int3"]).fails(&["int3", "int4"]);
    run(&["--linear", "int8", "--granularity", "per-row"]).fails(&["per-row", "per-block"]);
    run(&["--config", "bad.yaml"]).fails(&["bad.yaml", "nbits 5"]);
    run(&["--config", "absent.yaml"]).fails(&["absent.yaml", "does not exist"]);
    assert_eq!(list(folder.path()), ["bad.yaml"]);
}

#[test]
fn the_change_of_the_outputs_is_told_with_the_layer_where_it_comes_from() {
    let folder = tempfile::tempdir().unwrap();
    let source = corpus(PACKAGE);
    let args = ["compress", source.to_str().unwrap(), "-o", "out.mlpackage", "--palettize", "1"];
    let more = ["--weight-threshold", "10", "--random", "3", "--samples", "2", "--json"];
    let report = anemone_in(folder.path(), args.iter().chain(&more)).json("anemone.compress/1");
    let effect = &report["effect"];
    assert_eq!((&effect["samples"], &effect["random"]), (&2.into(), &true.into()));
    let error = effect["outputs"][0]["relative_error"].as_f64().unwrap();
    assert!(error > 0.001 && effect["loss"].as_f64().unwrap() > 0.001, "{effect}");
    let layers = effect["layers"].as_array().unwrap();
    assert!(
        layers.iter().any(|l| l["op"] == "conv" && l["relative_error"].as_f64() > l["inherited"].as_f64())
    );
}

#[test]
fn samples_come_from_files_one_each_or_stacked_in_one() {
    let folder = tempfile::tempdir().unwrap();
    let source = corpus(PACKAGE);
    let ramp =
        |from: usize, count: usize| (from..from + count).map(|i| (i % 17) as f32 - 8.0).collect::<Vec<_>>();
    let tensor = |shape: &[usize], values: &[f32]| {
        anemone_formats::safetensors::to_bytes(
            &[("x".to_owned(), anemone_tensor::Tensor::from_f32s(shape, values).unwrap())],
            &std::collections::BTreeMap::new(),
        )
        .unwrap()
    };
    let one = 2 * 4 * 6 * 7;
    for (name, bytes) in [
        ("0", tensor(&[2, 4, 6, 7], &ramp(0, one))),
        ("1", tensor(&[2, 4, 6, 7], &ramp(one, one))),
        ("both", tensor(&[2, 2, 4, 6, 7], &ramp(0, 2 * one))),
        ("bad", tensor(&[3, 3], &ramp(0, 9))),
    ] {
        fs::write(folder.path().join(format!("{name}.safetensors")), bytes).unwrap();
    }
    let run = |files: &[&str]| {
        let args = ["compress", source.to_str().unwrap(), "-o", "out.mlpackage", "--linear", "int8"];
        let more = files.iter().flat_map(|f| ["--inputs", f]);
        let args = args.into_iter().chain(["--weight-threshold", "10", "--json"]).chain(more);
        anemone_in(folder.path(), args.map(str::to_owned).collect::<Vec<_>>())
    };
    let apart = run(&["0.safetensors", "1.safetensors"]).json("anemone.compress/1");
    let stacked = run(&["both.safetensors"]).json("anemone.compress/1");
    assert_eq!(apart["effect"], stacked["effect"]);
    assert_eq!(apart["effect"]["samples"], 2);
    run(&["bad.safetensors"]).fails(&["[3, 3]"]);
}

#[test]
fn what_the_device_leaves_is_warned_of_with_the_fact() {
    let folder = tempfile::tempdir().unwrap();
    let source = corpus("packages/constexpr18-lut-6bit.mlpackage");
    let plain = folder.path().join("plain.mlpackage");
    anemone(["decompress", source.to_str().unwrap(), "-o", plain.to_str().unwrap()]).report();
    let run = |flags: &[&str]| {
        let args = [
            "compress",
            "plain.mlpackage",
            "-o",
            "out.mlpackage",
            "--device",
            "m4",
            "--weight-threshold",
            "10",
        ];
        anemone_in(folder.path(), args.iter().chain(flags).chain(&["--json"])).json("anemone.compress/1")
    };
    assert_eq!(run(&["--palettize", "4"])["warnings"].as_array().map(Vec::len), Some(0));
    let warned = run(&["--linear", "int4", "--granularity", "per-block", "--block-size", "1"]);
    let warning = &warned["warnings"][0];
    assert_eq!(warning["rule"], "int4-per-block", "{warned}");
    assert_eq!(warning["facts"][0], "F081", "{warned}");
}

/// A folder with a real model of some weights in it: `m.mlpackage`.
fn with_model() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let source = corpus("models/ppocr-cls.onnx");
    let args = ["convert", source.to_str().unwrap(), "-o", "m.mlpackage", "--no-check", "--json"];
    anemone_in(folder.path(), args).json("anemone.convert/1");
    folder
}

fn size(path: &std::path::Path) -> u64 {
    let meta = fs::metadata(path).unwrap();
    if meta.is_file() {
        return meta.len();
    }
    fs::read_dir(path).unwrap().map(|e| size(&e.unwrap().path())).sum()
}

#[test]
fn activations_are_calibrated_on_data_and_go_with_weights() {
    let folder = with_model();
    let samples = corpus("models/ppocr-cls.inputs.safetensors");
    let run = |more: &[&str]| {
        let args = ["compress", "m.mlpackage", "-o", "small.mlpackage", "--activations", "int8", "--json"];
        anemone_in(folder.path(), args.iter().chain(more))
    };
    run(&[]).fails(&["--inputs", "--random"]);
    let report = run(&["--linear", "int8", "--inputs", samples.to_str().unwrap()]).json("anemone.compress/1");
    let quantised = report["activations"].as_array().unwrap();
    assert!(quantised.len() > 20 && quantised.iter().all(|q| q["scale"].as_f64().unwrap() > 0.0), "{report}");
    assert!(!report["steps"][0].as_array().unwrap().is_empty());
    let effect = &report["effect"]["outputs"][0];
    assert!(effect["cosine"].as_f64().unwrap() > 0.95, "{effect}");
    assert_eq!(list(folder.path()), ["m.mlpackage", "small.mlpackage"]);
}

#[test]
fn a_budget_is_kept_and_its_recipe_gives_the_same_bytes() {
    let folder = with_model();
    let samples = corpus("models/ppocr-cls.inputs.safetensors");
    let args = [
        "compress",
        "m.mlpackage",
        "-o",
        "small.mlpackage",
        "--budget",
        "260kB",
        "--weight-threshold",
        "8000",
    ];
    let more = ["--inputs", samples.to_str().unwrap(), "--recipe", "r.yaml", "--plot", "front.svg", "--json"];
    let report = anemone_in(folder.path(), args.iter().chain(&more)).json("anemone.compress/1");
    assert!(size(&folder.path().join("small.mlpackage")) <= 260_000, "{report}");
    let front = report["front"].as_array().unwrap();
    assert!(front.iter().filter(|p| p["chosen"] == true).count() == 1 && front.len() > 2, "{report}");
    let loss = |p: &serde_json::Value| p["loss"].as_f64().unwrap();
    assert_eq!(loss(&front[0]), 0.0);
    assert!(fs::read_to_string(folder.path().join("front.svg")).unwrap().ends_with("</svg>\n"));
    anemone_in(folder.path(), ["compress", "m.mlpackage", "-o", "again.mlpackage", "--config", "r.yaml"])
        .report();
    for file in ["Data/com.apple.CoreML/model.mlmodel", "Data/com.apple.CoreML/weights/weight.bin"] {
        let read = |p: &str| fs::read(folder.path().join(p).join(file)).unwrap();
        assert!(read("small.mlpackage") == read("again.mlpackage"), "{file} differs");
    }
}

#[test]
fn a_loss_is_kept_and_what_cannot_be_reached_is_said() {
    let folder = with_model();
    let samples = corpus("models/ppocr-cls.inputs.safetensors");
    let run = |goal: [&str; 2]| {
        let args =
            ["compress", "m.mlpackage", "-o", "small.mlpackage", "--weight-threshold", "8000", "--json"];
        let more = ["--inputs", samples.to_str().unwrap()];
        anemone_in(folder.path(), args.iter().chain(&more).chain(&goal))
    };
    run(["--budget", "1kB"]).fails(&["smallest package", "above 1000"]);
    run(["--budget", "0.5bits"]).fails(&["fewest bits", "0.5"]);
    run(["--budget", "much"]).fails(&["4.3bits"]);
    assert_eq!(list(folder.path()), ["m.mlpackage"]);
    let report = run(["--max-loss", "1%"]).json("anemone.compress/1");
    let loss = report["effect"]["loss"].as_f64().unwrap();
    assert!(loss > 0.0 && loss <= 0.01, "{report}");
    assert!(report["bytes_after"].as_u64() < report["bytes_before"].as_u64());
}

#[cfg(unix)]
#[test]
fn a_run_that_is_interrupted_leaves_nothing_behind() {
    let folder = with_model();
    let samples = corpus("models/ppocr-cls.inputs.safetensors");
    let child = std::process::Command::new(env!("CARGO_BIN_EXE_anemone"))
        .current_dir(folder.path())
        .args([
            "compress",
            "m.mlpackage",
            "-o",
            "small.mlpackage",
            "--max-loss",
            "0.1%",
            "--recipe",
            "r.yaml",
        ])
        .args(["--inputs", samples.to_str().unwrap(), "--weight-threshold", "10"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    let id = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    let done = child.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.code() == Some(2) && told.contains("stopped"), "{:?} {told}", done.status);
    assert_eq!(list(folder.path()), ["m.mlpackage"]);
}
