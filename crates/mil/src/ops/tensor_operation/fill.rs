//! Ops that make tensors from little: `fill`, `fill_like`, `one_hot`, `range_1d`.

use crate::eval::EvalSite;
use crate::ops::common::{INT32, T, T_FLOATS_INT32, U, offset, strides};
use crate::ops::rearrange::{
    BASIC, T_BASIC, front, int_tensor, made, of_declared_rank, of_rank, one, pick_or, show,
};
use crate::ops::{Default, Domain, Effect, Entry, Fault, Form, OpDef, Site, Version, Work, constant, tensor};
use crate::{Dim, Literal, Opset, Type};
use anemone_tensor::{DType, Tensor, num};

/// A zero of `fp32`, whatever the other operands are.
fn zero(_: &Site<'_>) -> Option<Literal> {
    Some(Tensor::scalar_f64(DType::F32, 0.0).into())
}

/// Element type of a constant parameter with a default.
fn dtype_of(site: &Site<'_>, param: &str) -> Result<DType, Fault> {
    if site.has(param) {
        return site.tensor(param).map(|t| t.dtype);
    }
    let default = site.numbers(param);
    default.map(|t| t.dtype()).ok_or_else(|| Fault::arg(param, "missing", "a constant"))
}

/// A tensor of that shape with the one element of `value`.
fn filled(value: &Tensor, shape: &[usize]) -> Result<Tensor, Fault> {
    if value.is_empty() {
        return Err(Fault::arg("value", "empty", "one number"));
    }
    pick_or(value, None, shape, |_| Some(0))
}

pub(super) static FILL: OpDef = OpDef {
    name: "fill",
    doc: "A tensor of the given shape, all elements `value`.",
    versions: &[Version {
        since: Opset::Ios13,
        params: &[tensor("shape", INT32), constant("value", T).or(Default::Derived(zero))],
        domains: &[T_BASIC],
    }],
    effect: Effect::Pure,
    form: Form::Other,
    infer: |site| {
        let dtype = dtype_of(site, "value")?;
        of_rank("shape", site.tensor("shape")?, 1)?;
        let Some(entries) = site.entries("shape") else { return of_declared_rank(site, dtype, "shape") };
        let dims = entries.iter().map(|e| e.dim().ok_or_else(|| negative(e)));
        Ok(one(dtype, dims.collect::<Result<_, _>>()?))
    },
    eval: Some(|site| {
        let shape: Option<Vec<usize>> = site.ints("shape")?.into_iter().map(num::usize_of).collect();
        let shape = shape.ok_or_else(|| Fault::arg("shape", "negative", "a list of extents"))?;
        Ok(vec![filled(&site.tensor("value")?, &shape)?.into()])
    }),
    work: Work::none,
};

fn negative(entry: &Entry) -> Fault {
    Fault::arg("shape", entry.int().unwrap_or(0), "a list of extents, none negative")
}

pub(super) static FILL_LIKE: OpDef = OpDef {
    name: "fill_like",
    doc: "A tensor of the shape of `ref_tensor`, all elements `value`.",
    versions: &[Version {
        since: Opset::Ios16,
        params: &[tensor("ref_tensor", T), constant("value", U).or(Default::Derived(zero))],
        domains: &[T_BASIC, Domain { name: "U", types: BASIC }],
    }],
    effect: Effect::Pure,
    form: Form::Other,
    infer: |site| Ok(vec![site.tensor("ref_tensor")?.with_dtype(dtype_of(site, "value")?).into()]),
    eval: Some(|site| {
        let like = site.tensor("ref_tensor")?;
        Ok(vec![filled(&site.tensor("value")?, like.shape())?.into()])
    }),
    work: Work::none,
};

pub(super) static ONE_HOT: OpDef = OpDef {
    name: "one_hot",
    doc: "A new dim `axis` with `on_value` at the index and `off_value` elsewhere.",
    versions: &[Version {
        since: Opset::Ios13,
        params: &[
            tensor("indices", INT32),
            tensor("one_hot_vector_size", INT32),
            constant("axis", INT32).or(Default::Int(-1)),
            constant("on_value", T).or(Default::Int(1)),
            constant("off_value", T).or(Default::Int(0)),
        ],
        domains: &[T_BASIC],
    }],
    effect: Effect::Pure,
    form: Form::Other,
    infer: infer_one_hot,
    eval: Some(eval_one_hot),
    work: Work::none,
};

fn infer_one_hot(site: &Site<'_>) -> Result<Vec<Type>, Fault> {
    let (on, off) = (dtype_of(site, "on_value")?, dtype_of(site, "off_value")?);
    if on != off {
        return Err(Fault::arg("off_value", off, format!("{on}, the type of `on_value`")));
    }
    let mut dims = site.tensor("indices")?.dims.clone();
    let axis = site.axis("axis", dims.len() + 1)?;
    site.tensor("one_hot_vector_size")?;
    let size = site.entries("one_hot_vector_size").and_then(|e| e.into_iter().next());
    let size = size.unwrap_or(Entry::Open(Dim::Unknown));
    let negative = || Fault::arg("one_hot_vector_size", size.int().unwrap_or(0), "at least 0");
    dims.insert(axis, size.dim().ok_or_else(negative)?);
    Ok(one(on, dims))
}

fn eval_one_hot(site: &EvalSite<'_>) -> Result<Vec<Literal>, Fault> {
    let indices = site.tensor("indices")?;
    let (on, off) = (site.tensor("on_value")?, site.tensor("off_value")?);
    let size = num::usize_of(site.int("one_hot_vector_size")?);
    let size = size.ok_or_else(|| Fault::arg("one_hot_vector_size", "negative", "at least 0"))?;
    let axis = front("axis", site.int("axis")?, indices.rank() + 1)?;
    let mut shape = indices.shape().to_vec();
    shape.insert(axis, size);
    let steps = strides(indices.shape());
    let hot = |index: &[usize]| {
        let rest: Vec<usize> =
            [index.get(..axis), index.get(axis + 1..)].into_iter().flatten().flatten().copied().collect();
        let wanted = indices.i64_at(offset(&rest, &steps));
        (num::usize_of(wanted) == index.get(axis).copied()).then_some(0)
    };
    if on.is_empty() || on.dtype() != off.dtype() {
        return Err(Fault::arg("on_value", on.dtype(), format!("one number of {}", off.dtype())));
    }
    Ok(vec![pick_or(&on, Some(&off), &shape, hot)?.into()])
}

pub(super) static RANGE_1D: OpDef = OpDef {
    name: "range_1d",
    doc: "start, start + step, and so on, short of `end`.",
    versions: &[Version {
        since: Opset::Ios13,
        params: &[tensor("end", T), tensor("start", T), tensor("step", T)],
        domains: &[T_FLOATS_INT32],
    }],
    effect: Effect::Pure,
    form: Form::Other,
    infer: infer_range,
    eval: Some(eval_range),
    work: Work::per_output,
};

fn infer_range(site: &Site<'_>) -> Result<Vec<Type>, Fault> {
    let (start, end, step) = (site.tensor("start")?, site.tensor("end")?, site.tensor("step")?);
    if start.dtype != end.dtype || start.dtype != step.dtype {
        let types = show(&[start.dtype, end.dtype, step.dtype]);
        return Err(Fault::new(format!("start, end and step are {types}, but must be of one type")));
    }
    let number = |param: &str| site.numbers(param).filter(|t| !t.is_empty()).map(|t| t.f64_at(0));
    let whole = |param: &str| site.entries(param).and_then(|e| e.into_iter().next());
    let count = match (number("start"), number("end"), number("step")) {
        (Some(start), Some(end), Some(step)) => Dim::Known(range_len(start, end, step)?),
        (Some(0.0), None, Some(1.0)) => whole("end").and_then(|e| e.dim()).unwrap_or(Dim::Unknown),
        _ => Dim::Unknown,
    };
    Ok(one(start.dtype, vec![count]))
}

/// Number of elements from `start` to `end`, exclusive.
fn range_len(start: f64, end: f64, step: f64) -> Result<usize, Fault> {
    let count = ((end - start) / step).ceil();
    let whole = num::usize_of(num::i64_trunc(count.max(0.0)));
    let len = whole.filter(|_| count.is_finite() && step != 0.0);
    len.ok_or_else(|| Fault::arg("step", step, "such that it leads from `start` to `end`"))
}

fn eval_range(site: &EvalSite<'_>) -> Result<Vec<Literal>, Fault> {
    let (start, step) = (site.tensor("start")?, site.float("step")?);
    let from = site.float("start")?;
    let len = range_len(from, site.float("end")?, step)?;
    made(&[len], 0)?;
    let values: Vec<f64> = (0..len).map(|i| from + num::f64_of_usize(i) * step).collect();
    if start.dtype().is_float() {
        return EvalSite::floats(start.dtype(), &[len], &values);
    }
    let whole: Vec<i64> = values.into_iter().map(num::i64_trunc).collect();
    Ok(vec![int_tensor(start.dtype(), &[len], &whole)?.into()])
}
