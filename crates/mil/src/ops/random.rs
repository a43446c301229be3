//! Random numbers.
//!
//! Distributions and defaults: the MIL op reference of coremltools, `ops/defs/iOS15/random.py`. Which numbers come
//! out is ours: Core ML does not document its generator. The same op with the same `seed` always draws the same
//! numbers, also with the default seed -1, which leaves the choice to the engine: ops without a seed are seeded by their
//! names, so that they have nothing to do with each other.

use super::common::{self, INT32, STRING, T, T_FLOATS};
use super::{Default, Effect, Fault, Form, OpDef, Param, Site, Version, Work, constant, tensor};
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
    OpDef {
        name,
        doc,
        versions,
        effect: Effect::Random,
        form: Form::Other,
        infer: shaped_type,
        eval: Some(eval),
        work,
    }
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
    let mut random = Random::of(site)?;
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
    form: Form::Other,
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
    let mut random = Random::of(site)?;
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
    /// The generator of an op.
    fn of(site: &EvalSite<'_>) -> Result<Random, Fault> {
        match site.int("seed")? {
            -1 => Ok(Random { state: hash(&site.site.op.name) }),
            seed => Ok(Random::seeded(seed)),
        }
    }

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

/// FNV-1a, 64 bits (Fowler, Noll, Vo).
fn hash(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Builder, Op, OpKind};

    /// Evaluates one op on constants.
    fn run(kind: &str, arguments: &[(&str, Literal)]) -> Result<Tensor, Fault> {
        let mut builder = Builder::new("main", Opset::Ios17);
        let mut op = Op::new(OpKind::named(kind), "y");
        for (name, value) in arguments {
            op.set_arg(name, vec![builder.constant(name, value.clone())]);
        }
        let function = builder.finish();
        let value = |name: &str| arguments.iter().find(|(n, _)| *n == name).map(|(_, v)| v.clone());
        let values: Vec<Vec<Literal>> =
            op.args.iter().map(|a| value(&a.param).into_iter().collect()).collect();
        let site = Site::new(&function, &op)?;
        let results = site.def.evaluate(&EvalSite { site, values: &values })?;
        results[0].as_tensor().cloned().ok_or_else(|| Fault::new("no tensor"))
    }

    fn float(value: f64) -> Literal {
        Tensor::scalar_f64(DType::F32, value).into()
    }

    fn ints(values: &[i32]) -> Literal {
        Tensor::vector_i32(values).into()
    }

    fn moments(t: &Tensor) -> (f64, f64) {
        let values = t.to_f64s();
        let n = num::f64_of_usize(values.len());
        let mean = values.iter().sum::<f64>() / n;
        (mean, (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt())
    }

    /// 40,000 draws: mean and deviation lie within 5 standard errors of those of the distribution.
    #[test]
    fn draws_have_the_moments_of_their_distribution() {
        let shape = || ("shape", ints(&[200, 200]));
        let cases = [
            (run("random_normal", &[shape(), ("mean", float(2.0)), ("stddev", float(3.0))]), 2.0, 3.0),
            (run("random_uniform", &[shape(), ("low", float(-1.0)), ("high", float(5.0))]), 2.0, 3f64.sqrt()),
            (run("random_bernoulli", &[shape(), ("prob", float(0.2))]), 0.2, 0.4),
        ];
        for (drawn, mean, deviation) in cases {
            let (m, d) = moments(&drawn.expect("draws"));
            let bound = 5.0 * deviation / 200.0;
            assert!((m - mean).abs() < bound && (d - deviation).abs() < bound, "{m} {d}");
        }
    }

    #[test]
    fn uniform_draws_stay_below_the_end_when_rounded() {
        let end = Tensor::scalar_f64(DType::F16, 1.0);
        let low = Tensor::scalar_f64(DType::F16, 0.998);
        let arguments = [("shape", ints(&[5000])), ("low", low.into()), ("high", end.into())];
        let drawn = run("random_uniform", &arguments).expect("draws");
        assert_eq!(drawn.dtype(), DType::F16);
        assert!(drawn.to_f64s().iter().all(|v| (0.997..1.0).contains(v)));
    }

    #[test]
    fn the_same_seed_draws_the_same_numbers() {
        let draw =
            |seed| run("random_normal", &[("shape", ints(&[8])), ("seed", Tensor::scalar_i32(seed).into())]);
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    /// Expected values: Rosetta Code, "Pseudo-random numbers/Splitmix64", seed 1234567.
    #[test]
    fn the_generator_is_splitmix64() {
        let mut random = Random::seeded(1_234_567);
        assert_eq!([random.bits(), random.bits()], [6_457_827_717_110_365_317, 3_203_168_211_198_807_973]);
    }

    #[test]
    fn categories_come_in_proportion() {
        let probs = Tensor::from_f32s([2, 3], &[0.5, 0.0, 0.5, 0.1, 0.2, 0.7]).expect("fits");
        let logits: Vec<f64> = probs.to_f64s().into_iter().map(f64::ln).collect();
        let logits = Tensor::from_f64s(DType::F32, [2, 3], &logits).expect("fits");
        for (x, mode) in [(probs, "probs"), (logits, "logits")] {
            let size = Tensor::scalar_i32(10_000);
            let arguments = [("x", x.into()), ("mode", Literal::string(mode)), ("size", size.into())];
            let drawn = run("random_categorical", &arguments).expect("draws").to_f64s();
            let share = |row: &[f64], k: f64| {
                num::f64_of_usize(row.iter().filter(|v| **v == k).count()) / num::f64_of_usize(row.len())
            };
            let (first, second) = drawn.split_at(10_000);
            assert_eq!(share(first, 1.0), 0.0);
            for (actual, expected) in
                [(share(first, 0.0), 0.5), (share(second, 1.0), 0.2), (share(second, 2.0), 0.7)]
            {
                assert!((actual - expected).abs() < 0.025, "{mode}: {actual} for {expected}");
            }
        }
    }

    #[test]
    fn impossible_draws_are_faults() {
        let zeros = Tensor::zeros(DType::F32, [2]).expect("small");
        let none = run("random_categorical", &[("x", zeros.into()), ("mode", Literal::string("probs"))]);
        assert!(none.is_err());
        assert!(run("random_normal", &[("shape", ints(&[1 << 20, 1 << 20]))]).is_err());
    }
}
