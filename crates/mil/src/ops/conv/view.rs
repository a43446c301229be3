//! Decoded convolutions.

use crate::ops::window::{positive, spatial};
use crate::ops::{Fault, Padding, Site, Window};
use crate::{Dim, ValueId};
use anemone_tensor::num;

/// A `conv` or `conv_quantized` with its attributes decoded and defaulted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conv {
    /// Input `[n, c_in, *spatial]`.
    pub x: ValueId,
    /// Weight `[c_out, c_in / groups, *kernel]`.
    pub weight: ValueId,
    /// Bias `[c_out]`.
    pub bias: Option<ValueId>,
    /// Kernel extents, strides, dilations and padding.
    pub window: Window,
    /// Elements before and after each spatial dim, `same` resolved; `None` when that needs an extent that is
    /// known only at run time: ask [`Window::pads`] then.
    pub pads: Option<Vec<(usize, usize)>>,
    /// Groups of channels.
    pub groups: usize,
}

impl Conv {
    /// Decodes the op.
    ///
    /// # Errors
    /// When ranks do not fit, the weight's extents are not fixed, or an attribute is impossible.
    pub fn of(site: &Site<'_>) -> Result<Conv, Fault> {
        let (x, weight, bias) = operands(site)?;
        let window = Window::of(site, kernel(site)?)?;
        let pads = window.known_pads(spatial("x", site.tensor("x")?, 3)?);
        Ok(Conv { x, weight, bias, window, pads, groups: groups(site)? })
    }

    /// Dims of the result for an input and a weight of these dims.
    ///
    /// # Errors
    /// When channels, groups or spatial extents do not fit.
    pub fn output_dims(&self, x: &[Dim], weight: &[Dim]) -> Result<Vec<Dim>, Fault> {
        let ([n, c_in, space @ ..], [c_out, per_group, ..]) = (x, weight) else {
            return Err(Fault::new("input and weight must have at least 3 dims"));
        };
        let groups = self.groups;
        if let Some(c) =
            c_in.known().filter(|c| c % groups != 0 || !per_group.compatible(&(c / groups).into()))
        {
            return Err(Fault::arg(
                "weight",
                format!("for {per_group} input channels per group"),
                format!("for {c} / {groups}, the channels of `x` by `groups`"),
            ));
        }
        if let Some(c) = c_out.known().filter(|c| c % groups != 0) {
            return Err(Fault::arg("groups", groups, format!("a divisor of the {c} output channels")));
        }
        Ok([vec![n.clone(), c_out.clone()], self.window.output(space)?].concat())
    }
}

/// A `conv_transpose` with its attributes decoded and defaulted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConvTranspose {
    /// Input `[n, c_in, *spatial]`.
    pub x: ValueId,
    /// Weight `[c_in, c_out / groups, *kernel]`.
    pub weight: ValueId,
    /// Bias `[c_out]`.
    pub bias: Option<ValueId>,
    /// Kernel extents, strides, dilations and padding, those of the convolution whose gradient this is.
    pub window: Window,
    /// Groups of channels.
    pub groups: usize,
    /// Shape of the result, where it is given.
    pub output_shape: Option<Vec<usize>>,
}

impl ConvTranspose {
    /// Decodes the op.
    ///
    /// # Errors
    /// When ranks do not fit, the weight's extents are not fixed, or an attribute is impossible.
    pub fn of(site: &Site<'_>) -> Result<ConvTranspose, Fault> {
        let (x, weight, bias) = operands(site)?;
        let window = Window::of(site, kernel(site)?)?;
        let rank = window.kernel.len() + 2;
        spatial("x", site.tensor("x")?, 3)?;
        let given = site.has("output_shape").then(|| positive(site, "output_shape", rank));
        let output_shape = given.transpose()?;
        Ok(ConvTranspose { x, weight, bias, window, groups: groups(site)?, output_shape })
    }

    /// Dims of the result for an input and a weight of these dims.
    ///
    /// # Errors
    /// When channels, groups or spatial extents do not fit.
    pub fn output_dims(&self, x: &[Dim], weight: &[Dim]) -> Result<Vec<Dim>, Fault> {
        let ([n, c_in, space @ ..], [w_in, per_group, ..]) = (x, weight) else {
            return Err(Fault::new("input and weight must have at least 3 dims"));
        };
        if !w_in.compatible(c_in) {
            let actual = format!("for {w_in} input channels");
            return Err(Fault::arg("weight", actual, format!("for {c_in}, the channels of `x`")));
        }
        if let Some(c) = w_in.known().filter(|c| c % self.groups != 0) {
            return Err(Fault::arg("groups", self.groups, format!("a divisor of the {c} input channels")));
        }
        let c_out = per_group.map(|c| c.checked_mul(self.groups));
        if let Some(shape) = &self.output_shape {
            return self.given_dims(shape, n, &c_out);
        }
        let space = space.iter().enumerate().map(|(axis, d)| self.output_dim(axis, d));
        Ok([vec![n.clone(), c_out], space.collect::<Result<_, _>>()?].concat())
    }

    fn given_dims(&self, shape: &[usize], n: &Dim, c_out: &Dim) -> Result<Vec<Dim>, Fault> {
        let dims: Vec<Dim> = shape.iter().map(|&d| Dim::Known(d)).collect();
        if !dims[0].compatible(n) || !dims[1].compatible(c_out) {
            let allowed = format!("[{n}, {c_out}, ...], batch and output channels");
            return Err(Fault::arg("output_shape", format!("{shape:?}"), allowed));
        }
        Ok(dims)
    }

    fn output_dim(&self, axis: usize, dim: &Dim) -> Result<Dim, Fault> {
        let Some(n) = dim.known() else { return Ok(Dim::Unknown) };
        let stride = self.window.strides.get(axis).copied().unwrap_or(1);
        let Padding::Fixed(pads) = &self.window.padding else {
            return Ok(n.checked_mul(stride).map_or(Dim::Unknown, Dim::Known));
        };
        let (before, after) = pads.get(axis).copied().unwrap_or((0, 0));
        let full = self.full_extent(axis, n);
        let kept = full.checked_sub(before).and_then(|f| f.checked_sub(after));
        kept.map(Dim::Known).ok_or_else(|| {
            let actual = format!("{before} and {after} in spatial dim {axis}");
            Fault::arg("pad", actual, format!("at most {full} together, the extent before cropping"))
        })
    }

    /// Extent of the result along spatial dim `axis` before cropping; saturating.
    pub fn full_extent(&self, axis: usize, input: usize) -> usize {
        let stride = self.window.strides.get(axis).copied().unwrap_or(1);
        let steps = input.saturating_sub(1).saturating_mul(stride);
        if input == 0 { 0 } else { steps.saturating_add(self.window.span(axis)) }
    }

    /// Elements cropped in front of each spatial dim; what the result's extents leave out behind is cropped there.
    ///
    /// `same` crops what it would have padded in the forward direction, an odd element behind
    /// (in front for `same_lower`).
    pub fn crop_before(&self, input: &[usize], output: &[usize]) -> Vec<usize> {
        if let Padding::Fixed(pads) = &self.window.padding {
            return pads.iter().map(|p| p.0).collect();
        }
        let lower = self.window.padding == Padding::SameLower;
        let surplus = input.iter().zip(output).enumerate();
        let surplus = surplus.map(|(axis, (&n, &out))| self.full_extent(axis, n).saturating_sub(out));
        surplus.map(|s| if lower { s - s / 2 } else { s / 2 }).collect()
    }
}

fn operands(site: &Site<'_>) -> Result<(ValueId, ValueId, Option<ValueId>), Fault> {
    let one = |param: &str| {
        let missing = || Fault { param: Some(param.into()), message: "is missing; give it a value".into() };
        site.op.value(param).ok_or_else(missing)
    };
    Ok((one("x")?, one("weight")?, site.op.value("bias")))
}

/// Spatial extents of the weight, which has the rank of `x`.
fn kernel(site: &Site<'_>) -> Result<Vec<usize>, Fault> {
    let (x, weight) = (site.tensor("x")?, site.tensor("weight")?);
    if weight.rank() != x.rank() {
        return Err(Fault::arg("weight", weight, format!("of rank {}, like `x`", x.rank())));
    }
    let kernel: Option<Vec<usize>> = spatial("weight", weight, 3)?.iter().map(Dim::known).collect();
    kernel.ok_or_else(|| Fault::arg("weight", weight, "of fixed spatial extents"))
}

fn groups(site: &Site<'_>) -> Result<usize, Fault> {
    let groups = site.int("groups")?;
    let valid = num::usize_of(groups).filter(|&g| g > 0);
    valid.ok_or_else(|| Fault::arg("groups", groups, "at least 1"))
}
