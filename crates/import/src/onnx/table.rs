//! Operators and who translates them.

use super::node::{Done, Node};
use super::ops::{activation, conv, elementwise, gather, matmul, norm, pool, reduce, resize, shape, slice};

/// Translates one node.
pub(super) type Translate = fn(&mut Node<'_, '_>) -> Done;

/// Every operator that is translated, sorted by name.
static TABLE: &[(&str, Translate)] = &[
    ("Abs", elementwise::unary),
    ("Acos", elementwise::unary),
    ("Add", elementwise::binary),
    ("And", elementwise::logical),
    ("ArgMax", reduce::arg),
    ("ArgMin", reduce::arg),
    ("Asin", elementwise::unary),
    ("Atan", elementwise::unary),
    ("Atanh", elementwise::unary),
    ("AveragePool", pool::average),
    ("BatchNormalization", norm::batch),
    ("Cast", elementwise::cast),
    ("Ceil", elementwise::unary),
    ("Clip", activation::clip),
    ("Concat", shape::concat),
    ("Constant", shape::constant),
    ("ConstantOfShape", shape::constant_of_shape),
    ("Conv", conv::conv),
    ("ConvTranspose", conv::conv_transpose),
    ("Cos", elementwise::unary),
    ("Cosh", elementwise::unary),
    ("CumSum", reduce::cumulative_sum),
    ("DepthToSpace", shape::depth_to_space),
    ("Div", elementwise::binary),
    ("Dropout", shape::pass_on),
    ("Einsum", matmul::einsum),
    ("Elu", activation::elu),
    ("Equal", elementwise::binary),
    ("Erf", elementwise::unary),
    ("Exp", elementwise::unary),
    ("Expand", shape::expand),
    ("Flatten", shape::flatten),
    ("Floor", elementwise::unary),
    ("Gather", gather::gather),
    ("GatherElements", gather::gather_elements),
    ("GatherND", gather::gather_nd),
    ("Gelu", activation::gelu),
    ("Gemm", matmul::gemm),
    ("GlobalAveragePool", pool::global),
    ("GlobalMaxPool", pool::global),
    ("Greater", elementwise::binary),
    ("GreaterOrEqual", elementwise::binary),
    ("HardSigmoid", activation::hard_sigmoid),
    ("HardSwish", activation::hard_swish),
    ("Identity", shape::pass_on),
    ("InstanceNormalization", norm::instance),
    ("LRN", norm::local_response),
    ("LayerNormalization", norm::layer),
    ("LeakyRelu", activation::leaky_relu),
    ("Less", elementwise::binary),
    ("LessOrEqual", elementwise::binary),
    ("Log", elementwise::unary),
    ("LogSoftmax", activation::log_softmax),
    ("MatMul", matmul::matmul),
    ("Max", elementwise::variadic),
    ("MaxPool", pool::max),
    ("Mean", elementwise::mean),
    ("Min", elementwise::variadic),
    ("Mish", activation::mish),
    ("Mod", elementwise::modulo),
    ("Mul", elementwise::binary),
    ("Neg", elementwise::neg),
    ("Not", elementwise::unary),
    ("Or", elementwise::logical),
    ("PRelu", activation::prelu),
    ("Pad", slice::pad),
    ("Pow", elementwise::binary),
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
    ("Round", elementwise::unary),
    ("Selu", activation::selu),
    ("Shape", shape::shape),
    ("Sigmoid", elementwise::unary),
    ("Sign", elementwise::unary),
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
    ("Tan", elementwise::unary),
    ("Tanh", elementwise::unary),
    ("ThresholdedRelu", activation::thresholded_relu),
    ("Tile", shape::tile),
    ("TopK", reduce::top_k),
    ("Transpose", shape::transpose),
    ("Unsqueeze", shape::unsqueeze),
    ("Upsample", resize::upsample),
    ("Where", elementwise::select),
    ("Xor", elementwise::logical),
];

/// Who translates an operator of the standard domain.
pub(super) fn find(op_type: &str) -> Option<Translate> {
    TABLE.binary_search_by(|(name, _)| (*name).cmp(op_type)).ok().map(|i| TABLE[i].1)
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
    }
}
