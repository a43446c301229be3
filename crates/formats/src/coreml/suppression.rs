//! `NonMaximumSuppression.proto` and the vectors of `DataStructures.proto`: the last stage of an object detector.

use crate::wire::{message, oneof};

message! {
    /// Keeps the best of the boxes that overlap.
    pub struct NonMaximumSuppression {
        /// How boxes are suppressed.
        0 => method: Option<SuppressionMethod>,
        /// Names of the classes.
        0 => class_labels: Option<SuppressionLabels>,
        /// Boxes that overlap a better one by more than this share of their union go.
        110 => iou_threshold: f64,
        /// Boxes with a lower confidence go.
        111 => confidence_threshold: f64,
        /// Input with the confidence of every class, `[boxes, classes]`.
        200 => confidence_input: String,
        /// Input with the middle, width and height of the boxes, `[boxes, 4]`.
        201 => coordinates_input: String,
        /// Input that replaces the threshold of overlap; empty when there is none.
        202 => iou_threshold_input: String,
        /// Input that replaces the threshold of confidence; empty when there is none.
        203 => confidence_threshold_input: String,
        /// Output with the confidence of the boxes that stay.
        210 => confidence_output: String,
        /// Output with the boxes that stay.
        211 => coordinates_output: String,
    }

    /// Takes the box of the highest confidence and suppresses what overlaps it, until none is left.
    pub struct PickTop {
        /// Only boxes of the same class suppress each other.
        1 => per_class: bool,
    }

    /// Texts.
    pub struct StringVector {
        /// The texts.
        1 => vector: Vec<String>,
    }

    /// Integers.
    pub struct Int64Vector {
        /// The integers.
        1 => vector: Vec<i64>,
    }
}

oneof! {
    /// How boxes are suppressed.
    pub enum SuppressionMethod {
        /// The best one first.
        1 => PickTop(PickTop),
    }
}

oneof! {
    /// Names of classes.
    pub enum SuppressionLabels {
        /// Texts.
        100 => Strings(StringVector),
        /// Integers.
        101 => Integers(Int64Vector),
    }
}
