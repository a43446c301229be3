//! Ops that resize the last dims one by one: `resize`, `resize_*` and `upsample_*`.

use super::{Interpolation, Sampling, Tap};
use crate::eval::EvalSite;
use crate::ops::rearrange::made;
use crate::ops::window::volume;
use crate::ops::{Fault, Site};
use crate::{Dim, Literal, ValueId};
use anemone_tensor::num::{f32_of, f64_of_usize, i64_trunc, usize_of};

/// Extent of a resized dim.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    /// That many elements.
    Extent(usize),
    /// Input extent times this factor, rounded down; the product is taken in `fp32`.
    Scale(f64),
    /// As many elements as the input has.
    Same,
    /// Known only at run time, from operand `shape`.
    Runtime,
}

impl Target {
    /// The output extent for an input extent; `None` when it is known only at run time or too large.
    pub fn extent(self, input: usize) -> Option<usize> {
        match self {
            Target::Extent(n) => Some(n),
            Target::Scale(s) => {
                let product = f64::from(f32_of(f64_of_usize(input) * f64::from(f32_of(s))));
                usize_of(i64_trunc(product.floor()))
            }
            Target::Same => Some(input),
            Target::Runtime => None,
        }
    }

    /// The output dim of an input dim.
    pub fn dim(self, input: &Dim) -> Dim {
        match self {
            Target::Extent(n) => Dim::Known(n),
            Target::Same => input.clone(),
            Target::Scale(1.0) => input.clone(),
            _ => input.map(|n| self.extent(n)),
        }
    }
}

/// A `resize`, `resize_bilinear`, `resize_nearest_neighbor`, `upsample_bilinear` or `upsample_nearest_neighbor`
/// with its attributes decoded and defaulted.
#[derive(Clone, Debug, PartialEq)]
pub struct Resize {
    /// Input.
    pub x: ValueId,
    /// Targets of the last dims, outermost first; the dims before them stay as they are.
    pub targets: Vec<Target>,
    /// How every resized dim is read.
    pub interpolation: Interpolation,
}

impl Resize {
    /// Decodes the op.
    ///
    /// # Errors
    /// When ranks do not fit or an attribute is impossible.
    pub fn of(site: &Site<'_>) -> Result<Resize, Fault> {
        let rank = site.tensor("x")?.rank();
        if site.def.name != "resize" && rank < 3 {
            return Err(Fault::arg("x", format!("of rank {rank}"), "of rank 3 or more"));
        }
        let (targets, interpolation) = match site.def.name {
            "resize" => (shape_targets(site, rank, site.known_ints("shape"))?, resize_interpolation(site)?),
            "resize_bilinear" => (sizes(site)?, Interpolation::Linear(sampling(site)?)),
            "resize_nearest_neighbor" => (sizes(site)?, Interpolation::Floor),
            "upsample_bilinear" => (scales(site)?, Interpolation::Linear(upsampling(site)?)),
            _ => (scales(site)?, Interpolation::Floor),
        };
        let x = site.op.value("x").ok_or_else(|| Fault::new("argument `x` is missing"))?;
        Ok(Resize { x, targets, interpolation })
    }

    /// Dims of the result of an input of these dims.
    pub fn output_dims(&self, x: &[Dim]) -> Vec<Dim> {
        let kept = x.len().saturating_sub(self.targets.len());
        let resized = x[kept..].iter().zip(&self.targets).map(|(d, t)| t.dim(d));
        x[..kept].iter().cloned().chain(resized).collect()
    }

    /// Shape of the result of an input of this shape.
    ///
    /// # Errors
    /// When an extent is known only at run time, the rank is too small, or a scaled extent is too large.
    pub fn output_shape(&self, x: &[usize]) -> Result<Vec<usize>, Fault> {
        let kept = x.len().checked_sub(self.targets.len());
        let split = kept.and_then(|k| x.split_at_checked(k));
        let resized = split.and_then(|(kept, rest)| {
            let extents = rest.iter().zip(&self.targets).map(|(&n, t)| t.extent(n));
            Some([kept.to_vec(), extents.collect::<Option<Vec<_>>>()?].concat())
        });
        let message = || Fault::new(format!("an extent that {x:?} is resized to is not known, or too large"));
        resized.ok_or_else(message)
    }

    /// The op with `Runtime` targets replaced by the elements of operand `shape`.
    ///
    /// # Errors
    /// When there are too few of them or one is negative.
    pub fn with_shape(&self, site: &Site<'_>, rank: usize, shape: Vec<i64>) -> Result<Resize, Fault> {
        let targets = shape_targets(site, rank, Some(shape))?;
        Ok(Resize { targets, ..self.clone() })
    }
}

/// The sampling mode of the `sampling_mode` argument.
pub(super) fn sampling(site: &Site<'_>) -> Result<Sampling, Fault> {
    let name = site.str("sampling_mode")?;
    let allowed = "DEFAULT, STRICT_ALIGN_CORNERS, ALIGN_CORNERS, UNALIGN_CORNERS or OFFSET_CORNERS";
    Sampling::from_name(&name).ok_or_else(|| Fault::arg("sampling_mode", name, allowed))
}

fn resize_interpolation(site: &Site<'_>) -> Result<Interpolation, Fault> {
    let name = site.str("interpolation_mode")?;
    match name.as_str() {
        "LINEAR" => Ok(Interpolation::Linear(sampling(site)?)),
        "NEAREST_NEIGHBOR" => Ok(Interpolation::Nearest(sampling(site)?)),
        _ => Err(Fault::arg("interpolation_mode", name, "LINEAR or NEAREST_NEIGHBOR")),
    }
}

/// The sampling of `upsample_bilinear`: `half_pixel_centers` counts where corners are not aligned.
fn upsampling(site: &Site<'_>) -> Result<Sampling, Fault> {
    if site.bool("align_corners")? {
        return Ok(Sampling::StrictAlignCorners);
    }
    let half = !site.has("half_pixel_centers") || site.bool("half_pixel_centers")?;
    Ok(if half { Sampling::UnalignCorners } else { Sampling::Default })
}

/// A constant extent of at least 1.
pub(super) fn size(site: &Site<'_>, param: &str) -> Result<usize, Fault> {
    let given = site.int(param)?;
    usize_of(given).filter(|&n| n > 0).ok_or_else(|| Fault::arg(param, given, "at least 1"))
}

fn sizes(site: &Site<'_>) -> Result<Vec<Target>, Fault> {
    let of = |param: &str| size(site, param).map(Target::Extent);
    Ok(vec![of("target_size_height")?, of("target_size_width")?])
}

fn scales(site: &Site<'_>) -> Result<Vec<Target>, Fault> {
    let of = |param: &str| {
        let given = site.float(param)?;
        let valid = given.is_finite() && given > 0.0;
        if valid { Ok(Target::Scale(given)) } else { Err(Fault::arg(param, given, "larger than 0")) }
    };
    Ok(vec![of("scale_factor_height")?, of("scale_factor_width")?])
}

/// The targets of `resize`: the last `resized_dims` elements of `shape`, where 0 means as in the input.
fn shape_targets(site: &Site<'_>, rank: usize, shape: Option<Vec<i64>>) -> Result<Vec<Target>, Fault> {
    let given = site.int("resized_dims")?;
    let shape_ty = site.tensor("shape")?;
    if shape_ty.rank() != 1 {
        return Err(Fault::arg("shape", shape_ty, "of rank 1"));
    }
    let count = usize_of(given).filter(|&n| n <= rank);
    let count =
        count.ok_or_else(|| Fault::arg("resized_dims", given, format!("0 to {rank}, the rank of `x`")))?;
    let len = shape_ty.dims[0].known();
    if let Some(n) = len.filter(|&n| n < count || n > rank) {
        let allowed = format!("{count} to {rank} long, from `resized_dims` to the rank of `x`");
        return Err(Fault::arg("shape", format!("{n} long"), allowed));
    }
    let Some(shape) = shape else { return Ok(vec![Target::Runtime; count]) };
    let used = shape.len().checked_sub(count).map(|from| &shape[from..]);
    let used =
        used.ok_or_else(|| Fault::arg("shape", format!("{shape:?}"), format!("{count} long or more")))?;
    let one = |&n: &i64| match usize_of(n) {
        Some(0) => Ok(Target::Same),
        Some(n) => Ok(Target::Extent(n)),
        None => Err(Fault::arg("shape", n, "at least 0")),
    };
    used.iter().map(one).collect()
}

/// Evaluates the op, one dim after the other.
pub(super) fn eval(site: &EvalSite<'_>) -> Result<Vec<Literal>, Fault> {
    let mut view = Resize::of(&site.site)?;
    let x = site.tensor("x")?;
    if view.targets.contains(&Target::Runtime) {
        view = view.with_shape(&site.site, x.rank(), site.ints("shape")?)?;
    }
    let shape = view.output_shape(x.shape())?;
    made(&shape, x.len())?;
    if shape.contains(&0) {
        return EvalSite::floats(x.dtype(), &shape, &[]);
    }
    if x.is_empty() {
        return Err(Fault::arg("x", format!("of shape {:?}", x.shape()), "without empty dims to enlarge"));
    }
    let (mut done, mut values) = (x.shape().to_vec(), x.to_f64s());
    for (axis, &output) in shape.iter().enumerate().skip(shape.len() - view.targets.len()) {
        let input = std::mem::replace(&mut done[axis], output);
        made(&done, x.len())?;
        let below = volume(&done[axis + 1..]);
        values = along(&values, input, below, &view.interpolation.taps(input, output));
    }
    EvalSite::floats(x.dtype(), &shape, &values)
}

/// Resizes one dim of `extent` elements that are `below` apart.
fn along(values: &[f64], extent: usize, below: usize, taps: &[Tap]) -> Vec<f64> {
    let block = extent.saturating_mul(below).max(1);
    let mut out = Vec::new();
    for group in values.chunks_exact(block) {
        for tap in taps {
            let (low, high) = (&group[tap.low * below..][..below], &group[tap.high * below..][..below]);
            out.extend(low.iter().zip(high).map(|(a, b)| blend(*a, *b, tap.weight)));
        }
    }
    out
}

/// `a` and `b` by weight; an element of weight 0 does not count, whatever it is.
pub(super) fn blend(a: f64, b: f64, weight: f64) -> f64 {
    if weight == 0.0 { a } else { a * (1.0 - weight) + b * weight }
}
