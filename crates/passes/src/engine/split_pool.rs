//! A wide max pool becomes two in a row, the first of stride 1.
//!
//! ```text
//! y = max_pool(x, kernel_sizes = 9, pad = [4, 4])                          becomes
//! a = max_pool(x, kernel_sizes = 8, pad = [4, 4]); y = max_pool(a, kernel_sizes = 2)
//! ```
//! The largest of 9 neighbours is the larger of two neighbouring maxima of 8. What is still too wide is split again.

use super::Limits;
use super::filters::{custom, ints, pads};
use crate::{Miss, OpRef, Patch};
use anemone_mil::ops::Pool;

/// The rewrite; looks at `max_pool`.
///
/// # Errors
/// The reason why it does not apply.
pub fn rewrite(op: OpRef<'_>, limits: &Limits) -> Result<Patch, Miss> {
    op.expect(&["max_pool"])?;
    let pool = Pool::of(&op.site()?)?;
    let last = pool.window.kernel.len() - 1;
    let (width, most) = (pool.window.kernel[last], limits.max_pool_width.max(2));
    if width <= most || width == limits.max_pool_wide {
        return Err(Miss::because(format!("the kernel is {width} wide, which is taken")));
    }
    if pool.window.ceil {
        return Err("its extents are rounded up".into());
    }
    let padding = pool.pads.ok_or("the padding depends on extents that are not known")?;
    let (before, after) = padding[last];
    if before >= width || after >= width {
        return Err("a window may lie in the padding".into());
    }
    // Neither pool may have a window in the padding alone: what that holds is not said for every engine.
    let early = (before.min(most - 1), after.min(most - 1));
    let ones = vec![1; last + 1];
    let mut first = Half { kernel: pool.window.kernel, strides: pool.window.strides, pads: padding };
    let mut second = Half { kernel: ones.clone(), strides: ones, pads: vec![(0, 0); last + 1] };
    second.kernel[last] = width - most + 1;
    second.strides[last] = std::mem::replace(&mut first.strides[last], 1);
    second.pads[last] = (before - early.0, after - early.1);
    (first.kernel[last], first.pads[last]) = (most, early);
    let mut patch = Patch::default();
    let narrow = first.add(&mut patch, op, op.operand("x")?.into())?;
    let new = second.add(&mut patch, op, narrow)?;
    Ok(patch.replacing(op.result()?, new))
}

/// One of the two pools.
struct Half {
    kernel: Vec<usize>,
    strides: Vec<usize>,
    pads: Vec<(usize, usize)>,
}

impl Half {
    fn add(&self, patch: &mut Patch, op: OpRef<'_>, x: crate::Ref) -> Result<crate::Ref, Miss> {
        let changed = vec![
            ("x", x),
            ("kernel_sizes", ints(patch, "kernel_sizes", &self.kernel)?),
            ("strides", ints(patch, "strides", &self.strides)?),
            ("pad", pads(patch, &self.pads)?),
            ("pad_type", custom(patch)),
        ];
        Ok(patch.variant(op.op(), "narrow", changed))
    }
}
