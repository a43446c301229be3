//! The op table: what the specification says of every op.
//!
//! One plain `static` [`OpDef`] per op, grouped in one file per family. Names, versions and signatures are those of
//! the op registry of coremltools 9.0 (168 ops in 227 versions); a test compares them name for name.

mod activation;
mod attention;
#[cfg(test)]
mod case;
mod classify;
mod common;
mod constexpr;
mod control_flow;
mod conv;
mod elementwise_binary;
mod elementwise_unary;
mod fault;
mod form;
mod image_resizing;
mod linear;
mod normalization;
mod partial;
mod pool;
#[cfg(test)]
mod probe;
mod quantization;
mod random;
mod rearrange;
mod recurrent;
mod reduction;
mod scatter_gather;
mod signature;
mod site;
mod states;
mod tensor_operation;
mod tensor_transformation;
mod window;
mod work;

pub use conv::{Conv, ConvTranspose};
pub use fault::Fault;
pub use form::Form;
pub use image_resizing::{Interpolation, Resize, Sampling, Tap, Target};
pub use linear::MatMul;
pub use partial::{Entry, entries};
pub use pool::{Pool, PoolKind};
pub use recurrent::{Direction, GateActivation, Recurrent, RecurrentKind};
pub use reduction::Reduction;
pub use scatter_gather::{Bounds, Gather, Scatter, ScatterMode};
pub use signature::Effect;
pub use signature::{
    Accept, Default, Domain, Kind, OpDef, Param, Version, any, constant, list, state, tensor, variadic,
};
pub use site::Site;
pub use tensor_operation::{Concat, NonMaximumSuppression, Pad, PadMode, Split, TopK};
pub use tensor_transformation::{SliceByIndex, SliceDim, reshaped_shape, transposition};
pub use window::{Padding, Window};
pub use work::Work;

use std::collections::HashMap;
use std::sync::LazyLock;

/// The families, in the order of the op reference.
static FAMILIES: &[&[&OpDef]] = &[
    activation::OPS,
    attention::OPS,
    classify::OPS,
    constexpr::OPS,
    control_flow::OPS,
    conv::OPS,
    elementwise_binary::OPS,
    elementwise_unary::OPS,
    image_resizing::OPS,
    linear::OPS,
    normalization::OPS,
    pool::OPS,
    quantization::OPS,
    random::OPS,
    recurrent::OPS,
    reduction::OPS,
    scatter_gather::OPS,
    states::OPS,
    tensor_operation::OPS,
    tensor_transformation::OPS,
];

static BY_NAME: LazyLock<HashMap<&'static str, &'static OpDef>> =
    LazyLock::new(|| table().map(|def| (def.name, def)).collect());

/// Every op, family by family.
pub fn table() -> impl Iterator<Item = &'static OpDef> {
    FAMILIES.iter().flat_map(|family| family.iter().copied())
}

/// The op of that name.
pub fn find(name: &str) -> Option<&'static OpDef> {
    BY_NAME.get(name).copied()
}
