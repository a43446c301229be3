//! Ops that reorder or repeat elements: `reverse`, `reverse_sequence`, `sliding_windows`.

use crate::eval::EvalSite;
use crate::ops::common::{INT32, T, U, like_x, offset, strides};
use crate::ops::rearrange::{T_BASIC, T_WIDE, U_INTS, at_least, of_rank, one, pick, same_dim};
use crate::ops::{Default, Domain, Effect, Fault, Form, OpDef, Param, Site, Version, Work, constant, tensor};
use crate::{Dim, Literal, Opset, Type};
use anemone_tensor::{DType, num};

const REVERSE_PARAMS: &[Param] = &[tensor("x", T), constant("axes", INT32).optional()];

pub(super) static REVERSE: OpDef = OpDef {
    name: "reverse",
    doc: "The elements in reverse order along `axes`, or along all dims.",
    versions: &[
        Version { since: Opset::Ios13, params: REVERSE_PARAMS, domains: &[T_BASIC] },
        Version { since: Opset::Ios17, params: REVERSE_PARAMS, domains: &[T_WIDE] },
    ],
    effect: Effect::Pure,
    form: Form::Move(&["x"]),
    infer: |site| reversed(site).and_then(|_| like_x(site)),
    eval: Some(eval_reverse),
    work: Work::none,
};

/// Which dims are reversed.
fn reversed(site: &Site<'_>) -> Result<Vec<bool>, Fault> {
    let rank = site.tensor("x")?.rank();
    if !site.has("axes") {
        return Ok(vec![true; rank]);
    }
    let axes = site.axes("axes", rank)?;
    Ok((0..rank).map(|i| axes.contains(&i)).collect())
}

fn eval_reverse(site: &EvalSite<'_>) -> Result<Vec<Literal>, Fault> {
    let x = site.tensor("x")?;
    let flipped = reversed(&site.site)?;
    let steps = strides(x.shape());
    let from = |index: &[usize]| {
        let dims = index.iter().zip(x.shape()).zip(&flipped);
        let at: Vec<usize> = dims.map(|((&i, &n), &flip)| if flip { n - 1 - i } else { i }).collect();
        Some(offset(&at, &steps))
    };
    Ok(vec![pick(&x, x.shape(), from)?.into()])
}

const SEQ_AXIS: Param = constant("seq_axis", INT32).or(Default::Int(0));
const BATCH_AXIS: Param = constant("batch_axis", INT32).or(Default::Int(0));

pub(super) static REVERSE_SEQUENCE: OpDef = OpDef {
    name: "reverse_sequence",
    doc: "The first `lengths[i]` elements along `seq_axis` in reverse order, for each `i` of `batch_axis`.",
    versions: &[
        Version {
            since: Opset::Ios13,
            params: &[tensor("x", T), tensor("lengths", INT32), SEQ_AXIS, BATCH_AXIS],
            domains: &[T_BASIC],
        },
        Version {
            since: Opset::Ios17,
            params: &[tensor("x", T), tensor("lengths", U), SEQ_AXIS, BATCH_AXIS],
            domains: &[T_WIDE, U_INTS],
        },
    ],
    effect: Effect::Pure,
    form: Form::Move(&["x"]),
    infer: |site| {
        let (x, lengths) = (site.tensor("x")?, site.tensor("lengths")?);
        site.axis("seq_axis", x.rank())?;
        of_rank("lengths", lengths, 1)?;
        same_dim("lengths", &lengths.dims[0], &x.dims[site.axis("batch_axis", x.rank())?])?;
        like_x(site)
    },
    eval: Some(eval_reverse_sequence),
    work: Work::none,
};

fn eval_reverse_sequence(site: &EvalSite<'_>) -> Result<Vec<Literal>, Fault> {
    let x = site.tensor("x")?;
    let lengths = site.ints("lengths")?;
    let (seq, batch) = (site.site.axis("seq_axis", x.rank())?, site.site.axis("batch_axis", x.rank())?);
    let extent = num::i64_of(x.shape().get(seq).copied().unwrap_or(0));
    if let Some(bad) = lengths.iter().find(|&&l| l < 0 || l > extent) {
        return Err(Fault::arg("lengths", bad, format!("between 0 and {extent}")));
    }
    let steps = strides(x.shape());
    let from = |index: &[usize]| {
        let mut at = index.to_vec();
        let len = lengths.get(*index.get(batch)?).and_then(|&l| num::usize_of(l)).unwrap_or(0);
        let s = at.get_mut(seq)?;
        if *s < len {
            *s = len - 1 - *s;
        }
        Some(offset(&at, &steps))
    };
    Ok(vec![pick(&x, x.shape(), from)?.into()])
}

const WINDOWS: &[Param] = &[
    tensor("x", T),
    constant("axis", INT32),
    constant("size", INT32),
    constant("stride", INT32).or(Default::Int(1)),
];

pub(super) static SLIDING_WINDOWS: OpDef = OpDef {
    name: "sliding_windows",
    doc: "All windows of `size` elements along `axis`, `stride` apart: one more dim, after `axis`.",
    versions: &[
        Version {
            since: Opset::Ios13,
            params: WINDOWS,
            domains: &[Domain { name: "T", types: &[DType::F16, DType::F32, DType::I32] }],
        },
        Version { since: Opset::Ios17, params: WINDOWS, domains: &[T_WIDE] },
    ],
    effect: Effect::Pure,
    form: Form::Move(&["x"]),
    infer: infer_sliding_windows,
    eval: Some(eval_sliding_windows),
    work: Work::none,
};

/// Axis, window size and stride.
fn windows(site: &Site<'_>) -> Result<(usize, usize, usize), Fault> {
    let axis = site.axis("axis", site.tensor("x")?.rank())?;
    Ok((axis, at_least("size", site.int("size")?, 1)?, at_least("stride", site.int("stride")?, 1)?))
}

/// Number of windows along a dim of `n` elements.
fn window_count(n: usize, size: usize, stride: usize) -> Option<usize> {
    n.checked_sub(size).map(|rest| rest / stride + 1)
}

fn infer_sliding_windows(site: &Site<'_>) -> Result<Vec<Type>, Fault> {
    let x = site.tensor("x")?;
    let (axis, size, stride) = windows(site)?;
    let mut dims = x.dims.clone();
    if let Some(n) = dims[axis].known().filter(|&n| n < size) {
        return Err(Fault::arg("size", size, format!("at most {n}, the extent of dim {axis}")));
    }
    dims[axis] = dims[axis].map(|n| window_count(n, size, stride));
    dims.insert(axis + 1, Dim::Known(size));
    Ok(one(x.dtype, dims))
}

fn eval_sliding_windows(site: &EvalSite<'_>) -> Result<Vec<Literal>, Fault> {
    let x = site.tensor("x")?;
    let (axis, size, stride) = windows(&site.site)?;
    let mut shape = x.shape().to_vec();
    let count = shape.get(axis).and_then(|&n| window_count(n, size, stride));
    shape[axis] =
        count.ok_or_else(|| Fault::arg("size", size, format!("at most the extent of dim {axis}")))?;
    shape.insert(axis + 1, size);
    let mut steps = strides(x.shape());
    let step = steps[axis];
    steps[axis] = step.saturating_mul(stride);
    steps.insert(axis + 1, step);
    Ok(vec![pick(&x, &shape, |index| Some(offset(index, &steps)))?.into()])
}
