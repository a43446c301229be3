//! Pooling.
//!
//! Formulas: the MIL op reference of coremltools 9.0, `ops/defs/iOS15/pool.py`.

use super::common::{BOOL, INT32, STRING, T, T_FLOATS};
use super::rearrange::made;
use super::window::{lift, no_pads, ones, positive, spatial, volume};
use super::{
    Default, Effect, Fault, Form, OpDef, Padding, Param, Site, Version, Window, Work, constant, tensor,
};
use crate::eval::EvalSite;
use crate::{Dim, Literal, Opset, TensorType, Type, ValueId};
use anemone_tensor::num;
use std::ops::Range;

/// The ops of this family.
pub static OPS: &[&OpDef] = &[&AVG_POOL, &L2_POOL, &MAX_POOL];

const STRIDES: Param = constant("strides", INT32).or(Default::Derived(ones));
const PAD: Param = constant("pad", INT32).or(Default::Derived(no_pads));
const CEIL_MODE: Param = constant("ceil_mode", BOOL).or(Default::Bool(false));

const POOL: &[Version] = &[Version {
    since: Opset::Ios13,
    params: &[
        tensor("x", T),
        constant("kernel_sizes", INT32),
        STRIDES,
        constant("pad_type", STRING),
        PAD,
        CEIL_MODE,
    ],
    domains: &[T_FLOATS],
}];

static AVG_POOL: OpDef = OpDef {
    name: "avg_pool",
    doc: "Mean of every window over 1 to 3 spatial dims; zeros in the padding count unless excluded.",
    versions: &[Version {
        since: Opset::Ios13,
        params: &[
            constant("exclude_padding_from_average", BOOL).or(Default::Bool(false)),
            tensor("x", T),
            constant("kernel_sizes", INT32),
            STRIDES,
            constant("pad_type", STRING),
            PAD,
            CEIL_MODE,
        ],
        domains: &[T_FLOATS],
    }],
    effect: Effect::Pure,
    form: Form::Other,
    infer,
    eval: Some(eval),
    work,
};

static L2_POOL: OpDef = OpDef {
    name: "l2_pool",
    doc: "Square root of the sum of squares of every window over 1 or 2 spatial dims.",
    versions: POOL,
    effect: Effect::Pure,
    form: Form::Other,
    infer,
    eval: Some(eval),
    work,
};

static MAX_POOL: OpDef = OpDef {
    name: "max_pool",
    doc: "Largest element of every window over 1 to 3 spatial dims; padding never wins.",
    versions: POOL,
    effect: Effect::Pure,
    form: Form::Other,
    infer,
    eval: Some(eval),
    work,
};

/// What a pool makes of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolKind {
    /// The mean.
    Average {
        /// Only elements of the input are counted.
        exclude_padding: bool,
    },
    /// The square root of the sum of squares.
    L2,
    /// The largest element.
    Max,
}

/// An `avg_pool`, `l2_pool` or `max_pool` with its attributes decoded and defaulted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Input `[n, c, *spatial]`.
    pub x: ValueId,
    /// What is made of a window.
    pub kind: PoolKind,
    /// Kernel extents, strides, padding and rounding of output extents.
    pub window: Window,
    /// Elements before and after each spatial dim, `same` resolved; `None` when that needs an extent that is
    /// known only at run time: ask [`Window::pads`] then.
    pub pads: Option<Vec<(usize, usize)>>,
}

impl Pool {
    /// Decodes the op.
    ///
    /// # Errors
    /// When ranks do not fit or an attribute is impossible.
    pub fn of(site: &Site<'_>) -> Result<Pool, Fault> {
        let space = spatial("x", site.tensor("x")?, if site.def.name == "l2_pool" { 2 } else { 3 })?;
        let kind = match site.def.name {
            "avg_pool" => PoolKind::Average { exclude_padding: site.bool("exclude_padding_from_average")? },
            "l2_pool" => PoolKind::L2,
            _ => PoolKind::Max,
        };
        let window = Window::of(site, positive(site, "kernel_sizes", space.len())?)?;
        check_ceil(&window)?;
        let pads = window.known_pads(space);
        let x = site.op.value("x").ok_or_else(|| Fault::new("argument `x` is missing"))?;
        Ok(Pool { x, kind, window, pads })
    }

    /// Number of elements that the mean over one window divides by, along one spatial dim.
    ///
    /// `at` is the output position, `extent` and `pads` those of the input. Rounding up may let the last window
    /// reach beyond the padding; what lies there is never counted (PyTorch's `AvgPool`, whose `ceil_mode` this is).
    pub fn counted(&self, axis: usize, at: usize, extent: usize, pads: (usize, usize)) -> usize {
        let start = at.saturating_mul(self.window.strides.get(axis).copied().unwrap_or(1));
        let end = start.saturating_add(self.window.span(axis));
        let (first, last) = match self.kind {
            PoolKind::Average { exclude_padding: true } => (pads.0, extent.saturating_add(pads.0)),
            _ => (0, extent.saturating_add(pads.0).saturating_add(pads.1)),
        };
        end.min(last).saturating_sub(start.max(first))
    }
}

/// Rounding up needs at most two spatial dims and symmetric fixed pads.
fn check_ceil(window: &Window) -> Result<(), Fault> {
    let allowed = match &window.padding {
        _ if !window.ceil => return Ok(()),
        _ if window.kernel.len() > 2 => "false with 3 spatial dims",
        Padding::Fixed(pads) if pads.iter().all(|p| p.0 == p.1) => return Ok(()),
        Padding::Fixed(_) => "false, or the pads equal before and after each dim",
        Padding::SameLower => return Ok(()),
        Padding::Same => "false with pad_type same",
    };
    Err(Fault::arg("ceil_mode", true, allowed))
}

fn infer(site: &Site<'_>) -> Result<Vec<Type>, Fault> {
    let pool = Pool::of(site)?;
    let x = site.tensor("x")?;
    let dims = [x.dims[..2].to_vec(), pool.window.output(&x.dims[2..])?].concat();
    Ok(vec![TensorType { dtype: x.dtype, dims }.into()])
}

/// One operation per tap of every window; `l2_pool` squares too and takes roots.
fn work(site: &Site<'_>) -> Option<Work> {
    let pool = Pool::of(site).ok()?;
    let taps = u64::try_from(num::element_count(&pool.window.kernel)?).ok()?;
    match pool.kind {
        PoolKind::L2 => Work::scaled(site, taps.checked_mul(2)?, 1),
        _ => Work::scaled(site, taps, 0),
    }
}

fn eval(site: &EvalSite<'_>) -> Result<Vec<Literal>, Fault> {
    let pool = Pool::of(&site.site)?;
    let x = site.tensor("x")?;
    let space = x.shape().get(2..).unwrap_or(&[]);
    let known: Vec<Dim> = space.iter().map(|&n| Dim::Known(n)).collect();
    let out: Option<Vec<usize>> = pool.window.output(&known)?.iter().map(Dim::known).collect();
    let out = out.ok_or_else(|| Fault::new("the result is too large to be addressed"))?;
    let shape = [x.shape()[..2].to_vec(), out.clone()].concat();
    let plane = Plane { pool: &pool, input: space, output: &out, pads: pool.window.pads(space) };
    let mut values = Vec::with_capacity(made(&shape, x.len())?);
    let xs = x.to_f64s();
    let (size, channels) = (volume(space), if shape.contains(&0) { 0 } else { volume(&shape[..2]) });
    (0..channels).for_each(|c| plane.run(&xs[c * size..(c + 1) * size], &mut values));
    EvalSite::floats(x.dtype(), &shape, &values)
}

/// One channel of one batch item.
struct Plane<'a> {
    pool: &'a Pool,
    input: &'a [usize],
    output: &'a [usize],
    pads: Vec<(usize, usize)>,
}

impl Plane<'_> {
    /// Appends one value per window over `xs`.
    fn run(&self, xs: &[f64], values: &mut Vec<f64>) {
        let [d, h, w] = lift(self.output, 1);
        for z in 0..d {
            for y in 0..h {
                values.extend((0..w).map(|x| self.window([z, y, x], xs)));
            }
        }
    }

    fn window(&self, at: [usize; 3], xs: &[f64]) -> f64 {
        let [_, h, w] = lift(self.input, 1);
        let [zs, ys, cols] = [0, 1, 2].map(|axis| self.taps(axis, at[axis]));
        let rows = zs.flat_map(|z| ys.clone().map(move |y| (z * h + y) * w));
        let elements = rows.flat_map(|row| cols.clone().map(move |x| xs[row + x]));
        match self.pool.kind {
            PoolKind::Max => elements.fold(f64::NEG_INFINITY, |m, v| if v > m || v.is_nan() { v } else { m }),
            PoolKind::L2 => elements.map(|v| v * v).sum::<f64>().sqrt(),
            PoolKind::Average { .. } => elements.sum::<f64>() / self.count(at),
        }
    }

    /// Positions in the input of the taps of output `at` along one lifted dim.
    fn taps(&self, axis: usize, at: usize) -> Range<usize> {
        let w = &self.pool.window;
        let (before, extent) = (lift(&self.pads, (0, 0))[axis].0, lift(self.input, 1)[axis]);
        let start = at.saturating_mul(lift(&w.strides, 1)[axis]);
        let end = start.saturating_add(lift(&w.kernel, 1)[axis]);
        start.saturating_sub(before)..end.saturating_sub(before).min(extent)
    }

    fn count(&self, at: [usize; 3]) -> f64 {
        let lead = 3 - self.input.len().min(3);
        let axes = self.input.iter().zip(&self.pads).enumerate();
        let counts = axes.map(|(i, (&n, &pads))| self.pool.counted(i, at[lead + i], n, pads));
        counts.map(num::f64_of_usize).product()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::probe::{f32s, run};

    fn pool(op: &str, shape: &[usize], pad: i32, ceil: bool, exclude: Option<bool>) -> Vec<f64> {
        let x: Vec<f32> = (1u8..=16).map(f32::from).collect();
        let out = run(Opset::Ios17, op, &[("x", f32s(shape, &x))], |b| {
            let b = b.ints("kernel_sizes", &[3, 3]).ints("strides", &[2, 2]).str("pad_type", "custom");
            let b = b.ints("pad", &[pad; 4]).bool("ceil_mode", ceil);
            match exclude {
                Some(e) => b.bool("exclude_padding_from_average", e),
                None => b,
            }
        });
        out[0].to_f64s()
    }

    /// Expected: sums and maxima of 3x3 windows over the numbers 1 to 16 in a 4x4 grid, by hand.
    #[test]
    fn pools_match_values_worked_out_by_hand() {
        let shape = [1, 1, 4, 4];
        assert_eq!(pool("max_pool", &shape, 0, false, None), [11.0]);
        assert_eq!(pool("max_pool", &shape, 0, true, None), [11.0, 12.0, 15.0, 16.0]);
        assert_eq!(pool("max_pool", &shape, 1, false, None), [6.0, 8.0, 14.0, 16.0]);
        assert_eq!(pool("avg_pool", &shape, 1, false, Some(true)), [3.5, 5.0, 9.5, 11.0]);
        let included: Vec<f64> =
            pool("avg_pool", &shape, 1, false, None).iter().map(|v| (v * 9.0).round()).collect();
        assert_eq!(included, [14.0, 30.0, 57.0, 99.0]);
        let l2: Vec<f64> = pool("l2_pool", &shape, 1, false, None).iter().map(|v| (v * v).round()).collect();
        assert_eq!(l2, [66.0, 178.0, 607.0, 1191.0]);
    }

    /// Expected: PyTorch divides a window that reaches beyond the padding by the elements inside of it.
    #[test]
    fn what_rounding_up_adds_is_never_counted() {
        assert_eq!(pool("avg_pool", &[1, 1, 4, 4], 0, true, None), [6.0, 7.5, 12.0, 13.5]);
    }

    #[test]
    fn impossible_attributes_are_faults() {
        let infer = |kernel: &'static [i32], kind: &'static str| {
            let mut b = crate::Builder::new("main", Opset::Ios15);
            let x = b.input("x", TensorType::new(crate::DType::F32, [1, 1, 4, 4]));
            b.op("max_pool").arg("x", x).ints("kernel_sizes", kernel).str("pad_type", kind).one("y")
        };
        assert!(infer(&[2, 2], "valid").is_ok());
        assert!(infer(&[2], "valid").is_err());
        assert!(infer(&[0, 2], "valid").is_err());
        assert!(infer(&[5, 2], "valid").is_err());
        let fault = infer(&[2, 2], "same_lower").expect_err("not before ios16").to_string();
        assert!(fault.contains("ios16"), "{fault}");
    }

    #[test]
    fn windows_over_padding_alone_hold_nothing() {
        let out = run(Opset::Ios15, "avg_pool", &[("x", f32s(&[1, 2, 0], &[]))], |b| {
            b.ints("kernel_sizes", &[2]).str("pad_type", "custom").ints("pad", &[1, 1])
        });
        assert_eq!((out[0].shape(), out[0].to_f64s()), (&[1, 2, 1][..], vec![0.0, 0.0]));
    }
}
