//! Convolutions, pools and batch norms of `[N, C, W]` are computed on `[N, C, 1, W]`.
//!
//! ```text
//! y = conv(x [N, C, W], W [O, C, K], strides = [s])                        becomes
//! y = squeeze(conv(expand_dims(x, 2), W [O, C, 1, K], strides = [1, s]), 2)
//! ```
//! Between two of them the squeeze and the `expand_dims` cancel, also where other ops stand between
//! (`sink_squeezes`).

use super::Limits;
use super::filters::{Ones, ints, weight};
use crate::{Miss, OpRef, Patch, Ref};

/// The height of a kernel.
const HEIGHT: Ones = Ones { at: 2, count: 1 };

/// The rewrite; looks at `conv`, `max_pool`, `avg_pool` and `batch_norm`.
///
/// # Errors
/// The reason why it does not apply.
pub fn rewrite(op: OpRef<'_>, _: &Limits) -> Result<Patch, Miss> {
    op.expect(&["avg_pool", "batch_norm", "conv", "max_pool"])?;
    let x = op.operand("x")?;
    let rank = op.tensor(x)?.rank();
    if rank != 3 {
        return Err(Miss::because(format!("`x` has {rank} dims")));
    }
    let mut patch = Patch::default();
    let mut changed: Vec<(&str, Ref)> = Vec::new();
    if op.is(&["conv"]) {
        let value = op.operand("weight")?;
        let filters = match op.maker(value) {
            Some(unpacked) => HEIGHT.unpack(op, unpacked, value, &mut patch)?,
            None => HEIGHT.add(&mut patch, weight(op, value)?)?,
        };
        changed.push(("weight", filters));
    }
    for (param, first) in [("strides", 1), ("dilations", 1), ("kernel_sizes", 1), ("pad", 0)] {
        if op.op().value(param).is_none() {
            continue;
        }
        let own: Result<Vec<usize>, _> = op.site()?.ints(param)?.into_iter().map(usize::try_from).collect();
        let own = own.map_err(|_| "a number is negative")?;
        let all: Vec<usize> = std::iter::repeat_n(first, own.len()).chain(own.iter().copied()).collect();
        changed.push((param, ints(&mut patch, param, &all)?));
    }
    let axes = ints(&mut patch, "axes", &[2])?;
    changed.push(("x", patch.op("expand_dims", "row", vec![("x", x.into()), ("axes", axes)])));
    let new = patch.variant(op.op(), "raised", changed);
    let axes = ints(&mut patch, "axes", &[2])?;
    let y = patch.op("squeeze", "dims", vec![("x", new), ("axes", axes)]);
    Ok(patch.replacing(op.result()?, y))
}
