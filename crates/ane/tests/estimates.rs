//! Every published estimate, recomputed from the operands that were published with it.

use anemone_ane::{Device, Estimate, cost};
use anemone_mil::Uses;
use anemone_mil::ops::Site;
use anemone_testkit::costs::function;
use serde_json::Value;

/// Largest relative difference that counts as reproduced; `gru` and `rnn` share one rate that fits both to 3e-5.
const TOLERANCE: f64 = 1e-4;

const COSTS: &str = include_str!("../../../corpus/placement/costs.jsonl");

fn worst_error(estimate: &Estimate, expected: &Value) -> f64 {
    let error = |(backend, ms): (&String, &Value)| {
        let ms = ms.as_f64().expect("a number");
        let ours = match backend.as_str() {
            "ane" => estimate.ane.unwrap_or(f64::INFINITY),
            "bnns" => estimate.bnns,
            _ => estimate.classic_cpu,
        };
        (ours / ms - 1.0).abs()
    };
    expected.as_object().expect("estimates").iter().map(error).fold(0.0, f64::max)
}

#[test]
fn published_estimates_are_reproduced() {
    let m4 = Device::named("m4").expect("known");
    let rates = &m4.estimates.as_ref().expect("measured").rates;
    let mut off = Vec::new();
    for line in COSTS.lines() {
        let record: Value = serde_json::from_str(line).expect("JSON");
        let (f, id) = function(&record);
        let site = Site::new(&f, f.op(id)).unwrap_or_else(|e| panic!("{}: {e}", record["id"]));
        let estimate = cost::estimate(&site, &Uses::of(&f), rates);
        let error = worst_error(&estimate, &record["estimated_ms"]);
        if error > TOLERANCE {
            off.push(format!("{}: {error:.3} {estimate:?} against {}", record["id"], record["estimated_ms"]));
        }
    }
    assert!(off.is_empty(), "{}", off.join("\n"));
}
