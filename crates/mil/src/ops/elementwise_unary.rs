//! Element by element, one operand `x`.
//!
//! Formulas and defaults: the MIL op reference of coremltools, `ops/defs/{iOS15,iOS17}/elementwise_unary.py`; since
//! iOS 17 `epsilon` may have another float type than `x`.

use super::common::{
    BOOL, STRING, T, T_FLOATS, T_FLOATS_INT32, U, U_FLOATS, booleans, erf, integers, like_x, map_number,
    map_x, max, min, trunc_i32, unary,
};
use super::{Default, Domain, Fault, OpDef, Param, Site, Version, Work, constant, tensor};
use crate::eval::{EvalFn, EvalSite};
use crate::{Literal, Opset, Type};
use anemone_tensor::{DType, num};

/// The ops of this family.
pub static OPS: &[&OpDef] = &[
    &ABS,
    &ACOS,
    &ASIN,
    &ATAN,
    &ATANH,
    &CAST,
    &CEIL,
    &CLIP,
    &COS,
    &COSH,
    &ERF,
    &EXP,
    &EXP2,
    &FLOOR,
    &INVERSE,
    &LOG,
    &LOGICAL_NOT,
    &ROUND,
    &RSQRT,
    &SIGN,
    &SIN,
    &SINH,
    &SQRT,
    &SQUARE,
    &TAN,
    &TANH,
    &THRESHOLD,
];

const X: Param = tensor("x", T);
const FLOATS: &[Version] = &[Version { since: Opset::Ios13, params: &[X], domains: &[T_FLOATS] }];
const NUMBERS: &[Version] = &[Version { since: Opset::Ios13, params: &[X], domains: &[T_FLOATS_INT32] }];
const ALPHA_BETA: &[Param] = &[X, constant("alpha", T), constant("beta", T)];

/// A float function that counts as one transcendental.
const fn function(name: &'static str, doc: &'static str, eval: EvalFn) -> OpDef {
    unary(name, doc, FLOATS, eval, Work::transcendental)
}

static ACOS: OpDef = function("acos", "Inverse cosine.", |site| map_x(site, f64::acos));
static ASIN: OpDef = function("asin", "Inverse sine.", |site| map_x(site, f64::asin));
static ATAN: OpDef = function("atan", "Inverse tangent.", |site| map_x(site, f64::atan));
static ATANH: OpDef = function("atanh", "Inverse hyperbolic tangent.", |site| map_x(site, f64::atanh));
static COS: OpDef = function("cos", "Cosine.", |site| map_x(site, f64::cos));
static COSH: OpDef = function("cosh", "Hyperbolic cosine.", |site| map_x(site, f64::cosh));
static ERF: OpDef = function("erf", "Gauss error function.", |site| map_x(site, erf));
static EXP: OpDef = function("exp", "e^x.", |site| map_x(site, f64::exp));
static SIN: OpDef = function("sin", "Sine.", |site| map_x(site, f64::sin));
static SINH: OpDef = function("sinh", "Hyperbolic sine.", |site| map_x(site, f64::sinh));
static SQRT: OpDef = function("sqrt", "Square root.", |site| map_x(site, f64::sqrt));
static TAN: OpDef = function("tan", "Tangent.", |site| map_x(site, f64::tan));
static TANH: OpDef = function("tanh", "Hyperbolic tangent.", |site| map_x(site, f64::tanh));

static ABS: OpDef = unary(
    "abs",
    "Absolute value.",
    NUMBERS,
    |site| map_number(site, f64::abs, i64::wrapping_abs),
    Work::per_output,
);

static CEIL: OpDef = unary(
    "ceil",
    "The smallest integer not below x.",
    FLOATS,
    |site| map_x(site, f64::ceil),
    Work::per_output,
);

static EXP2: OpDef = unary(
    "exp2",
    "2^x; integer results are truncated toward zero.",
    NUMBERS,
    |site| map_number(site, f64::exp2, |x| trunc_i32(num::f64_of(x).exp2())),
    Work::transcendental,
);

static FLOOR: OpDef = unary(
    "floor",
    "The largest integer not above x.",
    FLOATS,
    |site| map_x(site, f64::floor),
    Work::per_output,
);

static ROUND: OpDef = unary(
    "round",
    "The nearest integer, halves to the even one.",
    FLOATS,
    |site| map_x(site, f64::round_ties_even),
    Work::per_output,
);

static SIGN: OpDef = unary(
    "sign",
    "-1, 0 or 1 by the sign of x.",
    NUMBERS,
    |site| map_number(site, |x| if x == 0.0 { 0.0 } else { x.signum() }, i64::signum),
    Work::per_output,
);

static SQUARE: OpDef = unary(
    "square",
    "x * x.",
    NUMBERS,
    |site| map_number(site, |x| x * x, |x| x.wrapping_mul(x)),
    Work::per_output,
);

static LOGICAL_NOT: OpDef = unary(
    "logical_not",
    "True where x is false.",
    &[Version { since: Opset::Ios13, params: &[tensor("x", BOOL)], domains: &[] }],
    |site| {
        let x = site.tensor("x")?;
        let values: Vec<bool> = x.to_bools().into_iter().map(|v| !v).collect();
        booleans(x.shape(), &values)
    },
    Work::per_output,
);

static THRESHOLD: OpDef = unary(
    "threshold",
    "max(x, alpha).",
    &[Version { since: Opset::Ios13, params: &[X, constant("alpha", T)], domains: &[T_FLOATS_INT32] }],
    |site| {
        let alpha = site.tensor("alpha")?;
        if alpha.is_empty() {
            return Err(Fault::arg("alpha", "empty", "one number"));
        }
        let (float, int) = (alpha.f64_at(0), alpha.i64_at(0));
        map_number(site, |x| max(x, float), |x| x.max(int))
    },
    Work::per_output,
);

static CLIP: OpDef = OpDef {
    infer: clip_type,
    ..unary(
        "clip",
        "x limited to [alpha, beta].",
        &[
            Version { since: Opset::Ios13, params: ALPHA_BETA, domains: &[T_FLOATS] },
            Version { since: Opset::Ios17, params: ALPHA_BETA, domains: &[T_FLOATS] },
        ],
        |site| {
            let (alpha, beta) = (site.float("alpha")?, site.float("beta")?);
            map_x(site, |x| min(max(x, alpha), beta))
        },
        |site| Work::scaled(site, 2, 0),
    )
};

/// Since iOS 17 `alpha` must be below `beta`.
fn clip_type(site: &Site<'_>) -> Result<Vec<Type>, Fault> {
    if site.version.since >= Opset::Ios17
        && let (Ok(alpha), Ok(beta)) = (site.float("alpha"), site.float("beta"))
        && alpha >= beta
    {
        return Err(Fault::arg("alpha", alpha, format!("below beta, which is {beta}")));
    }
    like_x(site)
}

/// The two versions of an op with an `epsilon`.
macro_rules! with_epsilon {
    ($default:literal) => {
        &[
            Version {
                since: Opset::Ios13,
                params: &[X, constant("epsilon", T).or(Default::Float($default))],
                domains: &[T_FLOATS],
            },
            Version {
                since: Opset::Ios17,
                params: &[X, constant("epsilon", U).or(Default::Float($default))],
                domains: &[T_FLOATS, U_FLOATS],
            },
        ]
    };
}

/// Applies `f(x + epsilon)`.
fn map_epsilon(site: &EvalSite<'_>, f: impl Fn(f64) -> f64) -> Result<Vec<Literal>, Fault> {
    let epsilon = site.float("epsilon")?;
    map_x(site, |x| f(x + epsilon))
}

static INVERSE: OpDef = unary(
    "inverse",
    "1 / (x + epsilon).",
    with_epsilon!(1e-4),
    |site| map_epsilon(site, f64::recip),
    |site| Work::scaled(site, 2, 0),
);

static LOG: OpDef = unary(
    "log",
    "Natural logarithm of x + epsilon.",
    with_epsilon!(1e-45),
    |site| map_epsilon(site, f64::ln),
    |site| Work::scaled(site, 1, 1),
);

static RSQRT: OpDef = unary(
    "rsqrt",
    "1 / sqrt(x + epsilon).",
    with_epsilon!(1e-12),
    |site| map_epsilon(site, |x| 1.0 / x.sqrt()),
    |site| Work::scaled(site, 2, 1),
);

const CAST_PARAMS: &[Param] = &[X, constant("dtype", STRING)];

static CAST: OpDef = OpDef {
    infer: cast_type,
    ..unary(
        "cast",
        "x in the element type that dtype names; floats are truncated toward zero to integers.",
        &[
            Version {
                since: Opset::Ios13,
                params: CAST_PARAMS,
                domains: &[Domain { name: "T", types: &[DType::F16, DType::F32, DType::I32, DType::Bool] }],
            },
            Version {
                since: Opset::Ios17,
                params: CAST_PARAMS,
                domains: &[Domain {
                    name: "T",
                    types: &[
                        DType::F16,
                        DType::F32,
                        DType::I8,
                        DType::U8,
                        DType::I16,
                        DType::U16,
                        DType::I32,
                        DType::Bool,
                    ],
                }],
            },
        ],
        cast,
        Work::per_output,
    )
};

/// The element type that `dtype` names: one of those that `x` may have.
fn cast_dtype(site: &Site<'_>) -> Result<DType, Fault> {
    let name = site.str("dtype")?;
    let allowed = site.version.domains.first().map_or(&[][..], |d| d.types);
    let named = DType::from_name(&name).filter(|d| allowed.contains(d));
    named.ok_or_else(|| {
        let names: Vec<&str> = allowed.iter().map(|d| d.name()).collect();
        Fault::arg("dtype", format!("\"{name}\""), format!("one of {}", names.join(", ")))
    })
}

fn cast_type(site: &Site<'_>) -> Result<Vec<Type>, Fault> {
    Ok(vec![site.tensor("x")?.with_dtype(cast_dtype(site)?).into()])
}

/// Integers wrap into a narrower integer type, as in NumPy; floats out of range saturate.
fn cast(site: &EvalSite<'_>) -> Result<Vec<Literal>, Fault> {
    let (x, dtype) = (site.tensor("x")?, cast_dtype(&site.site)?);
    if x.dtype().is_int() && dtype.is_int() {
        return integers(dtype, x.shape(), &x.to_i64s());
    }
    Ok(vec![x.cast(dtype).into()])
}
