//! Family `image_resizing`.

use super::OpDef;

/// The ops of this family.
pub static OPS: &[&OpDef] = &[];
