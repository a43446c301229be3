//! Every rule, one `static` each, in a file per subject.

mod eligible;
mod form;
mod numerics;
mod shapes;
mod whole;

use crate::rule::Rule;

/// Every rule, in order of name.
pub static ALL: &[&Rule] = &[
    &numerics::ARG_OUTPUT,
    &shapes::AXIS_TOO_LONG,
    &eligible::CONV_16X16,
    &form::CONV_1D,
    &eligible::CONV_KERNEL,
    &form::CONV_RUNTIME_WEIGHTS,
    &form::CONV_WIDE_KERNEL,
    &form::CROSSINGS,
    &form::DILATED_CONV,
    &shapes::DYNAMIC_SHAPE,
    &form::EMBEDDING,
    &shapes::ENUMERATED_SHAPES,
    &numerics::FP16_CONSTANT,
    &numerics::FP32_OP,
    &eligible::GATHER_ND,
    &eligible::GATHER_RUNTIME,
    &numerics::INT32_ISLAND,
    &eligible::INT4_PER_BLOCK,
    &eligible::INT8_PER_BLOCK,
    &form::LINEAR_NOT_CONV,
    &form::LONG_ATTENTION,
    &numerics::LONG_REDUCTION,
    &eligible::MATMUL_INNER,
    &eligible::MAX_POOL,
    &whole::NEEDS_NEWER_SYSTEM,
    &numerics::NORM_OVERFLOW,
    &whole::NOT_WORTH_IT,
    &eligible::PAD_VALUE,
    &shapes::RANK,
    &eligible::RECURRENT,
    &eligible::SCATTER,
    &form::SDPA_MASK,
    &whole::SHARD_SIZE,
    &eligible::SLICE_BEGIN,
    &whole::STATE_COUNT,
    &shapes::STATE_WIDTH,
    &form::TOPK,
    &whole::UNKNOWN_OP,
    &eligible::UNSUPPORTED_OP,
    &eligible::VECTOR_PALETTE,
    &form::WIDE_PROJECTION,
];

/// The rule of that name.
pub fn named(name: &str) -> Option<&'static Rule> {
    ALL.iter().copied().find(|r| r.name == name)
}
