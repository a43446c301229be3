//! Where resized pixels are read: grid points over an interval, and the two elements around each.
//!
//! Formulas: the notes of `resize_bilinear` and `upsample_bilinear` in the MIL op reference of coremltools 9.0,
//! `ops/defs/iOS15/image_resizing.py`.

use anemone_tensor::num::{f64_of_usize, i64_trunc, usize_of};

/// How grid points are spread over the elements of one dim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sampling {
    /// The first and last points are the first and last elements; a single point is the first.
    StrictAlignCorners,
    /// Like [`Sampling::StrictAlignCorners`], but a single point is in the middle.
    AlignCorners,
    /// Elements and points are areas whose outer edges agree (`half_pixel_centers`).
    UnalignCorners,
    /// Points start at the first element, a step of input extent by output extent apart.
    Default,
    /// The interval between the centres of the outer elements is cut into equal parts, read in the middle of each.
    OffsetCorners,
}

impl Sampling {
    /// The mode of that MIL name, such as `STRICT_ALIGN_CORNERS`.
    pub fn from_name(name: &str) -> Option<Sampling> {
        Some(match name {
            "STRICT_ALIGN_CORNERS" => Sampling::StrictAlignCorners,
            "ALIGN_CORNERS" => Sampling::AlignCorners,
            "UNALIGN_CORNERS" => Sampling::UnalignCorners,
            "DEFAULT" => Sampling::Default,
            "OFFSET_CORNERS" => Sampling::OffsetCorners,
            _ => return None,
        })
    }

    /// Grid points over an interval of `length`, the distance from the first to the last element, counted from its
    /// start and never outside of it; `count` of them.
    pub fn points(self, length: f64, count: usize) -> Vec<f64> {
        let n = f64_of_usize(count);
        let (first, step) = match self {
            Sampling::AlignCorners if count == 1 => (length / 2.0, 0.0),
            Sampling::StrictAlignCorners | Sampling::AlignCorners if count > 1 => (0.0, length / (n - 1.0)),
            Sampling::StrictAlignCorners | Sampling::AlignCorners => (0.0, 0.0),
            Sampling::UnalignCorners => {
                let step = (length + 1.0) / n;
                (0.5 * step - 0.5, step)
            }
            Sampling::Default => (0.0, (length + 1.0) / n),
            Sampling::OffsetCorners => {
                let step = length.max(1.0) / n;
                (0.5 * step, step)
            }
        };
        let (low, high) = (length.min(0.0), length.max(0.0));
        (0..count).map(|i| (first + f64_of_usize(i) * step).clamp(low, high)).collect()
    }
}

/// What a resized element is made of: `(1 - weight) * x[low] + weight * x[high]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tap {
    /// Element at or before the grid point.
    pub low: usize,
    /// Element after it; the same as `low` at the end and where `weight` is 0.
    pub high: usize,
    /// Weight of `high`, 0 to 1.
    pub weight: f64,
}

impl Tap {
    /// The tap that reads one element.
    pub fn whole(index: usize) -> Tap {
        Tap { low: index, high: index, weight: 0.0 }
    }

    /// The tap of a grid point among `extent` elements, which must be at least 1; `NaN` reads the first.
    pub fn linear(point: f64, extent: usize) -> Tap {
        let last = extent.saturating_sub(1);
        let point = point.max(0.0).min(f64_of_usize(last));
        let low = usize_of(i64_trunc(point)).unwrap_or(0).min(last);
        let weight = point - f64_of_usize(low);
        Tap { low, high: if weight > 0.0 { (low + 1).min(last) } else { low }, weight }
    }
}

/// How a dim is resized.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interpolation {
    /// Linear between the two elements around each grid point.
    Linear(Sampling),
    /// The element nearest to each grid point; halves go to the later one.
    Nearest(Sampling),
    /// Element `floor(i * input / output)`.
    Floor,
}

impl Interpolation {
    /// What each of `output` elements is made of, from `input` elements.
    ///
    /// Empty when either extent is 0.
    pub fn taps(self, input: usize, output: usize) -> Vec<Tap> {
        let Some(last) = input.checked_sub(1) else { return Vec::new() };
        let points = |sampling: Sampling| sampling.points(f64_of_usize(last), output).into_iter();
        match self {
            Interpolation::Linear(s) => points(s).map(|p| Tap::linear(p, input)).collect(),
            Interpolation::Nearest(s) => {
                let nearest = |p: f64| usize_of(i64_trunc((p + 0.5).floor())).unwrap_or(0).min(last);
                points(s).map(|p| Tap::whole(nearest(p))).collect()
            }
            Interpolation::Floor => {
                let at = |i: usize| i.checked_mul(input).map_or(last, |p| (p / output).min(last));
                (0..output).map(|i| Tap::whole(at(i))).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected: the tables of grid points in the op reference, for two elements; six `DEFAULT` and
    /// `OFFSET_CORNERS` points to more digits by its formulas.
    #[test]
    fn grid_points_are_those_of_the_reference() {
        let third = 1.0 / 3.0;
        let cases: [(Sampling, &[f64]); 8] = [
            (Sampling::UnalignCorners, &[0.0, 0.1, 0.5, 0.9, 1.0]),
            (Sampling::StrictAlignCorners, &[0.0, 0.25, 0.5, 0.75, 1.0]),
            (Sampling::Default, &[0.0, 0.4, 0.8, 1.0, 1.0]),
            (Sampling::OffsetCorners, &[0.1, 0.3, 0.5, 0.7, 0.9]),
            (Sampling::UnalignCorners, &[0.0, 0.0, third, 2.0 * third, 1.0, 1.0]),
            (Sampling::AlignCorners, &[0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
            (Sampling::Default, &[0.0, third, 2.0 * third, 1.0, 1.0, 1.0]),
            (Sampling::OffsetCorners, &[1.0 / 12.0, 0.25, 5.0 / 12.0, 7.0 / 12.0, 0.75, 11.0 / 12.0]),
        ];
        for (mode, expected) in cases {
            let points = mode.points(1.0, expected.len());
            let close = points.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12);
            assert!(close, "{mode:?}: {points:?}, expected {expected:?}");
        }
        assert_eq!(Sampling::AlignCorners.points(4.0, 1), [2.0]);
        assert_eq!(Sampling::StrictAlignCorners.points(4.0, 1), [0.0]);
    }

    /// Expected: conformance case `test_resize_nearest_neighbor` of coremltools (2 to 3 elements by `DEFAULT`).
    #[test]
    fn nearest_rounds_and_floor_truncates() {
        let low =
            |i: Interpolation, input, output| i.taps(input, output).iter().map(|t| t.low).collect::<Vec<_>>();
        assert_eq!(low(Interpolation::Nearest(Sampling::Default), 2, 3), [0, 1, 1]);
        assert_eq!(low(Interpolation::Floor, 2, 3), [0, 0, 1]);
        assert_eq!(low(Interpolation::Floor, 3, 6), [0, 0, 1, 1, 2, 2]);
        assert_eq!(low(Interpolation::Floor, 0, 2), []);
    }
}
