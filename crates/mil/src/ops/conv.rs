//! Convolutions.
//!
//! Formulas: the MIL op reference of coremltools 9.0, `ops/defs/iOS15/conv.py` and `iOS17/conv.py`.

mod eval;
mod view;

use super::common::{INT32, STRING, T, T_FLOATS, U, U_FLOATS};
use super::window::{no_pads, ones};
use super::{Default, Domain, Effect, Fault, Form, OpDef, Param, Site, Version, Work, constant, tensor};
use crate::{Dim, Opset, TensorType, Type};
use anemone_tensor::{DType, num};

pub use view::{Conv, ConvTranspose};

/// The ops of this family.
pub static OPS: &[&OpDef] = &[&CONV, &CONV_QUANTIZED, &CONV_TRANSPOSE];

const STRIDES: Param = constant("strides", INT32).or(Default::Derived(ones));
const PAD_TYPE: Param = constant("pad_type", STRING).or(Default::Str("valid"));
const PAD: Param = constant("pad", INT32).or(Default::Derived(no_pads));
const DILATIONS: Param = constant("dilations", INT32).or(Default::Derived(ones));
const GROUPS: Param = constant("groups", INT32).or(Default::Int(1));
const OUTPUT_SHAPE: Param = constant("output_shape", INT32).optional();

static CONV: OpDef = OpDef {
    name: "conv",
    doc: "Convolution over 1 to 3 spatial dims, with groups, strides and dilations.",
    versions: &[
        Version {
            since: Opset::Ios13,
            params: &[
                tensor("x", T),
                tensor("weight", T),
                constant("bias", T).optional(),
                STRIDES,
                PAD_TYPE,
                PAD,
                DILATIONS,
                GROUPS,
            ],
            domains: &[T_FLOATS],
        },
        Version {
            since: Opset::Ios17,
            params: &[
                tensor("x", T),
                tensor("weight", U),
                tensor("bias", U).optional(),
                STRIDES,
                PAD_TYPE,
                PAD,
                DILATIONS,
                GROUPS,
            ],
            domains: &[T_FLOATS, U_FLOATS],
        },
    ],
    effect: Effect::Pure,
    form: Form::Other,
    infer: infer_conv,
    eval: Some(eval::conv),
    work: conv_work,
};

static CONV_QUANTIZED: OpDef = OpDef {
    name: "conv_quantized",
    doc: "Convolution with 8-bit weights, each of which means weight * quant_scale + quant_bias.",
    versions: &[Version {
        since: Opset::Ios13,
        params: &[
            tensor("x", T),
            tensor("weight", U),
            constant("bias", U).optional(),
            constant("quantization_type", STRING),
            constant("nbits", INT32).or(Default::Int(8)),
            constant("quant_scale", T),
            constant("quant_bias", T),
            STRIDES,
            PAD_TYPE,
            PAD,
            DILATIONS,
            GROUPS,
        ],
        domains: &[T_FLOATS, Domain { name: "U", types: &[DType::U8] }],
    }],
    effect: Effect::Pure,
    form: Form::Other,
    infer: infer_conv,
    eval: Some(eval::conv_quantized),
    work: conv_work,
};

static CONV_TRANSPOSE: OpDef = OpDef {
    name: "conv_transpose",
    doc: "Transposed convolution over 1 to 3 spatial dims: the gradient of conv with respect to its input.",
    versions: &[
        Version {
            since: Opset::Ios13,
            params: &[
                tensor("x", T),
                constant("weight", T),
                constant("bias", T).optional(),
                PAD,
                OUTPUT_SHAPE,
                PAD_TYPE,
                STRIDES,
                DILATIONS,
                GROUPS,
            ],
            domains: &[T_FLOATS],
        },
        Version {
            since: Opset::Ios17,
            params: &[
                tensor("x", T),
                tensor("weight", U),
                tensor("bias", U).optional(),
                PAD,
                OUTPUT_SHAPE,
                PAD_TYPE,
                STRIDES,
                DILATIONS,
                GROUPS,
            ],
            domains: &[T_FLOATS, U_FLOATS],
        },
    ],
    effect: Effect::Pure,
    form: Form::Other,
    infer: infer_conv_transpose,
    eval: Some(eval::conv_transpose),
    work: conv_transpose_work,
};

fn infer_conv(site: &Site<'_>) -> Result<Vec<Type>, Fault> {
    let conv = Conv::of(site)?;
    let (x, weight) = (site.tensor("x")?, site.tensor("weight")?);
    check_bias(site, &weight.dims[0])?;
    if conv.window.dilations.iter().any(|&d| d > 1) && !is_fixed(site, "weight") {
        let dilations = format!("{:?} with a weight computed at run time", conv.window.dilations);
        return Err(Fault::arg("dilations", dilations, "all 1, or the weight a constant"));
    }
    let dims = conv.output_dims(&x.dims, &weight.dims)?;
    Ok(vec![TensorType { dtype: x.dtype, dims }.into()])
}

fn infer_conv_transpose(site: &Site<'_>) -> Result<Vec<Type>, Fault> {
    let conv = ConvTranspose::of(site)?;
    let x = site.tensor("x")?;
    let dims = conv.output_dims(&x.dims, &site.tensor("weight")?.dims)?;
    check_bias(site, &dims[1])?;
    Ok(vec![TensorType { dtype: x.dtype, dims }.into()])
}

/// The bias has one element per output channel.
fn check_bias(site: &Site<'_>, channels: &Dim) -> Result<(), Fault> {
    match site.optional_tensor("bias")? {
        Some(b) if b.rank() != 1 || !b.dims[0].compatible(channels) => {
            Err(Fault::arg("bias", b, format!("of shape [{channels}], one element per output channel")))
        }
        _ => Ok(()),
    }
}

/// True when the argument is a constant or computed from constants alone.
fn is_fixed(site: &Site<'_>, param: &str) -> bool {
    let mut open: Vec<_> = site.values(param).to_vec();
    let mut seen = std::collections::HashSet::new();
    while let Some(value) = open.pop() {
        if site.function.constant(value).is_some() || !seen.insert(value) {
            continue;
        }
        match site.function.producer(value).map(|op| site.function.op(op)) {
            Some(op) if op.operands().next().is_some() && op.blocks.is_empty() => open.extend(op.operands()),
            _ => return false,
        }
    }
    true
}

/// Twice the multiplications, and one addition per result where there is a bias.
fn conv_work(site: &Site<'_>) -> Option<Work> {
    let conv = Conv::of(site).ok()?;
    let (x, weight) = (site.tensor("x").ok()?, site.tensor("weight").ok()?);
    let out = TensorType { dtype: x.dtype, dims: conv.output_dims(&x.dims, &weight.dims).ok()? };
    let per_result = num::element_count(&weight.known_shape()?[1..])?;
    Work::products(out.element_count()?, per_result, conv.bias.is_some())
}

fn conv_transpose_work(site: &Site<'_>) -> Option<Work> {
    let conv = ConvTranspose::of(site).ok()?;
    let (x, weight) = (site.tensor("x").ok()?, site.tensor("weight").ok()?);
    let per_input = num::element_count(&weight.known_shape()?[1..])?;
    let products = Work::products(x.element_count()?, per_input, false)?;
    let out = TensorType { dtype: x.dtype, dims: conv.output_dims(&x.dims, &weight.dims).ok()? };
    let bias = if conv.bias.is_some() { u64::try_from(out.element_count()?).ok()? } else { 0 };
    Some(Work { flops: products.flops.checked_add(bias)?, transcendental: 0 })
}

#[cfg(test)]
mod tests;
