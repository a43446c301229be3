//! Random numbers.
//!
//! Distributions and defaults: the MIL op reference of coremltools, `ops/defs/iOS15/random.py`. Which numbers come
//! out is ours: Core ML does not document its generator. The same op with the same `seed` always draws the same
//! numbers, also with the default seed -1, which leaves the choice to the engine.

use super::common::{self, INT32, STRING, T, T_FLOATS};
use super::{Default, Effect, Fault, OpDef, Param, Site, Version, Work, constant, tensor};
use crate::eval::{EvalFn, EvalSite};
use crate::{Dim, Literal, Opset, Tensor, TensorType, Type};
use anemone_tensor::{DType, num};
use std::f64::consts::TAU;

/// The ops of this family.
pub static OPS: &[&OpDef] = &[&RANDOM_BERNOULLI, &RANDOM_CATEGORICAL, &RANDOM_NORMAL, &RANDOM_UNIFORM];

const SHAPE: Param = tensor("shape", INT32);
const SEED: Param = constant("seed", INT32).or(Default::Int(-1));

/// A constant float with a default.
const fn float(name: &'static str, default: f64) -> Param {
    constant(name, T).or(Default::Float(default))
}

/// A distribution whose result has the shape that operand `shape` gives.
const fn shaped(
    name: &'static str,
    doc: &'static str,
    versions: &'static [Version],
    eval: EvalFn,
    work: fn(&Site<'_>) -> Option<Work>,
) -> OpDef {
    OpDef { name, doc, versions, effect: Effect::Random, infer: shaped_type, eval: Some(eval), work }
}

static RANDOM_BERNOULLI: OpDef = shaped(
    "random_bernoulli",
    "1 with probability prob, 0 otherwise.",
    &[Version { since: Opset::Ios13, params: &[SHAPE, float("prob", 0.5), SEED], domains: &[T_FLOATS] }],
    |site| {
        let prob = site.float("prob")?;
        draw(site, |random| if random.unit() < prob { 1.0 } else { 0.0 })
    },
    Work::per_output,
);

static RANDOM_NORMAL: OpDef = shaped(
    "random_normal",
    "Normally distributed with the given mean and standard deviation.",
    &[Version {
        since: Opset::Ios13,
        params: &[SHAPE, float("mean", 0.0), float("stddev", 1.0), SEED],
        domains: &[T_FLOATS],
    }],
    |site| {
        let (mean, stddev) = (site.float("mean")?, site.float("stddev")?);
        draw(site, |random| mean + stddev * random.normal())
    },
    |site| Work::scaled(site, 4, 3),
);

static RANDOM_UNIFORM: OpDef = shaped(
    "random_uniform",
    "Uniformly distributed in [low, high).",
    &[Version {
        since: Opset::Ios13,
        params: &[SHAPE, float("low", 0.0), float("high", 1.0), SEED],
        domains: &[T_FLOATS],
    }],
    |site| {
        let (low, high) = (site.float("low")?, site.float("high")?);
        let dtype = drawn_dtype(&site.site)?;
        draw(site, |random| {
            let value = Tensor::scalar_f64(dtype, low + (high - low) * random.unit()).f64_at(0);
            // Rounding to the result's type may reach the excluded end.
            if value >= high { low } else { value }
        })
    },
    |site| Work::scaled(site, 2, 0),
);

/// Element type of the result: that of the given constants of domain `T`, else `fp32`.
fn drawn_dtype(site: &Site<'_>) -> Result<DType, Fault> {
    let mut found: Option<(&str, DType)> = None;
    for param in site.version.params.iter().filter(|p| matches!(p.accept, super::Accept::Domain(_))) {
        let Some(given) = site.optional_tensor(param.name)? else { continue };
        match found {
            Some((first, dtype)) if dtype != given.dtype => {
                return Err(Fault::arg(param.name, given.dtype, format!("{dtype} as `{first}` is")));
            }
            _ => found = Some((param.name, given.dtype)),
        }
    }
    Ok(found.map_or(DType::F32, |(_, dtype)| dtype))
}

/// Dims from the values of `shape` when constant, from its length otherwise.
fn shaped_type(site: &Site<'_>) -> Result<Vec<Type>, Fault> {
    let dtype = drawn_dtype(site)?;
    let given = site.tensor("shape")?;
    let dims = match (site.known_ints("shape"), given.dims.as_slice()) {
        (Some(dims), [_]) => extents(&dims)?.into_iter().map(Dim::Known).collect(),
        (None, [Dim::Known(rank)]) => vec![Dim::Unknown; *rank],
        _ => return Err(Fault::arg("shape", given, "of rank 1 with a fixed length")),
    };
    Ok(vec![TensorType { dtype, dims }.into()])
}

/// Extents from integers.
fn extents(shape: &[i64]) -> Result<Vec<usize>, Fault> {
    let one =
        |&n: &i64| num::usize_of(n).ok_or_else(|| Fault::arg("shape", format!("{shape:?}"), "not negative"));
    shape.iter().map(one).collect()
}

/// Draws every element of the result.
fn draw(site: &EvalSite<'_>, mut one: impl FnMut(&mut Random) -> f64) -> Result<Vec<Literal>, Fault> {
    let shape = extents(&site.ints("shape")?)?;
    let mut random = Random::seeded(site.int("seed")?);
    let values: Vec<f64> = (0..common::element_count(&shape)?).map(|_| one(&mut random)).collect();
    EvalSite::floats(drawn_dtype(&site.site)?, &shape, &values)
}

static RANDOM_CATEGORICAL: OpDef = OpDef {
    name: "random_categorical",
    doc: "Indices drawn, with replacement, by the probabilities or logits along the last dim of x.",
    versions: &[Version {
        since: Opset::Ios13,
        params: &[
            tensor("x", T),
            constant("mode", STRING).or(Default::Str("logits")),
            constant("size", INT32).or(Default::Int(1)),
            SEED,
        ],
        domains: &[T_FLOATS],
    }],
    effect: Effect::Random,
    infer: categorical_type,
    eval: Some(categorical),
    work: |site| {
        let work = Work::per_input(site)?;
        Some(Work { flops: work.flops.checked_mul(3)?, transcendental: work.flops })
    },
};

/// True when `x` holds logits, false when probabilities.
fn is_logits(mode: &str) -> Result<bool, Fault> {
    match mode {
        "logits" => Ok(true),
        "probs" => Ok(false),
        _ => Err(Fault::arg("mode", format!("\"{mode}\""), "logits or probs")),
    }
}

fn categorical_type(site: &Site<'_>) -> Result<Vec<Type>, Fault> {
    is_logits(&site.str("mode")?)?;
    let mut result = site.tensor("x")?.clone();
    let size = site.int("size")?;
    let size = num::usize_of(size).ok_or_else(|| Fault::arg("size", size, "not negative"))?;
    match result.dims.last_mut() {
        Some(last) => *last = Dim::Known(size),
        None => return Err(Fault::arg("x", &result, "of rank 1 or more")),
    }
    Ok(vec![result.into()])
}

fn categorical(site: &EvalSite<'_>) -> Result<Vec<Literal>, Fault> {
    let x = site.tensor("x")?;
    let logits = is_logits(&site.str("mode")?)?;
    let size = num::usize_of(site.int("size")?).unwrap_or_default();
    let Some((&classes, outer)) = x.shape().split_last() else {
        return Err(Fault::arg("x", "a scalar", "of rank 1 or more"));
    };
    let shape = [outer, &[size]].concat();
    let mut values = Vec::with_capacity(common::element_count(&shape)?);
    let mut random = Random::seeded(site.int("seed")?);
    let all = x.to_f64s();
    for row in 0..common::element_count(outer)? {
        let numbers = all.get(row * classes..(row + 1) * classes).unwrap_or_default();
        let weights = weights(numbers, logits)?;
        values.extend((0..size).map(|_| num::f64_of_usize(random.index(&weights))));
    }
    EvalSite::floats(x.dtype(), &shape, &values)
}

/// Positive weights in proportion to the probabilities.
fn weights(row: &[f64], logits: bool) -> Result<Vec<f64>, Fault> {
    let top = row.iter().copied().fold(f64::NEG_INFINITY, common::max);
    let weight = |&v: &f64| if logits { (v - top).exp() } else { v.max(0.0) };
    let weights: Vec<f64> = row.iter().map(weight).collect();
    let sum: f64 = weights.iter().sum();
    if sum.is_finite() && sum > 0.0 {
        return Ok(weights);
    }
    Err(Fault::arg("x", "a row without any probability", "at least one finite, positive probability per row"))
}

/// A small generator for reproducible draws.
///
/// SplitMix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
struct Random {
    state: u64,
}

impl Random {
    fn seeded(seed: i64) -> Random {
        Random { state: u64::from_le_bytes(seed.to_le_bytes()) }
    }

    fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in [0, 1), a multiple of 2^-53.
    fn unit(&mut self) -> f64 {
        let high = i64::try_from(self.bits() >> 11).unwrap_or_default();
        num::f64_of(high) * (f64::EPSILON / 2.0)
    }

    /// Standard normal, by the method of Box and Muller (1958).
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (TAU * self.unit()).cos()
    }

    /// An index with probability in proportion to its weight.
    fn index(&mut self, weights: &[f64]) -> usize {
        let mut rest = self.unit() * weights.iter().sum::<f64>();
        for (i, weight) in weights.iter().enumerate() {
            if rest < *weight {
                return i;
            }
            rest -= weight;
        }
        weights.iter().rposition(|w| *w > 0.0).unwrap_or_default()
    }
}
