//! Functions of single elements.

use super::{Lowered, Lowering, plain};
use crate::kernels::Activation;
use crate::kernels::elementwise::{BinaryOp, UnaryOp, View, binary, unary};
use anemone_mil::ops::Site;

/// The activation that an op is, where kernels can apply it as they store.
#[allow(clippy::cast_possible_truncation, reason = "kernels compute in f32")]
pub(super) fn activation(site: &Site<'_>) -> Option<Activation> {
    let float = |param: &str| site.float(param).ok().map(|v| v as f32);
    Some(match site.def.name {
        "relu" => Activation::Relu,
        "relu6" => Activation::Relu6,
        "clip" => Activation::Clamp(float("alpha")?, float("beta")?),
        "sigmoid" => Activation::Sigmoid,
        "silu" => Activation::Silu,
        "tanh" => Activation::Tanh,
        "scaled_tanh" => Activation::ScaledTanh(float("alpha")?, float("beta")?),
        "leaky_relu" => Activation::LeakyRelu(float("alpha")?),
        "sigmoid_hard" => Activation::HardSigmoid(float("alpha")?, float("beta")?),
        "gelu" if site.str("mode").ok()? == "EXACT" => Activation::Gelu,
        _ => return None,
    })
}

/// A unary or binary op on float tensors.
pub(super) fn lower(l: &Lowering<'_>) -> Option<Lowered> {
    if let Some(op) = unary_op(&l.site) {
        let x = l.value("x")?;
        return Some(plain(vec![x], move |io, pool| unary(op, io.inputs[0], io.outputs[0], pool)));
    }
    let op = binary_op(l.site.def.name)?;
    let (x, y) = (l.value("x")?, l.value("y")?);
    let (a, b, out) = (l.shape(x)?, l.shape(y)?, l.result_shape()?);
    Some(plain(vec![x, y], move |io, pool| {
        let (left, right) = (View { data: io.inputs[0], shape: &a }, View { data: io.inputs[1], shape: &b });
        binary(op, left, right, &out, io.outputs[0], pool);
    }))
}

pub(super) fn binary_op(kind: &str) -> Option<BinaryOp> {
    Some(match kind {
        "add" => BinaryOp::Add,
        "sub" => BinaryOp::Sub,
        "mul" => BinaryOp::Mul,
        "real_div" => BinaryOp::RealDiv,
        "floor_div" => BinaryOp::FloorDiv,
        "mod" => BinaryOp::Mod,
        "maximum" => BinaryOp::Maximum,
        "minimum" => BinaryOp::Minimum,
        "pow" => BinaryOp::Pow,
        _ => return None,
    })
}

pub(super) fn unary_op(site: &Site<'_>) -> Option<UnaryOp> {
    #[allow(clippy::cast_possible_truncation, reason = "kernels compute in f32")]
    let float = |param: &str| site.float(param).ok().map(|v| v as f32);
    Some(match site.def.name {
        "abs" => UnaryOp::Abs,
        "acos" => UnaryOp::Acos,
        "asin" => UnaryOp::Asin,
        "atan" => UnaryOp::Atan,
        "atanh" => UnaryOp::Atanh,
        "ceil" => UnaryOp::Ceil,
        "clamped_relu" => UnaryOp::ClampedRelu(float("alpha")?, float("beta")?),
        "clip" => UnaryOp::Clip(float("alpha")?, float("beta")?),
        "cos" => UnaryOp::Cos,
        "cosh" => UnaryOp::Cosh,
        "elu" => UnaryOp::Elu(float("alpha")?),
        "erf" => UnaryOp::Erf,
        "exp" => UnaryOp::Exp,
        "exp2" => UnaryOp::Exp2,
        "floor" => UnaryOp::Floor,
        "gelu" => match site.str("mode").ok()?.as_str() {
            "TANH_APPROXIMATION" => UnaryOp::GeluTanh,
            "SIGMOID_APPROXIMATION" => UnaryOp::GeluSigmoid,
            _ => UnaryOp::Gelu,
        },
        "inverse" => UnaryOp::Inverse(float("epsilon")?),
        "leaky_relu" => UnaryOp::LeakyRelu(float("alpha")?),
        "linear_activation" => UnaryOp::Linear(float("alpha")?, float("beta")?),
        "log" => UnaryOp::Log(float("epsilon")?),
        "relu" => UnaryOp::Relu,
        "relu6" => UnaryOp::Relu6,
        "round" => UnaryOp::Round,
        "rsqrt" => UnaryOp::Rsqrt(float("epsilon")?),
        "scaled_tanh" => UnaryOp::ScaledTanh(float("alpha")?, float("beta")?),
        "sigmoid" => UnaryOp::Sigmoid,
        "sigmoid_hard" => UnaryOp::SigmoidHard(float("alpha")?, float("beta")?),
        "sign" => UnaryOp::Sign,
        "silu" => UnaryOp::Silu,
        "sin" => UnaryOp::Sin,
        "sinh" => UnaryOp::Sinh,
        "softplus" => UnaryOp::Softplus,
        "softsign" => UnaryOp::Softsign,
        "sqrt" => UnaryOp::Sqrt,
        "square" => UnaryOp::Square,
        "tan" => UnaryOp::Tan,
        "tanh" => UnaryOp::Tanh,
        "threshold" => UnaryOp::Threshold(float("alpha")?),
        "thresholded_relu" => UnaryOp::ThresholdedRelu(float("alpha")?),
        _ => return None,
    })
}
