//! `scatter`, `scatter_along_axis`, `scatter_nd`.

use super::{AXIS, Bounds, VALIDATE, depth};
use crate::eval::EvalSite;
use crate::ops::common::{INT32, STRING, T, T_FLOATS_INT32, for_each_index, integers, offset, strides};
use crate::ops::rearrange::same_shape;
use crate::ops::{Default, Effect, Fault, Form, OpDef, Param, Site, Version, Work, constant, tensor};
use crate::{Dim, Literal, Opset, Type, ValueId};
use anemone_tensor::{Tensor, num};

/// What an update does with the element that it meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each variant is the mode of the same name")]
pub enum ScatterMode {
    Add,
    Div,
    Max,
    Min,
    Mul,
    Sub,
    Update,
}

/// A `scatter`, `scatter_along_axis` or `scatter_nd`, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scatter {
    /// The tensor that updates go into.
    pub data: ValueId,
    /// Where they go; see the family about indices that are negative or out of range.
    pub indices: ValueId,
    /// The updates.
    pub updates: ValueId,
    /// The dim that indices count in, from the front; 0 for `scatter_nd`, which has none.
    pub axis: usize,
    /// What an update does.
    pub mode: ScatterMode,
}

impl Scatter {
    /// Decodes the op's arguments.
    ///
    /// # Errors
    /// When the axis is no constant in range, or the mode is unknown.
    pub fn of(site: &Site<'_>) -> Result<Scatter, Fault> {
        let rank = site.tensor("data")?.rank();
        let axis = if site.version.param("axis").is_some() { site.axis("axis", rank)? } else { 0 };
        let mode = match site.str("mode")?.as_str() {
            "add" => ScatterMode::Add,
            "div" => ScatterMode::Div,
            "max" => ScatterMode::Max,
            "min" => ScatterMode::Min,
            "mul" => ScatterMode::Mul,
            "sub" => ScatterMode::Sub,
            "update" => ScatterMode::Update,
            other => return Err(Fault::arg("mode", other, "add, div, max, min, mul, sub or update")),
        };
        let value = |param: &str| site.values(param).first().copied();
        match (value("data"), value("indices"), value("updates")) {
            (Some(data), Some(indices), Some(updates)) => Ok(Scatter { data, indices, updates, axis, mode }),
            _ => Err(Fault::new("has no `indices` or `updates`")),
        }
    }
}

impl ScatterMode {
    fn floats(self, old: f64, new: f64) -> f64 {
        match self {
            ScatterMode::Add => old + new,
            ScatterMode::Div => old / new,
            ScatterMode::Max => old.max(new),
            ScatterMode::Min => old.min(new),
            ScatterMode::Mul => old * new,
            ScatterMode::Sub => old - new,
            ScatterMode::Update => new,
        }
    }

    /// Wraps around; a division by 0 gives 0.
    fn ints(self, old: i64, new: i64) -> i64 {
        match self {
            ScatterMode::Add => old.wrapping_add(new),
            ScatterMode::Div => old.checked_div(new).unwrap_or(0),
            ScatterMode::Max => old.max(new),
            ScatterMode::Min => old.min(new),
            ScatterMode::Mul => old.wrapping_mul(new),
            ScatterMode::Sub => old.wrapping_sub(new),
            ScatterMode::Update => new,
        }
    }
}

const DATA: Param = tensor("data", T);
const INDICES: Param = tensor("indices", INT32);
const UPDATES: Param = tensor("updates", T);
/// coremltools fills in `add`, whatever the text of its reference says.
const MODE: Param = constant("mode", STRING).or(Default::Str("add"));
const ALONG: &[Version] = &[
    Version {
        since: Opset::Ios13,
        params: &[DATA, INDICES, UPDATES, AXIS, MODE],
        domains: &[T_FLOATS_INT32],
    },
    Version {
        since: Opset::Ios17,
        params: &[DATA, INDICES, UPDATES, AXIS, MODE, VALIDATE],
        domains: &[T_FLOATS_INT32],
    },
];

/// One operation per update, unless updates only replace.
fn work(site: &Site<'_>) -> Option<Work> {
    let updates = site.tensor("updates").ok()?.element_count()?;
    let replaced = Scatter::of(site).ok()?.mode == ScatterMode::Update;
    Some(Work { flops: if replaced { 0 } else { u64::try_from(updates).ok()? }, transcendental: 0 })
}

/// `data` with the updates that `to` places: position in `data` of each update, where it has one.
fn applied(
    data: &Tensor,
    updates: &Tensor,
    mode: ScatterMode,
    to: &[Option<usize>],
) -> Result<Vec<Literal>, Fault> {
    let placed = to.iter().enumerate().filter_map(|(from, to)| Some((from, (*to)?)));
    let placed = placed.filter(|&(from, to)| from < updates.len() && to < data.len());
    if data.dtype().is_float() {
        let mut out = data.to_f64s();
        placed.for_each(|(from, to)| out[to] = mode.floats(out[to], updates.f64_at(from)));
        return EvalSite::floats(data.dtype(), data.shape(), &out);
    }
    let mut out = data.to_i64s();
    placed.for_each(|(from, to)| out[to] = mode.ints(out[to], updates.i64_at(from)));
    integers(data.dtype(), data.shape(), &out)
}

fn expect_shape(param: &str, t: &Tensor, expected: &[usize]) -> Result<(), Fault> {
    if t.shape() == expected {
        return Ok(());
    }
    Err(Fault::arg(param, format!("of shape {:?}", t.shape()), format!("of shape {expected:?}")))
}

fn like_data(site: &Site<'_>) -> Result<Vec<Type>, Fault> {
    Ok(vec![site.tensor("data")?.clone().into()])
}

pub(super) static SCATTER: OpDef = OpDef {
    name: "scatter",
    doc: "Puts slices of `updates` into `data` along `axis` where `indices` says.",
    versions: ALONG,
    effect: Effect::Pure,
    form: Form::Other,
    infer: |site| {
        let (data, indices) = (site.tensor("data")?, site.tensor("indices")?);
        let axis = Scatter::of(site)?.axis;
        Bounds::of(site).check(site, data.dims[axis].known())?;
        let expected = [&data.dims[..axis], &indices.dims, &data.dims[axis + 1..]].concat();
        same_shape("updates", &site.tensor("updates")?.dims, &expected)?;
        like_data(site)
    },
    eval: Some(|site| {
        let (data, indices, updates) =
            (site.tensor("data")?, site.tensor("indices")?, site.tensor("updates")?);
        let Scatter { axis, mode, .. } = Scatter::of(&site.site)?;
        let bounds = Bounds::of(&site.site);
        let n = data.shape().get(axis).copied().unwrap_or(0);
        let at =
            indices.to_i64s().into_iter().map(|i| bounds.resolve(i, n)).collect::<Result<Vec<_>, _>>()?;
        expect_shape(
            "updates",
            &updates,
            &[&data.shape()[..axis], indices.shape(), &data.shape()[axis + 1..]].concat(),
        )?;
        let (steps, index_steps) = (strides(data.shape()), strides(indices.shape()));
        let mut to = Vec::with_capacity(updates.len());
        for_each_index(updates.shape(), |index| {
            let (before, rest) = index.split_at(axis);
            let (which, after) = rest.split_at(indices.rank());
            let middle = at.get(offset(which, &index_steps)).copied().flatten();
            to.push(middle.map(|m| offset(&[before, &[m], after].concat(), &steps)));
        });
        applied(&data, &updates, mode, &to)
    }),
    work,
};

pub(super) static SCATTER_ALONG_AXIS: OpDef = OpDef {
    name: "scatter_along_axis",
    doc: "Puts each element of `updates` into `data`, at the place along `axis` that `indices` names there.",
    versions: ALONG,
    effect: Effect::Pure,
    form: Form::Other,
    infer: |site| {
        let (data, indices) = (site.tensor("data")?, site.tensor("indices")?);
        let axis = Scatter::of(site)?.axis;
        Bounds::of(site).check(site, data.dims[axis].known())?;
        same_shape("updates", &site.tensor("updates")?.dims, &indices.dims)?;
        let mut expected = data.dims.clone();
        expected[axis] = Dim::Unknown;
        same_shape("indices", &indices.dims, &expected)?;
        like_data(site)
    },
    eval: Some(|site| {
        let (data, indices, updates) =
            (site.tensor("data")?, site.tensor("indices")?, site.tensor("updates")?);
        let Scatter { axis, mode, .. } = Scatter::of(&site.site)?;
        let bounds = Bounds::of(&site.site);
        let n = data.shape().get(axis).copied().unwrap_or(0);
        let at =
            indices.to_i64s().into_iter().map(|i| bounds.resolve(i, n)).collect::<Result<Vec<_>, _>>()?;
        let mut expected = data.shape().to_vec();
        expected[axis] = indices.shape().get(axis).copied().unwrap_or(0);
        expect_shape("indices", &indices, &expected)?;
        expect_shape("updates", &updates, &expected)?;
        let steps = strides(data.shape());
        let mut to = Vec::with_capacity(at.len());
        for_each_index(&expected, |index| {
            let mut index = index.to_vec();
            let middle = at.get(to.len()).copied().flatten();
            to.push(middle.map(|m| {
                index[axis] = m;
                offset(&index, &steps)
            }));
        });
        applied(&data, &updates, mode, &to)
    }),
    work,
};

pub(super) static SCATTER_ND: OpDef = OpDef {
    name: "scatter_nd",
    doc: "Puts slices of `updates` into `data` at the multi-dimensional indices in the innermost dim of `indices`.",
    versions: &[
        Version { since: Opset::Ios13, params: &[DATA, INDICES, UPDATES, MODE], domains: &[T_FLOATS_INT32] },
        Version {
            since: Opset::Ios17,
            params: &[DATA, INDICES, UPDATES, MODE, VALIDATE],
            domains: &[T_FLOATS_INT32],
        },
    ],
    effect: Effect::Pure,
    form: Form::Other,
    infer: |site| {
        let (data, indices) = (site.tensor("data")?, site.tensor("indices")?);
        Scatter::of(site)?;
        let depth = depth(indices, data.rank())?;
        let expected = [&indices.dims[..indices.rank() - 1], &data.dims[depth..]].concat();
        same_shape("updates", &site.tensor("updates")?.dims, &expected)?;
        like_data(site)
    },
    eval: Some(eval_scatter_nd),
    work,
};

fn eval_scatter_nd(site: &EvalSite<'_>) -> Result<Vec<Literal>, Fault> {
    let (data, indices, updates) = (site.tensor("data")?, site.tensor("indices")?, site.tensor("updates")?);
    let mode = Scatter::of(&site.site)?.mode;
    let bounds = Bounds::of(&site.site);
    let Some((&depth, outer)) = indices.shape().split_last().filter(|(d, _)| **d <= data.rank()) else {
        let allowed = format!("of innermost extent {} at most", data.rank());
        return Err(Fault::arg("indices", format!("of shape {:?}", indices.shape()), allowed));
    };
    let inner = &data.shape()[depth..];
    expect_shape("updates", &updates, &[outer, inner].concat())?;
    let steps = strides(data.shape());
    let len = num::element_count(inner).unwrap_or(0);
    let values = indices.to_i64s();
    let mut to = Vec::with_capacity(updates.len());
    if updates.is_empty() {
        return Ok(vec![data.into()]);
    }
    for row in 0..num::element_count(outer).unwrap_or(0) {
        let at = values.iter().skip(row * depth).take(depth).zip(data.shape());
        let at: Option<Vec<usize>> = at.map(|(&i, &n)| bounds.resolve(i, n)).collect::<Result<_, _>>()?;
        let start = at.map(|at| offset(&at, &steps));
        to.extend((0..len).map(|i| start.map(|s| s + i)));
    }
    applied(&data, &updates, mode, &to)
}
