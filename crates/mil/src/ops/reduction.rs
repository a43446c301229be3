//! Reductions along axes.
//!
//! Semantics: the MIL op reference of coremltools, `ops/defs/{iOS15,iOS17}/reduction.py`. Sums of floats are kept in
//! `f64`; integer results wrap, those of a real formula are truncated toward zero.

use super::common::{
    self, BOOL, INT32, STRING, T, T_FLOATS_INT32, for_each_index, integers, offset, strides,
};
use super::{Default, Effect, Fault, Form, OpDef, Param, Site, Version, Work, constant, tensor};
use crate::eval::{EvalFn, EvalSite};
use crate::{Literal, Opset, Tensor, TensorType, Type};
use anemone_tensor::{DType, num};

/// The ops of this family.
pub static OPS: &[&OpDef] = &[
    &REDUCE_ARGMAX,
    &REDUCE_ARGMIN,
    &REDUCE_L1_NORM,
    &REDUCE_L2_NORM,
    &REDUCE_LOG_SUM,
    &REDUCE_LOG_SUM_EXP,
    &REDUCE_MAX,
    &REDUCE_MEAN,
    &REDUCE_MIN,
    &REDUCE_PROD,
    &REDUCE_SUM,
    &REDUCE_SUM_SQUARE,
];

const X: Param = tensor("x", T);
const AXIS: Param = constant("axis", INT32).or(Default::Int(-1));
const KEEP_DIMS: Param = constant("keep_dims", BOOL).or(Default::Bool(false));
const AXES: &[Version] = &[Version {
    since: Opset::Ios13,
    params: &[X, constant("axes", INT32).optional(), KEEP_DIMS],
    domains: &[T_FLOATS_INT32],
}];
const ONE_AXIS: &[Version] = &[
    Version { since: Opset::Ios13, params: &[X, AXIS, KEEP_DIMS], domains: &[T_FLOATS_INT32] },
    Version {
        since: Opset::Ios17,
        params: &[X, AXIS, KEEP_DIMS, constant("output_dtype", STRING).or(Default::Str("int32"))],
        domains: &[T_FLOATS_INT32],
    },
];

/// A reduction over `axes`, all of them when left out.
const fn over_axes(name: &'static str, doc: &'static str, eval: EvalFn) -> OpDef {
    OpDef {
        name,
        doc,
        versions: AXES,
        effect: Effect::Pure,
        form: Form::Reduction,
        infer: axes_type,
        eval: Some(eval),
        work: Work::per_input,
    }
}

/// What a reduction reduces, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reduction {
    /// Axes of `x`, ascending, counted from the front.
    pub axes: Vec<usize>,
    /// True when they stay as dims of extent 1.
    pub keep_dims: bool,
}

impl Reduction {
    /// Decodes any op of the family, with `axes` or `axis`, for the declared rank of `x`.
    ///
    /// # Errors
    /// When an axis is no constant, out of range or given twice.
    pub fn of(site: &Site<'_>) -> Result<Reduction, Fault> {
        Reduction::of_rank(site, site.tensor("x")?.rank())
    }

    fn of_rank(site: &Site<'_>, rank: usize) -> Result<Reduction, Fault> {
        let one = site.version.param("axis").is_some();
        let mut axes = match (one, site.has("axes")) {
            (true, _) => vec![site.axis("axis", rank)?],
            (false, true) => site.axes("axes", rank)?,
            (false, false) => (0..rank).collect(),
        };
        axes.sort_unstable();
        if let Some(twice) = axes.windows(2).find(|w| w[0] == w[1]) {
            return Err(Fault::arg("axes", format!("{} twice", twice[0]), "every axis once"));
        }
        Ok(Reduction { axes, keep_dims: site.bool("keep_dims")? })
    }

    /// `dims` with the axes removed, or made 1.
    fn apply<D: Clone + From<usize>>(&self, dims: &[D]) -> Vec<D> {
        let mut out = Vec::with_capacity(dims.len());
        for (i, dim) in dims.iter().enumerate() {
            match (self.axes.contains(&i), self.keep_dims) {
                (false, _) => out.push(dim.clone()),
                (true, true) => out.push(D::from(1)),
                (true, false) => {}
            }
        }
        out
    }
}

fn axes_type(site: &Site<'_>) -> Result<Vec<Type>, Fault> {
    let x = site.tensor("x")?;
    let dims = Reduction::of(site)?.apply(&x.dims);
    Ok(vec![TensorType { dtype: x.dtype, dims }.into()])
}

/// The groups of elements that reduce to one: shape of the result, and for each result the positions in `x`.
struct Groups {
    shape: Vec<usize>,
    starts: Vec<usize>,
    steps: Vec<usize>,
}

impl Groups {
    fn of(site: &EvalSite<'_>, x: &Tensor) -> Result<Groups, Fault> {
        let reduction = Reduction::of_rank(&site.site, x.rank())?;
        let all = strides(x.shape());
        let extent = |reduced: bool| -> Vec<usize> {
            let pick = |(i, &n): (usize, &usize)| if reduction.axes.contains(&i) == reduced { n } else { 1 };
            x.shape().iter().enumerate().map(pick).collect()
        };
        let positions = |shape: &[usize]| -> Result<Vec<usize>, Fault> {
            let mut out = Vec::with_capacity(common::element_count(shape)?);
            for_each_index(shape, |index| out.push(offset(index, &all)));
            Ok(out)
        };
        Ok(Groups {
            shape: reduction.apply(x.shape()),
            starts: positions(&extent(false))?,
            steps: positions(&extent(true))?,
        })
    }

    /// Folds every group.
    fn map<N, R>(&self, at: impl Fn(usize) -> N, f: impl Fn(&mut dyn Iterator<Item = N>) -> R) -> Vec<R> {
        let fold = |&start: &usize| f(&mut self.steps.iter().map(|&step| at(start + step)));
        self.starts.iter().map(fold).collect()
    }

    /// A fault when groups are empty, for reductions that need an element.
    fn need_elements(&self) -> Result<(), Fault> {
        if self.steps.is_empty() && !self.starts.is_empty() {
            return Err(Fault::arg("x", "empty along the reduced axes", "at least one element there"));
        }
        Ok(())
    }
}

/// Folds groups as `f64`, and truncates for an integer `x`.
fn real(
    site: &EvalSite<'_>,
    f: impl Fn(&mut dyn Iterator<Item = f64>) -> f64,
) -> Result<Vec<Literal>, Fault> {
    let x = site.tensor("x")?;
    let groups = Groups::of(site, &x)?;
    EvalSite::floats(x.dtype(), &groups.shape, &groups.map(|i| x.f64_at(i), f))
}

/// Folds groups of floats with `floats`, of integers with `ints`, wrapping.
fn exact(
    site: &EvalSite<'_>,
    floats: impl Fn(&mut dyn Iterator<Item = f64>) -> f64,
    ints: impl Fn(&mut dyn Iterator<Item = i64>) -> i64,
) -> Result<Vec<Literal>, Fault> {
    let x = site.tensor("x")?;
    if !x.dtype().is_int() {
        return real(site, floats);
    }
    let groups = Groups::of(site, &x)?;
    integers(x.dtype(), &groups.shape, &groups.map(|i| x.i64_at(i), ints))
}

/// Folds groups that have at least one element.
fn extreme(site: &EvalSite<'_>, f: impl Fn(f64, f64) -> f64) -> Result<Vec<Literal>, Fault> {
    let x = site.tensor("x")?;
    Groups::of(site, &x)?.need_elements()?;
    real(site, |values| values.reduce(&f).unwrap_or_default())
}

static REDUCE_L1_NORM: OpDef = over_axes("reduce_l1_norm", "Sum of |x|.", |site| {
    exact(
        site,
        |values| values.map(f64::abs).sum(),
        |values| values.fold(0i64, |sum, v| sum.wrapping_add(v.wrapping_abs())),
    )
});

static REDUCE_L2_NORM: OpDef = OpDef {
    work: two_per_input,
    ..over_axes("reduce_l2_norm", "Square root of the sum of x^2.", |site| {
        real(site, |values| values.map(|v| v * v).sum::<f64>().sqrt())
    })
};

static REDUCE_LOG_SUM: OpDef = over_axes("reduce_log_sum", "Natural logarithm of the sum.", |site| {
    real(site, |values| values.sum::<f64>().ln())
});

static REDUCE_LOG_SUM_EXP: OpDef = OpDef {
    work: |site| {
        let flops = two_per_input(site)?.flops;
        Some(Work { flops, transcendental: flops / 2 })
    },
    ..over_axes("reduce_log_sum_exp", "Natural logarithm of the sum of e^x.", log_sum_exp)
};

fn log_sum_exp(site: &EvalSite<'_>) -> Result<Vec<Literal>, Fault> {
    let x = site.tensor("x")?;
    Groups::of(site, &x)?.need_elements()?;
    real(site, |values| {
        let values: Vec<f64> = values.collect();
        let top = values.iter().copied().fold(f64::NEG_INFINITY, common::max);
        if top.is_infinite() {
            return top;
        }
        top + values.iter().map(|v| (v - top).exp()).sum::<f64>().ln()
    })
}

static REDUCE_MAX: OpDef = over_axes("reduce_max", "The largest element.", |site| extreme(site, common::max));
static REDUCE_MIN: OpDef =
    over_axes("reduce_min", "The smallest element.", |site| extreme(site, common::min));

static REDUCE_MEAN: OpDef = over_axes("reduce_mean", "The mean.", |site| {
    real(site, |values| {
        let (sum, count) = values.fold((0.0, 0usize), |(sum, n), v| (sum + v, n + 1));
        sum / num::f64_of_usize(count)
    })
});

static REDUCE_PROD: OpDef = over_axes("reduce_prod", "The product.", |site| {
    exact(site, |values| values.product(), |values| values.fold(1i64, i64::wrapping_mul))
});

static REDUCE_SUM: OpDef = over_axes("reduce_sum", "The sum.", |site| {
    exact(site, |values| values.sum(), |values| values.fold(0i64, i64::wrapping_add))
});

static REDUCE_SUM_SQUARE: OpDef = OpDef {
    work: two_per_input,
    ..over_axes("reduce_sum_square", "Sum of x^2.", |site| {
        exact(
            site,
            |values| values.map(|v| v * v).sum(),
            |values| values.fold(0i64, |sum, v| sum.wrapping_add(v.wrapping_mul(v))),
        )
    })
};

fn two_per_input(site: &Site<'_>) -> Option<Work> {
    let work = Work::per_input(site)?;
    Some(Work { flops: work.flops.checked_mul(2)?, ..work })
}

static REDUCE_ARGMAX: OpDef =
    arg("reduce_argmax", "Index of the largest element along axis, the first of equal ones.", |site| {
        arg_extreme(site, |v, best| v > best)
    });

static REDUCE_ARGMIN: OpDef =
    arg("reduce_argmin", "Index of the smallest element along axis, the first of equal ones.", |site| {
        arg_extreme(site, |v, best| v < best)
    });

/// A reduction over one axis to an index.
const fn arg(name: &'static str, doc: &'static str, eval: EvalFn) -> OpDef {
    OpDef { versions: ONE_AXIS, infer: arg_type, ..over_axes(name, doc, eval) }
}

/// Element type of the indices: `int32`, since iOS 17 also `uint16`.
fn index_dtype(site: &Site<'_>) -> Result<DType, Fault> {
    if site.version.param("output_dtype").is_none() {
        return Ok(DType::I32);
    }
    let name = site.str("output_dtype")?;
    match name.to_ascii_lowercase().as_str() {
        "int32" => Ok(DType::I32),
        "uint16" => Ok(DType::U16),
        _ => Err(Fault::arg("output_dtype", format!("\"{name}\""), "int32 or uint16")),
    }
}

fn arg_type(site: &Site<'_>) -> Result<Vec<Type>, Fault> {
    let x = site.tensor("x")?;
    let dims = Reduction::of(site)?.apply(&x.dims);
    Ok(vec![TensorType { dtype: index_dtype(site)?, dims }.into()])
}

/// Index of the first element that none is better than; NaN is best of all, as in NumPy.
fn arg_extreme(site: &EvalSite<'_>, better: impl Fn(f64, f64) -> bool) -> Result<Vec<Literal>, Fault> {
    let x = site.tensor("x")?;
    let groups = Groups::of(site, &x)?;
    groups.need_elements()?;
    let first_best = |values: &mut dyn Iterator<Item = f64>| {
        let start = (0i64, f64::NAN);
        let best = values.zip(0i64..).fold(start, |best, (v, i)| {
            let wins = !best.1.is_nan() && (v.is_nan() || better(v, best.1));
            if i == 0 || wins { (i, v) } else { best }
        });
        best.0
    };
    integers(index_dtype(&site.site)?, &groups.shape, &groups.map(|i| x.f64_at(i), first_best))
}
