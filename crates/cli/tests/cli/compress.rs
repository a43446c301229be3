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
