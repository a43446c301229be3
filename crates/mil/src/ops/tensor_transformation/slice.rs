//! Slices: `slice_by_index`, `slice_by_size`, `slice_update`.

use crate::eval::EvalSite;
use crate::ops::common::{BOOL, INT32, T, U, element_count, for_each_index, offset, strides};
use crate::ops::rearrange::{
    T_BASIC, T_WIDE, U_INTS, made, of_rank, one, packed, pick, reshaped, same_shape, show,
};
use crate::ops::{Effect, Fault, Form, OpDef, Param, Site, Version, Work, constant, tensor};
use crate::{Dim, Literal, Opset, Type, ValueId};
use anemone_tensor::{Tensor, num};

/// A `slice_by_index`, or the slice that a `slice_update` writes: `x[begin:end:stride]` by NumPy's rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SliceByIndex {
    /// The tensor that is sliced.
    pub x: ValueId,
    /// First index of each dim, where known; may be negative.
    pub begin: Vec<Option<i64>>,
    /// Index after the last one, where known; may be negative.
    pub end: Vec<Option<i64>>,
    /// Steps, never 0.
    pub stride: Vec<i64>,
    /// Dims that start at their first element (their last one when the step is negative).
    pub begin_mask: Vec<bool>,
    /// Dims that run to their end.
    pub end_mask: Vec<bool>,
    /// Dims of which only the element at `begin` is taken, and which the result does not have.
    pub squeeze_mask: Vec<bool>,
}

/// What a slice takes of one dim of fixed extent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SliceDim {
    /// First index.
    pub begin: usize,
    /// Step, may be negative.
    pub stride: i64,
    /// Number of elements.
    pub extent: usize,
    /// True when the result does not have the dim.
    pub squeeze: bool,
}

impl SliceDim {
    /// The indices taken, in order.
    pub fn positions(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.extent).map(|i| self.position(i))
    }

    /// Index that element `i` of the result has in the operand.
    pub fn position(&self, i: usize) -> usize {
        let step = self.stride.saturating_mul(num::i64_of(i));
        num::usize_of(num::i64_of(self.begin).saturating_add(step)).unwrap_or(0)
    }

    fn of(n: usize, begin: Option<i64>, end: Option<i64>, stride: i64) -> SliceDim {
        let wide = num::i64_of(n);
        let (low, high) = if stride > 0 { (0, wide) } else { (-1, wide - 1) };
        let count = |v: i64| if v < 0 { v.saturating_add(wide) } else { v }.clamp(low, high);
        let (first, last) = if stride > 0 { (low, high) } else { (high, low) };
        let (from, to) = (begin.map_or(first, count), end.map_or(last, count));
        let span = if stride > 0 { to - from } else { from - to };
        let step = stride.unsigned_abs();
        let extent = u64::try_from(span).map_or(0, |s| s.div_ceil(step));
        let extent = usize::try_from(extent).unwrap_or(0);
        let begin = if extent == 0 { 0 } else { num::usize_of(from).unwrap_or(0) };
        SliceDim { begin, stride, extent, squeeze: false }
    }
}

impl SliceByIndex {
    /// Decodes the op's arguments; `begin` and `end` as far as they are known.
    ///
    /// # Errors
    /// When one does not have an entry per dim, or a step is 0.
    pub fn of(site: &Site<'_>) -> Result<SliceByIndex, Fault> {
        let rank = site.tensor("x")?.rank();
        let slice = SliceByIndex {
            x: site.values("x").first().copied().ok_or_else(|| Fault::new("has no `x`"))?,
            begin: bounds(site, "begin", rank)?,
            end: bounds(site, "end", rank)?,
            stride: if site.has("stride") { site.ints("stride")? } else { vec![1; rank] },
            begin_mask: mask(site, "begin_mask", rank)?,
            end_mask: mask(site, "end_mask", rank)?,
            squeeze_mask: mask(site, "squeeze_mask", rank)?,
        };
        per_dim("stride", slice.stride.len(), rank)?;
        if slice.stride.contains(&0) {
            return Err(Fault::arg("stride", show(&slice.stride), "a list of steps other than 0"));
        }
        Ok(slice)
    }

    /// The same slice with `begin` and `end` as they are at run time.
    ///
    /// # Errors
    /// When one does not have an entry per dim.
    pub fn with_bounds(&self, begin: &[i64], end: &[i64]) -> Result<SliceByIndex, Fault> {
        per_dim("begin", begin.len(), self.stride.len())?;
        per_dim("end", end.len(), self.stride.len())?;
        let known = |v: &[i64]| v.iter().map(|&i| Some(i)).collect();
        Ok(SliceByIndex { begin: known(begin), end: known(end), ..self.clone() })
    }

    /// What it takes of each dim of an operand of shape `shape`.
    ///
    /// # Errors
    /// When the rank differs, a bound that counts is unknown, or a single index is out of range.
    pub fn resolve(&self, shape: &[usize]) -> Result<Vec<SliceDim>, Fault> {
        per_dim("begin", shape.len(), self.stride.len())?;
        shape.iter().enumerate().map(|(i, &n)| self.resolve_dim(i, n)).collect()
    }

    fn resolve_dim(&self, i: usize, n: usize) -> Result<SliceDim, Fault> {
        let unknown = |param: &str| Fault::arg(param, "known only at run time", "known");
        let bound = |masked: bool, value: Option<i64>, param: &str| match (masked, value) {
            (true, _) => Ok(None),
            (false, Some(v)) => Ok(Some(v)),
            (false, None) => Err(unknown(param)),
        };
        let begin = bound(self.begin_mask[i], self.begin[i], "begin")?;
        if !self.squeeze_mask[i] {
            let end = bound(self.end_mask[i], self.end[i], "end")?;
            return Ok(SliceDim::of(n, begin, end, self.stride[i]));
        }
        let index = begin.unwrap_or(0);
        let at = if index < 0 { index.saturating_add(num::i64_of(n)) } else { index };
        let at = num::usize_of(at).filter(|&a| a < n);
        let begin =
            at.ok_or_else(|| Fault::arg("begin", index, format!("an index of dim {i}, extent {n}")))?;
        Ok(SliceDim { begin, stride: 1, extent: 1, squeeze: true })
    }

    /// Dims of the result on an operand of dims `dims`; unknown where they depend on values known only at run time.
    ///
    /// # Errors
    /// When a single index is out of range.
    pub fn dims(&self, dims: &[Dim]) -> Result<Vec<Dim>, Fault> {
        let mut out = Vec::with_capacity(dims.len());
        for (i, d) in dims.iter().enumerate().filter(|&(i, _)| !self.squeeze_mask[i]) {
            let bounds = (self.begin_mask[i] || self.begin[i].is_some())
                && (self.end_mask[i] || self.end[i].is_some());
            out.push(match d.known() {
                Some(n) if bounds => Dim::Known(self.resolve_dim(i, n)?.extent),
                // What coremltools infers: a slice of a dim of one element is that element.
                Some(1) => Dim::Known(1),
                Some(_) => Dim::Unknown,
                None => self.open_dim(i, d),
            });
        }
        for (i, n) in dims.iter().enumerate().filter(|&(i, _)| self.squeeze_mask[i]) {
            if let (Some(n), true) = (n.known(), self.begin_mask[i] || self.begin[i].is_some()) {
                self.resolve_dim(i, n)?;
            }
        }
        Ok(out)
    }

    /// Extent of a slice of a dim whose extent is not fixed.
    fn open_dim(&self, i: usize, d: &Dim) -> Dim {
        let whole = i64::from(i32::MAX);
        let begin = if self.begin_mask[i] { None } else { self.begin[i] };
        let end = if self.end_mask[i] { None } else { self.end[i] };
        let stride = self.stride[i];
        let from_first = self.begin_mask[i] || (begin == Some(0) && stride > 0);
        let to_last = self.end_mask[i] || (end.is_some_and(|e| e >= whole) && stride > 0);
        match (begin, end) {
            _ if from_first && to_last && stride.abs() == 1 => d.clone(),
            (Some(b), Some(e)) if (b >= 0) == (e >= 0) => {
                let n = usize::try_from(b.unsigned_abs().max(e.unsigned_abs())).unwrap_or(usize::MAX);
                let n = n.saturating_add(1);
                match SliceDim::of(n, Some(b), Some(e), stride).extent {
                    short @ (0 | 1) => Dim::Known(short),
                    _ => Dim::Unknown,
                }
            }
            (Some(0), None) if self.end_mask[i] && stride < 0 => Dim::Known(1),
            (Some(-1), None) if self.end_mask[i] && stride > 0 => Dim::Known(1),
            _ => Dim::Unknown,
        }
    }
}

fn per_dim(param: &str, len: usize, rank: usize) -> Result<(), Fault> {
    if len == rank {
        return Ok(());
    }
    Err(Fault::arg(param, format!("{len} values"), format!("{rank}, one a dim of `x`")))
}

/// Bounds as far as they are known; an empty vector says nothing.
fn bounds(site: &Site<'_>, param: &str, rank: usize) -> Result<Vec<Option<i64>>, Fault> {
    site.ty(param)?;
    let Some(entries) = site.entries(param).filter(|e| !e.is_empty()) else {
        return Ok(vec![None; rank]);
    };
    per_dim(param, entries.len(), rank)?;
    Ok(entries.iter().map(|e| e.int()).collect())
}

fn mask(site: &Site<'_>, param: &str, rank: usize) -> Result<Vec<bool>, Fault> {
    if !site.has(param) {
        return Ok(vec![false; rank]);
    }
    let not_constant = || Fault::arg(param, "computed at run time", "a constant");
    let bits = site.known_bools(param).ok_or_else(not_constant)?;
    per_dim(param, bits.len(), rank)?;
    Ok(bits)
}

const BY_INDEX: &[Param] = &[
    tensor("x", T),
    tensor("begin", INT32),
    tensor("end", INT32),
    constant("stride", INT32).optional(),
    constant("begin_mask", BOOL).optional(),
    constant("end_mask", BOOL).optional(),
    constant("squeeze_mask", BOOL).optional(),
];
const BY_INDEX_17: &[Param] = &[
    tensor("x", T),
    tensor("begin", U),
    tensor("end", U),
    constant("stride", U).optional(),
    constant("begin_mask", BOOL).optional(),
    constant("end_mask", BOOL).optional(),
    constant("squeeze_mask", BOOL).optional(),
];

pub(super) static SLICE_BY_INDEX: OpDef = OpDef {
    name: "slice_by_index",
    doc: "x[begin:end:stride] by NumPy's rule; masked bounds do not count, squeezed dims take one element and go.",
    versions: &[
        Version { since: Opset::Ios13, params: BY_INDEX, domains: &[T_BASIC] },
        Version { since: Opset::Ios17, params: BY_INDEX_17, domains: &[T_WIDE, U_INTS] },
    ],
    effect: Effect::Pure,
    form: Form::Move(&["x"]),
    infer: |site| {
        let x = site.tensor("x")?;
        Ok(one(x.dtype, SliceByIndex::of(site)?.dims(&x.dims)?))
    },
    eval: Some(eval_slice_by_index),
    work: Work::none,
};

fn eval_slice_by_index(site: &EvalSite<'_>) -> Result<Vec<Literal>, Fault> {
    let x = site.tensor("x")?;
    let dims = resolved(site, x.shape())?;
    let shape: Vec<usize> = dims.iter().map(|d| d.extent).collect();
    let kept: Vec<usize> = dims.iter().filter(|d| !d.squeeze).map(|d| d.extent).collect();
    let taken = match runs(&x, &dims, &shape)? {
        Some(taken) => taken,
        None => {
            let steps = strides(x.shape());
            pick(&x, &shape, |index| Some(source(&dims, &steps, index)))?
        }
    };
    reshaped(&taken, &kept)
}

/// The slice, where it is made of runs of elements that follow one another; a single run shares the bytes.
///
/// # Errors
/// When the shape is too large.
fn runs(x: &Tensor, dims: &[SliceDim], shape: &[usize]) -> Result<Option<Tensor>, Fault> {
    let width = x.dtype().bits() / 8;
    let whole = |(d, &n): (&SliceDim, &usize)| d.stride == 1 && d.extent == n;
    let tail = dims.iter().zip(x.shape()).rev().take_while(|&pair| whole(pair)).count();
    // One more dim may begin and end within.
    let outer = dims.len() - tail;
    let outer =
        outer - usize::from(outer > 0 && (dims[outer - 1].stride == 1 || dims[outer - 1].extent == 1));
    let len = element_count(&shape[outer..])? * width;
    if len <= width || shape.contains(&0) {
        return Ok(None);
    }
    let steps = strides(x.shape());
    let first: usize = dims[outer..].iter().zip(&steps[outer..]).map(|(d, step)| d.begin * step).sum();
    let start = |index: &[usize]| (source(&dims[..outer], &steps[..outer], index) + first) * width;
    if shape[..outer].iter().all(|&n| n == 1) {
        let at = start(&vec![0; outer]);
        let inside = at.checked_add(len).is_some_and(|end| end <= x.bytes().len());
        return inside.then(|| packed(x.dtype(), shape, x.bytes().slice(at..at + len))).transpose();
    }
    let mut out = Vec::with_capacity(made(shape, x.len())? * width);
    for_each_index(&shape[..outer], |index| {
        let run = x.bytes().get(start(index)..).and_then(|bytes| bytes.get(..len));
        out.extend_from_slice(run.unwrap_or_default());
    });
    // What reaches beyond is told by the plain way.
    Ok(packed(x.dtype(), shape, out).ok())
}

/// The slice with the bounds of this run.
fn resolved(site: &EvalSite<'_>, shape: &[usize]) -> Result<Vec<SliceDim>, Fault> {
    let slice = SliceByIndex::of(&site.site)?;
    let (mut begin, mut end) = (site.ints("begin")?, site.ints("end")?);
    begin.resize(if begin.is_empty() { shape.len() } else { begin.len() }, 0);
    if end.is_empty() {
        end = shape.iter().map(|&n| num::i64_of(n)).collect();
    }
    slice.with_bounds(&begin, &end)?.resolve(shape)
}

fn source(dims: &[SliceDim], steps: &[usize], index: &[usize]) -> usize {
    let at: Vec<usize> = dims.iter().zip(index).map(|(d, &i)| d.position(i)).collect();
    offset(&at, steps)
}

pub(super) static SLICE_BY_SIZE: OpDef = OpDef {
    name: "slice_by_size",
    doc: "`size` elements from `begin` on in each dim; a size of -1 takes all that remain.",
    versions: &[
        Version {
            since: Opset::Ios13,
            params: &[tensor("x", T), tensor("begin", INT32), tensor("size", INT32)],
            domains: &[T_BASIC],
        },
        Version {
            since: Opset::Ios17,
            params: &[tensor("x", T), tensor("begin", U), tensor("size", U)],
            domains: &[T_WIDE, U_INTS],
        },
    ],
    effect: Effect::Pure,
    form: Form::Move(&["x"]),
    infer: infer_slice_by_size,
    eval: Some(eval_slice_by_size),
    work: Work::none,
};

fn infer_slice_by_size(site: &Site<'_>) -> Result<Vec<Type>, Fault> {
    let x = site.tensor("x")?;
    of_rank("begin", site.tensor("begin")?, 1)?;
    of_rank("size", site.tensor("size")?, 1)?;
    let (begin, size) = (site.entries("begin"), site.entries("size"));
    begin.iter().try_for_each(|b| per_dim("begin", b.len(), x.rank()))?;
    let Some(size) = size else { return Ok(one(x.dtype, vec![Dim::Unknown; x.rank()])) };
    per_dim("size", size.len(), x.rank())?;
    let mut dims = Vec::with_capacity(x.rank());
    for (i, (d, size)) in x.dims.iter().zip(&size).enumerate() {
        let begin = begin.as_ref().and_then(|b| b.get(i)?.int());
        dims.push(match (size.int(), begin, d.known()) {
            (None, ..) => size.dim().unwrap_or(Dim::Unknown),
            (Some(-1), Some(0), None) => d.clone(),
            (Some(-1), Some(b), Some(n)) => Dim::Known(sized(i, n, b, -1)?.1),
            (Some(-1), ..) => Dim::Unknown,
            (Some(s), Some(b), Some(n)) => Dim::Known(sized(i, n, b, s)?.1),
            (Some(s), ..) => {
                Dim::Known(num::usize_of(s).ok_or_else(|| Fault::arg("size", s, "at least -1"))?)
            }
        });
    }
    Ok(one(x.dtype, dims))
}

/// First index and number of elements of dim `i`, extent `n`.
fn sized(i: usize, n: usize, begin: i64, size: i64) -> Result<(usize, usize), Fault> {
    let from = if begin < 0 { begin.saturating_add(num::i64_of(n)) } else { begin };
    let from = num::usize_of(from).filter(|&b| b <= n);
    let from = from.ok_or_else(|| Fault::arg("begin", begin, format!("an index of dim {i}, extent {n}")))?;
    if size == -1 {
        return Ok((from, n - from));
    }
    let len = num::usize_of(size).filter(|&s| s <= n - from);
    let len = len.ok_or_else(|| Fault::arg("size", size, format!("at most {} in dim {i}", n - from)))?;
    Ok((from, len))
}

fn eval_slice_by_size(site: &EvalSite<'_>) -> Result<Vec<Literal>, Fault> {
    let x = site.tensor("x")?;
    let (begin, size) = (site.ints("begin")?, site.ints("size")?);
    per_dim("begin", begin.len(), x.rank())?;
    per_dim("size", size.len(), x.rank())?;
    let ranges = x.shape().iter().enumerate().map(|(i, &n)| sized(i, n, begin[i], size[i]));
    let ranges: Vec<(usize, usize)> = ranges.collect::<Result<_, _>>()?;
    let steps = strides(x.shape());
    let base = offset(&ranges.iter().map(|r| r.0).collect::<Vec<_>>(), &steps);
    let shape: Vec<usize> = ranges.iter().map(|r| r.1).collect();
    Ok(vec![pick(&x, &shape, |index| Some(base + offset(index, &steps)))?.into()])
}

const UPDATE: &[Param] = &[
    tensor("x", T),
    tensor("update", T),
    tensor("begin", U),
    tensor("end", U),
    constant("stride", U).optional(),
    constant("begin_mask", BOOL).optional(),
    constant("end_mask", BOOL).optional(),
    constant("squeeze_mask", BOOL).optional(),
];

pub(super) static SLICE_UPDATE: OpDef = OpDef {
    name: "slice_update",
    doc: "`x` with the elements that `slice_by_index` would take replaced by `update`.",
    versions: &[Version { since: Opset::Ios18, params: UPDATE, domains: &[T_WIDE, U_INTS] }],
    effect: Effect::Pure,
    form: Form::Move(&["x", "update"]),
    infer: |site| {
        let (x, update) = (site.tensor("x")?, site.tensor("update")?);
        same_shape("update", &update.dims, &SliceByIndex::of(site)?.dims(&x.dims)?)?;
        if update.rank() == 0 {
            return Err(Fault::arg("update", "of rank 0", "at least of rank 1"));
        }
        Ok(vec![x.clone().into()])
    },
    eval: Some(eval_slice_update),
    work: Work::none,
};

fn eval_slice_update(site: &EvalSite<'_>) -> Result<Vec<Literal>, Fault> {
    let (x, update) = (site.tensor("x")?, site.tensor("update")?);
    let dims = resolved(site, x.shape())?;
    let kept: Vec<usize> = dims.iter().filter(|d| !d.squeeze).map(|d| d.extent).collect();
    if kept != update.shape() || x.dtype() != update.dtype() {
        let actual = format!("{} of shape {}", update.dtype(), show(update.shape()));
        return Err(Fault::arg("update", actual, format!("{} of shape {}", x.dtype(), show(&kept))));
    }
    let shape: Vec<usize> = dims.iter().map(|d| d.extent).collect();
    let steps = strides(x.shape());
    let width = x.dtype().bits() / 8;
    if width == 0 {
        return Err(Fault::arg("x", x.dtype(), "of elements of at least a byte"));
    }
    let mut out = x.bytes().to_vec();
    let mut from = 0;
    for_each_index(&shape, |index| {
        let to = source(&dims, &steps, index);
        out[to * width..][..width].copy_from_slice(&update.bytes()[from * width..][..width]);
        from += 1;
    });
    Ok(vec![packed(x.dtype(), x.shape(), out)?.into()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use anemone_tensor::DType;

    /// Expected values: `numpy.arange(24).reshape(2, 3, 4)` sliced.
    #[test]
    fn slices_made_of_runs_are_those_of_numpy() {
        let x = Tensor::from_i64s(DType::I32, [2, 3, 4], &(0..24).collect::<Vec<i64>>()).expect("24 numbers");
        let dim = |begin, stride, extent| SliceDim { begin, stride, extent, squeeze: false };
        let cut = |dims: [SliceDim; 3]| {
            let shape = dims.map(|d| d.extent);
            runs(&x, &dims, &shape).expect("small").map(|t| t.to_i64s())
        };
        let shared = cut([dim(1, 1, 1), dim(1, 1, 2), dim(0, 1, 4)]);
        assert_eq!(shared, Some(vec![16, 17, 18, 19, 20, 21, 22, 23]));
        let rows = cut([dim(0, 1, 2), dim(2, -2, 2), dim(1, 1, 2)]);
        assert_eq!(rows, Some(vec![9, 10, 1, 2, 21, 22, 13, 14]));
        assert_eq!(cut([dim(0, 1, 2), dim(1, 1, 1), dim(0, 1, 4)]), Some(vec![4, 5, 6, 7, 16, 17, 18, 19]));
        assert_eq!(cut([dim(0, 1, 2), dim(0, 1, 3), dim(0, 2, 2)]), None);
        assert_eq!(cut([dim(3, 1, 1), dim(0, 1, 3), dim(0, 1, 4)]), None);
    }
}
