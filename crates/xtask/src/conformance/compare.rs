//! What was computed against what is expected. The rules are those of `corpus/conformance/README.md`.

use super::case::Case;
use anemone_model::{DictKey, Feature, Features};
use anemone_tensor::Tensor;
use serde_json::Value;

/// How close a case came, from worst to best.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Verdict {
    /// Nothing was computed, and why.
    Error(String),
    /// Outside of the tolerance, and where.
    Wrong(String),
    /// Within the tolerance, but not the strict one, and where.
    Tolerance(String),
    /// Within the strict tolerance.
    Strict,
}

impl Verdict {
    /// Word for the page.
    pub(super) fn word(&self) -> &'static str {
        WORDS[self.rank()]
    }

    /// Place in [`WORDS`]: higher is better.
    pub(super) fn rank(&self) -> usize {
        match self {
            Verdict::Error(_) => 0,
            Verdict::Wrong(_) => 1,
            Verdict::Tolerance(_) => 2,
            Verdict::Strict => 3,
        }
    }

    /// Why it is not strict.
    pub(super) fn reason(&self) -> &str {
        match self {
            Verdict::Error(why) | Verdict::Wrong(why) | Verdict::Tolerance(why) => why,
            Verdict::Strict => "",
        }
    }

    /// The worse of two; of equals the first.
    pub(super) fn and(self, other: Verdict) -> Verdict {
        if other.rank() < self.rank() { other } else { self }
    }
}

/// Words of the verdicts, by rank.
pub(super) const WORDS: [&str; 4] = ["error", "wrong", "tolerance", "strict"];

/// Compares the outputs of one step; pictures are `[height, width, 3]` or `[height, width]`.
///
/// # Errors
/// When the case itself is faulty.
pub(super) fn compare(case: &Case, step: u64, outputs: &Features) -> Result<Verdict, String> {
    let mut verdict = Verdict::Strict;
    for (name, wanted) in &case.expected(step)? {
        verdict = verdict.and(tensor(case, name, outputs.find(name), wanted)?);
    }
    for (name, wanted) in case.meta["labels"].as_object().into_iter().flatten() {
        let found = outputs.find(name);
        if !found.is_some_and(|found| label_is(found, wanted)) {
            verdict = verdict.and(Verdict::Wrong(format!("{name} is {found:?}, expected {wanted}")));
        }
    }
    for (name, wanted) in case.meta["dicts"].as_object().into_iter().flatten() {
        let found = outputs.find(name);
        if !found.is_some_and(|found| dict_is(found, wanted, &case.meta["tolerance"])) {
            verdict = verdict.and(Verdict::Wrong(format!("{name} is {found:?}, expected {wanted}")));
        }
    }
    Ok(verdict)
}

fn tensor(case: &Case, name: &str, found: Option<&Feature>, wanted: &Tensor) -> Result<Verdict, String> {
    let single;
    let found = match found {
        Some(Feature::Tensor(found)) => found,
        Some(Feature::Int(i)) => {
            single = Tensor::from_i64s(anemone_tensor::DType::I64, [1], &[*i]).map_err(|e| e.to_string())?;
            &single
        }
        Some(_) => return Ok(Verdict::Wrong(format!("output {name} is no tensor"))),
        None => return Ok(Verdict::Wrong(format!("there is no output {name}"))),
    };
    // A feature cannot have rank 0: such an output is described as one element.
    let scalar = found.rank() == 0 && wanted.len() == 1;
    let shaped = case.meta["compare_shapes"] == true;
    if shaped && !scalar && found.shape() != wanted.shape() || found.len() != wanted.len() && found.len() != 1
    {
        let why = format!("{name} has shape {:?}, expected {:?}", found.shape(), wanted.shape());
        return Ok(Verdict::Wrong(why));
    }
    let allowed = case.meta["mismatch_ratio"].as_f64().unwrap_or(0.0);
    let (share, worst) = outside(found, wanted, &case.meta["tolerance"])?;
    if share > allowed {
        return Ok(Verdict::Wrong(format!("{name}: {worst}")));
    }
    let (share, worst) = outside(found, wanted, &case.meta["strict"])?;
    Ok(if share > allowed { Verdict::Tolerance(format!("{name}: {worst}")) } else { Verdict::Strict })
}

fn label_is(found: &Feature, wanted: &Value) -> bool {
    match (found, wanted) {
        (Feature::Text(found), Value::String(wanted)) => found == wanted,
        (Feature::Int(found), wanted) => wanted.as_i64() == Some(*found),
        (Feature::Tensor(found), wanted) => found.len() == 1 && wanted.as_f64() == Some(found.f64_at(0)),
        _ => false,
    }
}

/// True when both have the same keys, in whatever order, and each probability is within the tolerance.
fn dict_is(found: &Feature, wanted: &Value, tolerance: &Value) -> bool {
    let (Feature::Dict(found), Some(wanted)) = (found, wanted.as_array()) else { return false };
    let limit = |key: &str| tolerance[key].as_f64().unwrap_or(0.0);
    let same = |key: &DictKey, name: &Value| match key {
        DictKey::Text(text) => name.as_str() == Some(text),
        DictKey::Int(i) => name.as_i64() == Some(*i),
    };
    let close = |entry: &Value| {
        let value = found.iter().find(|(key, _)| same(key, &entry[0])).map(|(_, value)| *value);
        let gap = |(found, wanted): (f64, f64)| {
            (found - wanted).abs() <= limit("atol") + limit("rtol") * wanted.abs()
        };
        value.zip(entry[1].as_f64()).is_some_and(gap)
    };
    found.len() == wanted.len() && wanted.iter().all(close)
}

/// The share of elements outside of a tolerance, and the worst of them in words.
fn outside(actual: &Tensor, expected: &Tensor, tolerance: &Value) -> Result<(f64, String), String> {
    let limit = |key: &str| tolerance[key].as_f64().ok_or_else(|| format!("no {key}"));
    let (atol, rtol) = (limit("atol")?, limit("rtol")?);
    let (actual, expected) = (actual.to_f64s(), expected.to_f64s());
    if actual.is_empty() && expected.is_empty() {
        return Ok((0.0, String::new()));
    }
    let (mut count, mut worst, mut words) = (0usize, 0.0, String::new());
    for (at, &wanted) in expected.iter().enumerate() {
        let found = actual[if actual.len() == 1 { 0 } else { at }];
        let same = found == wanted || found.is_nan() && wanted.is_nan();
        let gap = (found - wanted).abs();
        let within = same || gap <= atol + rtol * wanted.abs();
        if !within {
            count += 1;
            if words.is_empty() || gap > worst {
                (worst, words) = (gap, format!("element {at} is {found}, expected {wanted}"));
            }
        }
    }
    Ok((count as f64 / expected.len() as f64, words))
}
