//! Sliding windows: what convolution and pooling share.
//!
//! Formulas: the MIL op reference of coremltools 9.0, `ops/defs/iOS15/conv.py` and `pool.py`.

use super::{Fault, Site};
use crate::{Dim, Literal, Opset, Tensor, TensorType};
use anemone_tensor::num;

/// How the borders of the spatial dims are padded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Padding {
    /// Output extent is the input extent divided by the stride, rounded up; an odd element goes behind.
    Same,
    /// Like [`Padding::Same`], but an odd element goes in front.
    SameLower,
    /// Elements before and after each spatial dim; `valid` is all zeros.
    Fixed(Vec<(usize, usize)>),
}

/// A sliding window over the spatial dims (all but the first two) of `[n, c, *spatial]`.
///
/// Every list has one entry per spatial dim; strides, dilations and kernel extents are at least 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Extents of the kernel.
    pub kernel: Vec<usize>,
    /// Steps between neighbouring outputs.
    pub strides: Vec<usize>,
    /// Steps between neighbouring taps of the kernel.
    pub dilations: Vec<usize>,
    /// Border.
    pub padding: Padding,
    /// Output extents are rounded up instead of down.
    pub ceil: bool,
}

impl Window {
    /// Decodes `strides`, `dilations` (where the op has them), `pad_type`, `pad` and `ceil_mode`.
    ///
    /// # Errors
    /// When one of them is not constant, has the wrong length or an impossible value.
    pub fn of(site: &Site<'_>, kernel: Vec<usize>) -> Result<Window, Fault> {
        let rank = kernel.len();
        let has = |param: &str| site.version.param(param).is_some();
        let dilations = if has("dilations") { positive(site, "dilations", rank)? } else { vec![1; rank] };
        let strides = positive(site, "strides", rank)?;
        let ceil = has("ceil_mode") && site.bool("ceil_mode")?;
        let padding = padding(site, rank)?;
        if let Some(k) = kernel.iter().find(|&&k| k == 0) {
            return Err(Fault::new(format!("a kernel extent is {k}, but must be at least 1")));
        }
        Ok(Window { kernel, strides, dilations, padding, ceil })
    }

    /// Input elements that the window covers along spatial dim `axis`, gaps included; saturating.
    pub fn span(&self, axis: usize) -> usize {
        let (k, d) = (self.kernel.get(axis), self.dilations.get(axis));
        let (k, d) = (k.copied().unwrap_or(1), d.copied().unwrap_or(1));
        k.saturating_sub(1).saturating_mul(d).saturating_add(1)
    }

    /// Elements before and after each spatial dim, for inputs of extents `spatial`.
    pub fn pads(&self, spatial: &[usize]) -> Vec<(usize, usize)> {
        let total = |axis: usize, n: usize| {
            let s = self.strides.get(axis).copied().unwrap_or(1).max(1);
            (n.div_ceil(s).saturating_mul(s))
                .saturating_add(self.span(axis))
                .saturating_sub(n.saturating_add(s))
        };
        let totals = spatial.iter().enumerate().map(|(axis, &n)| total(axis, n));
        match &self.padding {
            Padding::Fixed(pads) => pads.clone(),
            Padding::Same => totals.map(|t| (t / 2, t - t / 2)).collect(),
            Padding::SameLower => totals.map(|t| (t - t / 2, t / 2)).collect(),
        }
    }

    /// The pads, when every extent that they depend on is known.
    pub fn known_pads(&self, spatial: &[Dim]) -> Option<Vec<(usize, usize)>> {
        if let Padding::Fixed(pads) = &self.padding {
            return Some(pads.clone());
        }
        let spatial: Option<Vec<usize>> = spatial.iter().map(Dim::known).collect();
        spatial.map(|s| self.pads(&s))
    }

    /// Output extents of inputs of extents `spatial`.
    ///
    /// # Errors
    /// When the number of dims differs from the kernel's, or the window does not fit the padded input once.
    pub fn output(&self, spatial: &[Dim]) -> Result<Vec<Dim>, Fault> {
        if spatial.len() != self.kernel.len() {
            let (n, k) = (spatial.len(), self.kernel.len());
            return Err(Fault::arg("x", format!("of {n} spatial dims"), format!("of {k}, like the kernel")));
        }
        spatial.iter().enumerate().map(|(axis, d)| self.output_dim(axis, d)).collect()
    }

    fn output_dim(&self, axis: usize, dim: &Dim) -> Result<Dim, Fault> {
        let stride = self.strides.get(axis).copied().unwrap_or(1).max(1);
        let Some(n) = dim.known() else {
            let unchanged = stride == 1 && !matches!(self.padding, Padding::Fixed(_));
            return Ok(if unchanged { dim.clone() } else { self.symbolic_output(axis, dim) });
        };
        let (before, after) = match &self.padding {
            Padding::Fixed(pads) => pads.get(axis).copied().unwrap_or((0, 0)),
            _ => return Ok(Dim::Known(n.div_ceil(stride))),
        };
        let span = self.span(axis);
        let padded = n.checked_add(before).and_then(|n| n.checked_add(after));
        let Some(free) = padded.and_then(|p| p.checked_sub(span)) else {
            return Err(Fault::arg(
                "x",
                format!("{n} long in spatial dim {axis}, {before} + {after} padding around it"),
                format!("at least {span} long with padding, as the window is"),
            ));
        };
        let mut count = if self.ceil { free.div_ceil(stride) } else { free / stride }.saturating_add(1);
        let past_end = (count - 1).saturating_mul(stride) >= n.saturating_add(before);
        if self.ceil && past_end && before.saturating_add(after) > 0 {
            count -= 1;
        }
        Ok(Dim::Known(count))
    }

    /// An unknown extent that the window leaves as it is keeps its symbol.
    fn symbolic_output(&self, axis: usize, dim: &Dim) -> Dim {
        let pads = match &self.padding {
            Padding::Fixed(pads) => pads.get(axis).copied().unwrap_or((0, 0)),
            _ => return Dim::Unknown,
        };
        let keeps =
            self.strides.get(axis) == Some(&1) && pads.0.saturating_add(pads.1) == self.span(axis) - 1;
        if keeps { dim.clone() } else { Dim::Unknown }
    }
}

/// One `int32` 1 per spatial dim: the default of strides and dilations.
pub(crate) fn ones(site: &Site<'_>) -> Option<Literal> {
    let rank = site.tensor("x").ok()?.rank().checked_sub(2)?;
    Some(Tensor::vector_i32(&vec![1; rank]).into())
}

/// Two `int32` 0 per spatial dim: the default of pads.
pub(crate) fn no_pads(site: &Site<'_>) -> Option<Literal> {
    let rank = site.tensor("x").ok()?.rank().checked_sub(2)?;
    Some(Tensor::vector_i32(&vec![0; rank.checked_mul(2)?]).into())
}

/// A constant list of `count` positive extents.
pub(crate) fn positive(site: &Site<'_>, param: &str, count: usize) -> Result<Vec<usize>, Fault> {
    let given = site.ints(param)?;
    let list: Option<Vec<usize>> = given.iter().map(|&v| num::usize_of(v).filter(|&v| v > 0)).collect();
    let allowed = || Fault::arg(param, format!("{given:?}"), format!("{count} integers of at least 1"));
    list.filter(|l| l.len() == count).ok_or_else(allowed)
}

/// The `pad` argument as pairs.
pub(crate) fn pad_pairs(site: &Site<'_>, rank: usize) -> Result<Vec<(usize, usize)>, Fault> {
    let given = site.ints("pad")?;
    let list: Option<Vec<usize>> = given.iter().map(|&v| num::usize_of(v)).collect();
    let fits = list.filter(|l| Some(l.len()) == rank.checked_mul(2));
    let flat = fits.ok_or_else(|| {
        Fault::arg("pad", format!("{given:?}"), format!("{} integers of at least 0", 2 * rank))
    })?;
    Ok(flat.as_chunks::<2>().0.iter().map(|p| (p[0], p[1])).collect())
}

fn padding(site: &Site<'_>, rank: usize) -> Result<Padding, Fault> {
    let kind = site.str("pad_type")?;
    match kind.as_str() {
        "valid" => Ok(Padding::Fixed(vec![(0, 0); rank])),
        "custom" => pad_pairs(site, rank).map(Padding::Fixed),
        "same" => Ok(Padding::Same),
        "same_lower" if site.function.opset > Opset::Ios15 => Ok(Padding::SameLower),
        "same_lower" => {
            Err(Fault::arg("pad_type", "same_lower", "same, valid or custom before op set ios16"))
        }
        _ => Err(Fault::arg("pad_type", kind, "valid, same, same_lower or custom")),
    }
}

/// Checks that `t` is `[n, c, *spatial]` with 1 to `most` spatial dims; gives the spatial ones.
pub(crate) fn spatial<'a>(param: &str, t: &'a TensorType, most: usize) -> Result<&'a [Dim], Fault> {
    match t.dims.get(2..) {
        Some(s) if (1..=most).contains(&s.len()) => Ok(s),
        _ => Err(Fault::arg(param, format!("of rank {}", t.rank()), format!("of rank 3 to {}", most + 2))),
    }
}

/// Number of elements of a shape; saturating, for shapes whose other dims may be 0.
pub(crate) fn volume(shape: &[usize]) -> usize {
    shape.iter().fold(1, |n, &d| n.saturating_mul(d))
}

/// `list` as the last of three entries, `fill` in front: 1-D and 2-D windows run as 3-D ones.
pub(crate) fn lift<V: Copy>(list: &[V], fill: V) -> [V; 3] {
    let mut out = [fill; 3];
    for (slot, &v) in out.iter_mut().rev().zip(list.iter().rev()) {
        *slot = v;
    }
    out
}

/// Position in the input of tap `tap` of output `at`, along one dim; `None` in the padding.
pub(crate) fn tap_position(
    at: usize,
    tap: usize,
    (stride, dilation): (usize, usize),
    before: usize,
    extent: usize,
) -> Option<usize> {
    let forward = at.checked_mul(stride)?.checked_add(tap.checked_mul(dilation)?)?;
    forward.checked_sub(before).filter(|&p| p < extent)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(k: usize, s: usize, d: usize, padding: Padding, ceil: bool) -> Window {
        Window { kernel: vec![k], strides: vec![s], dilations: vec![d], padding, ceil }
    }

    /// Expected: `spatial_dimensions_out_shape` and `aggregated_pad` of coremltools 9.0.
    #[test]
    fn output_extents_are_those_of_coremltools() {
        let fixed = |p| Padding::Fixed(vec![p]);
        let cases = [
            (window(3, 1, 1, fixed((0, 0)), false), 5, 3, (0, 0)),
            (window(3, 2, 1, fixed((1, 1)), false), 6, 3, (1, 1)),
            (window(3, 2, 1, fixed((1, 1)), true), 6, 4, (1, 1)),
            (window(2, 2, 1, fixed((0, 0)), true), 5, 3, (0, 0)),
            (window(1, 3, 1, fixed((1, 1)), true), 4, 2, (1, 1)),
            (window(3, 2, 2, Padding::Same, false), 7, 4, (2, 2)),
            (window(2, 1, 1, Padding::Same, false), 4, 4, (0, 1)),
            (window(2, 1, 1, Padding::SameLower, false), 4, 4, (1, 0)),
        ];
        for (w, n, out, pads) in cases {
            assert_eq!(w.output(&[Dim::Known(n)]), Ok(vec![Dim::Known(out)]), "{w:?} over {n}");
            assert_eq!(w.pads(&[n]), [pads], "{w:?} over {n}");
        }
    }

    #[test]
    fn an_unknown_extent_stays_itself_where_the_window_keeps_extents() {
        let s = Dim::Symbol("s".into());
        let same = window(3, 1, 1, Padding::Same, false);
        assert_eq!(same.output(std::slice::from_ref(&s)), Ok(vec![s.clone()]));
        assert_eq!(same.known_pads(std::slice::from_ref(&s)), None);
        let halved = window(2, 2, 1, Padding::Fixed(vec![(0, 0)]), false);
        assert_eq!(halved.output(&[s]), Ok(vec![Dim::Unknown]));
    }

    #[test]
    fn a_window_larger_than_its_input_is_a_fault() {
        let w = window(5, 1, 1, Padding::Fixed(vec![(1, 1)]), false);
        let fault = w.output(&[Dim::Known(2)]).expect_err("5 > 4");
        assert!(fault.message.contains("at least 5"), "{fault}");
    }
}
