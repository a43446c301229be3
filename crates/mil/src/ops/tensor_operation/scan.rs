//! `band_part`, `cumsum`, `flatten2d`, `identity`, `non_zero`, `shape`.

use crate::eval::EvalSite;
use crate::ops::common::{BOOL, INT32, T, T_FLOATS_INT32, for_each_index, integers, like_x, offset, strides};
use crate::ops::rearrange::{T_BASIC, int_tensor, one, pick, product, reshaped};
use crate::ops::{Default, Effect, Fault, Form, OpDef, Site, Version, Work, any, constant, tensor};
use crate::{Dim, Literal, Opset};
use anemone_tensor::{DType, num};

pub(super) static BAND_PART: OpDef = OpDef {
    name: "band_part",
    doc: "Zeros in the inner matrices, but for the diagonal and so many diagonals below and above it.",
    versions: &[Version {
        since: Opset::Ios13,
        params: &[
            tensor("x", T),
            constant("lower", INT32).or(Default::Int(-1)),
            constant("upper", INT32).or(Default::Int(-1)),
        ],
        domains: &[T_BASIC],
    }],
    effect: Effect::Pure,
    form: Form::Fill(&["x"]),
    infer: |site| {
        let x = site.tensor("x")?;
        if x.rank() < 2 {
            return Err(Fault::arg("x", format!("of rank {}", x.rank()), "at least of rank 2"));
        }
        like_x(site)
    },
    eval: Some(|site| {
        let x = site.tensor("x")?;
        let (lower, upper) = (site.int("lower")?, site.int("upper")?);
        let steps = strides(x.shape());
        let kept = |index: &[usize]| {
            let &[.., row, column] = index else { return None };
            let below = num::i64_of(row) - num::i64_of(column);
            let inside = (lower < 0 || below <= lower) && (upper < 0 || -below <= upper);
            inside.then(|| offset(index, &steps))
        };
        Ok(vec![pick(&x, x.shape(), kept)?.into()])
    }),
    work: Work::none,
};

pub(super) static CUMSUM: OpDef = OpDef {
    name: "cumsum",
    doc: "Running sums along `axis`, with or without the element itself, from the front or the back.",
    versions: &[Version {
        since: Opset::Ios13,
        params: &[
            tensor("x", T),
            constant("axis", INT32).or(Default::Int(0)),
            constant("exclusive", BOOL).or(Default::Bool(false)),
            constant("reverse", BOOL).or(Default::Bool(false)),
        ],
        domains: &[T_FLOATS_INT32],
    }],
    effect: Effect::Pure,
    form: Form::Other,
    infer: |site| {
        site.axis("axis", site.tensor("x")?.rank())?;
        like_x(site)
    },
    eval: Some(eval_cumsum),
    work: Work::per_output,
};

fn eval_cumsum(site: &EvalSite<'_>) -> Result<Vec<Literal>, Fault> {
    let x = site.tensor("x")?;
    let axis = site.site.axis("axis", x.rank())?;
    let (exclusive, reverse) = (site.bool("exclusive")?, site.bool("reverse")?);
    let order = lines(x.shape(), axis);
    if x.dtype().is_float() {
        let mut out = vec![0.0; x.len()];
        for line in order {
            running(line, exclusive, reverse, 0.0, |sum, at| sum + x.f64_at(at), |at, v| out[at] = v);
        }
        return EvalSite::floats(x.dtype(), x.shape(), &out);
    }
    let mut out = vec![0i64; x.len()];
    for line in order {
        running(
            line,
            exclusive,
            reverse,
            0,
            |sum: i64, at| sum.wrapping_add(x.i64_at(at)),
            |at, v| out[at] = v,
        );
    }
    integers(x.dtype(), x.shape(), &out)
}

/// Positions of the elements of every line along `axis`, lines in row-major order.
pub(super) fn lines(shape: &[usize], axis: usize) -> Vec<Vec<usize>> {
    let steps = strides(shape);
    let (n, step) = (shape.get(axis).copied().unwrap_or(0), steps.get(axis).copied().unwrap_or(0));
    if shape.contains(&0) {
        return Vec::new();
    }
    let starts: Vec<usize> = shape.iter().enumerate().map(|(i, &n)| if i == axis { 1 } else { n }).collect();
    let mut out = Vec::new();
    for_each_index(&starts, |index| {
        let start = offset(index, &steps);
        out.push((0..n).map(|i| start + i * step).collect());
    });
    out
}

fn running<N: Copy>(
    mut line: Vec<usize>,
    exclusive: bool,
    reverse: bool,
    mut sum: N,
    add: impl Fn(N, usize) -> N,
    mut put: impl FnMut(usize, N),
) {
    if reverse {
        line.reverse();
    }
    for at in line {
        let next = add(sum, at);
        put(at, if exclusive { sum } else { next });
        sum = next;
    }
}

pub(super) static FLATTEN2D: OpDef = OpDef {
    name: "flatten2d",
    doc: "A matrix: the dims before `axis` become rows, the others columns.",
    versions: &[Version {
        since: Opset::Ios13,
        params: &[tensor("x", T), constant("axis", INT32).or(Default::Int(1))],
        domains: &[T_BASIC],
    }],
    effect: Effect::Pure,
    form: Form::Reshape,
    infer: |site| {
        let x = site.tensor("x")?;
        let (rows, columns) = x.dims.split_at(cut(site, x.rank())?);
        Ok(one(x.dtype, vec![product(rows), product(columns)]))
    },
    eval: Some(|site| {
        let x = site.tensor("x")?;
        let (rows, columns) = x.shape().split_at(cut(&site.site, x.rank())?);
        let count = |dims: &[usize]| num::element_count(dims).unwrap_or(0);
        reshaped(&x, &[count(rows), count(columns)])
    }),
    work: Work::none,
};

/// Number of dims that become rows.
fn cut(site: &Site<'_>, rank: usize) -> Result<usize, Fault> {
    let (axis, wide) = (site.int("axis")?, num::i64_of(rank));
    let front = if axis < 0 { axis.saturating_add(wide) } else { axis };
    let at = num::usize_of(front).filter(|&a| a <= rank);
    at.ok_or_else(|| Fault::arg("axis", axis, format!("between -{rank} and {rank}")))
}

pub(super) static IDENTITY: OpDef = OpDef {
    name: "identity",
    doc: "The operand itself, under another name.",
    versions: &[Version { since: Opset::Ios13, params: &[any("x")], domains: &[] }],
    effect: Effect::Pure,
    form: Form::Identity,
    infer: |site| Ok(vec![site.ty("x")?.clone()]),
    eval: Some(|site| {
        let x = site.literal("x").ok_or_else(|| Fault::arg("x", "absent", "a value"))?;
        Ok(vec![x])
    }),
    work: Work::none,
};

pub(super) static NON_ZERO: OpDef = OpDef {
    name: "non_zero",
    doc: "Indices of the elements other than 0, one row each, in row-major order.",
    versions: &[Version { since: Opset::Ios13, params: &[tensor("x", T)], domains: &[T_BASIC] }],
    effect: Effect::Pure,
    form: Form::Other,
    infer: |site| {
        let x = site.tensor("x")?;
        let count = site.numbers("x").map(|t| t.to_bools().into_iter().filter(|&b| b).count());
        Ok(one(DType::I32, vec![count.map_or(Dim::Unknown, Dim::Known), x.rank().into()]))
    },
    eval: Some(|site| {
        let x = site.tensor("x")?;
        let set = x.to_bools();
        let mut rows = Vec::new();
        let mut at = 0;
        for_each_index(x.shape(), |index| {
            if set.get(at) == Some(&true) {
                rows.extend(index.iter().map(|&i| num::i64_of(i)));
            }
            at += 1;
        });
        let count = set.into_iter().filter(|&b| b).count();
        Ok(vec![int_tensor(DType::I32, &[count, x.rank()], &rows)?.into()])
    }),
    work: Work::per_input,
};

pub(super) static SHAPE: OpDef = OpDef {
    name: "shape",
    doc: "The shape of a tensor, as a vector.",
    versions: &[Version { since: Opset::Ios13, params: &[tensor("x", T)], domains: &[T_BASIC] }],
    effect: Effect::Pure,
    form: Form::Other,
    infer: |site| Ok(one(shape_dtype(site)?, vec![site.tensor("x")?.rank().into()])),
    eval: Some(|site| {
        let x = site.tensor("x")?;
        let dims: Vec<i64> = x.shape().iter().map(|&n| num::i64_of(n)).collect();
        Ok(vec![int_tensor(shape_dtype(&site.site)?, &[dims.len()], &dims)?.into()])
    }),
    work: Work::none,
};

/// `int32`, unless the op says otherwise; compiled models may have an `output_dtype` that the registry does not.
fn shape_dtype(site: &Site<'_>) -> Result<DType, Fault> {
    if !site.has("output_dtype") {
        return Ok(DType::I32);
    }
    let name = site.str("output_dtype")?;
    let dtype = DType::from_name(&name).filter(|d| matches!(d, DType::I32 | DType::U16));
    dtype.ok_or_else(|| Fault::arg("output_dtype", name, "int32 or uint16"))
}
