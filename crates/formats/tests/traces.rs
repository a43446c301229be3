//! Traces in every layout: what is read is what `corpus/placement` recorded, from which the files were made.

use anemone_formats::compute_plan::{self, ComputePlan, Layout, Processor};
use anemone_formats::instruments::{self, Activity, Lane};
use anemone_formats::{analytics_mil, compute_plan::PlannedOp};
use anemone_testkit::corpus;
use serde_json::Value;

/// The graph that the plans of the corpus are of.
const GRAPH: &str = "ctx/gather_nd";

fn lines(name: &str) -> Vec<Value> {
    let text = String::from_utf8(corpus::bytes(name).to_vec()).expect("text");
    text.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect()
}

/// Recorded ops of a graph.
fn recorded(graph: &str, units: &str) -> Vec<Value> {
    let all = lines("placement/labels.jsonl");
    let label = all.into_iter().find(|l| l["id"] == graph).expect("a recorded graph");
    label["plans"][units].as_array().expect("a plan").clone()
}

fn processor(value: &Value) -> Processor {
    Processor::named(value.as_str().expect("a unit")).expect("a known unit")
}

/// Compares a plan with what was recorded; `named` and `kinds` are false where the layout has none, `within` is how far
/// a share may be off because the layout rounds it.
fn agrees(plan: &ComputePlan, ops: &[Value], named: bool, kinds: bool, within: f64) {
    assert_eq!(plan.ops.len(), ops.len());
    for (op, record) in plan.ops.iter().zip(ops) {
        let mut supported: Vec<Processor> =
            record["supported"].as_array().expect("units").iter().map(processor).collect();
        supported.retain(|p| !op.supported.contains(p));
        assert_eq!(supported, [], "{record}");
        assert_eq!(op.preferred, Some(processor(&record["preferred"])));
        assert!(!named || record["output"] == *op.name, "{} is {record}", op.name);
        assert!(!kinds || record["op"] == *op.kind, "{} is {record}", op.kind);
        let share = record["cost_share"].as_f64().expect("a share");
        assert!((op.share.expect("a share") - share).abs() <= within, "{:?} is {record}", op.share);
    }
}

fn read(name: &str) -> compute_plan::ComputePlans {
    compute_plan::read(&corpus::bytes(&format!("traces/{name}"))).unwrap_or_else(|e| panic!("{name}: {e}"))
}

#[test]
fn json_of_every_tool_reads_as_recorded() {
    let ops = recorded(GRAPH, "CPU_AND_NE");
    for (file, layout, named, kinds) in [
        ("plan-snake.json", Layout::Json, false, true),
        ("plan-camel.json", Layout::Json, true, true),
        ("plan-classes.json", Layout::Json, true, true),
        ("plan-remote.json", Layout::Remote, true, false),
    ] {
        let found = read(file);
        assert_eq!((found.layout, found.plans.len()), (layout, 1), "{file}");
        agrees(&found.plans[0], &ops, named, kinds, 0.0);
    }
    let snake = read("plan-snake.json");
    let ComputePlan { name, function, units, .. } = &snake.plans[0];
    assert_eq!((&**name, &**function, &**units), ("gather_nd.mlpackage", "main", "CPU_AND_NE"));
    assert_eq!(read("plan-camel.json").notes, ["1 constants are left out."]);
}

#[test]
fn every_setting_of_every_recorded_line_is_a_plan() {
    let found = read("plans.jsonl");
    assert_eq!((found.layout, found.plans.len()), (Layout::Lines, 5));
    for plan in &found.plans {
        agrees(plan, &recorded(&plan.name, &plan.units), true, true, 0.0);
        assert_eq!((&*plan.chip, &*plan.os), ("M4", "macOS 27.0.1"));
    }
}

#[test]
fn tables_logs_and_listings_read_as_recorded() {
    let found = read("plan.tsv");
    assert_eq!((found.layout, found.plans.len(), found.notes.len()), (Layout::Tabs, 3, 1));
    for plan in &found.plans {
        let graph = if plan.name == "gather_nd" { GRAPH.to_owned() } else { format!("iso/{}", plan.name) };
        agrees(plan, &recorded(&graph, "CPU_AND_NE"), true, true, 5e-5);
    }
    let ops = recorded(GRAPH, "CPU_AND_NE");
    let (log, listing) = (read("plan.log"), read("plan.listing"));
    assert_eq!((log.layout, listing.layout), (Layout::Log, Layout::Listing));
    // The log tells no units but the preferred one.
    let units = |op: &PlannedOp| op.supported.is_empty();
    assert!(log.plans[0].ops.iter().all(units) && log.plans[0].ops.len() == ops.len());
    for (op, record) in log.plans[0].ops.iter().zip(&ops) {
        assert_eq!(
            (op.preferred, &*op.kind),
            (Some(processor(&record["preferred"])), record["op"].as_str().expect("a kind"))
        );
    }
    agrees(&listing.plans[0], &ops, true, true, 5e-5);
}

/// Estimates of an op by backend, as recorded.
fn costs() -> Vec<(String, String, Value)> {
    let text = |v: &Value| v.as_str().expect("a text").to_owned();
    lines("placement/costs.jsonl")
        .iter()
        .map(|c| (text(&c["graph"]), text(&c["output"]), c["estimated_ms"].clone()))
        .collect()
}

fn same_estimates(found: &[(String, f64)], recorded: &Value) {
    let recorded = recorded.as_object().expect("estimates");
    assert_eq!(found.len(), recorded.len());
    for (backend, ms) in found {
        // Two readers of decimals may differ in the last bit.
        let recorded = recorded[backend].as_f64().expect("a time");
        assert!((recorded - ms).abs() <= recorded * f64::EPSILON, "{backend}: {ms} is {recorded}");
    }
}

#[test]
fn the_compilers_table_has_the_recorded_estimates() {
    let found = read("estimates.csv");
    assert_eq!(found.layout, Layout::Commas);
    let wanted = ["iso/conv1x1", "iso/embedding", "iso/log_softmax", "iso/linear"];
    let costs: Vec<_> = costs().into_iter().filter(|(g, ..)| wanted.contains(&&**g)).collect();
    assert_eq!(found.plans[0].ops.len(), costs.len());
    for (op, (_, _, ms)) in found.plans[0].ops.iter().zip(&costs) {
        same_estimates(&op.estimates, ms);
        assert_eq!(op.supported.contains(&Processor::NeuralEngine), ms.get("ane").is_some());
        assert_eq!(op.messages.is_empty(), ms.get("ane").is_some());
    }
}

#[test]
fn analytics_have_the_recorded_estimates_and_fixed_costs() {
    let costs = costs();
    for file in corpus::list("traces/analytics") {
        let read = analytics_mil::read(&corpus::bytes(&format!("traces/analytics/{file}")));
        let read = read.unwrap_or_else(|e| panic!("{file}: {e}"));
        let [function] = &read.functions[..] else { panic!("{file} has one function") };
        assert_eq!(function.name, "main");
        let fixed = |name: &str| function.fixed.iter().find(|(n, _)| n == name).map(|(_, v)| *v);
        assert_eq!(
            ["Launch_ane_ms", "Launch_bnns_ms", "Src_ane_Dest_bnns_ms"].map(fixed),
            [Some(0.125), Some(0.0), Some(0.125)]
        );
        let graph = format!("iso/{}", file.trim_end_matches(".mil"));
        let recorded: Vec<_> = costs.iter().filter(|(g, ..)| *g == graph).collect();
        assert_eq!(function.ops.len(), recorded.len(), "{file}");
        for (op, (_, name, ms)) in function.ops.iter().zip(recorded) {
            assert_eq!(op.name, *name);
            same_estimates(&op.estimates, ms);
            assert_eq!(op.messages.is_empty(), ms.get("ane").is_some(), "{file}");
        }
        assert!(
            !read.program.contains("SelectedBackend") && !read.program.contains("buffer"),
            "{}",
            read.program
        );
    }
}

/// What `corpus/traces/make.py` recorded: 12 predictions of 1 ms on the engine with 92.5 µs around each.
#[test]
fn intervals_of_instruments_are_told_apart_by_lane_and_activity() {
    let found = instruments::read(&corpus::bytes("traces/instruments/engine.xml")).expect("a recording");
    let count = |lane, activity| found.of(lane, activity).count();
    assert_eq!(count(Lane::NeuralEngine, Activity::Prediction), 12);
    assert_eq!((count(Lane::CoreMl, Activity::Prediction), count(Lane::CoreMl, Activity::Load)), (12, 1));
    assert_eq!(count(Lane::NeuralEngine, Activity::Load), 1);
    let busy = found.busy(Activity::Prediction);
    assert_eq!((busy[&Lane::NeuralEngine], busy[&Lane::CoreMl]), (12_000_000, 12 * 1_092_500));
    // Parts of predictions, idle times, and rows of a table that is not known.
    assert_eq!((found.skipped, &found.others[..]), (14, &[("thermal-state".to_owned(), 1)][..]));
    let first = found.of(Lane::CoreMl, Activity::Prediction).next().expect("one");
    assert_eq!((&*first.model, &*first.process, first.start), ("model-1F2E", "app (42)", 60_000_000));
}

/// Of ten parts of each prediction three run on the GPU.
#[test]
fn lanes_of_an_alternating_model_share_the_time() {
    let found = instruments::read(&corpus::bytes("traces/instruments/alternating.xml")).expect("a recording");
    let busy = found.busy(Activity::Prediction);
    assert_eq!((busy[&Lane::NeuralEngine], busy[&Lane::Gpu]), (12 * 700_000, 12 * 300_000));
}
