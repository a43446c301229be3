//! Lists: `make_list` and what reads and writes them.
//!
//! Writing beyond the end makes a list longer; elements that nobody wrote are zeros.

use crate::eval::EvalSite;
use crate::ops::common::{BOOL, INT32, STRING, T};
use crate::ops::rearrange::{BASIC, T_BASIC, int_tensor, made, of_rank, one, packed};
use crate::ops::{
    Accept, Default, Effect, Fault, Form, OpDef, Site, Version, Work, constant, list, tensor, variadic,
};
use crate::{Dim, Literal, Name, Opset, TensorType, Type};
use anemone_tensor::{DType, Tensor, num};

/// Longest list that evaluation makes.
const MAX_LEN: usize = 1 << 20;

/// Element type of a list argument, and the list's length.
fn list_type<'a>(site: &Site<'a>) -> Result<(&'a Type, &'a Dim), Fault> {
    match site.ty("ls")? {
        Type::List { elem, len } => Ok((elem, len)),
        other => Err(Fault::arg("ls", other, "a list")),
    }
}

/// Type of the elements, which must be tensors.
fn elements<'a>(site: &Site<'a>) -> Result<&'a TensorType, Fault> {
    let (elem, _) = list_type(site)?;
    elem.tensor().ok_or_else(|| Fault::arg("ls", format!("a list of {elem}"), "a list of tensors"))
}

/// The list and the type of its elements.
fn items(site: &EvalSite<'_>) -> Result<(Type, Vec<Literal>), Fault> {
    match site.literal("ls") {
        Some(Literal::List { elem, items }) => Ok((elem, items)),
        _ => Err(Fault::arg("ls", "absent or no list", "a list")),
    }
}

fn position(param: &str, index: i64, len: usize) -> Result<usize, Fault> {
    let at = num::usize_of(index).filter(|&i| i < len);
    at.ok_or_else(|| Fault::arg(param, index, format!("an index of a list of {len} elements")))
}

pub(super) static MAKE_LIST: OpDef = OpDef {
    name: "make_list",
    doc: "A list of tensors of one type, all zeros.",
    versions: &[Version {
        since: Opset::Ios13,
        params: &[
            tensor("init_length", INT32).or(Default::Int(1)),
            constant("dynamic_length", BOOL).or(Default::Bool(true)),
            variadic("elem_shape", Accept::Any),
            constant("dtype", STRING).or(Default::Str("fp32")),
        ],
        domains: &[],
    }],
    effect: Effect::Pure,
    form: Form::Other,
    infer: |site| {
        let fixed = !site.bool("dynamic_length")?;
        let len = site.known_ints("init_length").and_then(|v| num::usize_of(*v.first()?));
        let len = len.filter(|_| fixed).map_or(Dim::Unknown, Dim::Known);
        Ok(vec![Type::List { elem: Box::new(element_type(site)?.into()), len }])
    },
    eval: Some(eval_make_list),
    work: Work::none,
};

/// Type of the elements: extents are constants, text names symbols.
fn element_type(site: &Site<'_>) -> Result<TensorType, Fault> {
    let name = site.str("dtype")?;
    let dtype = DType::from_name(&name).filter(|d| BASIC.contains(d));
    let dtype = dtype.ok_or_else(|| Fault::arg("dtype", name, "bool, fp16, fp32 or int32"))?;
    let dim = |literal: Option<Literal>| match literal? {
        Literal::Tensor(t) if !t.is_empty() => num::usize_of(t.i64_at(0)).map(Dim::Known),
        Literal::Strings { values, .. } => values.first().map(|s: &Name| Dim::Symbol(s.clone())),
        _ => None,
    };
    let given = site.values("elem_shape").iter();
    let dims = given.map(|&v| {
        let literal = site.function.constant(v).and_then(|c| c.literal().ok());
        dim(literal)
            .ok_or_else(|| Fault::arg("elem_shape", "computed at run time", "constant extents or symbols"))
    });
    Ok(TensorType { dtype, dims: dims.collect::<Result<_, _>>()? })
}

fn eval_make_list(site: &EvalSite<'_>) -> Result<Vec<Literal>, Fault> {
    let elem = element_type(&site.site)?;
    let len = num::usize_of(site.int("init_length")?).filter(|&n| n <= MAX_LEN);
    let len =
        len.ok_or_else(|| Fault::arg("init_length", "out of range", format!("between 0 and {MAX_LEN}")))?;
    let items = vec![unwritten(&elem)?; len];
    Ok(vec![Literal::List { elem: elem.into(), items }])
}

/// What stands where nothing was written: zeros, none along dims that are not fixed.
fn unwritten(elem: &TensorType) -> Result<Literal, Fault> {
    let shape: Vec<usize> = elem.dims.iter().map(|d| d.known().unwrap_or(0)).collect();
    made(&shape, 0)?;
    Tensor::zeros(elem.dtype, shape).map(Literal::Tensor).map_err(|e| Fault::new(e.to_string()))
}

pub(super) static LIST_LENGTH: OpDef = OpDef {
    name: "list_length",
    doc: "Number of elements of a list.",
    versions: &[Version { since: Opset::Ios13, params: &[list("ls")], domains: &[] }],
    effect: Effect::Pure,
    form: Form::Other,
    infer: |site| list_type(site).map(|_| one(DType::I32, Vec::new())),
    eval: Some(|site| {
        let len = num::i64_of(items(site)?.1.len());
        Ok(vec![int_tensor(DType::I32, &[], &[len])?.into()])
    }),
    work: Work::none,
};

pub(super) static LIST_READ: OpDef = OpDef {
    name: "list_read",
    doc: "The element at `index`.",
    versions: &[Version { since: Opset::Ios13, params: &[list("ls"), tensor("index", INT32)], domains: &[] }],
    effect: Effect::Pure,
    form: Form::Other,
    infer: |site| {
        site.tensor("index")?;
        Ok(vec![list_type(site)?.0.clone()])
    },
    eval: Some(|site| {
        let (_, items) = items(site)?;
        let at = position("index", site.int("index")?, items.len())?;
        Ok(items.into_iter().nth(at).into_iter().collect())
    }),
    work: Work::none,
};

pub(super) static LIST_WRITE: OpDef = OpDef {
    name: "list_write",
    doc: "The list with `value` at `index`.",
    versions: &[Version {
        since: Opset::Ios13,
        params: &[list("ls"), tensor("index", INT32), tensor("value", T)],
        domains: &[T_BASIC],
    }],
    effect: Effect::Pure,
    form: Form::Other,
    infer: |site| {
        let (value, elem) = (site.tensor("value")?, elements(site)?);
        site.tensor("index")?;
        if !elem.compatible(value) {
            return Err(Fault::arg("value", value, format!("{elem}, as the elements of `ls`")));
        }
        Ok(vec![site.ty("ls")?.clone()])
    },
    eval: Some(|site| {
        let (elem, mut items) = items(site)?;
        put(&mut items, "index", site.int("index")?, site.tensor("value")?)?;
        Ok(vec![Literal::List { elem, items }])
    }),
    work: Work::none,
};

/// Writes one element, making the list longer where it must be.
fn put(items: &mut Vec<Literal>, param: &str, index: i64, value: Tensor) -> Result<(), Fault> {
    let at = position(param, index, MAX_LEN)?;
    if at >= items.len() {
        let zeros = Tensor::zeros(value.dtype(), value.shape()).map_err(|e| Fault::new(e.to_string()))?;
        items.resize(at + 1, zeros.into());
    }
    items[at] = value.into();
    Ok(())
}

pub(super) static LIST_GATHER: OpDef = OpDef {
    name: "list_gather",
    doc: "The elements at `indices`, packed into one tensor.",
    versions: &[Version {
        since: Opset::Ios13,
        params: &[list("ls"), tensor("indices", INT32)],
        domains: &[],
    }],
    effect: Effect::Pure,
    form: Form::Other,
    infer: |site| {
        let (elem, indices) = (elements(site)?, site.tensor("indices")?);
        of_rank("indices", indices, 1)?;
        Ok(one(elem.dtype, [&indices.dims, elem.dims.as_slice()].concat()))
    },
    eval: Some(eval_list_gather),
    work: Work::none,
};

fn eval_list_gather(site: &EvalSite<'_>) -> Result<Vec<Literal>, Fault> {
    let (elem, items) = items(site)?;
    let indices = site.ints("indices")?;
    let at = |&i: &i64| position("indices", i, items.len()).map(|at| items[at].as_tensor());
    let picked: Option<Vec<&Tensor>> = indices.iter().map(at).collect::<Result<_, _>>()?;
    let picked = picked.ok_or_else(|| Fault::arg("ls", elem.clone(), "a list of tensors"))?;
    let declared = elem.tensor().map_or(DType::F32, |t| t.dtype);
    let unit = match picked.first() {
        Some(first) => first.shape().to_vec(),
        None => elem.tensor().and_then(TensorType::known_shape).unwrap_or_default(),
    };
    if let Some(odd) = picked.iter().find(|t| t.shape() != unit || t.dtype() != declared) {
        let allowed = format!("{declared} {unit:?}, as the first element picked");
        return Err(Fault::arg("ls", format!("a list with {} {:?}", odd.dtype(), odd.shape()), allowed));
    }
    let bytes: Vec<u8> = picked.iter().flat_map(|t| t.bytes().iter().copied()).collect();
    Ok(vec![packed(declared, &[&[picked.len()], unit.as_slice()].concat(), bytes)?.into()])
}

pub(super) static LIST_SCATTER: OpDef = OpDef {
    name: "list_scatter",
    doc: "The list with the slices of `value` at `indices`.",
    versions: &[Version {
        since: Opset::Ios13,
        params: &[list("ls"), tensor("indices", INT32), tensor("value", T)],
        domains: &[T_BASIC],
    }],
    effect: Effect::Pure,
    form: Form::Other,
    infer: |site| {
        let (elem, indices, value) = (elements(site)?, site.tensor("indices")?, site.tensor("value")?);
        of_rank("indices", indices, 1)?;
        let expected = TensorType { dtype: elem.dtype, dims: [&indices.dims, elem.dims.as_slice()].concat() };
        if !expected.compatible(value) {
            return Err(Fault::arg(
                "value",
                value,
                format!("{expected}, one element of `ls` for each index"),
            ));
        }
        Ok(vec![site.ty("ls")?.clone()])
    },
    eval: Some(|site| {
        let (elem, mut items) = items(site)?;
        let (indices, value) = (site.ints("indices")?, site.tensor("value")?);
        let Some((&count, unit)) = value.shape().split_first().filter(|(n, _)| **n == indices.len()) else {
            return Err(Fault::arg("value", format!("of shape {:?}", value.shape()), "one slice an index"));
        };
        let len = value.bytes().len().checked_div(count).unwrap_or(0);
        for (i, index) in indices.into_iter().enumerate() {
            let slice = value.bytes().slice(i * len..(i + 1) * len);
            put(&mut items, "indices", index, packed(value.dtype(), unit, slice)?)?;
        }
        Ok(vec![Literal::List { elem, items }])
    }),
    work: Work::none,
};
