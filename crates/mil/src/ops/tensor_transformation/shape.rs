//! Ops that give elements another shape, and `transpose`.

use crate::eval::EvalSite;
use crate::ops::common::{INT32, T, U, offset, strides};
use crate::ops::partial::Entry;
use crate::ops::rearrange::{
    T_BASIC, T_WIDE, U_INTS, front, of_declared_rank, one, pick, product, reshaped, show,
};
use crate::ops::{
    Accept, Effect, Fault, Form, OpDef, Param, Site, Version, Work, constant, tensor, variadic,
};
use crate::{Dim, Literal, Opset};
use anemone_tensor::{Tensor, num};

const X_AXES: &[Param] = &[tensor("x", T), constant("axes", INT32)];

pub(super) static EXPAND_DIMS: OpDef = OpDef {
    name: "expand_dims",
    doc: "Inserts dims of extent 1 at `axes`, counted in the result.",
    versions: &[
        Version { since: Opset::Ios13, params: X_AXES, domains: &[T_BASIC] },
        Version { since: Opset::Ios17, params: X_AXES, domains: &[T_WIDE] },
    ],
    effect: Effect::Pure,
    form: Form::Reshape,
    infer: |site| {
        let x = site.tensor("x")?;
        let dims = expanded(&x.dims, &site.ints("axes")?)?;
        Ok(one(x.dtype, dims))
    },
    eval: Some(|site| {
        let x = site.tensor("x")?;
        let dims: Vec<Dim> = x.shape().iter().map(|&n| n.into()).collect();
        reshaped(&x, &fixed(&expanded(&dims, &site.ints("axes")?)?)?)
    }),
    work: Work::none,
};

/// Dims with ones at `axes` of the result.
fn expanded(dims: &[Dim], axes: &[i64]) -> Result<Vec<Dim>, Fault> {
    let rank = dims.len() + axes.len();
    let mut ones = vec![false; rank];
    for &axis in axes {
        let at = front("axes", axis, rank)?;
        if std::mem::replace(&mut ones[at], true) {
            return Err(Fault::arg("axes", format!("{} twice", at), "different axes"));
        }
    }
    let mut rest = dims.iter().cloned();
    let dims = ones.into_iter().map(|one| if one { Some(Dim::Known(1)) } else { rest.next() });
    dims.collect::<Option<_>>().ok_or_else(|| Fault::new("has fewer dims than axes ask for"))
}

/// All extents, which must be fixed.
fn fixed(dims: &[Dim]) -> Result<Vec<usize>, Fault> {
    let all: Option<Vec<usize>> = dims.iter().map(Dim::known).collect();
    all.ok_or_else(|| Fault::new(format!("shape {} is not fixed", show(dims))))
}

const SQUEEZE_PARAMS: &[Param] = &[tensor("x", T), constant("axes", INT32).optional()];

/// Dims of extent 1 go, others stay even when `axes` names them; a dim that is not fixed counts as larger than 1.
pub(super) static SQUEEZE: OpDef = OpDef {
    name: "squeeze",
    doc: "Removes the dims of extent 1 among `axes`, or all of them.",
    versions: &[
        Version { since: Opset::Ios13, params: SQUEEZE_PARAMS, domains: &[T_BASIC] },
        Version { since: Opset::Ios17, params: SQUEEZE_PARAMS, domains: &[T_WIDE] },
    ],
    effect: Effect::Pure,
    form: Form::Reshape,
    infer: |site| {
        let x = site.tensor("x")?;
        let gone = squeezed(site)?;
        let kept = x.dims.iter().zip(gone).filter(|(_, gone)| !gone).map(|(d, _)| d.clone());
        Ok(one(x.dtype, kept.collect()))
    },
    eval: Some(|site| {
        let x = site.tensor("x")?;
        let gone = squeezed(&site.site)?;
        let kept = x.shape().iter().zip(gone).filter(|(_, gone)| !gone).map(|(&n, _)| n);
        reshaped(&x, &kept.collect::<Vec<_>>())
    }),
    work: Work::none,
};

/// Which dims of `x` go.
fn squeezed(site: &Site<'_>) -> Result<Vec<bool>, Fault> {
    let x = site.tensor("x")?;
    let axes = if site.has("axes") { site.axes("axes", x.rank())? } else { (0..x.rank()).collect() };
    Ok(x.dims.iter().enumerate().map(|(i, d)| axes.contains(&i) && d.known() == Some(1)).collect())
}

pub(super) static RESHAPE: OpDef = OpDef {
    name: "reshape",
    doc: "The same elements under the shape `shape`: -1 is what remains, 0 the dim of `x` at that place.",
    versions: &[
        Version {
            since: Opset::Ios13,
            params: &[tensor("x", T), tensor("shape", INT32)],
            domains: &[T_BASIC],
        },
        Version {
            since: Opset::Ios17,
            params: &[tensor("x", T), tensor("shape", U)],
            domains: &[T_WIDE, U_INTS],
        },
    ],
    effect: Effect::Pure,
    form: Form::Reshape,
    infer: |site| {
        let x = site.tensor("x")?;
        match site.entries("shape") {
            Some(to) => Ok(one(x.dtype, new_dims(&x.dims, &to, zeros_from_right(site))?)),
            None => of_declared_rank(site, x.dtype, "shape"),
        }
    },
    eval: Some(|site| {
        let x = site.tensor("x")?;
        reshaped(&x, &reshaped_shape(&site.site, x.shape(), &site.ints("shape")?)?)
    }),
    work: Work::none,
};

/// From `ios17` on, zeros count the dims of `x` from the innermost, and reach beyond its rank.
fn zeros_from_right(site: &Site<'_>) -> bool {
    site.version.since >= Opset::Ios17
}

/// The shape that `reshape` gives to elements of shape `from` when its operand `shape` is `to`.
///
/// # Errors
/// When the numbers of elements differ, or `to` has more than one -1, or a 0 without a dim to stand for.
pub fn reshaped_shape(site: &Site<'_>, from: &[usize], to: &[i64]) -> Result<Vec<usize>, Fault> {
    let from: Vec<Dim> = from.iter().map(|&n| n.into()).collect();
    let to: Vec<Entry> = to.iter().map(|&v| Entry::Int(v)).collect();
    fixed(&new_dims(&from, &to, zeros_from_right(site))?)
}

/// Dims after `reshape`.
fn new_dims(from: &[Dim], to: &[Entry], from_right: bool) -> Result<Vec<Dim>, Fault> {
    let mut taken = vec![false; from.len()];
    let mut hole = None;
    let mut dims = Vec::with_capacity(to.len());
    for (i, entry) in to.iter().enumerate() {
        dims.push(match entry {
            Entry::Int(0) => {
                let at = if from_right { (from.len() + i).checked_sub(to.len()) } else { Some(i) };
                if !from_right && from.len() != to.len() {
                    let allowed = format!("of length {} to use 0, the rank of `x`", from.len());
                    return Err(Fault::arg("shape", format!("of length {}", to.len()), allowed));
                }
                at.iter().for_each(|&a| taken[a] = true);
                at.map_or(Dim::Known(1), |a| from[a].clone())
            }
            Entry::Int(-1) => {
                if hole.replace(i).is_some() {
                    return Err(Fault::arg("shape", "more than one -1", "at most one -1"));
                }
                Dim::Unknown
            }
            Entry::Int(v) => num::usize_of(*v)
                .map(Dim::Known)
                .ok_or_else(|| Fault::arg("shape", v, "a list of positive numbers, 0 or -1"))?,
            Entry::Open(d) => d.clone(),
        });
    }
    if let Some(hole) = hole {
        let rest: Vec<&Dim> = dims.iter().enumerate().filter(|&(i, _)| i != hole).map(|(_, d)| d).collect();
        let copies = to.iter().map(|e| *e == Entry::Int(0)).enumerate().filter(|&(i, _)| i != hole);
        dims[hole] = remainder(from, &taken, &rest, &copies.map(|(_, c)| c).collect::<Vec<_>>())?;
    } else if let (Some(a), Some(b)) = (product(from).known(), product(&dims).known())
        && a != b
    {
        return Err(mismatch(from, to));
    }
    Ok(dims)
}

/// What -1 stands for: the dims `from` divided by the `rest` of the new ones.
fn remainder(from: &[Dim], taken: &[bool], rest: &[&Dim], copied: &[bool]) -> Result<Dim, Fault> {
    let count = |dims: &mut dyn Iterator<Item = &Dim>| -> Option<usize> {
        dims.filter_map(Dim::known).try_fold(1usize, usize::checked_mul)
    };
    let (Some(all), Some(some)) = (count(&mut from.iter()), count(&mut rest.iter().copied())) else {
        return Ok(Dim::Unknown);
    };
    let left = from.iter().zip(taken).filter(|(d, taken)| d.known().is_none() && !**taken);
    let mut open: Vec<&Dim> = left.map(|(d, _)| d).collect();
    for dim in rest.iter().zip(copied).filter(|(d, c)| d.known().is_none() && !**c).map(|(d, _)| d) {
        match open.iter().position(|o| o == dim && **o != Dim::Unknown) {
            Some(at) => drop(open.remove(at)),
            None => return Ok(Dim::Unknown),
        }
    }
    match open.as_slice() {
        [] if some == 0 && all == 0 => Ok(Dim::Known(0)),
        [] if some == 0 || all % some != 0 => {
            let allowed = format!("such that the fixed ones divide {all} elements");
            Err(Fault::arg("shape", format!("with {some} elements in the other dims"), allowed))
        }
        [] => Ok(Dim::Known(all / some)),
        [only] if all == some => Ok((*only).clone()),
        _ => Ok(Dim::Unknown),
    }
}

fn mismatch(from: &[Dim], to: &[Entry]) -> Fault {
    let to: Vec<String> = to.iter().map(|e| e.int().map_or("?".into(), |v| v.to_string())).collect();
    Fault::arg("shape", show(&to), format!("a shape with as many elements as `x`, which is {}", show(from)))
}

const LIKE_PARAMS: &[Param] = &[
    tensor("x", T),
    variadic("ref_tensors", Accept::Any),
    variadic("begins", Accept::Any),
    variadic("ends", Accept::Any),
    variadic("end_masks", Accept::Any),
];

pub(super) static RESHAPE_LIKE: OpDef = OpDef {
    name: "reshape_like",
    doc: "The same elements under a shape put together from ranges of the shapes of `ref_tensors`.",
    versions: &[
        Version { since: Opset::Ios16, params: LIKE_PARAMS, domains: &[T_BASIC] },
        Version { since: Opset::Ios17, params: LIKE_PARAMS, domains: &[T_WIDE] },
    ],
    effect: Effect::Pure,
    form: Form::Reshape,
    infer: |site| {
        let x = site.tensor("x")?;
        let refs: Vec<Vec<Dim>> = site.tensors("ref_tensors")?.iter().map(|t| t.dims.clone()).collect();
        let dims = like(site, &refs)?;
        if let (Some(a), Some(b)) = (product(&x.dims).known(), product(&dims).known())
            && a != b
        {
            let allowed = format!("of as many elements as the new shape {}", show(&dims));
            return Err(Fault::arg("x", format!("of shape {}", show(&x.dims)), allowed));
        }
        Ok(one(x.dtype, dims))
    },
    eval: Some(|site| {
        let dims = |t: &Tensor| t.shape().iter().map(|&n| n.into()).collect();
        let refs: Vec<Vec<Dim>> = site.tensors("ref_tensors")?.iter().map(dims).collect();
        reshaped(&site.tensor("x")?, &fixed(&like(&site.site, &refs)?)?)
    }),
    work: Work::none,
};

/// The ranges of the shapes of the references, one after the other.
fn like(site: &Site<'_>, refs: &[Vec<Dim>]) -> Result<Vec<Dim>, Fault> {
    let (begins, ends) = (scalars(site, "begins", refs.len())?, scalars(site, "ends", refs.len())?);
    let masks = scalars(site, "end_masks", refs.len())?;
    let mut out = Vec::new();
    for (((dims, begin), end), mask) in refs.iter().zip(begins).zip(ends).zip(masks) {
        let wide = num::i64_of(dims.len());
        let clamp = |v: i64| {
            let v = if v < 0 { v.saturating_add(wide) } else { v };
            num::usize_of(v.clamp(0, wide)).unwrap_or(0)
        };
        let (begin, end) = (clamp(begin), if mask != 0 { dims.len() } else { clamp(end) });
        out.extend(dims.get(begin..end).unwrap_or(&[]).iter().cloned());
    }
    Ok(out)
}

/// The constant scalars of a variadic parameter.
fn scalars(site: &Site<'_>, param: &str, count: usize) -> Result<Vec<i64>, Fault> {
    let values = site.values(param);
    if values.len() != count {
        return Err(Fault::arg(
            param,
            format!("{} values", values.len()),
            format!("{count}, one a reference"),
        ));
    }
    let one = |&v| {
        let literal = site.function.constant(v)?.literal().ok()?;
        literal.as_tensor().filter(|t| !t.is_empty()).map(|t| t.i64_at(0))
    };
    let all: Option<Vec<i64>> = values.iter().map(one).collect();
    all.ok_or_else(|| Fault::arg(param, "computed at run time", "constants"))
}

const TRANSPOSE_PARAMS: &[Param] = &[tensor("x", T), constant("perm", INT32)];

pub(super) static TRANSPOSE: OpDef = OpDef {
    name: "transpose",
    doc: "Permutes dims: dim `i` of the result is dim `perm[i]` of `x`.",
    versions: &[
        Version { since: Opset::Ios13, params: TRANSPOSE_PARAMS, domains: &[T_BASIC] },
        Version { since: Opset::Ios17, params: TRANSPOSE_PARAMS, domains: &[T_WIDE] },
    ],
    effect: Effect::Pure,
    form: Form::Move(&["x"]),
    infer: |site| {
        let x = site.tensor("x")?;
        let perm = transposition(site)?;
        Ok(one(x.dtype, perm.iter().filter_map(|&p| x.dims.get(p).cloned()).collect()))
    },
    eval: Some(eval_transpose),
    work: Work::none,
};

fn eval_transpose(site: &EvalSite<'_>) -> Result<Vec<Literal>, Fault> {
    let x = site.tensor("x")?;
    let perm = transposition(&site.site)?;
    let from = strides(x.shape());
    let shape: Vec<usize> = perm.iter().filter_map(|&p| x.shape().get(p).copied()).collect();
    let steps: Vec<usize> = perm.iter().filter_map(|&p| from.get(p).copied()).collect();
    Ok(vec![pick(&x, &shape, |index| Some(offset(index, &steps)))?.into()])
}

/// The permutation of a `transpose`, counted from the front: dim `i` of the result is dim `[i]` of `x`.
///
/// # Errors
/// When `perm` is no constant permutation of the dims of `x`.
pub fn transposition(site: &Site<'_>) -> Result<Vec<usize>, Fault> {
    let rank = site.tensor("x")?.rank();
    let perm = site.axes("perm", rank)?;
    let mut seen = vec![false; rank];
    perm.iter().for_each(|&p| seen[p] = true);
    if perm.len() != rank || seen.contains(&false) {
        return Err(Fault::arg("perm", show(&perm), format!("a permutation of 0 to {rank}, exclusive")));
    }
    Ok(perm)
}
