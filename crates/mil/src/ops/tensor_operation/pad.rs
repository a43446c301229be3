//! `pad`.

use crate::eval::EvalSite;
use crate::ops::common::{INT32, STRING, T, T_FLOATS, offset, strides};
use crate::ops::rearrange::{of_rank, one, pick_or, show};
use crate::ops::{Default, Effect, Fault, Form, OpDef, Site, Version, Work, constant, tensor};
use crate::{Dim, Literal, Opset, Type, ValueId};
use anemone_tensor::num;

/// What stands in the added places.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PadMode {
    /// This number.
    Constant(f64),
    /// The tensor mirrored at its outermost elements, which are not repeated.
    Reflect,
    /// The outermost elements, repeated.
    Replicate,
}

/// A `pad`, decoded.
#[derive(Clone, Debug, PartialEq)]
pub struct Pad {
    /// The tensor.
    pub x: ValueId,
    /// Elements added before and after each dim, outermost first; `None` when known only at run time.
    pub pads: Option<Vec<(usize, usize)>>,
    /// What stands there.
    pub mode: PadMode,
}

impl Pad {
    /// Decodes the op's arguments.
    ///
    /// # Errors
    /// When the amounts are negative or more than the dims, or the mode is unknown.
    pub fn of(site: &Site<'_>) -> Result<Pad, Fault> {
        let rank = site.tensor("x")?.rank();
        let mode = match site.str("mode")?.as_str() {
            "constant" => PadMode::Constant(site.float("constant_val")?),
            "reflect" => PadMode::Reflect,
            "replicate" => PadMode::Replicate,
            other => return Err(Fault::arg("mode", other, "constant, reflect or replicate")),
        };
        let x = site.values("x").first().copied().ok_or_else(|| Fault::new("has no `x`"))?;
        site.ty("pad")?;
        let pads = site.known_entries("pad").map(|p| per_dim(&p, rank)).transpose()?;
        Ok(Pad { x, pads, mode })
    }
}

/// Amounts for all dims; those given are for the last ones.
fn per_dim(pad: &[i64], rank: usize) -> Result<Vec<(usize, usize)>, Fault> {
    let Some(free) = rank.checked_sub(pad.len() / 2).filter(|_| pad.len().is_multiple_of(2)) else {
        return Err(Fault::arg(
            "pad",
            format!("{} values", pad.len()),
            format!("2 a dim, at most {}", 2 * rank),
        ));
    };
    let amounts: Option<Vec<usize>> = pad.iter().map(|&v| num::usize_of(v)).collect();
    let amounts = amounts.ok_or_else(|| Fault::arg("pad", show(pad), "a list of amounts, none negative"))?;
    let given = amounts.chunks_exact(2).map(|p| (p[0], p[1]));
    Ok(vec![(0, 0); free].into_iter().chain(given).collect())
}

pub(super) static PAD: OpDef = OpDef {
    name: "pad",
    doc: "Adds elements before and after the last dims: a constant, the mirrored tensor, or its edge.",
    versions: &[Version {
        since: Opset::Ios13,
        params: &[
            tensor("x", T),
            tensor("pad", INT32),
            constant("mode", STRING).or(Default::Str("constant")),
            constant("constant_val", T).or(Default::Float(0.0)),
        ],
        domains: &[T_FLOATS],
    }],
    effect: Effect::Pure,
    form: Form::Fill(&["x"]),
    infer: infer_pad,
    eval: Some(eval_pad),
    work: Work::none,
};

fn infer_pad(site: &Site<'_>) -> Result<Vec<Type>, Fault> {
    let (x, pad) = (site.tensor("x")?, site.tensor("pad")?);
    of_rank("pad", pad, 1)?;
    let Pad { pads, mode, .. } = Pad::of(site)?;
    let Some(pads) = pads else {
        let given = pad.dims[0].known();
        if given.is_some_and(|n| n != 2 * x.rank()) {
            let allowed = format!("{} when they are computed at run time", 2 * x.rank());
            return Err(Fault::arg("pad", format!("{} values", pad.dims[0]), allowed));
        }
        return Ok(one(x.dtype, vec![Dim::Unknown; x.rank()]));
    };
    let mut dims = Vec::with_capacity(x.rank());
    for (i, (d, &(before, after))) in x.dims.iter().zip(&pads).enumerate() {
        if let Some(n) = d.known() {
            fits(mode, i, n, before, after)?;
        }
        let grown = |n: usize| n.checked_add(before)?.checked_add(after);
        dims.push(if (before, after) == (0, 0) { d.clone() } else { d.map(grown) });
    }
    Ok(one(x.dtype, dims))
}

/// Checks that a dim has the elements that a mode repeats.
fn fits(mode: PadMode, axis: usize, n: usize, before: usize, after: usize) -> Result<(), Fault> {
    let most = match mode {
        PadMode::Constant(_) => return Ok(()),
        PadMode::Reflect => n.saturating_sub(1),
        PadMode::Replicate if n == 0 => 0,
        PadMode::Replicate => return Ok(()),
    };
    if before.max(after) <= most {
        return Ok(());
    }
    Err(Fault::arg("pad", before.max(after), format!("at most {most} in dim {axis}, of extent {n}")))
}

fn eval_pad(site: &EvalSite<'_>) -> Result<Vec<Literal>, Fault> {
    let x = site.tensor("x")?;
    let mode = Pad::of(&site.site)?.mode;
    let pads = per_dim(&site.ints("pad")?, x.rank())?;
    let mut shape = Vec::with_capacity(x.rank());
    for (i, (&n, &(before, after))) in x.shape().iter().zip(&pads).enumerate() {
        fits(mode, i, n, before, after)?;
        let grown = n.checked_add(before).and_then(|n| n.checked_add(after));
        shape.push(grown.ok_or_else(|| Fault::arg("pad", after, "small enough for an addressable result"))?);
    }
    let steps = strides(x.shape());
    let from = |index: &[usize]| {
        let dims = index.iter().zip(x.shape()).zip(&pads);
        let at: Option<Vec<usize>> =
            dims.map(|((&i, &n), &(before, _))| inside(mode, i, before, n)).collect();
        Some(offset(&at?, &steps))
    };
    let fill = site.tensor("constant_val")?.cast(x.dtype());
    Ok(vec![pick_or(&x, Some(&fill), &shape, from)?.into()])
}

/// The index of `x` that stands at index `i` of the result, in a dim of extent `n`.
fn inside(mode: PadMode, i: usize, before: usize, n: usize) -> Option<usize> {
    match mode {
        PadMode::Constant(_) => i.checked_sub(before).filter(|&at| at < n),
        PadMode::Replicate => Some(i.saturating_sub(before).min(n.checked_sub(1)?)),
        PadMode::Reflect => {
            let folded = i.abs_diff(before);
            let last = n.checked_sub(1)?;
            Some(if folded > last { (2 * last).checked_sub(folded)? } else { folded })
        }
    }
}
