//! Non-maximum suppression, the last stage of an object detector.

use crate::{Error, ErrorKind, interface};
use anemone_formats::coreml::{self, SuppressionLabels, SuppressionMethod};
use anemone_mil::interface::{FeatureKind, FunctionInterface};

/// A model of type `nonMaximumSuppression`: of the boxes that overlap, it keeps the best.
///
/// Fields follow `NonMaximumSuppression.proto` of apple/coremltools.
#[derive(Clone, Debug, PartialEq)]
pub struct Suppression {
    /// What it takes and gives.
    pub interface: FunctionInterface,
    /// Only boxes whose best class is the same suppress each other.
    pub per_class: bool,
    /// Names of the classes, in the order of the columns; integers in digits; empty when there are none.
    pub labels: Vec<String>,
    /// A box goes that overlaps a better one by more than this share of their union, from 0 to 1.
    pub iou_threshold: f64,
    /// A box goes whose best class has a lower confidence, 0 or more.
    pub confidence_threshold: f64,
    /// Input with the confidence of every class, `[boxes, classes]`.
    pub confidence: String,
    /// Input with middle x, middle y, width and height of every box, `[boxes, 4]`.
    pub coordinates: String,
    /// Input that replaces `iou_threshold`, when there is one; it may always be left out.
    pub iou_threshold_input: Option<String>,
    /// Input that replaces `confidence_threshold`, when there is one; it may always be left out.
    pub confidence_threshold_input: Option<String>,
    /// Output with the rows of `confidence` that stay.
    pub confidence_output: String,
    /// Output with the rows of `coordinates` that stay.
    pub coordinates_output: String,
}

/// The suppression that a model is.
pub(super) fn read(
    model: &coreml::Model,
    message: &coreml::NonMaximumSuppression,
) -> Result<Suppression, Error> {
    let interface = interface::interface(model, None).functions.into_iter().next().unwrap_or_default();
    let optional = |name: &String| Some(name.clone()).filter(|n| !n.is_empty());
    let read = Suppression {
        per_class: matches!(&message.method, Some(SuppressionMethod::PickTop(p)) if p.per_class),
        labels: labels(message),
        iou_threshold: message.iou_threshold,
        confidence_threshold: message.confidence_threshold,
        confidence: message.confidence_input.clone(),
        coordinates: message.coordinates_input.clone(),
        iou_threshold_input: optional(&message.iou_threshold_input),
        confidence_threshold_input: optional(&message.confidence_threshold_input),
        confidence_output: message.confidence_output.clone(),
        coordinates_output: message.coordinates_output.clone(),
        interface,
    };
    check(&read)?;
    Ok(read)
}

fn labels(message: &coreml::NonMaximumSuppression) -> Vec<String> {
    match &message.class_labels {
        Some(SuppressionLabels::Strings(v)) => v.vector.clone(),
        Some(SuppressionLabels::Integers(v)) => v.vector.iter().map(i64::to_string).collect(),
        None => Vec::new(),
    }
}

/// Thresholds within their ranges, and names that the description has.
fn check(read: &Suppression) -> Result<(), Error> {
    for (name, value, most, range) in [
        ("iouThreshold", read.iou_threshold, 1.0, "from 0 to 1"),
        ("confidenceThreshold", read.confidence_threshold, f64::MAX, "0 or more"),
    ] {
        if !(0.0..=most).contains(&value) {
            let what = format!("{name} is {value}, but must be {range}");
            return Err(Error::new(ErrorKind::Missing, what));
        }
    }
    let sides = [
        ("confidenceInputFeatureName", &read.confidence, "input", &read.interface.inputs),
        ("coordinatesInputFeatureName", &read.coordinates, "input", &read.interface.inputs),
        ("confidenceOutputFeatureName", &read.confidence_output, "output", &read.interface.outputs),
        ("coordinatesOutputFeatureName", &read.coordinates_output, "output", &read.interface.outputs),
    ];
    for (field, name, side, features) in sides {
        let found = features.iter().find(|f| f.name == *name);
        if !found.is_some_and(|f| matches!(f.kind, FeatureKind::MultiArray(_))) {
            let names: Vec<&str> = features.iter().map(|f| f.name.as_str()).collect();
            let what = format!(
                "{field} is {name:?}, but no {side} of that name is a multi-array; there are {names:?}"
            );
            return Err(Error::new(ErrorKind::Undefined, what));
        }
    }
    Ok(())
}
