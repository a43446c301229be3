//! `simulate`.

use crate::command::{anemone, anemone_in, list};
use std::fs;
use std::path::Path;

/// Two convolutions of 512 channels on 64 x 64, and an op between them that the ANE refuses.
const MODEL: &str = r#"program(1.3)
{
    func main<ios18>(tensor<fp16, [1, 512, 64, 64]> x) {
        tensor<fp16, [512, 512, 3, 3]> w = const()[val = tensor<fp16, [512, 512, 3, 3]>(BLOBFILE(path = string("@model_path/weights/weight.bin"), offset = uint64(64)))];
        string pad_type = const()[val = string("same")];
        tensor<int32, [4]> pad = const()[val = tensor<int32, [4]>([0, 0, 0, 0])];
        tensor<int32, [2]> ones = const()[val = tensor<int32, [2]>([1, 1])];
        int32 one = const()[val = int32(1)];
        tensor<fp16, [1, 512, 64, 64]> a = conv(x = x, weight = w, strides = ones, pad_type = pad_type, pad = pad, dilations = ones, groups = one)[name = string("a")];
        tensor<fp16, [1, 512, 64, 64]> b = OP(x = a)[name = string("b")];
        tensor<fp16, [1, 512, 64, 64]> c = conv(x = b, weight = w, strides = ones, pad_type = pad_type, pad = pad, dilations = ones, groups = one)[name = string("c")];
    } -> (c);
}
"#;

fn model(folder: &Path, op: &str) {
    fs::write(folder.join("m.mil"), MODEL.replace("OP(", &format!("{op}("))).unwrap();
}

#[test]
fn json_adds_up() {
    let folder = tempfile::tempdir().unwrap();
    model(folder.path(), "tan");
    let run = |more: &[&str]| {
        anemone_in(folder.path(), ["simulate", "m.mil", "--json"].iter().chain(more))
            .json("anemone.simulate/1")
    };
    let s = run(&[]);
    let number = |v: &serde_json::Value| v.as_f64().unwrap();
    let latency = number(&s["latency"]["value"]);
    assert!(number(&s["latency"]["low"]) < latency && latency < number(&s["latency"]["high"]));
    let ops = s["ops"].as_array().unwrap();
    let sum: f64 = ops.iter().map(|o| number(&o["ms"])).sum();
    assert!((sum / latency - 1.0).abs() < 1e-9, "{sum} is not {latency}");
    let units: Vec<&str> = ops.iter().map(|o| o["unit"].as_str().unwrap()).collect();
    assert_eq!(units, ["ANE", "CPU", "ANE"]);
    assert_eq!(s["lanes"].as_array().unwrap().len(), 3);
    let changes = s["changes"].as_array().unwrap();
    assert!(!changes.is_empty() && changes.len() <= 3, "{changes:?}");
    let stay = changes.iter().find(|c| c["key"] == "keep-on-ane").expect("a crossing that could go");
    assert!(stay["what"].as_str().unwrap().starts_with("replace tan \"b\""), "{changes:?}");
    for change in changes {
        assert!(number(&change["ms"]) < latency && number(&change["saves_share"]) < 1.0, "{change}");
    }
    let many = run(&["--iterations", "10", "--cold"]);
    let cold = number(&many["cold"]["compile_ms"]["value"]) + number(&many["cold"]["first_call_ms"]["value"]);
    assert!((number(&many["total"]["value"]) / (10.0 * latency + cold) - 1.0).abs() < 1e-9);
    assert!(s["coefficients"].as_array().unwrap().iter().all(|c| c["source"].is_string()));
}

#[test]
fn the_report_names_units_bounds_and_changes() {
    let folder = tempfile::tempdir().unwrap();
    model(folder.path(), "tan");
    let text = anemone_in(folder.path(), ["simulate", "m.mil", "--power", "--cold"]).report();
    for word in
        ["one call", "throughput", "energy", "bound by", "compiling", "segment", "mJ", "what would help most"]
    {
        assert!(text.contains(word), "no {word:?} in {text}");
    }
    for device in ["m1", "iPhone 15 Pro", "M5 Max", "a11"] {
        anemone_in(folder.path(), ["simulate", "m.mil", "--device", device]).report();
    }
    for units in ["all", "cpu-and-gpu", "cpu-only"] {
        anemone_in(folder.path(), ["simulate", "m.mil", "--units", units]).report();
    }
}

#[test]
fn traces_have_a_track_for_each_unit() {
    let folder = tempfile::tempdir().unwrap();
    model(folder.path(), "tan");
    anemone_in(folder.path(), ["simulate", "m.mil", "--trace", "t.json"]).report();
    let trace: serde_json::Value =
        serde_json::from_slice(&fs::read(folder.path().join("t.json")).unwrap()).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    let spans = || events.iter().filter(|e| e["ph"] == "X");
    let mut end = 0.0;
    for span in spans() {
        let start = span["ts"].as_f64().unwrap();
        assert!(start >= end - 1e-6, "units wait for each other: {span}");
        end = start + span["dur"].as_f64().unwrap();
    }
    for name in ["a", "b", "c", "dispatch", "handoff"] {
        assert!(spans().any(|e| e["name"] == name), "no {name}");
    }
}

#[test]
fn sweeps_over_batches_devices_and_extents_are_drawn() {
    let folder = tempfile::tempdir().unwrap();
    model(folder.path(), "relu");
    let sweep = |spec: &str| {
        anemone_in(folder.path(), ["simulate", "m.mil", "--sweep", spec, "--json"]).json("anemone.sweep/1")
    };
    let values = |s: &serde_json::Value, key: &str| -> Vec<f64> {
        let of = |p: &serde_json::Value| {
            if key == "ms" { p["latency"]["value"].as_f64() } else { p[key].as_f64() }
        };
        s["points"].as_array().unwrap().iter().filter_map(of).collect()
    };
    let batches = sweep("batch=1..8");
    assert_eq!(values(&batches, "value"), [1.0, 2.0, 4.0, 8.0]);
    assert!(values(&batches, "ms").is_sorted() && values(&batches, "per_second").is_sorted());
    let extents = sweep("x.3=64,128,65536,65600");
    assert_eq!(values(&extents, "ane_share_by_count"), [1.0, 1.0, 1.0, 0.0]);
    let last = &extents["points"][3]["reason"];
    assert!(last.as_str().unwrap().contains("65536 is the longest"), "{last}");
    let text =
        anemone_in(folder.path(), ["simulate", "m.mil", "--sweep", "device=all", "--svg", "d.svg"]).report();
    assert!(text.contains("A17 Pro") && text.contains('█'), "{text}");
    let svg = fs::read_to_string(folder.path().join("d.svg")).unwrap();
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n") && svg.contains("latency of one call"));
    assert_eq!(svg.matches("<polyline").count(), 3);
}

#[test]
fn free_dims_are_swept_within_what_the_package_allows() {
    let package = "packages/shape-range.mlpackage";
    let sweep = anemone(["simulate", package, "--sweep", "x=2..8", "--json"]).json("anemone.sweep/1");
    assert_eq!(sweep["points"].as_array().unwrap().len(), 3);
    anemone(["simulate", package, "--sweep", "x=2..10"]).fails(&["shape-range", "10", "1 to 9"]);
    let listed = "packages/shape-enumerated.mlpackage";
    anemone(["simulate", listed, "--sweep", "context=77777"]).fails(&["shape-enumerated"]);
}

#[test]
fn impossible_sweeps_say_what_is_needed() {
    let conv = "packages/conv.mlpackage";
    let fails = |args: &[&str], words: &[&str]| {
        let error = anemone(["simulate"].iter().chain(args)).fails(words);
        assert!(error.len() < 1200, "{error}");
    };
    fails(&[conv, "--sweep", "context=512..1024"], &["fixed shape", "ct.RangeDim"]);
    fails(&[conv, "--sweep", "batch=0..4"], &["`0`"]);
    fails(&[conv, "--sweep", "batch"], &["NAME=VALUES"]);
    fails(&[conv, "--sweep", "device=m99"], &["m99"]);
    fails(&["packages/state.mlpackage", "--sweep", "batch=1..4"], &["state", "batch"]);
    fails(&[conv, "--batch", "0"], &["whole number"]);
    fails(&["absent.mlpackage"], &["absent.mlpackage"]);
    let folder = tempfile::tempdir().unwrap();
    let shape = "tensor<int32, [2]> s = const()[val = tensor<int32, [2]>([1, 2097152])];\n        ";
    let text = MODEL.replace(
        "tensor<fp16, [1, 512, 64, 64]> b = OP(x = a)",
        &format!("{shape}tensor<fp16, [1, 2097152]> b = reshape(x = a, shape = s)"),
    );
    let end = text.find("        tensor<fp16, [1, 512, 64, 64]> c").unwrap();
    fs::write(folder.path().join("m.mil"), text[..end].to_owned() + "    } -> (b);\n}\n").unwrap();
    anemone_in(folder.path(), ["simulate", "m.mil"]).report();
    let baked = anemone_in(folder.path(), ["simulate", "m.mil", "--sweep", "x.2=32..64", "--svg", "no.svg"]);
    baked.fails(&["reshape \"b\"", "baked", "ct.RangeDim"]);
    assert_eq!(list(folder.path()), ["m.mil"]);
    // The number of items is no extent of the model: constant shapes follow it.
    anemone_in(folder.path(), ["simulate", "m.mil", "--batch", "4"]).report();
}
