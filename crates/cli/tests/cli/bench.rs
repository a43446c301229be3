//! `bench`.

use crate::command::{anemone, anemone_in, corpus, list};
use serde_json::Value;
use std::fs;

const PACKAGE: &str = "packages/conv.mlpackage";

#[test]
fn json_has_latencies_startup_memory_and_every_step() {
    let args = ["bench", PACKAGE, "--iterations", "20", "--warmup", "1", "--threads", "1", "--json"];
    let json = anemone(args).json("anemone.bench/1");
    let model = &json["models"][0];
    assert_eq!((&model["package"], &model["threads"]), (&PACKAGE.into(), &1.into()));
    let number = |v: &Value| v.as_f64().unwrap_or_else(|| panic!("{v} in {json}"));
    let latency = &model["latency"];
    assert_eq!(latency["count"], 20);
    let [min, p50, p95, max] = ["min_ms", "p50_ms", "p95_ms", "max_ms"].map(|k| number(&latency[k]));
    assert!(0.0 < min && min <= p50 && p50 <= p95 && p95 <= max, "{latency}");
    let bins = latency["histogram"].as_array().unwrap();
    assert_eq!(bins.iter().map(|b| b["count"].as_u64().unwrap()).sum::<u64>(), 20);
    assert!(["open_ms", "load_ms", "first_ms"].iter().all(|k| number(&model["startup"][k]) > 0.0), "{model}");
    assert!(number(&model["memory"]["package"]) > 0.0);
    let profile = &model["profile"];
    let steps = profile["steps"].as_array().unwrap();
    let conv = steps.iter().find(|s| s["kind"] == "conv").unwrap_or_else(|| panic!("no conv in {profile}"));
    assert!(number(&conv["flops"]) > 0.0 && number(&conv["bytes"]) > 0.0, "{conv}");
    assert!(!conv["kernel"].as_str().unwrap().is_empty() && conv["outputs"][0]["shape"].is_array());
    let shares: f64 = steps.iter().map(|s| number(&s["share"])).sum();
    assert!((shares - 1.0).abs() < 1e-6, "{shares}");
    let kinds = profile["kinds"].as_array().unwrap();
    assert_eq!(kinds.iter().map(|k| k["steps"].as_u64().unwrap()).sum::<u64>() as usize, steps.len());
}

#[test]
fn the_report_fits_the_width_and_names_ops_and_times() {
    let text = anemone(["bench", PACKAGE, "--seconds", "0.05", "--top", "3"]).report();
    for word in ["latency", "p50", "p95", "throughput", "startup", "memory", "kind of op", "conv", "Slowest"]
    {
        assert!(text.contains(word), "no {word} in {text}");
    }
}

#[test]
fn several_models_stand_side_by_side() {
    let state = "packages/state.mlpackage";
    let text = anemone(["bench", PACKAGE, state, "--iterations", "5"]).report();
    assert!(text.contains("Side by side") && text.contains("1.00 x"), "{text}");
    let json = anemone(["bench", PACKAGE, state, "--iterations", "5", "--json"]).json("anemone.bench/1");
    let packages: Vec<&Value> = json["models"].as_array().unwrap().iter().map(|m| &m["package"]).collect();
    assert_eq!(packages, [PACKAGE, state]);
}

/// The rules are those of the Trace Event Format: complete events have name, time, duration, process and thread.
#[test]
fn a_trace_has_every_step_of_a_prediction_within_its_time() {
    let folder = tempfile::tempdir().unwrap();
    let package = corpus(PACKAGE);
    let args = ["bench", package.to_str().unwrap(), "--iterations", "3", "--trace", "t.json", "--json"];
    let json = anemone_in(folder.path(), args).json("anemone.bench/1");
    assert_eq!(list(folder.path()), ["t.json"]);
    let trace: Value = serde_json::from_slice(&fs::read(folder.path().join("t.json")).unwrap()).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    let complete: Vec<&Value> = events.iter().filter(|e| e["ph"] == "X").collect();
    assert_eq!(events.iter().filter(|e| e["ph"] == "M").count() + complete.len(), events.len());
    let time =
        |e: &Value| (e["ts"].as_f64().unwrap(), e["ts"].as_f64().unwrap() + e["dur"].as_f64().unwrap());
    let runs: Vec<(f64, f64)> =
        complete.iter().filter(|e| e["name"] == "prediction").map(|e| time(e)).collect();
    assert_eq!(Some(runs.len() as u64), json["models"][0]["profile"]["runs"].as_u64());
    let steps: Vec<&&Value> =
        complete.iter().filter(|e| e["tid"] == 0 && e["name"] != "prediction").collect();
    let per_run = json["models"][0]["profile"]["steps"].as_array().unwrap().len();
    assert_eq!(steps.len(), per_run * runs.len());
    for step in steps {
        let (from, to) = time(step);
        assert!(runs.iter().any(|r| r.0 - 1.0 <= from && to <= r.1 + 1.0), "{step}");
        assert!(step["args"]["kernel"].is_string() && step["pid"] == 1, "{step}");
    }
}

#[test]
fn what_cannot_be_measured_is_refused_and_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let package = corpus(PACKAGE);
    let package = package.to_str().unwrap();
    for (args, words) in [
        (&["bench"][..], &["MODEL"][..]),
        (&["bench", "absent.mlpackage", "--trace", "t.json"], &["absent.mlpackage", "does not exist"]),
        (&["bench", package, "--iterations", "0"], &["--iterations", "from 1"]),
        (&["bench", package, "--seconds", "-1"], &["-1"]),
        (&["bench", package, "--seconds", "NaN"], &["NaN"]),
        (&["bench", package, "--threads", "0"], &["--threads"]),
        (&["bench", package, "--function", "f", "--trace", "t.json"], &["\"f\"", "\"main\""]),
        (&["bench", package, "--iterations", "1", "--trace", "absent/t.json"], &["absent/t.json"]),
    ] {
        anemone_in(folder.path(), args).fails(words);
        assert!(list(folder.path()).is_empty(), "{args:?}");
    }
}

#[test]
fn states_start_as_the_file_says_and_steps_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let package = corpus("packages/state.mlpackage").to_str().unwrap().to_owned();
    anemone_in(folder.path(), ["run", &package, "--random", "1", "--save-state", "s.safetensors"]).report();
    let bench = |file: &str| {
        let args = ["bench", &package, "--iterations", "5", "--top", "0", "--state", file];
        anemone_in(folder.path(), args)
    };
    bench("s.safetensors").report();
    bench("none.safetensors").fails(&["none.safetensors"]);
    anemone_in(folder.path(), ["bench", &package, "--steps", "--inputs", "s.safetensors"])
        .fails(&["one prediction", "--steps"]);
}

#[test]
fn a_shape_needs_no_seed() {
    let package = "interfaces/range-open/model.mlpackage";
    let args = ["bench", package, "--iterations", "5", "--shape", "a:5x4", "--shape", "b:5x4", "--json"];
    let json = anemone(args).json("anemone.bench/1");
    assert_eq!(json["models"][0]["inputs"][0]["shape"], serde_json::json!([5, 4]), "{json}");
}
