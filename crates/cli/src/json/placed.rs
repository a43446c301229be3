//! What plans and what a device said of them have in common.

use anemone::ane::Unit;
use serde::Serialize;
use std::fmt::Display;

/// An op, and who takes it.
#[derive(Debug, Serialize)]
pub(super) struct PlacedOp {
    pub(super) index: usize,
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) supported: Vec<String>,
    pub(super) preferred: Option<String>,
}

/// Ops in a row on one unit.
#[derive(Debug, Serialize)]
pub(super) struct Stretch {
    unit: String,
    first: usize,
    ops: usize,
}

/// What falls on the ANE, and changes of unit.
#[derive(Debug, Serialize)]
pub(super) struct Shares {
    pub(super) ane_share_by_count: f64,
    pub(super) ane_share_by_cost: Option<f64>,
    pub(super) crossings: usize,
}

#[derive(Debug, Serialize)]
pub(super) struct Convolutions {
    pub(super) convolutions: usize,
    pub(super) convolutions_on_ane: usize,
}

impl Stretch {
    pub(super) fn of(unit: Unit, ops: &std::ops::Range<usize>) -> Stretch {
        Stretch { unit: unit.to_string(), first: ops.start, ops: ops.len() }
    }
}

/// Items in words.
pub(super) fn words(items: &[impl Display]) -> Vec<String> {
    items.iter().map(ToString::to_string).collect()
}
