//! `gather`, `gather_along_axis`, `gather_nd`.

use super::{AXIS, Bounds, I_16, I_17, VALIDATE, batch_dims, depth};
use crate::eval::EvalSite;
use crate::ops::common::{INT32, T, T_FLOATS_INT32, offset, strides};
use crate::ops::rearrange::{T_NUMBERS, one, pick, same_dim};
use crate::ops::{Accept, Default, Effect, Fault, Form, OpDef, Param, Site, Version, Work, constant, tensor};
use crate::{Literal, Opset, Type, ValueId};
use anemone_tensor::Tensor;

const I: Accept = Accept::Domain("I");
const BATCH_DIMS: Param = constant("batch_dims", INT32).or(Default::Int(0));

/// A `gather`, decoded: `x[..axis] ++ indices[batch_dims..] ++ x[axis + 1..]` are the dims of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gather {
    /// The tensor that is gathered from.
    pub x: ValueId,
    /// Which slices; see the family about those that are negative or out of range.
    pub indices: ValueId,
    /// The dim that indices count in, from the front; never below `batch_dims`.
    pub axis: usize,
    /// Leading dims that `x` and `indices` share.
    pub batch_dims: usize,
}

impl Gather {
    /// Decodes the op's arguments.
    ///
    /// # Errors
    /// When an axis is no constant or out of range.
    pub fn of(site: &Site<'_>) -> Result<Gather, Fault> {
        let (x, indices) = (site.tensor("x")?, site.tensor("indices")?);
        let (axis, batch_dims) = (site.axis("axis", x.rank())?, batch_dims(site)?);
        let most = axis.min(indices.rank());
        if batch_dims > most {
            let allowed = format!("at most {most}, the axis and the rank of `indices`");
            return Err(Fault::arg("batch_dims", batch_dims, allowed));
        }
        let value = |param: &str| site.values(param).first().copied();
        match (value("x"), value("indices")) {
            (Some(x), Some(indices)) => Ok(Gather { x, indices, axis, batch_dims }),
            _ => Err(Fault::new("has no operands")),
        }
    }
}

pub(super) static GATHER: OpDef = OpDef {
    name: "gather",
    doc: "Takes the slices of `x` along `axis` that `indices` name.",
    versions: &[
        Version {
            since: Opset::Ios13,
            params: &[tensor("x", T), tensor("indices", INT32), AXIS],
            domains: &[T_FLOATS_INT32],
        },
        Version {
            since: Opset::Ios16,
            params: &[tensor("x", T), tensor("indices", I), AXIS, BATCH_DIMS],
            domains: &[T_FLOATS_INT32, I_16],
        },
        Version {
            since: Opset::Ios17,
            params: &[tensor("x", T), tensor("indices", I), AXIS, BATCH_DIMS, VALIDATE],
            domains: &[T_NUMBERS, I_17],
        },
    ],
    effect: Effect::Pure,
    form: Form::Move(&["x"]),
    infer: |site| {
        let (x, indices) = (site.tensor("x")?, site.tensor("indices")?);
        let Gather { axis, batch_dims, .. } = Gather::of(site)?;
        Bounds::of(site).check(site, x.dims[axis].known())?;
        let mut dims = x.dims[..axis].to_vec();
        for (d, i) in dims.iter_mut().zip(&indices.dims[..batch_dims]) {
            *d = same_dim("indices", i, d)?;
        }
        dims.extend_from_slice(&indices.dims[batch_dims..]);
        dims.extend_from_slice(&x.dims[axis + 1..]);
        Ok(one(x.dtype, dims))
    },
    eval: Some(eval_gather),
    work: Work::none,
};

fn eval_gather(site: &EvalSite<'_>) -> Result<Vec<Literal>, Fault> {
    let (x, indices) = (site.tensor("x")?, site.tensor("indices")?);
    let Gather { axis, batch_dims, .. } = Gather::of(&site.site)?;
    if x.shape().get(..batch_dims) != indices.shape().get(..batch_dims) {
        let allowed = format!("of the same {batch_dims} leading dims as `x`, which is {:?}", x.shape());
        return Err(Fault::arg("indices", format!("of shape {:?}", indices.shape()), allowed));
    }
    let inner = &indices.shape()[batch_dims..];
    let shape = [&x.shape()[..axis], inner, &x.shape()[axis + 1..]].concat();
    let (steps, index_steps) = (strides(x.shape()), strides(indices.shape()));
    let at = located(&site.site, &indices, x.shape()[axis])?;
    let from = |index: &[usize]| {
        let (before, rest) = index.split_at(axis);
        let (chosen, after) = rest.split_at(inner.len());
        let which = [&before[..batch_dims], chosen].concat();
        let middle = (*at.get(offset(&which, &index_steps))?)?;
        Some(offset(&[before, &[middle], after].concat(), &steps))
    };
    Ok(vec![pick(&x, &shape, from)?.into()])
}

/// All indices into a dim of extent `n`, counted from the front.
fn located(site: &Site<'_>, indices: &Tensor, n: usize) -> Result<Vec<Option<usize>>, Fault> {
    let bounds = Bounds::of(site);
    indices.to_i64s().into_iter().map(|i| bounds.nearest(i, n)).collect()
}

pub(super) static GATHER_ALONG_AXIS: OpDef = OpDef {
    name: "gather_along_axis",
    doc: "Takes the element along `axis` that `indices` names, at every place of `indices`.",
    versions: &[
        Version {
            since: Opset::Ios13,
            params: &[tensor("x", T), tensor("indices", INT32), AXIS],
            domains: &[T_FLOATS_INT32],
        },
        Version {
            since: Opset::Ios16,
            params: &[tensor("x", T), tensor("indices", I), AXIS],
            domains: &[T_FLOATS_INT32, I_16],
        },
        Version {
            since: Opset::Ios17,
            params: &[tensor("x", T), tensor("indices", I), AXIS, VALIDATE],
            domains: &[T_NUMBERS, I_17],
        },
    ],
    effect: Effect::Pure,
    form: Form::Move(&["x"]),
    infer: |site| {
        let (x, indices) = (site.tensor("x")?, site.tensor("indices")?);
        let axis = site.axis("axis", x.rank())?;
        if x.rank() != indices.rank() {
            let allowed = format!("of rank {}, as `x`", x.rank());
            return Err(Fault::arg("indices", format!("of rank {}", indices.rank()), allowed));
        }
        Bounds::of(site).check(site, x.dims[axis].known())?;
        let mut dims = indices.dims.clone();
        for (i, (d, of)) in dims.iter_mut().zip(&x.dims).enumerate() {
            if i != axis {
                *d = same_dim("indices", d, of)?;
            }
        }
        Ok(one(x.dtype, dims))
    },
    eval: Some(|site| {
        let (x, indices) = (site.tensor("x")?, site.tensor("indices")?);
        let axis = site.site.axis("axis", x.rank())?;
        let dims = x.shape().iter().zip(indices.shape()).enumerate();
        if x.rank() != indices.rank() || dims.into_iter().any(|(i, (a, b))| i != axis && a != b) {
            let allowed = format!("as `x`, which is {:?}, in all dims but {axis}", x.shape());
            return Err(Fault::arg("indices", format!("of shape {:?}", indices.shape()), allowed));
        }
        let steps = strides(x.shape());
        let mut at = located(&site.site, &indices, x.shape()[axis])?.into_iter();
        let from = |index: &[usize]| {
            let mut index = index.to_vec();
            *index.get_mut(axis)? = at.next()??;
            Some(offset(&index, &steps))
        };
        Ok(vec![pick(&x, indices.shape(), from)?.into()])
    }),
    work: Work::none,
};

pub(super) static GATHER_ND: OpDef = OpDef {
    name: "gather_nd",
    doc: "Takes the slices of `x` at the multi-dimensional indices in the innermost dim of `indices`.",
    versions: &[
        Version {
            since: Opset::Ios13,
            params: &[tensor("x", T), tensor("indices", INT32)],
            domains: &[T_FLOATS_INT32],
        },
        Version {
            since: Opset::Ios16,
            params: &[tensor("x", T), tensor("indices", I), BATCH_DIMS],
            domains: &[T_FLOATS_INT32, I_16],
        },
        Version {
            since: Opset::Ios17,
            params: &[tensor("x", T), tensor("indices", I), BATCH_DIMS, VALIDATE],
            domains: &[T_NUMBERS, I_17],
        },
    ],
    effect: Effect::Pure,
    form: Form::Move(&["x"]),
    infer: infer_gather_nd,
    eval: Some(eval_gather_nd),
    work: Work::none,
};

fn infer_gather_nd(site: &Site<'_>) -> Result<Vec<Type>, Fault> {
    let (x, indices) = (site.tensor("x")?, site.tensor("indices")?);
    let batch = batch_dims(site)?;
    if batch >= indices.rank().max(1) || batch > x.rank() {
        return Err(Fault::arg("batch_dims", batch, "smaller than the ranks of `x` and `indices`"));
    }
    let first = batch + depth(indices, x.rank() - batch)?;
    let mut dims = indices.dims[..indices.rank() - 1].to_vec();
    for (d, of) in dims.iter_mut().zip(&x.dims[..batch]) {
        *d = same_dim("indices", d, of)?;
    }
    dims.extend_from_slice(&x.dims[first..]);
    Ok(one(x.dtype, dims))
}

fn eval_gather_nd(site: &EvalSite<'_>) -> Result<Vec<Literal>, Fault> {
    let (x, indices) = (site.tensor("x")?, site.tensor("indices")?);
    let (batch, bounds) = (batch_dims(&site.site)?, Bounds::of(&site.site));
    let Some((&depth, outer)) = indices.shape().split_last() else {
        return Err(Fault::arg("indices", "a scalar", "at least of rank 1"));
    };
    let first = batch.saturating_add(depth);
    let (Some(rest), Some(addressed)) = (x.shape().get(first..), x.shape().get(batch..first)) else {
        return Err(Fault::arg(
            "indices",
            format!("of innermost extent {depth}"),
            format!("at most {}", x.rank()),
        ));
    };
    if outer.get(..batch) != x.shape().get(..batch) {
        return Err(Fault::arg(
            "indices",
            format!("{outer:?}"),
            format!("of the same {batch} leading dims as `x`"),
        ));
    }
    let steps = strides(x.shape());
    let values = indices.to_i64s();
    let mut starts = Vec::with_capacity(values.len());
    for row in values.chunks(depth.max(1)) {
        let at = row.iter().zip(addressed).map(|(&i, &n)| bounds.nearest(i, n));
        let at: Option<Vec<usize>> = at.collect::<Result<_, _>>()?;
        starts.push(at.map(|at| offset(&at, &steps[batch..first])));
    }
    let row_steps = strides(outer);
    let from = |index: &[usize]| {
        let (row, inner) = index.split_at(outer.len());
        let start = if depth == 0 { 0 } else { (*starts.get(offset(row, &row_steps))?)? };
        let base = offset(&row[..batch], &steps[..batch]);
        Some(base + start + offset(inner, &steps[first..]))
    };
    Ok(vec![pick(&x, &[outer, rest].concat(), from)?.into()])
}
