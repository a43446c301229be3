//! Non-maximum suppression as a stage of a pipeline: of the boxes that overlap, the best stay.
//!
//! The procedure and the meaning of every field are those of `NonMaximumSuppression.proto` of apple/coremltools. Where it
//! leaves a choice: a box counts with its best class, and of equals with the first; it goes where its overlap is larger
//! than the threshold, so that 1 suppresses nothing; boxes that stay come in the order in which they were taken, the
//! most confident first.

use crate::{Error, ErrorKind, features};
use anemone_exec::StepInfo;
use anemone_mil::interface::{Feature as Described, FeatureKind, Flexibility, FunctionInterface};
use anemone_model::{Features, Port};
use anemone_package::Suppression;
use anemone_tensor::{DType, Tensor, num};
use std::cmp::Ordering;
use std::collections::HashMap;

/// Pairs of boxes that one prediction compares at most: some ten seconds.
const MOST_PAIRS: u64 = 1 << 32;

/// An object that a detector found.
#[derive(Clone, Debug, PartialEq)]
pub struct Detection {
    /// Name of its best class; the number of the class where it has no name.
    pub label: String,
    /// Confidence of that class.
    pub confidence: f64,
    /// Middle of its box, x and y, in the units of the model: shares of width and height as a rule.
    pub center: [f64; 2],
    /// Width and height of its box.
    pub size: [f64; 2],
}

/// A suppression that is loaded.
#[derive(Debug)]
pub(super) struct Suppress {
    rule: Suppression,
    ports: Vec<Port>,
    /// Fewest and most boxes that it gives; missing ones are zeros.
    rows: (usize, usize),
    /// Bytes that its outputs may take.
    max_bytes: u64,
}

/// A box with its best class.
struct Candidate {
    row: usize,
    class: usize,
    confidence: f64,
    /// Left, top, right and bottom.
    edges: [f64; 4],
}

impl Suppress {
    pub fn new(suppression: &Suppression, max_bytes: u64) -> Suppress {
        let mut rule = suppression.clone();
        let dtype = |name: &str| {
            let described = rule.interface.inputs.iter().find(|f| f.name == name);
            described.and_then(array).and_then(|a| a.dtype).filter(|d| d.is_float()).unwrap_or(DType::F64)
        };
        let port = |name: &str, dtype: DType, shape: &[Option<usize>]| Port {
            name: name.to_owned(),
            dtype,
            shape: shape.to_vec(),
        };
        let mut ports = vec![
            port(&rule.confidence, dtype(&rule.confidence), &[None, None]),
            port(&rule.coordinates, dtype(&rule.coordinates), &[None, Some(4)]),
        ];
        let thresholds = [&rule.iou_threshold_input, &rule.confidence_threshold_input];
        let thresholds: Vec<String> = thresholds.into_iter().flatten().cloned().collect();
        for name in thresholds {
            ports.push(port(&name, DType::F64, &[]));
            rule.interface.inputs.retain(|f| f.name != name);
            let (description, kind) = (String::new(), FeatureKind::Double);
            rule.interface.inputs.push(Described { name, description, kind, optional: true });
        }
        let rows = rows(&rule);
        Suppress { rule, ports, rows, max_bytes }
    }

    pub fn interface(&self) -> &FunctionInterface {
        &self.rule.interface
    }

    pub fn ports(&self) -> &[Port] {
        &self.ports
    }

    /// True for the inputs that replace thresholds.
    pub fn is_threshold(&self, input: &str) -> bool {
        let names = [&self.rule.iou_threshold_input, &self.rule.confidence_threshold_input];
        names.into_iter().flatten().any(|n| n == input)
    }

    /// The objects among the outputs, in their order; rows of zeros are none.
    pub fn detections(&self, outputs: &Features) -> Vec<Detection> {
        let rule = &self.rule;
        let tensors = (outputs.tensor(&rule.confidence_output), outputs.tensor(&rule.coordinates_output));
        let (Some(confidence), Some(coordinates)) = tensors else { return Vec::new() };
        let (&[rows, classes], &[boxes, 4]) = (confidence.shape(), coordinates.shape()) else {
            return Vec::new();
        };
        let (values, places) = (confidence.to_f64s(), coordinates.to_f64s());
        let one = |row: usize| {
            let (class, confidence) = best(&values[row * classes..(row + 1) * classes])?;
            let [x, y, width, height] = [0, 1, 2, 3].map(|i| places[row * 4 + i]);
            let empty = confidence == 0.0 && width == 0.0 && height == 0.0;
            let label = rule.labels.get(class).cloned().unwrap_or_else(|| class.to_string());
            let found = Detection { label, confidence, center: [x, y], size: [width, height] };
            (!empty).then_some(found)
        };
        (0..rows.min(boxes)).filter_map(one).collect()
    }

    /// What profiles call it.
    pub fn describe(&self) -> StepInfo {
        StepInfo {
            kind: "nonMaximumSuppression".into(),
            name: self.rule.confidence_output.clone(),
            source: None,
            fused: Vec::new(),
            kernel: "suppress".into(),
            results: Vec::new(),
            work: None,
            bytes: 0,
        }
    }

    /// The boxes that stay, of `[boxes, classes]` confidences and `[boxes, 4]` coordinates.
    ///
    /// # Errors
    /// When inputs contradict each other or a threshold is out of range, the outputs would take too much memory, or there
    /// are too many boxes to compare.
    pub fn predict(&self, inputs: &Features) -> Result<Features, Error> {
        let rule = &self.rule;
        let tensor = |name: &str| inputs.tensor(name).ok_or_else(|| missing(name));
        let (confidence, coordinates) = (tensor(&rule.confidence)?, tensor(&rule.coordinates)?);
        self.check_shapes(confidence, coordinates)?;
        let threshold = |input: &Option<String>, usual: f64| {
            let given = input.as_ref().and_then(|name| Some((name, inputs.tensor(name)?)));
            given.map_or(Ok(usual), |(name, t)| {
                in_range(name, t.f64_at(0), input == &rule.iou_threshold_input)
            })
        };
        let iou = threshold(&rule.iou_threshold_input, rule.iou_threshold)?;
        let least = threshold(&rule.confidence_threshold_input, rule.confidence_threshold)?;
        let found = candidates(confidence, coordinates, least);
        let mut kept = suppressed(found, iou, rule.per_class)?;
        kept.truncate(self.rows.1);
        let count = kept.len().max(self.rows.0);
        let mut made = Features::new();
        made.insert(rule.confidence_output.as_str(), self.gathered(confidence, &kept, count)?);
        made.insert(rule.coordinates_output.as_str(), self.gathered(coordinates, &kept, count)?);
        Ok(features::give(&rule.interface, made))
    }

    fn check_shapes(&self, confidence: &Tensor, coordinates: &Tensor) -> Result<(), Error> {
        let ([boxes, classes], [others, _]) = (confidence.shape(), coordinates.shape()) else {
            return Err(missing(&self.rule.confidence));
        };
        let labels = self.rule.labels.len();
        let what = if boxes != others {
            format!(
                "`{}` has {boxes} boxes, but `{}` has {others}",
                self.rule.confidence, self.rule.coordinates
            )
        } else if labels > 0 && labels != *classes {
            format!("`{}` has {classes} classes, but {labels} have a label", self.rule.confidence)
        } else {
            return Ok(());
        };
        Err(Error::new(what).of_kind(ErrorKind::WrongShape))
    }

    /// Those rows of a matrix, and zeros up to `count` rows.
    fn gathered(&self, from: &Tensor, kept: &[usize], count: usize) -> Result<Tensor, Error> {
        let columns = from.shape().get(1).copied().unwrap_or(0);
        let needed = num::element_count(&[count, columns]).and_then(|n| n.checked_mul(8));
        let needed = needed.map_or(u64::MAX, |n| u64::try_from(n).unwrap_or(u64::MAX));
        if needed > self.max_bytes {
            let what = format!(
                "{count} boxes of {columns} numbers need {needed} bytes, but {} are allowed; allow more",
                self.max_bytes
            );
            return Err(Error::new(what).of_kind(ErrorKind::MemoryLimit));
        }
        let mut values = Vec::with_capacity(count * columns);
        for row in kept {
            values.extend((row * columns..(row + 1) * columns).map(|i| from.f64_at(i)));
        }
        values.resize(count * columns, 0.0);
        Tensor::from_f64s(from.dtype(), [count, columns], &values).map_err(Error::from_cause)
    }
}

fn missing(name: &str) -> Error {
    Error::new(format!("input `{name}` is missing")).of_kind(ErrorKind::MissingInput)
}

fn in_range(name: &str, value: f64, share: bool) -> Result<f64, Error> {
    let range = if share { "from 0 to 1" } else { "0 or more" };
    if value >= 0.0 && (value <= 1.0 || !share) {
        return Ok(value);
    }
    let what = format!("input `{name}` is {value}, but must be {range}");
    Err(Error::new(what).of_kind(ErrorKind::WrongType))
}

fn array(described: &Described) -> Option<&anemone_mil::interface::ArrayFeature> {
    match &described.kind {
        FeatureKind::MultiArray(array) => Some(array),
        _ => None,
    }
}

/// Fewest and most boxes that the outputs may have, as far as either says.
fn rows(rule: &Suppression) -> (usize, usize) {
    let count = |n: &i64| num::usize_of(*n).filter(|&n| n > 0);
    let whole = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    let (mut fewest, mut most) = (0, usize::MAX);
    for name in [&rule.confidence_output, &rule.coordinates_output] {
        let described = rule.interface.outputs.iter().find(|f| f.name == *name);
        let Some(array) = described.and_then(array) else { continue };
        let (low, high) = match &array.flexibility {
            Flexibility::Fixed => {
                let fixed = array.shape.first().and_then(count);
                (fixed.unwrap_or(0), fixed.unwrap_or(usize::MAX))
            }
            Flexibility::Enumerated(shapes) => {
                let counts = || shapes.iter().filter_map(|s| s.first().and_then(count));
                (counts().min().unwrap_or(0), counts().max().unwrap_or(usize::MAX))
            }
            Flexibility::Ranges(ranges) => ranges
                .first()
                .map_or((0, usize::MAX), |r| (whole(r.lower), r.upper.map_or(usize::MAX, whole))),
        };
        (fewest, most) = (fewest.max(low), most.min(high));
    }
    (fewest.min(most), most)
}

/// The first of the largest confidences that are numbers.
fn best(confidences: &[f64]) -> Option<(usize, f64)> {
    let better = |best: Option<(usize, f64)>, (class, &v): (usize, &f64)| match best {
        Some((_, b)) if v <= b => best,
        _ if v.is_nan() => best,
        _ => Some((class, v)),
    };
    confidences.iter().enumerate().fold(None, better)
}

/// The boxes whose best class reaches `least`, the most confident first; equals stay in order.
fn candidates(confidence: &Tensor, coordinates: &Tensor, least: f64) -> Vec<Candidate> {
    let (&[boxes, classes], places) = (confidence.shape(), coordinates.to_f64s()) else { return Vec::new() };
    let values = confidence.to_f64s();
    let candidate = |row: usize| {
        let of = &values[row * classes..(row + 1) * classes];
        let (class, confidence) = best(of).filter(|&(_, v)| v >= least)?;
        let [x, y, width, height] = [0, 1, 2, 3].map(|i| places[row * 4 + i]);
        let edges = [x - width / 2.0, y - height / 2.0, x + width / 2.0, y + height / 2.0];
        Some(Candidate { row, class, confidence, edges })
    };
    let mut found: Vec<Candidate> = (0..boxes).filter_map(candidate).collect();
    found.sort_by(|a, b| b.confidence.partial_cmp(&a.confidence).unwrap_or(Ordering::Equal));
    found
}

/// Rows of the boxes that stay, in the order of `found`.
fn suppressed(found: Vec<Candidate>, iou: f64, per_class: bool) -> Result<Vec<usize>, Error> {
    let total = found.len();
    let (mut kept, mut rows, mut pairs) = (HashMap::<usize, Vec<[f64; 4]>>::new(), Vec::new(), 0u64);
    for candidate in found {
        let rivals = kept.entry(if per_class { candidate.class } else { 0 }).or_default();
        pairs = pairs.saturating_add(u64::try_from(rivals.len()).unwrap_or(u64::MAX));
        if pairs > MOST_PAIRS {
            let what = format!(
                "{total} boxes are too many for non-maximum suppression; raise the threshold of confidence"
            );
            return Err(Error::new(what).of_kind(ErrorKind::StepLimit));
        }
        if !rivals.iter().any(|r| overlap(r, &candidate.edges) > iou) {
            rivals.push(candidate.edges);
            rows.push(candidate.row);
        }
    }
    Ok(rows)
}

/// Intersection over union of two boxes; 0 where they have no area.
fn overlap(a: &[f64; 4], b: &[f64; 4]) -> f64 {
    let side = |low: usize, high: usize| (a[high].min(b[high]) - a[low].max(b[low])).max(0.0);
    let area = |e: &[f64; 4]| (e[2] - e[0]) * (e[3] - e[1]);
    let shared = side(0, 2) * side(1, 3);
    let union = area(a) + area(b) - shared;
    if union > 0.0 { shared / union } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anemone_mil::interface::ArrayFeature;

    fn matrix(name: &str, shape: Vec<i64>) -> Described {
        let array =
            ArrayFeature { dtype: Some(DType::F32), shape, flexibility: Flexibility::Fixed, default: None };
        let (name, kind) = (name.to_owned(), FeatureKind::MultiArray(array));
        Described { name, description: String::new(), kind, optional: false }
    }

    /// Boxes of one side length at `x`, with the confidences of two classes each.
    fn run(rows: i64, labels: usize, boxes: &[(f32, [f32; 2])]) -> Result<Vec<f32>, Error> {
        let shape = if rows > 0 { vec![rows, 2] } else { Vec::new() };
        let interface = FunctionInterface {
            inputs: vec![matrix("a", Vec::new()), matrix("b", Vec::new())],
            outputs: vec![matrix("c", shape), matrix("d", Vec::new())],
            ..FunctionInterface::default()
        };
        let suppress = Suppress::new(
            &Suppression {
                interface,
                per_class: false,
                labels: vec!["x".into(); labels],
                iou_threshold: 0.5,
                confidence_threshold: 0.0,
                confidence: "a".into(),
                coordinates: "b".into(),
                iou_threshold_input: None,
                confidence_threshold_input: None,
                confidence_output: "c".into(),
                coordinates_output: "d".into(),
            },
            1 << 20,
        );
        let n = boxes.len();
        let confidence: Vec<f32> = boxes.iter().flat_map(|(_, c)| *c).collect();
        let coordinates: Vec<f32> = boxes.iter().flat_map(|(x, _)| [*x, 0.0, 1.0, 1.0]).collect();
        let inputs = Features::from_iter([
            ("a", Tensor::from_f32s([n, 2], &confidence).expect("fits")),
            ("b", Tensor::from_f32s([n, 4], &coordinates).expect("fits")),
        ]);
        let made = suppress.predict(&inputs)?;
        Ok(made.tensor("d").expect("made").to_f32s().chunks(4).map(|c| c[0]).collect())
    }

    #[test]
    fn of_boxes_of_equal_confidence_the_first_stays() {
        assert_eq!(
            run(0, 2, &[(0.0, [0.5, 0.1]), (0.1, [0.5, 0.1]), (9.0, [0.2, 0.5])]).expect("runs"),
            [0.0, 9.0]
        );
    }

    #[test]
    fn boxes_without_a_number_suppress_nothing_and_confidences_without_one_are_none() {
        let nan = f32::NAN;
        let found = run(0, 0, &[(0.0, [nan, nan]), (nan, [0.9, 0.1]), (1.0, [nan, 0.5])]).expect("runs");
        assert!(found.len() == 2 && found[0].is_nan() && found[1] == 1.0, "{found:?}");
        assert!(run(0, 0, &[]).expect("runs").is_empty());
    }

    #[test]
    fn as_many_rows_as_the_memory_has_no_room_for_are_refused() {
        let error = run(1 << 40, 2, &[(0.0, [0.5, 0.1])]).expect_err("too many");
        assert_eq!(error.kind(), ErrorKind::MemoryLimit, "{error}");
        let error = run(i64::MAX, 2, &[(0.0, [0.5, 0.1])]).expect_err("too many");
        assert_eq!(error.kind(), ErrorKind::MemoryLimit, "{error}");
    }

    #[test]
    fn labels_must_be_as_many_as_classes() {
        let error = run(0, 3, &[(0.0, [0.5, 0.1])]).expect_err("three labels").to_string();
        assert!(error.contains("2 classes") && error.contains("3 have a label"), "{error}");
    }
}
