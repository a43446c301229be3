//! Sorting: `argsort` and `topk`. Equal elements keep their order, NaN comes last.

use super::scan::lines;
use crate::eval::EvalSite;
use crate::ops::common::{BOOL, INT32, STRING, T, T_FLOATS_INT32};
use crate::ops::rearrange::{T_NUMBERS, int_tensor, one, pick};
use crate::ops::{
    Accept, Default, Domain, Effect, Fault, Form, OpDef, Param, Site, Version, Work, constant, tensor,
};
use crate::{Dim, Literal, Opset, TensorType, Type};
use anemone_tensor::{DType, Tensor, num};
use std::cmp::Ordering;

const AXIS: Param = constant("axis", INT32).or(Default::Int(-1));
const ASCENDING: Param = constant("ascending", BOOL).or(Default::Bool(false));

pub(super) static ARGSORT: OpDef = OpDef {
    name: "argsort",
    doc: "Indices that would sort along `axis`, largest first unless `ascending`.",
    versions: &[Version {
        since: Opset::Ios13,
        params: &[tensor("x", T), AXIS, ASCENDING],
        domains: &[T_FLOATS_INT32],
    }],
    effect: Effect::Pure,
    form: Form::Other,
    infer: |site| {
        let x = site.tensor("x")?;
        site.axis("axis", x.rank())?;
        Ok(vec![x.with_dtype(DType::I32).into()])
    },
    eval: Some(|site| {
        let x = site.tensor("x")?;
        let axis = site.site.axis("axis", x.rank())?;
        let (_, indices) = ranked(&x, axis, x.shape()[axis], site.bool("ascending")?);
        Ok(vec![int_tensor(DType::I32, x.shape(), &indices)?.into()])
    }),
    work: sorting,
};

/// One comparison per element and level of a merge sort.
fn sorting(site: &Site<'_>) -> Option<Work> {
    let shape = site.tensor("x").ok()?.known_shape()?;
    let axis = site.axis("axis", shape.len()).ok()?;
    let levels = shape.get(axis)?.checked_next_power_of_two()?.trailing_zeros();
    let count = u64::try_from(num::element_count(&shape)?).ok()?;
    Some(Work { flops: count.checked_mul(u64::from(levels))?, transcendental: 0 })
}

/// Largest first, or smallest; NaN last in both.
fn order(x: &Tensor, a: usize, b: usize, ascending: bool) -> Ordering {
    let directed = |o: Ordering| if ascending { o } else { o.reverse() };
    if !x.dtype().is_float() {
        return directed(x.i64_at(a).cmp(&x.i64_at(b)));
    }
    let (a, b) = (x.f64_at(a), x.f64_at(b));
    a.is_nan().cmp(&b.is_nan()).then_with(|| directed(a.partial_cmp(&b).unwrap_or(Ordering::Equal)))
}

/// The first `k` of every sorted line: positions in `x` and indices along the axis, row-major with `k` at the axis.
fn ranked(x: &Tensor, axis: usize, k: usize, ascending: bool) -> (Vec<usize>, Vec<i64>) {
    let inner = num::element_count(x.shape().get(axis + 1..).unwrap_or(&[])).unwrap_or(0).max(1);
    let all = lines(x.shape(), axis);
    let mut positions = vec![0; all.len().saturating_mul(k)];
    let mut indices = vec![0; positions.len()];
    for (n, line) in all.into_iter().enumerate() {
        let mut sorted: Vec<usize> = (0..line.len()).collect();
        sorted.sort_by(|&a, &b| order(x, line[a], line[b], ascending));
        for (rank, i) in sorted.into_iter().take(k).enumerate() {
            let to = (n / inner * k + rank) * inner + n % inner;
            positions[to] = line[i];
            indices[to] = num::i64_of(i);
        }
    }
    (positions, indices)
}

/// A `topk`, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopK {
    /// How many elements; none means all along the axis.
    pub k: Option<usize>,
    /// The dim that is sorted, counted from the front.
    pub axis: usize,
    /// True for the smallest elements.
    pub ascending: bool,
    /// Element type of the second result, the indices; none when there is no such result.
    pub indices: Option<DType>,
}

impl TopK {
    /// Decodes the op's arguments.
    ///
    /// # Errors
    /// When one is no constant or out of range.
    pub fn of(site: &Site<'_>) -> Result<TopK, Fault> {
        let k = site.int("k")?;
        let axis = site.axis("axis", site.tensor("x")?.rank())?;
        let wanted = site.known_bools("return_indices").is_none_or(|v| v.first() != Some(&false));
        let named =
            if site.has("output_indices_dtype") { Some(site.str("output_indices_dtype")?) } else { None };
        let indices = match (wanted, named.as_deref()) {
            (true, None | Some("int32")) => Some(DType::I32),
            (true, Some("uint16")) => Some(DType::U16),
            (true, Some(name)) => {
                return Err(Fault::arg("output_indices_dtype", name, "int32 or uint16"));
            }
            (false, Some(_)) => {
                return Err(Fault::arg(
                    "output_indices_dtype",
                    "given",
                    "left out where no indices are returned",
                ));
            }
            (false, None) => None,
        };
        let all = k == -1 && site.version.since >= Opset::Ios17;
        let known = num::usize_of(k).map(Some).or(all.then_some(None));
        let k = known.ok_or_else(|| Fault::arg("k", k, "at least 0"))?;
        Ok(TopK { k, axis, ascending: site.bool("ascending")?, indices })
    }
}

const K: Param = constant("k", INT32).or(Default::Int(1));
const SORT: Param = constant("sort", BOOL).or(Default::Bool(true));
const RETURN_INDICES: Param = constant("return_indices", BOOL).or(Default::Bool(true));

/// `output_indices_dtype` counts as `int32` when left out, but must be left out where no indices are returned.
fn indices_dtype(site: &Site<'_>) -> Option<Literal> {
    site.bool("return_indices").ok()?.then(|| Literal::string("int32"))
}

pub(super) static TOPK: OpDef = OpDef {
    name: "topk",
    doc: "The `k` largest (or smallest) elements along `axis`, and their indices.",
    versions: &[
        Version {
            since: Opset::Ios13,
            params: &[tensor("x", T), K, AXIS, ASCENDING],
            domains: &[T_FLOATS_INT32],
        },
        Version {
            since: Opset::Ios16,
            params: &[tensor("x", T), K, AXIS, ASCENDING, SORT, RETURN_INDICES],
            domains: &[T_FLOATS_INT32],
        },
        Version {
            since: Opset::Ios17,
            params: &[
                tensor("x", T),
                constant("k", Accept::Domain("K")).or(Default::Int(1)),
                AXIS,
                ASCENDING,
                SORT,
                RETURN_INDICES,
                constant("output_indices_dtype", STRING).or(Default::Derived(indices_dtype)),
            ],
            domains: &[T_NUMBERS, Domain { name: "K", types: &[DType::I8, DType::I16, DType::I32] }],
        },
    ],
    effect: Effect::Pure,
    form: Form::Other,
    infer: infer_topk,
    eval: Some(eval_topk),
    work: sorting,
};

fn infer_topk(site: &Site<'_>) -> Result<Vec<Type>, Fault> {
    let x = site.tensor("x")?;
    let topk = TopK::of(site)?;
    let mut dims = x.dims.clone();
    if let Some(k) = topk.k {
        if dims[topk.axis].known().is_some_and(|n| k > n) {
            return Err(Fault::arg("k", k, format!("at most {}, the extent of the axis", dims[topk.axis])));
        }
        dims[topk.axis] = Dim::Known(k);
    }
    let mut types = one(x.dtype, dims.clone());
    types.extend(topk.indices.map(|dtype| Type::from(TensorType { dtype, dims })));
    Ok(types)
}

fn eval_topk(site: &EvalSite<'_>) -> Result<Vec<Literal>, Fault> {
    let x = site.tensor("x")?;
    let TopK { k, axis, ascending, indices } = TopK::of(&site.site)?;
    let extent = x.shape().get(axis).copied().unwrap_or(0);
    let k = k.unwrap_or(extent);
    if k > extent {
        return Err(Fault::arg("k", k, format!("at most {extent}, the extent of the axis")));
    }
    let mut shape = x.shape().to_vec();
    shape[axis] = k;
    let (positions, found) = ranked(&x, axis, k, ascending);
    let mut next = positions.into_iter();
    let mut out = vec![Literal::from(pick(&x, &shape, |_| next.next())?)];
    if let Some(dtype) = indices {
        out.push(int_tensor(dtype, &shape, &found)?.into());
    }
    Ok(out)
}
