//! `anemone.compress/1` and `anemone.decompress/1`.

use super::finite;
use anemone::Compression;
use anemone::schemes::Outcome;
use serde::Serialize;
use std::path::Path;

/// A compression.
#[derive(Debug, Serialize)]
pub(crate) struct Compress {
    schema: &'static str,
    source: String,
    output: String,
    bytes_before: u64,
    bytes_after: u64,
    steps: Vec<Vec<Weight>>,
    effect: Option<Effect>,
    warnings: Vec<Warning>,
    activations: Vec<Activation>,
    /// The front of a search, large to small.
    front: Option<Vec<Point>>,
}

/// A value that ops read in 8 bits.
#[derive(Debug, Serialize)]
struct Activation {
    value: String,
    dtype: String,
    scale: f32,
    zero_point: i64,
    min: f32,
    max: f32,
    /// Results of the ops that read it.
    readers: Vec<String>,
}

impl Activation {
    fn of(q: &anemone::schemes::Quantised) -> Activation {
        Activation {
            value: q.value.clone(),
            dtype: q.dtype.name().to_owned(),
            scale: q.scale,
            zero_point: q.zero_point,
            min: q.range.min,
            max: q.range.max,
            readers: q.readers.iter().map(|(_, name)| name.clone()).collect(),
        }
    }
}

#[derive(Debug, Serialize)]
struct Point {
    bytes: u64,
    bits_per_element: f64,
    /// Measured loss of the whole model.
    loss: Option<f64>,
    /// Losses of single weights added up.
    predicted_loss: Option<f64>,
    chosen: bool,
}

impl Point {
    fn of(p: &anemone::Point) -> Point {
        Point {
            bytes: p.bytes,
            bits_per_element: p.bits,
            loss: finite(p.measured),
            predicted_loss: finite(p.predicted),
            chosen: p.chosen,
        }
    }
}

/// The change of the outputs on sample data.
#[derive(Debug, Serialize)]
struct Effect {
    samples: usize,
    random: bool,
    /// Root of the mean squared relative error of the outputs.
    loss: f64,
    outputs: Vec<Change>,
    layers: Vec<Layer>,
}

#[derive(Debug, Serialize)]
struct Change {
    name: String,
    relative_error: Option<f64>,
    snr: Option<f64>,
    cosine: f64,
    largest_error: f64,
}

#[derive(Debug, Serialize)]
struct Layer {
    op: String,
    name: String,
    /// Largest relative error of the operands.
    inherited: Option<f64>,
    relative_error: Option<f64>,
}

/// Something that the device would not do well.
#[derive(Debug, Serialize)]
struct Warning {
    rule: Option<String>,
    ops: Vec<String>,
    message: String,
    help: String,
    facts: Vec<String>,
}

impl Effect {
    fn of(e: &anemone::Effect) -> Effect {
        let change = |(name, f): &(String, anemone::schemes::Fit)| Change {
            name: name.clone(),
            relative_error: finite(f.relative()),
            snr: finite(f.snr()),
            cosine: f.cosine(),
            largest_error: f.largest,
        };
        let layer = |l: &anemone::Layer| Layer {
            op: l.kind.clone(),
            name: l.name.clone(),
            inherited: finite(l.inherited),
            relative_error: finite(l.fit.relative()),
        };
        Effect {
            samples: e.samples,
            random: e.random,
            loss: e.loss(),
            outputs: e.outputs.iter().map(change).collect(),
            layers: e.layers.iter().map(layer).collect(),
        }
    }
}

impl Warning {
    fn of(w: &anemone::DeviceWarning) -> Warning {
        Warning {
            rule: w.rule.map(str::to_owned),
            ops: w.ops.clone(),
            message: w.message.clone(),
            help: w.help.to_owned(),
            facts: w.facts.iter().map(|f| f.id.clone()).collect(),
        }
    }
}

#[derive(Debug, Serialize)]
struct Weight {
    function: String,
    weight: String,
    op: String,
    op_name: String,
    shape: Vec<usize>,
    dtype: String,
    scheme: String,
    bytes_before: u64,
    bytes_after: u64,
    /// Decibels; nothing when the weight is exact or was left alone.
    snr: Option<f64>,
    cosine: Option<f64>,
    largest_error: Option<f64>,
    mean_squared_error: Option<f64>,
    /// Why the weight was left as it is.
    refused: Option<String>,
}

impl Compress {
    pub(crate) fn of(c: &Compression, found: Option<&anemone::Found>) -> Compress {
        Compress {
            schema: "anemone.compress/1",
            source: c.source.display().to_string(),
            output: c.output.display().to_string(),
            bytes_before: c.bytes.0,
            bytes_after: c.bytes.1,
            steps: c.steps.iter().map(|s| s.weights.iter().map(Weight::of).collect()).collect(),
            effect: c.effect.as_ref().map(Effect::of),
            warnings: c.warnings.iter().map(Warning::of).collect(),
            activations: c.activations.iter().map(Activation::of).collect(),
            front: found.map(|f| f.front.iter().map(Point::of).collect()),
        }
    }
}

impl Weight {
    fn of(o: &Outcome) -> Weight {
        let fit = o.result.as_ref().ok();
        Weight {
            function: o.function.clone(),
            weight: o.weight.clone(),
            op: o.user.0.clone(),
            op_name: o.user.1.clone(),
            shape: o.shape.clone(),
            dtype: o.dtype.name().to_string(),
            scheme: o.scheme.clone(),
            bytes_before: o.bytes.0,
            bytes_after: o.bytes.1,
            snr: fit.and_then(|f| finite(f.snr())),
            cosine: fit.map(|f| f.cosine()),
            largest_error: fit.map(|f| f.largest),
            mean_squared_error: fit.map(|f| f.mean_squared_error()),
            refused: o.result.as_ref().err().map(ToString::to_string),
        }
    }
}

/// An unpacking.
#[derive(Debug, Serialize)]
pub(crate) struct Decompress {
    schema: &'static str,
    output: String,
    weights: usize,
}

impl Decompress {
    pub(crate) fn of(output: &Path, weights: usize) -> Decompress {
        Decompress { schema: "anemone.decompress/1", output: output.display().to_string(), weights }
    }
}
