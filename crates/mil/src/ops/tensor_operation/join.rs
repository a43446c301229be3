//! Ops that join, split and repeat tensors: `concat`, `stack`, `split`, `tile`.

use crate::eval::EvalSite;
use crate::ops::common::{BOOL, INT32, T, offset, strides};
use crate::ops::rearrange::{T_BASIC, at_least, of_rank, one, packed, pick, same_dim, show};
use crate::ops::{
    Accept, Default, Effect, Fault, Form, OpDef, Site, Version, Work, constant, tensor, variadic,
};
use crate::{Dim, Literal, Opset, TensorType, Type, ValueId};
use anemone_tensor::{Tensor, num};

/// A `concat`, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Concat {
    /// The tensors, in order.
    pub values: Vec<ValueId>,
    /// The dim that grows, counted from the front; 0 for scalars, which become a vector.
    pub axis: usize,
    /// True when elements along the axis alternate between the tensors.
    pub interleave: bool,
}

impl Concat {
    /// Decodes the op's arguments.
    ///
    /// # Errors
    /// When there is no tensor, or the axis is no constant in range.
    pub fn of(site: &Site<'_>) -> Result<Concat, Fault> {
        let rank = site.tensors("values")?.first().map_or(0, |t| t.rank());
        let axis = site.axis("axis", rank.max(1))?;
        let interleave = site.bool("interleave")?;
        Ok(Concat { values: site.values("values").to_vec(), axis, interleave })
    }
}

pub(super) static CONCAT: OpDef = OpDef {
    name: "concat",
    doc: "Joins tensors along `axis`, one after the other, or element by element when interleaved.",
    versions: &[Version {
        since: Opset::Ios13,
        params: &[
            variadic("values", Accept::Any),
            constant("axis", INT32),
            constant("interleave", BOOL).or(Default::Bool(false)),
        ],
        domains: &[],
    }],
    effect: Effect::Pure,
    form: Form::Move(&["values"]),
    infer: infer_concat,
    eval: Some(eval_concat),
    work: Work::none,
};

/// Checks that tensors have one element type and one rank.
fn alike<'a>(types: &[&'a TensorType]) -> Result<&'a TensorType, Fault> {
    let first = *types.first().ok_or_else(|| Fault::arg("values", "empty", "at least one tensor"))?;
    match types.iter().find(|t| t.dtype != first.dtype || t.rank() != first.rank()) {
        Some(t) => {
            let allowed = format!("of one element type and rank, as the first: {first}");
            Err(Fault::arg("values", t, allowed))
        }
        None => Ok(first),
    }
}

fn infer_concat(site: &Site<'_>) -> Result<Vec<Type>, Fault> {
    let types = site.tensors("values")?;
    let first = alike(&types)?;
    let Concat { axis, interleave, .. } = Concat::of(site)?;
    if first.rank() == 0 {
        return Ok(one(first.dtype, vec![types.len().into()]));
    }
    let mut dims = first.dims.clone();
    for t in &types[1..] {
        for (i, (d, other)) in dims.iter_mut().zip(&t.dims).enumerate() {
            if i != axis || interleave {
                *d = same_dim("values", other, d)?;
            }
        }
    }
    let extents = types.iter().map(|t| &t.dims[axis]);
    let sum = extents.cloned().reduce(|a, b| a.with(&b, usize::checked_add));
    dims[axis] = sum.unwrap_or(Dim::Unknown);
    Ok(one(first.dtype, dims))
}

fn eval_concat(site: &EvalSite<'_>) -> Result<Vec<Literal>, Fault> {
    let mut parts = site.tensors("values")?;
    let Concat { axis, interleave, .. } = Concat::of(&site.site)?;
    if parts.iter().all(|t| t.rank() == 0) {
        let vectors = parts.iter().map(|t| t.reshaped([1]).map_err(|e| Fault::new(e.to_string())));
        parts = vectors.collect::<Result<_, _>>()?;
    }
    Ok(vec![joined(&parts, axis, interleave)?.into()])
}

/// Joins tensors along an axis.
pub(crate) fn joined(parts: &[Tensor], axis: usize, interleave: bool) -> Result<Tensor, Fault> {
    let first = parts.first().ok_or_else(|| Fault::arg("values", "empty", "at least one tensor"))?;
    let mut extent = 0usize;
    for part in parts {
        let fits = part.dtype() == first.dtype()
            && part.rank() == first.rank()
            && part
                .shape()
                .iter()
                .zip(first.shape())
                .enumerate()
                .all(|(i, (a, b))| a == b || (i == axis && !interleave));
        let here = part.shape().get(axis).filter(|_| fits);
        extent = here.and_then(|n| extent.checked_add(*n)).ok_or_else(|| {
            let allowed = format!("such that it joins {:?} along dim {axis}", first.shape());
            Fault::arg("values", format!("{} {:?}", part.dtype(), part.shape()), allowed)
        })?;
    }
    let mut shape = first.shape().to_vec();
    shape[axis] = extent;
    let bits = first.dtype().bits();
    let inner = num::element_count(&shape[axis + 1..]).and_then(|n| n.checked_mul(bits));
    let Some(row) = inner.filter(|n| n % 8 == 0).map(|n| n / 8) else {
        return Err(Fault::arg("values", first.dtype(), "of rows of whole bytes"));
    };
    let outer = num::element_count(&shape[..axis]).unwrap_or(0);
    let steps = if interleave { first.shape()[axis] } else { 1 };
    if shape.contains(&0) {
        return packed(first.dtype(), &shape, Vec::new());
    }
    let mut out = Vec::with_capacity(crate::ops::common::element_count(&shape)?.saturating_mul(bits) / 8);
    for i in 0..outer.saturating_mul(steps) {
        for part in parts {
            let len = part.shape()[axis].checked_div(steps).unwrap_or(0) * row;
            out.extend_from_slice(&part.bytes()[i * len..][..len]);
        }
    }
    packed(first.dtype(), &shape, out)
}

pub(super) static STACK: OpDef = OpDef {
    name: "stack",
    doc: "Joins tensors of one shape along a new dim `axis`.",
    versions: &[Version {
        since: Opset::Ios13,
        params: &[variadic("values", Accept::Any), constant("axis", INT32)],
        domains: &[],
    }],
    effect: Effect::Pure,
    form: Form::Move(&["values"]),
    infer: |site| {
        let types = site.tensors("values")?;
        let first = alike(&types)?;
        let mut dims = first.dims.clone();
        for t in &types[1..] {
            for (d, other) in dims.iter_mut().zip(&t.dims) {
                *d = same_dim("values", other, d)?;
            }
        }
        dims.insert(site.axis("axis", first.rank() + 1)?, types.len().into());
        Ok(one(first.dtype, dims))
    },
    eval: Some(|site| {
        let parts = site.tensors("values")?;
        let rank = parts.first().map_or(0, Tensor::rank);
        let axis = site.site.axis("axis", rank + 1)?;
        let widened = parts.iter().map(|t| {
            let mut shape = t.shape().to_vec();
            shape.insert(axis.min(shape.len()), 1);
            t.reshaped(shape).map_err(|e| Fault::new(e.to_string()))
        });
        Ok(vec![joined(&widened.collect::<Result<Vec<_>, _>>()?, axis, false)?.into()])
    }),
    work: Work::none,
};

/// A `split`, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// The tensor.
    pub x: ValueId,
    /// The dim that is split, counted from the front.
    pub axis: usize,
    /// Extents of the parts along the axis; unknown ones where the dim is, or where they are no constants.
    pub sizes: Vec<Dim>,
}

impl Split {
    /// Decodes the op's arguments.
    ///
    /// # Errors
    /// When the number of parts is unknown, or the sizes do not add up to the dim.
    pub fn of(site: &Site<'_>) -> Result<Split, Fault> {
        let ty = site.tensor("x")?;
        let axis = site.axis("axis", ty.rank())?;
        let x = site.values("x").first().copied().ok_or_else(|| Fault::new("has no `x`"))?;
        let sizes = sizes(site, &ty.dims[axis])?;
        let total = sizes.iter().try_fold(0usize, |n, d| n.checked_add(d.known()?));
        match (total, ty.dims[axis].known()) {
            (Some(total), Some(n)) if total != n => Err(Fault::arg(
                "split_sizes",
                show(&sizes),
                format!("a list of sum {n}, the extent of dim {axis}"),
            )),
            _ => Ok(Split { x, axis, sizes }),
        }
    }
}

/// Most parts of one tensor.
const MAX_PARTS: usize = 1 << 16;

fn parts(count: usize) -> Result<usize, Fault> {
    if count > MAX_PARTS {
        return Err(Fault::arg("num_splits", count, format!("at most {MAX_PARTS}")));
    }
    Ok(count)
}

fn sizes(site: &Site<'_>, dim: &Dim) -> Result<Vec<Dim>, Fault> {
    let count = match site.has("num_splits") {
        true => Some(parts(at_least("num_splits", site.int("num_splits")?, 1)?)?),
        false => None,
    };
    if !site.has("split_sizes") {
        let count =
            count.ok_or_else(|| Fault::arg("num_splits", "missing", "given where `split_sizes` is not"))?;
        if dim.known().is_some_and(|n| n % count != 0) {
            return Err(Fault::arg(
                "num_splits",
                count,
                format!("a divisor of {dim}, the extent of the dim"),
            ));
        }
        return Ok(vec![if count == 1 { dim.clone() } else { dim.map(|n| Some(n / count)) }; count]);
    }
    let given = site.entries("split_sizes").map(|e| e.iter().map(|e| e.dim()).collect::<Option<Vec<Dim>>>());
    match (given, count) {
        (Some(None), _) => Err(Fault::arg("split_sizes", "negative", "a list of extents")),
        (Some(Some(sizes)), Some(n)) if sizes.len() != n => {
            Err(Fault::arg("num_splits", n, format!("{}, the length of `split_sizes`", sizes.len())))
        }
        (Some(Some(sizes)), _) => Ok(sizes),
        (None, Some(n)) => Ok(vec![Dim::Unknown; n]),
        (None, None) => Err(Fault::arg("split_sizes", "of unknown length", "of fixed length")),
    }
}

pub(super) static SPLIT: OpDef = OpDef {
    name: "split",
    doc: "Cuts a tensor along `axis` into equal parts, or parts of the given sizes.",
    versions: &[Version {
        since: Opset::Ios13,
        params: &[
            tensor("x", T),
            constant("num_splits", INT32).optional(),
            constant("split_sizes", INT32).optional(),
            constant("axis", INT32),
        ],
        domains: &[T_BASIC],
    }],
    effect: Effect::Pure,
    form: Form::Move(&["x"]),
    infer: |site| {
        let (x, split) = (site.tensor("x")?, Split::of(site)?);
        let part = |size: &Dim| {
            let mut part = x.clone();
            part.dims[split.axis] = size.clone();
            part.into()
        };
        Ok(split.sizes.iter().map(part).collect())
    },
    eval: Some(eval_split),
    work: Work::none,
};

fn eval_split(site: &EvalSite<'_>) -> Result<Vec<Literal>, Fault> {
    let x = site.tensor("x")?;
    let Split { axis, sizes, .. } = Split::of(&site.site)?;
    let extent = x.shape().get(axis).copied().unwrap_or(0);
    let even = extent.checked_div(sizes.len()).unwrap_or(0);
    let sizes: Vec<usize> = match site.optional("split_sizes") {
        Some(t) => t.to_i64s().into_iter().map(|v| num::usize_of(v).unwrap_or(0)).collect(),
        None => vec![even; sizes.len()],
    };
    if sizes.iter().try_fold(0usize, |n, &s| n.checked_add(s)) != Some(extent) {
        return Err(Fault::arg("split_sizes", show(&sizes), format!("a list of sum {extent}")));
    }
    let steps = strides(x.shape());
    let mut base = 0;
    let mut out = Vec::with_capacity(sizes.len());
    for size in sizes {
        let mut shape = x.shape().to_vec();
        shape[axis] = size;
        out.push(pick(&x, &shape, |index| Some(base + offset(index, &steps)))?.into());
        base += size * steps[axis];
    }
    Ok(out)
}

pub(super) static TILE: OpDef = OpDef {
    name: "tile",
    doc: "Repeats a tensor `reps[i]` times along each dim.",
    versions: &[Version {
        since: Opset::Ios13,
        params: &[tensor("x", T), tensor("reps", INT32)],
        domains: &[T_BASIC],
    }],
    effect: Effect::Pure,
    form: Form::Move(&["x"]),
    infer: infer_tile,
    eval: Some(eval_tile),
    work: Work::none,
};

fn infer_tile(site: &Site<'_>) -> Result<Vec<Type>, Fault> {
    let x = site.tensor("x")?;
    of_rank("reps", site.tensor("reps")?, 1)?;
    let Some(reps) = site.entries("reps") else { return Ok(one(x.dtype, vec![Dim::Unknown; x.rank()])) };
    if reps.len() != x.rank() {
        return Err(Fault::arg("reps", format!("{} values", reps.len()), format!("{}, one a dim", x.rank())));
    }
    let tiled = x.dims.iter().zip(&reps).map(|(d, rep)| match (d, rep.int()) {
        (_, Some(r)) if r < 1 => Err(Fault::arg("reps", r, "at least 1")),
        (d, Some(1)) => Ok(d.clone()),
        (Dim::Known(1), None) => Ok(rep.dim().unwrap_or(Dim::Unknown)),
        (d, Some(r)) => Ok(d.map(|n| n.checked_mul(num::usize_of(r)?))),
        _ => Ok(Dim::Unknown),
    });
    Ok(one(x.dtype, tiled.collect::<Result<_, _>>()?))
}

fn eval_tile(site: &EvalSite<'_>) -> Result<Vec<Literal>, Fault> {
    let x = site.tensor("x")?;
    let reps = site.ints("reps")?;
    if reps.len() != x.rank() {
        return Err(Fault::arg("reps", format!("{} values", reps.len()), format!("{}, one a dim", x.rank())));
    }
    let times = |(&n, &r): (&usize, &i64)| n.checked_mul(num::usize_of(r)?);
    let shape: Option<Vec<usize>> = x.shape().iter().zip(&reps).map(times).collect();
    let shape = shape.ok_or_else(|| Fault::arg("reps", show(&reps), "positive and small enough"))?;
    let steps = strides(x.shape());
    let from = |index: &[usize]| {
        let at: Vec<usize> = index.iter().zip(x.shape()).map(|(&i, &n)| i % n.max(1)).collect();
        Some(offset(&at, &steps))
    };
    Ok(vec![pick(&x, &shape, from)?.into()])
}
