//! `anemone.emulate/1`.

use super::finite;
use super::overflow::Found;
use anemone::{Emulated, How, SumLayer};
use serde::Serialize;
use std::path::Path;

/// What a model does in the arithmetic of a Neural Engine.
#[derive(Debug, Serialize)]
pub(crate) struct Emulate {
    schema: &'static str,
    package: String,
    device: String,
    arithmetic: String,
    not_known: Vec<&'static str>,
    loss: f64,
    ops: Ops,
    kinds_as_on_cpu: Vec<String>,
    layers: Vec<Sums>,
    findings: Vec<Found>,
}

/// How many ops on the Neural Engine are computed how.
#[derive(Debug, Serialize)]
struct Ops {
    fixed_point_sums: usize,
    whole_sums: usize,
    elementwise: usize,
    tables: usize,
    fitted_tables: usize,
    without_arithmetic: usize,
    as_on_cpu: usize,
}

#[derive(Debug, Serialize)]
struct Sums {
    kind: String,
    name: String,
    source: Option<String>,
    largest_running_sum: f64,
    limit: f64,
    share: f64,
    headroom: Option<f64>,
    largest_in_any_order: f64,
    infinite: u64,
    results: u64,
    /// Factor to divide by before and to multiply with afterwards.
    safe_scale: Option<f64>,
}

impl Emulate {
    pub(crate) fn of(package: &Path, emulate: &anemone::Emulate, found: &Emulated) -> Emulate {
        let count = |how: How| found.how.get(&how).copied().unwrap_or(0);
        Emulate {
            schema: "anemone.emulate/1",
            package: package.display().to_string(),
            device: emulate.device().chip.clone(),
            arithmetic: emulate.arithmetic().chip.clone(),
            not_known: emulate.unknown_parts(),
            loss: found.overflow.loss,
            ops: Ops {
                fixed_point_sums: count(How::Sums),
                whole_sums: count(How::WholeSums),
                elementwise: count(How::Elementwise),
                tables: count(How::Table),
                fitted_tables: count(How::Fitted),
                without_arithmetic: count(How::Moves),
                as_on_cpu: count(How::Unknown),
            },
            kinds_as_on_cpu: found.unknown.clone(),
            layers: found.layers.iter().map(Sums::of).collect(),
            findings: found.overflow.findings.iter().map(Found::of).collect(),
        }
    }
}

impl Sums {
    fn of(layer: &SumLayer) -> Sums {
        Sums {
            kind: layer.kind.clone(),
            name: layer.name.clone(),
            source: layer.source.clone(),
            largest_running_sum: layer.sums.largest,
            limit: layer.sums.limit,
            share: layer.share(),
            headroom: finite(layer.headroom()),
            largest_in_any_order: layer.sums.any_order,
            infinite: layer.sums.infinite,
            results: layer.sums.results,
            safe_scale: layer.scale.map(|k| 2f64.powi(k.cast_signed())),
        }
    }
}
