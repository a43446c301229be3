//! `anemone.advise/1`.

use anemone::{Advised, Counsel};
use serde::Serialize;
use std::path::Path;

/// Advice for a model on a device.
#[derive(Debug, Serialize)]
pub(crate) struct Advise {
    schema: &'static str,
    model: String,
    function: String,
    device: String,
    parameters: f64,
    weight_bytes: u64,
    ane_share_by_cost: f64,
    ane_share_by_count: f64,
    latency_ms: f64,
    latency_cpu_ms: f64,
    advice: Vec<Piece>,
}

#[derive(Debug, Serialize)]
struct Piece {
    about: &'static str,
    say: String,
    why: String,
    facts: Vec<String>,
}

impl Advise {
    pub(crate) fn of(model: &Path, advised: &Advised) -> Advise {
        let piece = |c: &Counsel| Piece {
            about: c.about.name(),
            say: c.say.clone(),
            why: c.why.clone(),
            facts: c.facts.iter().map(|f| f.id.clone()).collect(),
        };
        Advise {
            schema: "anemone.advise/1",
            model: model.display().to_string(),
            function: advised.function.clone(),
            device: advised.plan.device.chip.clone(),
            parameters: advised.parameters,
            weight_bytes: advised.weight_bytes,
            ane_share_by_cost: advised.plan.ane_share_by_cost,
            ane_share_by_count: advised.plan.ane_share_by_count,
            latency_ms: advised.latency[0].ms,
            latency_cpu_ms: advised.latency[1].ms,
            advice: advised.counsel.iter().map(piece).collect(),
        }
    }
}
