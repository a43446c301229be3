//! `anemone.run/1` and `anemone.verify/1`.

use super::finite;
use anemone::compare::{Difference, Tolerance};
use anemone::{Detection, DictKey, Feature, Features, Ran, Ranked, Tensor, statistics};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// A prediction.
#[derive(Debug, Serialize)]
pub(crate) struct Run {
    schema: &'static str,
    package: String,
    /// Outputs of the last prediction.
    outputs: Vec<Output>,
    /// Outputs of every prediction, where there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    steps: Vec<Vec<Output>>,
    /// What the states hold at the end.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    states: Vec<Output>,
    /// What a detector found in the last prediction, the most confident first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    detections: Vec<Object>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    best: Vec<Best>,
    files: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Output {
    name: String,
    #[serde(flatten)]
    value: Value,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Value {
    Tensor {
        dtype: String,
        shape: Vec<usize>,
        min: Option<f64>,
        max: Option<f64>,
        mean: f64,
        not_finite: usize,
    },
    Text(String),
    Int(i64),
    Double(Option<f64>),
    Probabilities(Vec<(String, f64)>),
}

/// An object; numbers that are none are null.
#[derive(Debug, Serialize)]
struct Object {
    label: String,
    confidence: Option<f64>,
    /// Middle of its box.
    x: Option<f64>,
    y: Option<f64>,
    width: Option<f64>,
    height: Option<f64>,
}

impl Object {
    fn of(d: &Detection) -> Object {
        let ([x, y], [width, height]) = (d.center.map(finite), d.size.map(finite));
        Object { label: d.label.clone(), confidence: finite(d.confidence), x, y, width, height }
    }
}

#[derive(Debug, Serialize)]
struct Best {
    label: String,
    probability: f64,
}

impl Run {
    pub(crate) fn of(
        package: &Path,
        ran: &Ran,
        states: &[(String, Tensor)],
        best: &[Ranked],
        files: &[PathBuf],
    ) -> Run {
        let one = |n: &str, f: &Feature| Output { name: n.to_owned(), value: Value::of(f) };
        let outputs = |f: &Features| f.iter().map(|(n, f)| one(n, f)).collect::<Vec<Output>>();
        let steps = &ran.steps;
        Run {
            schema: "anemone.run/1",
            package: package.display().to_string(),
            outputs: steps.last().map(outputs).unwrap_or_default(),
            steps: if steps.len() > 1 { steps.iter().map(outputs).collect() } else { Vec::new() },
            states: states.iter().map(|(n, t)| one(n, &t.clone().into())).collect(),
            detections: ran.detections.iter().map(Object::of).collect(),
            best: best.iter().map(|r| Best { label: r.label.clone(), probability: r.probability }).collect(),
            files: files.iter().map(|p| p.display().to_string()).collect(),
        }
    }
}

impl Value {
    fn of(feature: &Feature) -> Value {
        match feature {
            Feature::Tensor(t) => {
                let s = statistics(t);
                Value::Tensor {
                    dtype: t.dtype().to_string(),
                    shape: t.shape().to_vec(),
                    min: finite(s.min),
                    max: finite(s.max),
                    mean: s.mean,
                    not_finite: s.not_finite,
                }
            }
            Feature::Text(t) => Value::Text(t.clone()),
            Feature::Int(i) => Value::Int(*i),
            Feature::Double(v) => Value::Double(finite(*v)),
            Feature::Dict(entries) => {
                let key = |k: &DictKey| match k {
                    DictKey::Text(t) => t.clone(),
                    DictKey::Int(i) => i.to_string(),
                };
                Value::Probabilities(entries.iter().map(|(k, v)| (key(k), *v)).collect())
            }
        }
    }
}

/// A comparison.
#[derive(Debug, Serialize)]
pub(crate) struct Verify {
    schema: &'static str,
    package: String,
    atol: f64,
    rtol: f64,
    equal: bool,
    /// Of the last prediction.
    outputs: Vec<Differs>,
    /// Of every prediction, where there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    steps: Vec<Vec<Differs>>,
}

/// How far one output is from what is expected.
#[derive(Debug, Serialize)]
pub(super) struct Differs {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    mismatch: Option<String>,
    max_error: Option<f64>,
    relative: Option<f64>,
    cosine: f64,
    same_top: bool,
    outside: usize,
    elements: usize,
    worst: Vec<Element>,
}

#[derive(Debug, Serialize)]
struct Element {
    index: Vec<usize>,
    actual: Option<f64>,
    expected: Option<f64>,
}

impl Verify {
    pub(crate) fn of(package: &Path, found: &[Vec<Difference>], tolerance: Tolerance) -> Verify {
        let outputs = |step: &Vec<Difference>| step.iter().map(Differs::of).collect::<Vec<Differs>>();
        Verify {
            schema: "anemone.verify/1",
            package: package.display().to_string(),
            atol: tolerance.atol,
            rtol: tolerance.rtol,
            equal: found.iter().flatten().all(Difference::passes),
            outputs: found.last().map(outputs).unwrap_or_default(),
            steps: if found.len() > 1 { found.iter().map(outputs).collect() } else { Vec::new() },
        }
    }
}

impl Differs {
    pub(super) fn of(d: &Difference) -> Differs {
        let element = |e: &anemone::compare::Element| Element {
            index: e.index.clone(),
            actual: finite(e.actual),
            expected: finite(e.expected),
        };
        Differs {
            name: d.name.clone(),
            mismatch: d.mismatch.clone(),
            max_error: finite(d.max_error),
            relative: finite(d.relative),
            cosine: d.cosine,
            same_top: d.same_top,
            outside: d.failures,
            elements: d.elements,
            worst: d.worst.iter().map(element).collect(),
        }
    }
}
