//! How far two predictions are apart.

use anemone_model::{Feature, Features};
use anemone_tensor::Tensor;

/// One element that differs.
#[derive(Clone, Debug, PartialEq)]
pub struct Element {
    /// Index, dim by dim.
    pub index: Vec<usize>,
    /// Value computed.
    pub actual: f64,
    /// Value expected.
    pub expected: f64,
}

/// How far one output is from what is expected.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Name of the output.
    pub name: String,
    /// Why it cannot be compared at all.
    pub mismatch: Option<String>,
    /// Largest absolute difference.
    pub max_error: f64,
    /// Largest absolute difference over the largest expected magnitude.
    pub relative: f64,
    /// Cosine of the angle between the two.
    pub cosine: f64,
    /// True when the largest element is the same one.
    pub same_top: bool,
    /// Elements outside of the tolerance.
    pub failures: usize,
    /// Elements in all.
    pub elements: usize,
    /// The worst elements outside of the tolerance, worst first.
    pub worst: Vec<Element>,
}

/// What counts as equal: `|actual - expected| <= atol + rtol * |expected|`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// Absolute part.
    pub atol: f64,
    /// Relative part.
    pub rtol: f64,
}

/// How many of the worst elements are kept.
const WORST: usize = 5;

/// Compares what is expected, name by name, with what was computed.
pub fn compare(actual: &Features, expected: &Features, tolerance: Tolerance) -> Vec<Difference> {
    let one = |(name, wanted): (&str, &Feature)| match (actual.find(name), wanted) {
        (Some(Feature::Tensor(a)), Feature::Tensor(e)) => tensors(name, a, e, tolerance),
        (Some(a), e) if a == e => Difference::equal(name),
        (Some(a), e) => Difference::mismatch(name, format!("is {a:?}, but {e:?} is expected")),
        (None, _) => {
            let given: Vec<&str> = actual.iter().map(|(n, _)| n).collect();
            Difference::mismatch(name, format!("is not an output; the model gives {given:?}"))
        }
    };
    expected.iter().map(one).collect()
}

/// Compares two tensors; NaN equals NaN, and an infinity the same infinity.
pub fn tensors(name: &str, actual: &Tensor, expected: &Tensor, tolerance: Tolerance) -> Difference {
    if actual.shape() != expected.shape() {
        let what = format!("has shape {:?}, but {:?} is expected", actual.shape(), expected.shape());
        return Difference::mismatch(name, what);
    }
    let (a, e) = (actual.to_f64s(), expected.to_f64s());
    let mut d = Difference::equal(name);
    d.elements = a.len();
    let mut outside: Vec<(f64, usize)> = Vec::new();
    let (mut dot, mut aa, mut ee, mut largest) = (0.0, 0.0, 0.0, 0.0f64);
    for (i, (&x, &y)) in a.iter().zip(&e).enumerate() {
        let gap = gap(x, y);
        d.max_error = d.max_error.max(gap);
        if gap > tolerance.atol + tolerance.rtol * y.abs() {
            outside.push((gap, i));
        }
        if x.is_finite() && y.is_finite() {
            (dot, aa, ee) = (dot + x * y, aa + x * x, ee + y * y);
            largest = largest.max(y.abs());
        }
    }
    d.relative = if largest > 0.0 { d.max_error / largest } else { d.max_error };
    d.cosine = if aa > 0.0 && ee > 0.0 {
        dot / (aa.sqrt() * ee.sqrt())
    } else if aa == ee {
        1.0
    } else {
        0.0
    };
    if d.max_error.is_infinite() {
        // A number where none should be, or none where one should: no angle says how far that is.
        d.cosine = 0.0;
    }
    d.same_top = top(&a) == top(&e);
    d.failures = outside.len();
    outside.sort_by(|l, r| r.0.total_cmp(&l.0));
    let element =
        |&(_, i): &(f64, usize)| Element { index: index(actual.shape(), i), actual: a[i], expected: e[i] };
    d.worst = outside.iter().take(WORST).map(element).collect();
    d
}

/// Distance of two numbers; infinite where only one of them is finite.
#[expect(clippy::float_cmp, reason = "equal infinities are no distance apart")]
fn gap(x: f64, y: f64) -> f64 {
    if x == y || (x.is_nan() && y.is_nan()) {
        0.0
    } else if x.is_finite() && y.is_finite() {
        (x - y).abs()
    } else {
        f64::INFINITY
    }
}

fn top(values: &[f64]) -> Option<usize> {
    (0..values.len()).max_by(|&i, &j| values[i].total_cmp(&values[j]).then(j.cmp(&i)))
}

fn index(shape: &[usize], flat: usize) -> Vec<usize> {
    let mut rest = flat;
    let mut out: Vec<usize> = shape
        .iter()
        .rev()
        .map(|&d| {
            let i = rest % d.max(1);
            rest /= d.max(1);
            i
        })
        .collect();
    out.reverse();
    out
}

impl Difference {
    fn equal(name: &str) -> Difference {
        Difference {
            name: name.to_owned(),
            mismatch: None,
            max_error: 0.0,
            relative: 0.0,
            cosine: 1.0,
            same_top: true,
            failures: 0,
            elements: 0,
            worst: Vec::new(),
        }
    }

    fn mismatch(name: &str, what: String) -> Difference {
        Difference {
            mismatch: Some(what),
            failures: 1,
            cosine: 0.0,
            same_top: false,
            ..Difference::equal(name)
        }
    }

    /// True when every element is within the tolerance.
    pub fn passes(&self) -> bool {
        self.mismatch.is_none() && self.failures == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_element_is_named_by_its_index() {
        let a = Tensor::from_f32s([2, 2], &[1.0, 2.0, 3.0, 9.0]).expect("fits");
        let b = Tensor::from_f32s([2, 2], &[1.0, 2.5, 3.0, 4.0]).expect("fits");
        let d = tensors("y", &a, &b, Tolerance { atol: 0.1, rtol: 0.0 });
        assert_eq!((d.failures, d.worst[0].index.clone(), d.same_top), (2, vec![1, 1], true));
    }

    #[test]
    fn nan_equals_nan_and_nothing_else() {
        let a = Tensor::from_f32s([2], &[f32::NAN, f32::INFINITY]).expect("fits");
        let b = Tensor::from_f32s([2], &[f32::NAN, 1.0]).expect("fits");
        let d = tensors("y", &a, &b, Tolerance { atol: 1e3, rtol: 1.0 });
        assert!(d.failures == 1 && d.cosine == 0.0);
    }
}
