//! Normalizations: same type and shape as `x`.
//!
//! Formulas: the MIL op reference of coremltools 9.0, `ops/defs/iOS15/normalization.py` and
//! `iOS17/normalization.py`.

mod eval;

use super::common::{INT32, T, T_FLOATS, U, U_FLOATS};
use super::{Accept, Default, Effect, Fault, Form, OpDef, Param, Site, Version, Work, constant, tensor};
use crate::{DType, Dim, Literal, Opset, Tensor, TensorType, Type};

/// The ops of this family.
pub static OPS: &[&OpDef] = &[&BATCH_NORM, &INSTANCE_NORM, &L2_NORM, &LAYER_NORM, &LOCAL_RESPONSE_NORM];

const AXES: Param = constant("axes", INT32).or(Default::Derived(every_axis));
const EPSILON_T: Param = constant("epsilon", T).or(Default::Float(1e-5));
const EPSILON_U: Param = constant("epsilon", U).or(Default::Float(1e-5));
/// Of domain `U` in the registry, but Core ML runs packages whose moments are `fp16` beside an `fp32` epsilon: the fp16
/// pass of coremltools leaves the default of the first op as it is.
const EPSILON_FREE: Param =
    constant("epsilon", Accept::Types(&[DType::F16, DType::F32])).or(Default::Float(1e-5));
const GAMMA_T: Param = constant("gamma", T).optional();
const GAMMA_U: Param = constant("gamma", U).optional();
const BETA_T: Param = constant("beta", T).optional();
const BETA_U: Param = constant("beta", U).optional();

static BATCH_NORM: OpDef = OpDef {
    name: "batch_norm",
    doc: "gamma * (x - mean) / sqrt(variance + epsilon) + beta, by channel.",
    versions: &[
        Version {
            since: Opset::Ios13,
            params: &[
                tensor("x", T),
                constant("mean", T),
                constant("variance", T),
                GAMMA_T,
                BETA_T,
                EPSILON_T,
            ],
            domains: &[T_FLOATS],
        },
        Version {
            since: Opset::Ios17,
            params: &[
                tensor("x", T),
                constant("mean", U),
                constant("variance", U),
                GAMMA_U,
                BETA_U,
                EPSILON_FREE,
            ],
            domains: &[T_FLOATS, U_FLOATS],
        },
    ],
    effect: Effect::Pure,
    form: Form::Other,
    infer: |site| by_channel(site, &["mean", "variance", "gamma", "beta"]),
    eval: Some(eval::batch_norm),
    work: |site| Work::scaled(site, 2, 0),
};

static INSTANCE_NORM: OpDef = OpDef {
    name: "instance_norm",
    doc: "Centres and scales every channel of every batch item by its own mean and variance.",
    versions: &[
        Version {
            since: Opset::Ios13,
            params: &[tensor("x", T), GAMMA_T, BETA_T, EPSILON_T],
            domains: &[T_FLOATS],
        },
        Version {
            since: Opset::Ios17,
            params: &[tensor("x", T), GAMMA_U, BETA_U, EPSILON_U],
            domains: &[T_FLOATS, U_FLOATS],
        },
    ],
    effect: Effect::Pure,
    form: Form::Other,
    infer: |site| by_channel(site, &["gamma", "beta"]),
    eval: Some(eval::instance_norm),
    work: moments_work,
};

static L2_NORM: OpDef = OpDef {
    name: "l2_norm",
    doc: "x / sqrt(sum of squares + epsilon), the sum over the last three dims.",
    versions: &[
        Version {
            since: Opset::Ios13,
            params: &[tensor("x", T), constant("epsilon", T).or(Default::Float(1e-6))],
            domains: &[T_FLOATS],
        },
        Version {
            since: Opset::Ios17,
            params: &[tensor("x", T), constant("epsilon", U).or(Default::Float(1e-6))],
            domains: &[T_FLOATS, U_FLOATS],
        },
    ],
    effect: Effect::Pure,
    form: Form::Other,
    infer: |site| of_rank(site, 3),
    eval: Some(eval::l2_norm),
    work: |site| Work::scaled(site, 3, 0),
};

static LAYER_NORM: OpDef = OpDef {
    name: "layer_norm",
    doc: "gamma * (x - mean) / sqrt(variance + epsilon) + beta, mean and variance taken over some axes.",
    versions: &[
        Version {
            since: Opset::Ios13,
            params: &[tensor("x", T), AXES, GAMMA_T, BETA_T, EPSILON_T],
            domains: &[T_FLOATS],
        },
        Version {
            since: Opset::Ios17,
            params: &[tensor("x", T), AXES, GAMMA_U, BETA_U, EPSILON_U],
            domains: &[T_FLOATS, U_FLOATS],
        },
    ],
    effect: Effect::Pure,
    form: Form::Other,
    infer: infer_layer_norm,
    eval: Some(eval::layer_norm),
    work: moments_work,
};

static LOCAL_RESPONSE_NORM: OpDef = OpDef {
    name: "local_response_norm",
    doc: "x / (k + alpha / size * sum of squares of neighbouring channels) ^ beta.",
    versions: &[
        Version {
            since: Opset::Ios13,
            params: &[
                tensor("x", T),
                constant("size", INT32),
                constant("alpha", T).or(Default::Float(1e-4)),
                constant("beta", T).or(Default::Float(0.75)),
                constant("k", T).or(Default::Float(1.0)),
            ],
            domains: &[T_FLOATS],
        },
        Version {
            since: Opset::Ios17,
            params: &[
                tensor("x", T),
                constant("size", INT32),
                constant("alpha", U).or(Default::Float(1e-4)),
                constant("beta", U).or(Default::Float(0.75)),
                constant("k", U).or(Default::Float(1.0)),
            ],
            domains: &[T_FLOATS, U_FLOATS],
        },
    ],
    effect: Effect::Pure,
    form: Form::Other,
    infer: |site| of_rank(site, 2),
    eval: Some(eval::local_response_norm),
    work: local_response_work,
};

fn every_axis(site: &Site<'_>) -> Option<Literal> {
    let rank = i32::try_from(site.tensor("x").ok()?.rank()).ok()?;
    Some(Tensor::vector_i32(&(0..rank).collect::<Vec<_>>()).into())
}

/// The type of `x`, which must have at least `least` dims.
fn of_rank(site: &Site<'_>, least: usize) -> Result<Vec<Type>, Fault> {
    let x = site.tensor("x")?;
    if x.rank() < least {
        return Err(Fault::arg("x", format!("of rank {}", x.rank()), format!("of rank {least} or more")));
    }
    Ok(vec![x.clone().into()])
}

/// The type of `x`, whose second dim is the length of each of `params`.
fn by_channel(site: &Site<'_>, params: &[&str]) -> Result<Vec<Type>, Fault> {
    let out = of_rank(site, 2)?;
    let channels = &site.tensor("x")?.dims[1];
    for &param in params {
        if let Some(t) = site.optional_tensor(param)? {
            check_dims(param, t, std::slice::from_ref(channels), "one element per channel of `x`")?;
        }
    }
    Ok(out)
}

fn check_dims(param: &str, t: &TensorType, dims: &[Dim], why: &str) -> Result<(), Fault> {
    if t.rank() == dims.len() && t.dims.iter().zip(dims).all(|(a, b)| a.compatible(b)) {
        return Ok(());
    }
    let wanted = TensorType { dtype: t.dtype, dims: dims.to_vec() };
    Err(Fault::arg(param, t, format!("{wanted}, {why}")))
}

fn infer_layer_norm(site: &Site<'_>) -> Result<Vec<Type>, Fault> {
    let x = site.tensor("x")?;
    let axes = site.axes("axes", x.rank())?;
    let kept = x.dims.iter().enumerate().filter(|(i, _)| axes.contains(i));
    let normalized: Vec<Dim> = kept.map(|(_, d)| d.clone()).collect();
    for param in ["gamma", "beta"] {
        if let Some(t) = site.optional_tensor(param)? {
            check_dims(param, t, &normalized, "the dims of `x` that are normalized")?;
        }
    }
    Ok(vec![x.clone().into()])
}

/// Per element: two sums, a difference, a square, a quotient, and `gamma` and `beta` where given.
fn moments_work(site: &Site<'_>) -> Option<Work> {
    let affine = u64::from(site.has("gamma")) + u64::from(site.has("beta"));
    Work::scaled(site, 5 + affine, 0)
}

/// Per element: a square and a sum for every neighbour, a scale, an offset, a quotient and a power.
fn local_response_work(site: &Site<'_>) -> Option<Work> {
    let size = u64::try_from(site.int("size").ok()?).ok()?;
    Work::scaled(site, size.checked_mul(2)?.checked_add(3)?, 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Builder;
    use crate::ops::probe::{assert_close, f32s, iota, run};

    const X: &str = "x";

    #[test]
    fn batch_norm_uses_the_given_moments() {
        let out = run(Opset::Ios17, "batch_norm", &[(X, iota(&[1, 2, 2]))], |b| {
            let b = b.literal("mean", f32s(&[2], &[0.5, 2.0])).literal("variance", f32s(&[2], &[3.0, 0.25]));
            let b = b.literal("gamma", f32s(&[2], &[2.0, 3.0])).literal("beta", f32s(&[2], &[1.0, -1.0]));
            b.literal("epsilon", Tensor::scalar_f64(DType::F32, 1.0))
        });
        let second = 3.0 / 1.25f64.sqrt();
        assert_close(&out[0], &[0.5, 1.5, -1.0, second - 1.0]);
    }

    /// Expected: `(x - mean) / sqrt(var + 1e-5)` with `numpy.mean` and `numpy.var` over the axes named.
    #[test]
    fn moments_are_taken_over_the_right_axes() {
        let x = f32s(&[1, 2, 2], &[1.0, 3.0, 10.0, 14.0]);
        let one = 1.0 / 1.00001f64.sqrt();
        let two = 2.0 / 4.00001f64.sqrt();
        let instance = run(Opset::Ios15, "instance_norm", &[(X, x.clone())], |b| b);
        assert_close(&instance[0], &[-one, one, -two, two]);
        let last = run(Opset::Ios15, "layer_norm", &[(X, x.clone())], |b| {
            b.ints("axes", &[-1])
                .literal("gamma", f32s(&[2], &[1.0, 3.0]))
                .literal("beta", f32s(&[2], &[0.0, 1.0]))
        });
        assert_close(&last[0], &[-one, 3.0 * one + 1.0, -two, 3.0 * two + 1.0]);
        let all = run(Opset::Ios15, "layer_norm", &[(X, x)], |b| b);
        let expected = [-1.1441548990665662, -0.7627699327110441, 0.5720774495332831, 1.3348473822443272];
        assert_close(&all[0], &expected);
    }

    #[test]
    fn l2_norm_leaves_unit_length_per_batch_item() {
        let x = f32s(&[2, 1, 1, 2], &[3.0, 4.0, 0.0, 5.0]);
        let out = run(Opset::Ios15, "l2_norm", &[(X, x)], |b| b);
        assert_close(&out[0], &[0.6, 0.8, 0.0, 1.0]);
    }

    /// Expected: PyTorch's `local_response_norm`, whose window starts `size / 2` channels before the element.
    #[test]
    fn response_windows_of_even_size_reach_further_back() {
        let x = f32s(&[1, 3, 1], &[1.0, 2.0, 3.0]);
        let out = run(Opset::Ios15, "local_response_norm", &[(X, x)], |b| {
            let scalar = |v| Tensor::scalar_f64(DType::F32, v);
            b.int("size", 2)
                .literal("alpha", scalar(2.0))
                .literal("beta", scalar(1.0))
                .literal("k", scalar(1.0))
        });
        assert_close(&out[0], &[0.5, 2.0 / 6.0, 3.0 / 14.0]);
    }

    #[test]
    fn scales_of_another_length_are_faults() {
        let mut b = Builder::new("main", Opset::Ios15);
        let x = b.input(X, TensorType::new(DType::F32, [1, 2, 3]));
        let fault = b.op("layer_norm").arg(X, x).ints("axes", &[2]).literal("gamma", iota(&[2])).one("y");
        assert_eq!(
            fault.expect_err("3 is not 2").to_string(),
            "argument `gamma` is tensor<fp32, [2]>, but must be tensor<fp32, [3]>, the dims of `x` that are normalized"
        );
        assert!(b.op("instance_norm").arg(X, x).literal("beta", iota(&[3])).one("y").is_err());
        assert!(b.op("l2_norm").arg(X, x).one("y").is_ok());
        assert!(b.op("layer_norm").arg(X, x).ints("axes", &[3]).one("y").is_err());
    }

    #[test]
    fn nothing_is_allocated_for_the_channels_of_an_empty_batch() {
        let x = f32s(&[0, 1 << 40, 2], &[]);
        for op in ["instance_norm", "layer_norm"] {
            let out = run(Opset::Ios15, op, &[(X, x.clone())], |b| b);
            assert!(out[0].is_empty(), "{op}");
        }
    }
}
