//! The range of numbers in a tensor.

use anemone_tensor::Tensor;
use std::collections::HashMap;

/// What numbers a tensor has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    /// Smallest finite element; infinite when there is none.
    pub min: f64,
    /// Largest finite element; minus infinite when there is none.
    pub max: f64,
    /// Elements that are infinite or no number.
    pub not_finite: usize,
}

impl Range {
    /// Looks at every element.
    pub fn of(tensor: &Tensor) -> Range {
        let mut range = Range { min: f64::INFINITY, max: f64::NEG_INFINITY, not_finite: 0 };
        for v in tensor.to_f64s() {
            if v.is_finite() {
                (range.min, range.max) = (range.min.min(v), range.max.max(v));
            } else {
                range.not_finite += 1;
            }
        }
        range
    }

    /// Largest magnitude of a finite element; 0 when there is none.
    pub fn largest(&self) -> f64 {
        if self.min > self.max { 0.0 } else { self.min.abs().max(self.max.abs()) }
    }

    fn join(&mut self, other: Range) {
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.not_finite += other.not_finite;
    }
}

/// Ranges by name; a value that is made again and again has one range over all.
#[derive(Clone, Debug, Default)]
pub(super) struct Ranges(HashMap<String, Range>);

impl Ranges {
    pub(super) fn add(&mut self, name: &str, tensor: &Tensor) {
        let range = Range::of(tensor);
        self.0.entry(name.to_owned()).and_modify(|r| r.join(range)).or_insert(range);
    }

    pub(super) fn of(&self, name: &str) -> Option<&Range> {
        self.0.get(name)
    }
}
