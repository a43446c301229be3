//! `trace`.

use crate::command::{anemone, anemone_in, corpus};

const PACKAGE: &str = "placement/cases/ctx/gather_nd.mlpackage";

#[test]
fn a_trace_is_shown_as_a_plan_is() {
    for file in [
        "plan-snake.json",
        "plan.tsv",
        "estimates.csv",
        "analytics/log_softmax.mil",
        "instruments/engine.xml",
    ] {
        let text = anemone(["trace", &format!("traces/{file}")]).report();
        assert!(text.lines().all(|l| l.chars().count() <= 100), "{text}");
    }
    let json = anemone(["trace", "traces/plan-snake.json", "--json"]).json("anemone.trace/1");
    assert_eq!(json["layout"], "compute plan (JSON)");
    let ops = json["parts"][0]["ops"].as_array().unwrap();
    assert_eq!((&ops[0]["type"], &ops[0]["preferred"]), (&"conv".into(), &"CPU".into()));
    assert!(json["patterns"][0]["facts"].as_array().is_some_and(|f| !f.is_empty()), "{json}");
}

/// Our own plan of a package agrees with the package's plan.
#[test]
fn our_own_json_is_a_trace_too() {
    let folder = tempfile::tempdir().unwrap();
    let package = corpus(PACKAGE);
    let package = package.to_str().unwrap();
    let plan = anemone(["plan", package, "--units", "cpu-and-ne", "--json"]).report();
    std::fs::write(folder.path().join("plan.json"), &plan).unwrap();
    let json = anemone_in(folder.path(), ["trace", "plan.json", "--against", package, "--json"])
        .json("anemone.trace/1");
    assert_eq!((&json["layout"], &json["against"]["differs"]), (&"anemone.plan/1".into(), &0.into()));
    let shares = [&json["parts"][0]["summary"]["ane_share_by_cost"], &json["against"]["ane_share_by_cost"]];
    let [ours, theirs] = shares.map(|v| v.as_f64().unwrap());
    assert!((ours - theirs).abs() < 1e-9, "{ours} {theirs}");
    let bench = anemone(["bench", "packages/conv.mlpackage", "--iterations", "2", "--json"]).report();
    std::fs::write(folder.path().join("bench.json"), &bench).unwrap();
    let json = anemone_in(folder.path(), ["trace", "bench.json", "--json"]).json("anemone.trace/1");
    assert_eq!(json["layout"], "anemone.bench/1");
    assert!(json["parts"][0]["ops"][0]["measured_ms"].as_f64().is_some_and(|ms| ms >= 0.0), "{json}");
}

/// A file of one's own is made from a trace, and later plans, `devices` and `check` take it.
#[test]
fn a_calibrated_file_is_a_device_for_later_plans() {
    let folder = tempfile::tempdir().unwrap();
    let trace = corpus("traces/analytics/argmax_flat.mil");
    let made =
        anemone_in(folder.path(), ["trace", trace.to_str().unwrap(), "--calibrate", "-o", "mine.toml"]);
    assert!(made.report().contains("use it with --device mine.toml"));
    let package = corpus("placement/cases/iso/argmax_flat.mlpackage");
    let package = package.to_str().unwrap();
    let plan = anemone_in(
        folder.path(),
        ["plan", package, "--device", "mine.toml", "--units", "cpu-and-ne", "--json"],
    )
    .json("anemone.plan/1");
    let reason = plan["ops"][0]["reason"].as_str().unwrap();
    assert!(reason.ends_with("measured from argmax_flat.mil"), "{reason}");
    let shown = anemone_in(folder.path(), ["devices", "mine.toml"]).report();
    assert!(shown.contains("measured from argmax_flat.mil"), "{shown}");
}

#[test]
fn a_difference_is_a_finding() {
    let folder = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(corpus("traces/plan-snake.json")).unwrap();
    let other = text.replacen("\"preferred\": \"CPU\"", "\"preferred\": \"ANE\"", 1);
    assert_ne!(text, other);
    std::fs::write(folder.path().join("own.json"), other).unwrap();
    let package = corpus(PACKAGE);
    let ran = anemone_in(folder.path(), ["trace", "own.json", "--against", package.to_str().unwrap()]);
    assert_eq!(ran.status, Some(1), "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("DIFFERS"), "{}", ran.out);
}

#[test]
fn timelines_open_in_perfetto() {
    let folder = tempfile::tempdir().unwrap();
    for (file, events) in [("instruments/engine.xml", 12), ("analytics/linear.mil", 1)] {
        let trace = corpus(&format!("traces/{file}"));
        anemone_in(folder.path(), ["trace", trace.to_str().unwrap(), "--perfetto", "out.json"]).report();
        let json: serde_json::Value =
            serde_json::from_slice(&std::fs::read(folder.path().join("out.json")).unwrap()).unwrap();
        let spans = json["traceEvents"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|e| e["ph"] == "X" && e["cat"] == "prediction");
        assert!(spans.count() >= events, "{file}");
    }
    let plan = corpus("traces/plan-snake.json");
    let ran = anemone_in(folder.path(), ["trace", plan.to_str().unwrap(), "--perfetto", "none.json"]);
    assert_eq!(ran.status, Some(2));
    assert!(ran.err.contains("tells no times") && !folder.path().join("none.json").exists(), "{}", ran.err);
}

#[test]
fn faulty_traces_fail_with_their_place() {
    for (file, place) in [
        ("bad/compute_plan/Malformed-unit.json", "operations[0].preferred"),
        ("bad/instruments/OutOfBounds-reference.xml", "row 2 of ane-hw-intervals"),
        ("bad/analytics_mil/Malformed-no-equals.mil", "line 4"),
        ("traces/instruments/toc.xml", "table of contents"),
        ("packages/conv.mlpackage", "is a model, not a trace"),
        ("traces/missing.json", "does not exist"),
    ] {
        let ran = anemone(["trace", file]);
        assert_eq!(ran.status, Some(2), "{file}");
        assert!(ran.err.contains(place) && ran.out.is_empty(), "{file}: {}", ran.err);
    }
    let ran = anemone(["trace", "traces/plan-snake.json", "--calibrate"]);
    assert_eq!(ran.status, Some(2));
}
