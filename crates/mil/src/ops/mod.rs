//! The op table: what the specification says of every op.
//!
//! One plain `static` [`OpDef`] per op, grouped in one file per family. Names, versions and signatures are those of
//! the op registry of coremltools 9.0 (168 ops in 227 versions); a test compares them name for name.

mod activation;
mod fault;
mod signature;
mod site;
mod work;

pub use fault::Fault;
pub use signature::Effect;
pub use signature::{
    Accept, Default, Domain, Kind, OpDef, Param, Version, any, constant, list, state, tensor, variadic,
};
pub use site::Site;
pub use work::Work;

use std::collections::HashMap;
use std::sync::LazyLock;

/// The families, in the order of the op reference.
static FAMILIES: &[&[&OpDef]] = &[activation::OPS];

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
