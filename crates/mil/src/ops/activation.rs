//! Activations: element by element but for `softmax`, one float operand `x`.
//!
//! Formulas: the MIL op reference of coremltools, `ops/defs/iOS15/activation.py`; since iOS 17 the constants may
//! have another float type than `x`.

use super::common::{
    self, INT32, STRING, T, T_FLOATS, U, U_FLOATS, erf, for_each_index, like_x, map_x, max, min, offset,
    sigmoid, softplus, strides, unary,
};
use super::{Default, Fault, Form, OpDef, Param, Site, Version, Work, constant, tensor};
use crate::eval::EvalSite;
use crate::{Literal, Opset, TensorType, Type};
use std::f64::consts::{FRAC_2_PI, SQRT_2};

/// The ops of this family.
pub static OPS: &[&OpDef] = &[
    &CLAMPED_RELU,
    &ELU,
    &GELU,
    &LEAKY_RELU,
    &LINEAR_ACTIVATION,
    &PRELU,
    &RELU,
    &RELU6,
    &SCALED_TANH,
    &SIGMOID,
    &SIGMOID_HARD,
    &SILU,
    &SOFTMAX,
    &SOFTPLUS,
    &SOFTPLUS_PARAMETRIC,
    &SOFTSIGN,
    &THRESHOLDED_RELU,
];

const X: Param = tensor("x", T);
const PLAIN: &[Version] = &[Version { since: Opset::Ios13, params: &[X], domains: &[T_FLOATS] }];
const WITH_ALPHA: &[Version] = &[
    Version { since: Opset::Ios13, params: &[X, constant("alpha", T)], domains: &[T_FLOATS] },
    Version { since: Opset::Ios17, params: &[X, constant("alpha", U)], domains: &[T_FLOATS, U_FLOATS] },
];
const WITH_ALPHA_BETA: &[Version] = &[
    Version {
        since: Opset::Ios13,
        params: &[X, constant("alpha", T), constant("beta", T)],
        domains: &[T_FLOATS],
    },
    Version {
        since: Opset::Ios17,
        params: &[X, constant("alpha", U), constant("beta", U)],
        domains: &[T_FLOATS, U_FLOATS],
    },
];

/// Applies `f(x, alpha)`.
fn map_alpha(site: &EvalSite<'_>, f: impl Fn(f64, f64) -> f64) -> Result<Vec<Literal>, Fault> {
    let alpha = site.float("alpha")?;
    map_x(site, |x| f(x, alpha))
}

/// Applies `f(x, alpha, beta)`.
fn map_alpha_beta(site: &EvalSite<'_>, f: impl Fn(f64, f64, f64) -> f64) -> Result<Vec<Literal>, Fault> {
    let (alpha, beta) = (site.float("alpha")?, site.float("beta")?);
    map_x(site, |x| f(x, alpha, beta))
}

static CLAMPED_RELU: OpDef = unary(
    "clamped_relu",
    "min(beta, x) where x >= 0, min(beta, alpha * x) elsewhere.",
    WITH_ALPHA_BETA,
    |site| map_alpha_beta(site, |x, alpha, beta| min(beta, if x < 0.0 { alpha * x } else { x })),
    |site| Work::scaled(site, 3, 0),
);

static ELU: OpDef = unary(
    "elu",
    "x where x > 0, alpha * (e^x - 1) elsewhere.",
    WITH_ALPHA,
    |site| map_alpha(site, |x, alpha| if x < 0.0 { alpha * x.exp_m1() } else { x }),
    |site| Work::scaled(site, 3, 1),
);

static LEAKY_RELU: OpDef = unary(
    "leaky_relu",
    "x where x >= 0, alpha * x elsewhere.",
    WITH_ALPHA,
    |site| map_alpha(site, |x, alpha| if x < 0.0 { alpha * x } else { x }),
    |site| Work::scaled(site, 2, 0),
);

static LINEAR_ACTIVATION: OpDef = unary(
    "linear_activation",
    "alpha * x + beta.",
    WITH_ALPHA_BETA,
    |site| map_alpha_beta(site, |x, alpha, beta| alpha * x + beta),
    |site| Work::scaled(site, 2, 0),
);

static RELU: OpDef =
    unary("relu", "max(x, 0).", PLAIN, |site| map_x(site, |x| max(x, 0.0)), Work::per_output);

static RELU6: OpDef = unary(
    "relu6",
    "min(max(x, 0), 6).",
    PLAIN,
    |site| map_x(site, |x| min(max(x, 0.0), 6.0)),
    |site| Work::scaled(site, 2, 0),
);

static SCALED_TANH: OpDef = unary(
    "scaled_tanh",
    "alpha * tanh(beta * x).",
    WITH_ALPHA_BETA,
    |site| map_alpha_beta(site, |x, alpha, beta| alpha * (beta * x).tanh()),
    |site| Work::scaled(site, 2, 1),
);

static SIGMOID: OpDef =
    unary("sigmoid", "1 / (1 + e^-x).", PLAIN, |site| map_x(site, sigmoid), |site| Work::scaled(site, 2, 1));

static SIGMOID_HARD: OpDef = unary(
    "sigmoid_hard",
    "min(max(alpha * x + beta, 0), 1).",
    WITH_ALPHA_BETA,
    |site| map_alpha_beta(site, |x, alpha, beta| min(max(alpha * x + beta, 0.0), 1.0)),
    |site| Work::scaled(site, 4, 0),
);

static SILU: OpDef = unary(
    "silu",
    "x * sigmoid(x), also called swish.",
    PLAIN,
    |site| map_x(site, |x| x * sigmoid(x)),
    |site| Work::scaled(site, 3, 1),
);

static SOFTPLUS: OpDef =
    unary("softplus", "ln(1 + e^x).", PLAIN, |site| map_x(site, softplus), |site| Work::scaled(site, 1, 2));

static SOFTSIGN: OpDef = unary(
    "softsign",
    "x / (1 + |x|).",
    PLAIN,
    |site| map_x(site, |x| x / (1.0 + x.abs())),
    |site| Work::scaled(site, 3, 0),
);

static THRESHOLDED_RELU: OpDef = unary(
    "thresholded_relu",
    "x where x >= alpha, 0 elsewhere.",
    WITH_ALPHA,
    |site| map_alpha(site, |x, alpha| if x < alpha { 0.0 } else { x }),
    Work::per_output,
);

static GELU: OpDef = OpDef {
    infer: gelu_type,
    ..unary(
        "gelu",
        "x times the Gauss distribution function, exact or approximated as mode says.",
        &[Version {
            since: Opset::Ios13,
            params: &[X, constant("mode", STRING).or(Default::Str("EXACT"))],
            domains: &[T_FLOATS],
        }],
        gelu,
        |site| Work::scaled(site, 4, 1),
    )
};

/// The formula that a mode of `gelu` names.
fn gelu_formula(mode: &str) -> Result<fn(f64) -> f64, Fault> {
    match mode {
        "EXACT" => Ok(|x| 0.5 * x * (1.0 + erf(x / SQRT_2))),
        "TANH_APPROXIMATION" => {
            Ok(|x| 0.5 * x * (1.0 + (FRAC_2_PI.sqrt() * (x + 0.044715 * x * x * x)).tanh()))
        }
        "SIGMOID_APPROXIMATION" => Ok(|x| x * sigmoid(1.702 * x)),
        _ => {
            let allowed = "EXACT, TANH_APPROXIMATION or SIGMOID_APPROXIMATION";
            Err(Fault::arg("mode", format!("\"{mode}\""), allowed))
        }
    }
}

fn gelu_type(site: &Site<'_>) -> Result<Vec<Type>, Fault> {
    gelu_formula(&site.str("mode")?)?;
    like_x(site)
}

fn gelu(site: &EvalSite<'_>) -> Result<Vec<Literal>, Fault> {
    map_x(site, gelu_formula(&site.str("mode")?)?)
}

static SOFTMAX: OpDef = OpDef {
    form: Form::Other,
    infer: softmax_type,
    ..unary(
        "softmax",
        "e^x divided by the sum of e^x along axis.",
        &[Version {
            since: Opset::Ios13,
            params: &[X, constant("axis", INT32).or(Default::Int(-1))],
            domains: &[T_FLOATS],
        }],
        softmax,
        |site| Work::scaled(site, 4, 1),
    )
};

fn softmax_type(site: &Site<'_>) -> Result<Vec<Type>, Fault> {
    site.axis("axis", site.tensor("x")?.rank())?;
    like_x(site)
}

fn softmax(site: &EvalSite<'_>) -> Result<Vec<Literal>, Fault> {
    let x = site.tensor("x")?;
    let axis = site.site.axis("axis", x.rank())?;
    let steps = strides(x.shape());
    let (extent, step) = (x.shape()[axis], steps[axis]);
    let mut rows = x.shape().to_vec();
    rows[axis] = rows[axis].min(1);
    let mut values = x.to_f64s();
    for_each_index(&rows, |index| {
        let row = offset(index, &steps);
        let at = |i: usize| row + i * step;
        let top = (0..extent).fold(f64::NEG_INFINITY, |m, i| max(m, values[at(i)]));
        let sum: f64 = (0..extent).map(|i| (values[at(i)] - top).exp()).sum();
        (0..extent).for_each(|i| values[at(i)] = (values[at(i)] - top).exp() / sum);
    });
    EvalSite::floats(x.dtype(), x.shape(), &values)
}

static PRELU: OpDef = OpDef {
    form: Form::Other,
    infer: prelu_type,
    ..unary(
        "prelu",
        "x where x > 0, alpha[c] * x elsewhere, with c the index along dim 1.",
        WITH_ALPHA,
        |site| {
            let alpha = per_channel(site, "alpha")?;
            map_channels(site, |x, c| if x < 0.0 { alpha(c) * x } else { x })
        },
        |site| Work::scaled(site, 2, 0),
    )
};

fn prelu_type(site: &Site<'_>) -> Result<Vec<Type>, Fault> {
    let x = site.tensor("x")?;
    if !(3..=5).contains(&x.rank()) {
        return Err(Fault::arg("x", format!("of rank {}", x.rank()), "of rank 3, 4 or 5"));
    }
    check_channels(site, x, "alpha")?;
    if x.rank() != 4
        && let Some(alpha) = site.numbers("alpha")
    {
        let values = alpha.to_f64s();
        let first = values.first().copied().unwrap_or_default();
        if let Some(other) = values.iter().find(|v| (*v - first).abs() > 1e-5) {
            let allowed = format!("the same in all channels when x is of rank {}, or x of rank 4", x.rank());
            return Err(Fault::arg("alpha", format!("{first} and {other} in different channels"), allowed));
        }
    }
    like_x(site)
}

static SOFTPLUS_PARAMETRIC: OpDef = OpDef {
    form: Form::Other,
    infer: softplus_parametric_type,
    ..unary(
        "softplus_parametric",
        "alpha[c] * ln(1 + e^(beta[c] * x)), with c the index along dim 1.",
        WITH_ALPHA_BETA,
        |site| {
            let (alpha, beta) = (per_channel(site, "alpha")?, per_channel(site, "beta")?);
            map_channels(site, |x, c| alpha(c) * softplus(beta(c) * x))
        },
        |site| Work::scaled(site, 3, 2),
    )
};

fn softplus_parametric_type(site: &Site<'_>) -> Result<Vec<Type>, Fault> {
    let x = site.tensor("x")?;
    if x.rank() < 3 {
        return Err(Fault::arg("x", format!("of rank {}", x.rank()), "of rank 3 or more"));
    }
    check_channels(site, x, "alpha")?;
    check_channels(site, x, "beta")?;
    like_x(site)
}

/// Checks that a parameter has one number per index of dim 1 of `x`.
fn check_channels(site: &Site<'_>, x: &TensorType, param: &str) -> Result<(), Fault> {
    let given = site.tensor(param)?;
    match (given.dims.as_slice(), x.dims.get(1)) {
        ([n], Some(channels)) if n.compatible(channels) => Ok(()),
        (_, channels) => {
            let channels = channels.map_or(String::new(), |c| format!(", the {c} channels (dim 1) of x"));
            Err(Fault::arg(param, given, format!("of rank 1 with one number per channel{channels}")))
        }
    }
}

/// One number per channel; 0 past the end, which inference rules out.
fn per_channel(site: &EvalSite<'_>, param: &str) -> Result<impl Fn(usize) -> f64 + use<>, Fault> {
    let values = site.tensor(param)?.to_f64s();
    Ok(move |c: usize| values.get(c).copied().unwrap_or_default())
}

/// Applies `f(x, c)` with `c` the index along dim 1.
fn map_channels(site: &EvalSite<'_>, f: impl Fn(f64, usize) -> f64) -> Result<Vec<Literal>, Fault> {
    let x = site.tensor("x")?;
    let mut values = Vec::with_capacity(common::element_count(x.shape())?);
    for_each_index(x.shape(), |index| {
        let channel = index.get(1).copied().unwrap_or_default();
        values.push(f(x.f64_at(values.len()), channel));
    });
    EvalSite::floats(x.dtype(), x.shape(), &values)
}
