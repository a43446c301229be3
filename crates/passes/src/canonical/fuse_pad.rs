//! Padding of the spatial dims becomes part of the convolution or pooling after it.
//!
//! ```text
//! y = conv(pad(x, pad = [0, 0, 0, 0, 1, 1, 1, 1]))      becomes      y = conv(x, pad_type = "custom", pad = [1, 1, 1, 1])
//! ```
//! A `conv` and an `avg_pool` that counts its padding take zeros in. A `max_pool`, whose own padding never wins, takes
//! in negative infinity, repeated elements, and zeros where nothing is below zero.

use crate::{Miss, OpRef, Patch, Ref};
use anemone_mil::ops::{Pad, PadMode, Padding, Pool, PoolKind};
use anemone_mil::{Literal, Tensor};

/// Ops whose results are never below zero.
const NOT_NEGATIVE: [&str; 8] =
    ["relu", "relu6", "sigmoid", "sigmoid_hard", "softmax", "exp", "square", "abs"];

/// The rewrite; looks at `conv`, `avg_pool` and `max_pool`.
///
/// # Errors
/// The reason why it does not apply.
pub fn rewrite(op: OpRef<'_>) -> Result<Patch, Miss> {
    op.expect(&["conv", "avg_pool", "max_pool"])?;
    let pad = op.sole(op.operand("x")?, &["pad"])?;
    let found = Pad::of(&pad.site()?)?;
    takes(op, pad, found.mode)?;
    let around = found.pads.ok_or("the padding is computed at run time")?;
    let outer = around.len().min(2);
    if around[..outer].iter().any(|&p| p != (0, 0)) {
        return Err("batch or channels are padded".into());
    }
    let own = own_pads(op, around.len() - outer)?;
    let total: Vec<(usize, usize)> =
        own.iter().zip(&around[outer..]).map(|(a, b)| (a.0 + b.0, a.1 + b.1)).collect();
    if let Some(kernel) = pool_kernel(op)?
        && total.iter().zip(&kernel).any(|(p, &k)| p.0 >= k || p.1 >= k)
    {
        return Err("a pooling window would lie in the padding".into());
    }
    let flat: Option<Vec<i32>> =
        total.iter().flat_map(|&(b, a)| [b, a]).map(|n| i32::try_from(n).ok()).collect();
    let mut patch = Patch::default();
    let pads = patch.literal("pad", Tensor::vector_i32(&flat.ok_or("the padding overflows")?));
    let kind = patch.literal("pad_type", Literal::string("custom"));
    let x = Ref::Value(pad.operand("x")?);
    let new = patch.variant(op.op(), "padded", vec![("x", x), ("pad", pads), ("pad_type", kind)]);
    Ok(patch.replacing(op.result()?, new))
}

/// Checks that padding of that kind is what the op does by itself.
fn takes(op: OpRef<'_>, pad: OpRef<'_>, mode: PadMode) -> Result<(), Miss> {
    let value = match mode {
        PadMode::Constant(value) => value,
        // A window that reaches a repeated element reaches the one that it repeats.
        PadMode::Replicate if op.is(&["max_pool"]) => return Ok(()),
        _ => return Err("the padding is no constant".into()),
    };
    let not_negative = || op.maker(pad.operand("x").ok()?).filter(|m| m.is(&NOT_NEGATIVE));
    match op.kind() {
        "max_pool" if value == f64::NEG_INFINITY => Ok(()),
        "max_pool" if value == 0.0 && not_negative().is_some() => Ok(()),
        "max_pool" => Err("the padding could win".into()),
        _ if value != 0.0 => Err("the padding is not zeros".into()),
        "avg_pool" if op.site()?.bool("exclude_padding_from_average")? => {
            Err("the average leaves its own padding out".into())
        }
        _ => Ok(()),
    }
}

/// Padding of the op itself, per spatial dim.
fn own_pads(op: OpRef<'_>, spatial: usize) -> Result<Vec<(usize, usize)>, Miss> {
    if !op.is(&["conv"]) {
        let pool = Pool::of(&op.site()?)?;
        return match pool.window {
            w if w.ceil => Err("the pooling rounds its extents up".into()),
            w => match w.padding {
                Padding::Fixed(pads) if pads.len() == spatial => Ok(pads),
                _ => Err("the pooling pads by its own rule".into()),
            },
        };
    }
    match op.site()?.str("pad_type")?.as_str() {
        "valid" => Ok(vec![(0, 0); spatial]),
        "custom" => {
            let pads: Option<Vec<usize>> =
                op.site()?.ints("pad")?.into_iter().map(|p| usize::try_from(p).ok()).collect();
            let pads = pads.filter(|p| p.len() == 2 * spatial).ok_or("the padding is damaged")?;
            Ok(pads.chunks_exact(2).map(|p| (p[0], p[1])).collect())
        }
        _ => Err("the conv pads by its own rule".into()),
    }
}

fn pool_kernel(op: OpRef<'_>) -> Result<Option<Vec<usize>>, Miss> {
    if op.is(&["conv"]) {
        return Ok(None);
    }
    let pool = Pool::of(&op.site()?)?;
    debug_assert!(!matches!(pool.kind, PoolKind::L2));
    Ok(Some(pool.window.kernel))
}
