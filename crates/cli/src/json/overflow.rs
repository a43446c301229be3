//! `anemone.overflow/1`.

use super::finite;
use anemone::{Fault, Finding, Range};
use serde::Serialize;
use std::path::Path;

/// Where `fp16` is too small.
#[derive(Debug, Serialize)]
pub(crate) struct Overflow {
    schema: &'static str,
    package: String,
    loss: f64,
    ops: usize,
    findings: Vec<Found>,
}

#[derive(Debug, Serialize)]
pub(super) struct Found {
    kind: String,
    name: String,
    source: Option<String>,
    fault: &'static str,
    own_loss: Option<f64>,
    total_loss: Option<f64>,
    inputs: Vec<Input>,
    fp32: Numbers,
    declared: Numbers,
    rewrite: &'static str,
    why: &'static str,
    evidence: &'static str,
}

#[derive(Debug, Serialize)]
struct Input {
    parameter: String,
    #[serde(flatten)]
    numbers: Numbers,
}

#[derive(Debug, Serialize)]
struct Numbers {
    min: Option<f64>,
    max: Option<f64>,
    absmax: f64,
    not_finite: usize,
}

impl Overflow {
    pub(crate) fn of(package: &Path, found: &anemone::Overflow) -> Overflow {
        Overflow {
            schema: "anemone.overflow/1",
            package: package.display().to_string(),
            loss: found.loss,
            ops: found.ops,
            findings: found.findings.iter().map(Found::of).collect(),
        }
    }
}

impl Found {
    pub(super) fn of(f: &Finding) -> Found {
        let input = |(parameter, range): &(String, Range)| Input {
            parameter: parameter.clone(),
            numbers: Numbers::of(range),
        };
        Found {
            kind: f.kind.clone(),
            name: f.name.clone(),
            source: f.source.clone(),
            fault: name(f.fault),
            own_loss: finite(f.own),
            total_loss: finite(f.total),
            inputs: f.inputs.iter().map(input).collect(),
            fp32: Numbers::of(&f.wide),
            declared: Numbers::of(&f.declared),
            rewrite: f.advice.rewrite,
            why: f.advice.why,
            evidence: f.advice.source,
        }
    }
}

impl Numbers {
    fn of(r: &Range) -> Numbers {
        Numbers { min: finite(r.min), max: finite(r.max), absmax: r.largest(), not_finite: r.not_finite }
    }
}

fn name(fault: Fault) -> &'static str {
    match fault {
        Fault::Infinite => "infinite",
        Fault::NotANumber => "not_a_number",
        Fault::Loss => "loss",
        Fault::Model => "model",
    }
}
