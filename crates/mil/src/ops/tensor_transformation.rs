//! Family `tensor_transformation`.

use super::OpDef;

/// The ops of this family.
pub static OPS: &[&OpDef] = &[];
