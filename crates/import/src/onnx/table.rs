//! Operators and who translates them.

use super::node::{Done, Node};
use super::ops::{
    activation, control, conv, einsum, elementwise, gather, matmul, norm, pool, quant, random, recurrent,
    reduce, resize, scatter, select, shape, slice,
};

/// Translates one node.
pub(super) type Translate = fn(&mut Node<'_, '_>) -> Done;

/// Every operator that is translated, sorted by name.
static TABLE: &[(&str, Translate)] = &[
    ("Abs", elementwise::unary),
    ("Acos", elementwise::unary),
    ("Acosh", elementwise::inverse_hyperbolic),
    ("Add", elementwise::binary),
    ("And", elementwise::logical),
    ("ArgMax", reduce::arg),
    ("ArgMin", reduce::arg),
    ("Asin", elementwise::unary),
    ("Asinh", elementwise::inverse_hyperbolic),
    ("Atan", elementwise::unary),
    ("Atanh", elementwise::unary),
    ("AveragePool", pool::average),
    ("BatchNormalization", norm::batch),
    ("Bernoulli", random::bernoulli),
    ("Cast", elementwise::cast),
    ("CastLike", elementwise::cast_like),
    ("Ceil", elementwise::unary),
    ("Celu", activation::celu),
    ("Clip", activation::clip),
    ("Concat", shape::concat),
    ("Constant", shape::constant),
    ("ConstantOfShape", shape::constant_of_shape),
    ("Conv", conv::conv),
    ("ConvInteger", quant::conv_integer),
    ("ConvTranspose", conv::conv_transpose),
    ("Cos", elementwise::unary),
    ("Cosh", elementwise::unary),
    ("CumSum", reduce::cumulative_sum),
    ("DepthToSpace", shape::depth_to_space),
    ("DequantizeLinear", quant::dequantize),
    ("Div", elementwise::binary),
    ("Dropout", shape::pass_on),
    ("DynamicQuantizeLinear", quant::dynamic),
    ("Einsum", einsum::einsum),
    ("Elu", activation::elu),
    ("Equal", elementwise::binary),
    ("Erf", elementwise::unary),
    ("Exp", elementwise::unary),
    ("Expand", shape::expand),
    ("EyeLike", select::eye_like),
    ("Flatten", shape::flatten),
    ("Floor", elementwise::unary),
    ("GRU", recurrent::gru),
    ("Gather", gather::gather),
    ("GatherElements", gather::gather_elements),
    ("GatherND", gather::gather_nd),
    ("Gelu", activation::gelu),
    ("Gemm", matmul::gemm),
    ("GlobalAveragePool", pool::global),
    ("GlobalLpPool", pool::global_lp),
    ("GlobalMaxPool", pool::global),
    ("Greater", elementwise::binary),
    ("GreaterOrEqual", elementwise::binary),
    ("GridSample", resize::grid_sample),
    ("GroupNormalization", norm::group),
    ("HardSigmoid", activation::hard_sigmoid),
    ("HardSwish", activation::hard_swish),
    ("Hardmax", select::hardmax),
    ("Identity", shape::pass_on),
    ("If", control::branch),
    ("InstanceNormalization", norm::instance),
    ("IsInf", elementwise::is_inf),
    ("IsNaN", elementwise::is_nan),
    ("LRN", norm::local_response),
    ("LSTM", recurrent::lstm),
    ("LayerNormalization", norm::layer),
    ("LeakyRelu", activation::leaky_relu),
    ("Less", elementwise::binary),
    ("LessOrEqual", elementwise::binary),
    ("Log", elementwise::unary),
    ("LogSoftmax", activation::log_softmax),
    ("LpNormalization", norm::lp),
    ("LpPool", pool::lp),
    ("MatMul", matmul::matmul),
    ("MatMulInteger", quant::matmul_integer),
    ("Max", elementwise::variadic),
    ("MaxPool", pool::max),
    ("Mean", elementwise::mean),
    ("MeanVarianceNormalization", norm::mean_variance),
    ("Min", elementwise::variadic),
    ("Mish", activation::mish),
    ("Mod", elementwise::modulo),
    ("Mul", elementwise::binary),
    ("Neg", elementwise::neg),
    ("NonZero", select::non_zero),
    ("Not", elementwise::unary),
    ("OneHot", select::one_hot),
    ("Or", elementwise::logical),
    ("PRelu", activation::prelu),
    ("Pad", slice::pad),
    ("Pow", elementwise::binary),
    ("QLinearConv", quant::linear_conv),
    ("QLinearMatMul", quant::linear_matmul),
    ("QuantizeLinear", quant::quantize),
    ("RMSNormalization", norm::root_mean_square),
    ("RNN", recurrent::rnn),
    ("RandomNormal", random::normal),
    ("RandomNormalLike", random::normal),
    ("RandomUniform", random::uniform),
    ("RandomUniformLike", random::uniform),
    ("Range", shape::range),
    ("Reciprocal", elementwise::unary),
    ("ReduceL1", reduce::reduce),
    ("ReduceL2", reduce::reduce),
    ("ReduceLogSum", reduce::reduce),
    ("ReduceLogSumExp", reduce::reduce),
    ("ReduceMax", reduce::reduce),
    ("ReduceMean", reduce::reduce),
    ("ReduceMin", reduce::reduce),
    ("ReduceProd", reduce::reduce),
    ("ReduceSum", reduce::reduce),
    ("ReduceSumSquare", reduce::reduce),
    ("Relu", elementwise::unary),
    ("Reshape", shape::reshape),
    ("Resize", resize::resize),
    ("ReverseSequence", select::reverse_sequence),
    ("Round", elementwise::unary),
    ("Scatter", scatter::elements),
    ("ScatterElements", scatter::elements),
    ("ScatterND", scatter::nd),
    ("Selu", activation::selu),
    ("Shape", shape::shape),
    ("Shrink", activation::shrink),
    ("Sigmoid", elementwise::unary),
    ("Sign", elementwise::unary),
    ("SimplifiedLayerNormalization", norm::root_mean_square),
    ("Sin", elementwise::unary),
    ("Sinh", elementwise::unary),
    ("Size", shape::size),
    ("Slice", slice::slice),
    ("Softmax", activation::softmax),
    ("Softplus", elementwise::unary),
    ("Softsign", elementwise::unary),
    ("SpaceToDepth", shape::space_to_depth),
    ("Split", slice::split),
    ("Sqrt", elementwise::unary),
    ("Squeeze", shape::squeeze),
    ("Sub", elementwise::binary),
    ("Sum", elementwise::variadic),
    ("Swish", activation::swish),
    ("Tan", elementwise::unary),
    ("Tanh", elementwise::unary),
    ("ThresholdedRelu", activation::thresholded_relu),
    ("Tile", shape::tile),
    ("TopK", reduce::top_k),
    ("Transpose", shape::transpose),
    ("Trilu", select::trilu),
    ("Unsqueeze", shape::unsqueeze),
    ("Upsample", resize::upsample),
    ("Where", elementwise::select),
    ("Xor", elementwise::logical),
];

/// Operators of ONNX Runtime's own domain that are translated, sorted by name.
static MICROSOFT: &[(&str, Translate)] = &[
    ("BiasGelu", activation::bias_gelu),
    ("FastGelu", activation::bias_gelu),
    ("FusedMatMul", matmul::fused),
    ("Gelu", activation::gelu),
    ("LayerNormalization", norm::layer),
    ("QuickGelu", activation::swish),
    ("SimplifiedLayerNormalization", norm::root_mean_square),
    ("SkipLayerNormalization", norm::skip_layer),
    ("SkipSimplifiedLayerNormalization", norm::skip_layer),
];

/// True when the domain is that of the standard operators.
pub(super) fn is_standard(domain: &str) -> bool {
    matches!(domain, "" | "ai.onnx")
}

/// Who translates an operator.
pub(super) fn find(domain: &str, op_type: &str) -> Option<Translate> {
    let table = match domain {
        d if is_standard(d) => TABLE,
        "com.microsoft" => MICROSOFT,
        _ => return None,
    };
    table.binary_search_by(|(name, _)| (*name).cmp(op_type)).ok().map(|i| table[i].1)
}

/// True for operators that take 8-bit operands as they are; for all others they are widened.
pub(super) fn takes_bytes(op_type: &str) -> bool {
    matches!(
        op_type,
        "DequantizeLinear"
            | "Flatten"
            | "Identity"
            | "Reshape"
            | "Shape"
            | "Squeeze"
            | "Transpose"
            | "Unsqueeze"
    )
}

/// Names of all operators that are translated.
pub fn supported_ops() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted() {
        assert!(supported_ops().is_sorted());
        assert!(MICROSOFT.iter().map(|(name, _)| name).is_sorted());
    }
}
