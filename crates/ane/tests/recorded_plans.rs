//! Plans of packages against what Core ML planned for them on an M4.

use anemone_ane::{Device, Plan, Units, plan};
use anemone_mil::{Level, verify};
use anemone_package::Files;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// Largest difference of a cost share; shares are published with four decimals.
const SHARE: f64 = 0.002;

/// Recorded facts that no rule explains: graph, op.
const UNEXPLAINED: &[(&str, &str)] = &[("iso/range_1d", "no GPU for one int32 to int16 cast of the graph")];

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../corpus/placement")
}

fn files(root: &Path, folder: &Path, files_of: &mut Files) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(root, &path, files_of);
        } else {
            let name = path.strip_prefix(root).expect("below").to_string_lossy().replace('\\', "/");
            files_of.insert(name, fs::read(&path).expect("a file").into());
        }
    }
}

/// The plans of one recorded package, with their records.
fn plans(label: &Value) -> Vec<(Plan, Vec<Value>)> {
    let id = label["id"].as_str().expect("an id");
    let root = corpus().join("cases").join(format!("{id}.mlpackage"));
    let mut content = Files::new();
    files(&root, &root, &mut content);
    let package = anemone_package::read(&content).unwrap_or_else(|e| panic!("{id}: {e}"));
    let verified = verify(&package.program, Level::Imported).unwrap_or_else(|e| panic!("{id}: {e}"));
    let function = verified.function(None).expect("a function");
    let m4 = Device::named("m4").expect("known");
    let recorded = |(name, units)| {
        let records = label["plans"].get(name)?.as_array()?.clone();
        Some((plan(function, &m4, units), records))
    };
    [("CPU_AND_NE", Units::CpuAndNe), ("ALL", Units::All)].into_iter().filter_map(recorded).collect()
}

fn labels() -> Vec<Value> {
    let text = fs::read_to_string(corpus().join("labels.jsonl")).expect("the labels");
    text.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect()
}

#[test]
fn every_op_is_listed_and_placed_as_recorded() {
    let mut off = Vec::new();
    for label in labels() {
        let id = label["id"].as_str().expect("an id");
        for (ours, theirs) in plans(&label) {
            assert_eq!(ours.ops.len(), theirs.len(), "{id}");
            for (op, record) in ours.ops.iter().zip(&theirs) {
                let units: Vec<String> = op.supported.iter().map(ToString::to_string).collect();
                let placed = record["preferred"] == op.preferred.to_string()
                    || (record["equal_cost_alternative"] == true && op.equal_cost_alternative);
                let listed = record["supported"] == Value::from(units.clone());
                if record["output"] != *op.name || !listed || !placed {
                    off.push((id.to_owned(), format!("{} {units:?} {}: {record}", op.name, op.preferred)));
                }
            }
        }
    }
    off.retain(|(id, _)| !UNEXPLAINED.iter().any(|(known, _)| known == id));
    assert!(off.is_empty(), "{off:#?}");
}

#[test]
fn cost_shares_are_as_recorded() {
    for label in labels() {
        for (ours, theirs) in plans(&label) {
            for (op, record) in ours.ops.iter().zip(&theirs) {
                let Some(share) = record["cost_share"].as_f64() else { continue };
                let error = (op.cost_share.unwrap_or(0.0) - share).abs();
                assert!(error <= SHARE, "{} {}: {:?} against {share}", label["id"], op.name, op.cost_share);
            }
        }
    }
}
