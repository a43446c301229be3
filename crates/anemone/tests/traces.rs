//! Traces beside plans, and device files made of them: expectations are what Core ML planned and estimated on an M4, which
//! `corpus/placement` recorded.

use anemone::ane::{Device, Unit, Units};
use anemone::trace::{self, Against, Compared, Comparison, Lane, Trace};
use anemone_testkit::corpus;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;

fn read(name: &str) -> Trace {
    trace::read(&corpus::path(&format!("traces/{name}"))).unwrap_or_else(|e| panic!("{e}"))
}

fn package(graph: &str) -> PathBuf {
    corpus::path(&format!("placement/cases/{graph}.mlpackage"))
}

fn m4() -> Arc<Device> {
    Device::named("m4").expect("known")
}

fn beside(trace: &Trace, graph: &str) -> Comparison {
    let package = package(graph);
    let with = Against { package: Some(&package), ..Against::default() };
    trace::against(trace, &with).unwrap_or_else(|e| panic!("{graph}: {e}"))
}

/// Writes a trace of the test's own; the folder goes with the value.
struct Own {
    folder: tempfile::TempDir,
}

impl Own {
    fn new() -> Own {
        Own { folder: tempfile::tempdir().expect("a folder") }
    }

    fn read(&self, content: &str) -> Trace {
        let path = self.folder.path().join("own.json");
        std::fs::write(&path, content).expect("written");
        trace::read(&path).unwrap_or_else(|e| panic!("{e}"))
    }
}

/// A plan with these ops: kind, preferred unit, units that take it.
fn plan(units: &str, ops: &[(&str, &str, &[&str])]) -> String {
    let ops: Vec<Value> = ops
        .iter()
        .map(|(kind, preferred, supported)| json!({"operator": kind, "preferred": preferred, "supported": supported, "cost": 0.01}))
        .collect();
    json!({"compute_units": units, "operations": ops}).to_string()
}

fn keys(trace: &Trace, against: Option<&Comparison>) -> Vec<&'static str> {
    trace::patterns(trace, against).iter().map(|(_, p)| p.key).collect()
}

#[test]
fn every_layout_of_one_plan_agrees_with_the_planner_as_the_recording_does() {
    for file in [
        "plan-snake.json",
        "plan-camel.json",
        "plan-classes.json",
        "plan-remote.json",
        "plan.log",
        "plan.listing",
    ] {
        let c = beside(&read(file), "ctx/gather_nd");
        assert!(c.agrees(), "{file}: {:#?}", c.rows);
        assert_eq!(c.rows.len(), c.plan.ops.len(), "{file}");
    }
}

#[test]
fn of_several_plans_that_of_the_model_is_taken() {
    let labels = read("plans.jsonl");
    for (graph, name) in [
        ("iso/log_softmax", "iso/log_softmax"),
        ("iso/conv1x1", "iso/conv1x1"),
        ("ctx/sdpa_mask", "ctx/sdpa_mask"),
    ] {
        let c = beside(&labels, graph);
        let part = &labels.parts[c.part.expect("a part")];
        assert_eq!(part.name, name);
        assert!(c.agrees(), "{graph}: {:#?}", c.rows);
        assert_eq!((&*c.plan.device.chip, Some(c.plan.units)), ("M4", part.units));
    }
}

#[test]
fn a_difference_names_both_sides() {
    let own = Own::new();
    let ops: &[(&str, &str, &[&str])] = &[("ios18.conv", "ANE", &["CPU", "ANE"])];
    let c = beside(&own.read(&plan("CPU_AND_NE", ops)), "iso/conv1x1");
    assert_eq!((c.count(Compared::Differs), c.agrees()), (1, false));
    assert!(c.rows[0].why.starts_with("predicted CPU: eligible, but this op saves"), "{}", c.rows[0].why);
    let ops: &[(&str, &str, &[&str])] = &[("ios18.conv", "CPU", &["CPU"]), ("ios18.relu", "CPU", &["CPU"])];
    let c = beside(&own.read(&plan("CPU_AND_NE", ops)), "iso/conv1x1");
    assert_eq!((c.count(Compared::Agreed), c.count(Compared::Unmatched)), (1, 1));
    assert_eq!(c.rows[0].why, "the ANE refuses it, and was predicted to take it");
}

/// Fixed costs and estimates are those of an M4, so that factors on top of it are 1.
#[test]
fn analytics_of_an_m4_give_the_device_that_is_known() {
    for (file, families) in [
        ("log_softmax", &["times.add", "times.default"][..]),
        ("conv1x1", &["times.conv"]),
        ("conv_transpose", &["times.conv_transpose"]),
        ("linear", &["times.linear"]),
    ] {
        let trace = read(&format!("analytics/{file}.mil"));
        let c = trace::against(&trace, &Against::default()).unwrap_or_else(|e| panic!("{e}"));
        assert!(c.agrees(), "{file}: {:#?}", c.rows);
        let made = trace::calibrate(&trace, Some(&c), &m4()).unwrap_or_else(|e| panic!("{e}"));
        let named = |prefix: &str| -> Vec<&str> {
            made.fitted.iter().map(|f| &*f.what).filter(|w| w.starts_with(prefix)).collect()
        };
        assert_eq!(named("times."), families, "{file}");
        assert_eq!(named("planner_"), ["planner_launch_ms", "planner_change_ms", "planner_tail_ms"]);
        let device = Device::read(&made.text).unwrap_or_else(|e| panic!("{e}\n{}", made.text));
        assert_eq!(device.fixed, m4().fixed);
        let times = &device.estimates.as_ref().expect("estimates").rates.times;
        for (family, _) in times.iter() {
            let f = times.of(family);
            // The formulas reproduce the recorded estimates within 1 %.
            assert!(
                [f.ane, f.bnns, f.classic_cpu].iter().all(|v| (v - 1.0).abs() <= 0.01),
                "{file} {family}: {f:?}"
            );
        }
        for figure in device.figures.iter().filter(|f| f.source.name.starts_with("measured from")) {
            assert_eq!(figure.source.name, format!("measured from {file}.mil"));
        }
    }
}

/// What the compiler said of an op decides in later plans, with its own words.
#[test]
fn a_device_file_decides_as_the_device_did() {
    let trace = read("analytics/argmax_flat.mil");
    let c = trace::against(&trace, &Against::default()).expect("a comparison");
    let made = trace::calibrate(&trace, Some(&c), &m4()).expect("a device");
    let device = Arc::new(Device::read(&made.text).expect("reads"));
    let planned = anemone::plan(&package("iso/argmax_flat"), None, &device, Units::CpuAndNe).expect("a plan");
    assert_eq!(planned.ops.len(), trace.parts[0].ops.len());
    for (op, traced) in planned.ops.iter().zip(&trace.parts[0].ops) {
        assert_eq!(op.supported, [Unit::Cpu]);
        assert_eq!(
            op.reason,
            "refused by the ANE: Unsupported tensor data type: int32, measured from argmax_flat.mil"
        );
        let estimate = op.estimate.expect("an estimate");
        assert_eq!(
            (Some(estimate.bnns), Some(estimate.classic_cpu)),
            (traced.estimate("bnns"), traced.estimate("classic_cpu"))
        );
    }
}

/// A device whose convolutions take twice as long on the ANE, and whose launch costs nothing.
#[test]
fn another_device_is_learned_and_changes_the_plan() {
    let text = String::from_utf8(corpus::bytes("traces/analytics/linear.mil").to_vec()).expect("text");
    let slow = text
        .replace("Launch_ane_ms = fp64(0x1p-3)", "Launch_ane_ms = fp64(0x0p+0)")
        .replace("fp64(0x1p-3)", "fp64(0x1p-10)");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("own.mil");
    std::fs::write(&path, slow).expect("written");
    let trace = trace::read(&path).expect("a trace");
    let c = trace::against(&trace, &Against::default()).expect("a comparison");
    let made = trace::calibrate(&trace, Some(&c), &m4()).expect("a device");
    let device = Arc::new(Device::read(&made.text).expect("reads"));
    assert_eq!(
        (device.fixed.enter_ane, device.fixed.change, device.fixed.end_on_ane),
        (0.0, 1.0 / 1024.0, 1.0 / 1024.0)
    );
    let with = Against { device: Some(device), ..Against::default() };
    let again = trace::against(&trace, &with).expect("a comparison");
    let linear = again.plan.ops.iter().find(|op| op.kind == "linear").expect("a linear op");
    assert_eq!(linear.preferred, Unit::Ane);
}

/// Parts of a cost of an M4 give the factors of an M4.
#[test]
fn a_plan_gives_factors_relative_to_the_default_family() {
    let trace = read("plan-classes.json");
    let c = beside(&trace, "ctx/gather_nd");
    let made = trace::calibrate(&trace, Some(&c), &m4()).expect("a device");
    let device = Device::read(&made.text).expect("reads");
    let times = &device.estimates.as_ref().expect("estimates").rates.times;
    // Shares are recorded with four decimals; the smallest of a family that counts here is 0.004.
    for family in ["conv", "relu"] {
        let f = times.of(family);
        assert!((f.ane - 1.0).abs() <= 0.05 && f.ane == f.bnns, "{family} {f:?}\n{}", made.text);
    }
    let seen = made.fitted.iter().find(|f| f.what == "seen").expect("ops that were seen");
    assert!(seen.count > 1 && made.text.contains("ane = false"), "{}", seen.value);
}

/// 12 calls of 1 ms on the engine, with 92.5 µs around each; see `corpus/traces/make.py`.
#[test]
fn the_dispatch_is_what_a_call_takes_beside_the_engine() {
    let trace = read("instruments/engine.xml");
    let p = trace.timeline.as_ref().and_then(|t| t.predictions).expect("predictions");
    assert_eq!((p.count, p.whole, p.changes), (12, true, 0.0));
    assert!(
        (p.ms - 1.0925).abs() < 1e-9 && (p.engine_ms - 1.0).abs() < 1e-9 && (p.rest_ms - 0.0925).abs() < 1e-9,
        "{p:?}"
    );
    let made = trace::calibrate(&trace, None, &m4()).expect("a device");
    let device = Device::read(&made.text).expect("reads");
    let dispatch = device.figure("dispatch_us").expect("a dispatch");
    assert!((dispatch.value.least().expect("a number") - 92.5).abs() < 1e-6);
    assert_eq!(dispatch.source.to_string(), "measured from engine.xml");
    assert_eq!(keys(&trace, None), ["all-ane"]);
}

#[test]
fn an_alternating_recording_is_recognised_by_its_lanes() {
    let trace = read("instruments/alternating.xml");
    let timeline = trace.timeline.as_ref().expect("a timeline");
    let share = |lane| timeline.lane(lane).map_or(0.0, |l| l.share);
    assert!((share(Lane::NeuralEngine) - 0.7).abs() < 1e-9 && (share(Lane::Gpu) - 0.3).abs() < 1e-9);
    assert_eq!(timeline.predictions.expect("predictions").changes, 6.0);
    assert_eq!(keys(&trace, None), ["alternating"]);
    let error = trace::calibrate(&trace, None, &m4()).expect_err("no dispatch");
    assert!(error.to_string().contains("no whole predictions"), "{error}");
}

#[test]
fn the_patterns_of_the_field_guide_are_recognised() {
    let own = Own::new();
    let all: &[&str] = &["CPU", "GPU", "ANE"];
    let conv = ("conv", "ANE", all);
    let attention = [("transpose", "GPU", all), ("matmul", "GPU", all), ("softmax", "GPU", all)];
    let layer = |ops: &[(&'static str, &'static str, &'static [&'static str])]| {
        [&[("conv", "ANE", &["CPU", "ANE"][..]); 7][..], ops].concat()
    };
    let guess = |units: &str, ops: &[(&str, &str, &[&str])]| keys(&own.read(&plan(units, ops)), None);
    assert_eq!(guess("ALL", &[conv, conv]), ["all-ane"]);
    let norm = [("layer_norm", "GPU", &["CPU", "GPU"][..])];
    assert_eq!(guess("ALL", &[layer(&norm), layer(&[])].concat()), ["norm-fallback"]);
    let four: Vec<_> = (0..4)
        .flat_map(|_| {
            layer(&[
                ("transpose", "GPU", &["CPU", "GPU", "ANE"]),
                ("matmul", "GPU", &["CPU", "GPU", "ANE"]),
                ("softmax", "GPU", &["CPU", "GPU", "ANE"]),
            ])
        })
        .collect();
    assert_eq!(guess("ALL", &four), ["attention-bails"]);
    let four: Vec<_> = (0..4).flat_map(|_| layer(&[("cumsum", "CPU", &["CPU"])])).collect();
    assert_eq!(guess("CPU_AND_NE", &four), ["alternating"]);
    assert_eq!(guess("ALL", &[("gru", "CPU", &["CPU"][..]), ("conv", "CPU", &["CPU"])]), ["refused"]);
    assert_eq!(guess("ALL", &[("gru", "CPU", &["CPU"][..]), ("conv", "CPU", all)]), ["one-op-sinks"]);
    let two = [
        ("conv", "CPU", all),
        ("gru", "CPU", &["CPU"]),
        ("conv", "CPU", all),
        ("gru", "CPU", &["CPU"]),
        ("conv", "CPU", all),
    ];
    assert_eq!(guess("ALL", &two), ["cut-apart"]);
    assert_eq!(guess("CPU_AND_NE", &[("relu", "CPU", &["CPU", "ANE"][..])]), ["too-small"]);
    assert_eq!(guess("ALL", &attention), ["whole-gpu"]);
    assert_eq!(guess("CPU_AND_GPU", &attention), ["ane-not-asked"]);
    assert_eq!(guess("CPU_AND_NE", &[conv, conv, ("cast", "CPU", &["CPU"])]), ["off-at-the-ends"]);
    assert_eq!(guess("CPU_AND_NE", &[conv, ("cast", "CPU", &["CPU"]), conv]), ["island"]);
}

/// What the compiler said on the device, as recorded: int32 keeps all off.
#[test]
fn reasons_of_the_compiler_are_part_of_the_advice() {
    let trace = read("analytics/argmax_flat.mil");
    let found = trace::patterns(&trace, None);
    let (_, refused) = found.iter().find(|(_, p)| p.key == "refused").expect("refused");
    assert!(refused.advice.contains("it says: Unsupported tensor data type: int32"), "{}", refused.advice);
    assert!(found.iter().all(|(_, p)| !p.facts.is_empty()));
}

/// Engine times three times the estimate and more: tiling where an extent is long, something else where none is.
#[test]
fn active_but_slow_needs_a_plan_to_be_seen() {
    let trace = read("instruments/engine.xml");
    let small = beside(&trace, "iso/conv_transpose");
    assert!(small.predicted_ane_ms > 0.0 && small.predicted_ane_ms * 3.0 < 1.0);
    assert_eq!(keys(&trace, Some(&small)), ["all-ane", "slow"]);
    let long =
        trace::against(&trace, &Against { package: Some(&package("ctx/relu_h65536")), ..Against::default() });
    let long = long.expect("a comparison");
    assert_eq!(long.longest.as_ref().map(|(_, n)| *n), Some(65536));
    let expected =
        if long.predicted_ane_ms * 3.0 < 1.0 { vec!["all-ane", "tiling"] } else { vec!["all-ane"] };
    assert_eq!(keys(&trace, Some(&long)), expected);
}

#[test]
fn what_is_no_trace_is_refused_with_what_to_do() {
    let error = |path: PathBuf| trace::read(&path).expect_err("no trace").to_string();
    assert!(error(package("iso/relu")).contains("is a model, not a trace"));
    assert!(error(corpus::path("traces/instruments/toc.xml")).contains("is a table of contents"));
    assert!(error(corpus::path("README.md")).contains("is no layout that is known"));
    let trace = read("plan.log");
    let no_model = trace::against(&trace, &Against::default()).expect_err("no model").to_string();
    assert!(no_model.contains("name its model with --against"), "{no_model}");
    let nothing = trace::calibrate(&trace, None, &m4()).expect_err("nothing to learn").to_string();
    assert!(nothing.contains("--against"), "{nothing}");
}
