//! How far two predictions are apart.

use anemone_model::{DictKey, Feature, Features};
use anemone_tensor::{DType, Tensor};
use std::collections::HashMap;

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
        (Some(Feature::Dict(a)), Feature::Dict(e)) => probabilities(name, a, e, tolerance),
        (Some(a), e) => match (number(a), number(e)) {
            (Some(a), Some(e)) => tensors(name, &a, &e, tolerance),
            _ => Difference::mismatch(name, format!("is {}, but {} is expected", words(a), words(e))),
        },
        (None, _) => {
            let given: Vec<&str> = actual.iter().map(|(n, _)| n).collect();
            Difference::mismatch(name, format!("is not an output; the model gives {given:?}"))
        }
    };
    expected.iter().map(one).collect()
}

/// A number, or a tensor of one element, without dims.
fn number(feature: &Feature) -> Option<Tensor> {
    match feature {
        Feature::Int(v) => Tensor::from_i64s(DType::I64, [], &[*v]).ok(),
        Feature::Double(v) => Some(Tensor::scalar_f64(DType::F64, *v)),
        Feature::Tensor(t) if t.len() == 1 => t.reshaped([]).ok(),
        _ => None,
    }
}

fn words(feature: &Feature) -> String {
    match feature {
        Feature::Tensor(t) => format!("{} {:?}", t.dtype(), t.shape()),
        Feature::Text(text) => format!("{text:?}"),
        Feature::Int(v) => v.to_string(),
        Feature::Double(v) => v.to_string(),
        Feature::Dict(entries) => format!("a dictionary of {}", entries.len()),
    }
}

/// Compares probabilities label by label; elements count in the order that is expected.
fn probabilities(
    name: &str,
    actual: &[(DictKey, f64)],
    expected: &[(DictKey, f64)],
    tolerance: Tolerance,
) -> Difference {
    let text = |k: &DictKey| match k {
        DictKey::Text(t) => t.clone(),
        DictKey::Int(i) => i.to_string(),
    };
    let found: HashMap<String, f64> = actual.iter().map(|(k, p)| (text(k), *p)).collect();
    if let Some((missing, _)) = expected.iter().find(|(k, _)| !found.contains_key(&text(k))) {
        return Difference::mismatch(name, format!("has no probability of {:?}", text(missing)));
    }
    if actual.len() != expected.len() {
        let what = format!("has {} labels, but {} are expected", actual.len(), expected.len());
        return Difference::mismatch(name, what);
    }
    let values = |of: &dyn Fn(&(DictKey, f64)) -> f64| {
        Tensor::from_f64s(DType::F64, [expected.len()], &expected.iter().map(of).collect::<Vec<f64>>())
    };
    match (values(&|(k, _)| found.get(&text(k)).copied().unwrap_or(f64::NAN)), values(&|(_, p)| *p)) {
        (Ok(a), Ok(e)) => tensors(name, &a, &e, tolerance),
        _ => Difference::mismatch(name, "cannot be compared".into()),
    }
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
    fn labels_are_equal_or_not_and_probabilities_have_a_tolerance() {
        let given = |label: &str, p: f64| {
            let mut f = Features::new();
            f.insert("label", Feature::Text(label.into()));
            f.insert(
                "p",
                Feature::Dict(vec![(DictKey::Text("a".into()), p), (DictKey::Text("b".into()), 1.0 - p)]),
            );
            f
        };
        let tolerance = Tolerance { atol: 0.01, rtol: 0.0 };
        let passes = |x: &Features, y: &Features| {
            compare(x, y, tolerance).iter().map(Difference::passes).collect::<Vec<_>>()
        };
        assert_eq!(passes(&given("a", 0.9), &given("a", 0.905)), [true, true]);
        assert_eq!(passes(&given("a", 0.9), &given("b", 0.8)), [false, false]);
    }

    #[test]
    fn nan_equals_nan_and_nothing_else() {
        let a = Tensor::from_f32s([2], &[f32::NAN, f32::INFINITY]).expect("fits");
        let b = Tensor::from_f32s([2], &[f32::NAN, 1.0]).expect("fits");
        let d = tensors("y", &a, &b, Tolerance { atol: 1e3, rtol: 1.0 });
        assert!(d.failures == 1 && d.cosine == 0.0);
    }
}
