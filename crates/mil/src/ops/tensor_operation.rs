//! Family `tensor_operation`.

use super::OpDef;

/// The ops of this family.
pub static OPS: &[&OpDef] = &[];
