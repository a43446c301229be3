//! Reference convolutions: one shifted multiply-add per kernel tap, summed in `f64`.

use super::view::{Conv, ConvTranspose};
use crate::eval::EvalSite;
use crate::ops::rearrange::made;
use crate::ops::window::{lift, tap_position, volume};
use crate::ops::{Fault, Window};
use crate::{Dim, Literal, Tensor};

/// The products of a convolution, spatial dims lifted to three.
///
/// A transposed convolution has the same products; it sums over windows into elements instead.
struct Geometry {
    batch: usize,
    /// Channels and extents of the side with one position per window: the result of a convolution.
    windows: (usize, [usize; 3]),
    /// Channels and extents of the side that windows slide over: the input of a convolution.
    elements: (usize, [usize; 3]),
    kernel: [usize; 3],
    strides: [usize; 3],
    dilations: [usize; 3],
    before: [usize; 3],
    groups: usize,
}

impl Geometry {
    /// The geometry between tensors of shapes `windows` and `elements`, both `[n, c, *spatial]`.
    fn new(
        windows: &[usize],
        elements: &[usize],
        window: &Window,
        before: &[usize],
        groups: usize,
    ) -> Geometry {
        let side = |s: &[usize]| (s.get(1).copied().unwrap_or(0), lift(s.get(2..).unwrap_or(&[]), 1));
        Geometry {
            batch: windows.first().copied().unwrap_or(0),
            windows: side(windows),
            elements: side(elements),
            kernel: lift(&window.kernel, 1),
            strides: lift(&window.strides, 1),
            dilations: lift(&window.dilations, 1),
            before: lift(before, 0),
            groups: groups.max(1),
        }
    }

    /// Calls `visit(window, element, weight)` with the positions of every product; weights are
    /// `[channels of windows, channels of elements / groups, *kernel]`.
    fn for_each_product(&self, mut visit: impl FnMut(usize, usize, usize)) {
        let (wc, ec) = (self.windows.0 / self.groups, self.elements.0 / self.groups);
        let (wn, en, kn) = (volume(&self.windows.1), volume(&self.elements.1), volume(&self.kernel));
        for n in 0..self.batch {
            for w in 0..self.windows.0 {
                for j in 0..ec {
                    let e = w / wc.max(1) * ec + j;
                    let window = (n * self.windows.0 + w) * wn;
                    let element = (n * self.elements.0 + e) * en;
                    let weight = (w * ec + j) * kn;
                    self.for_each_tap(|at, from, tap| visit(window + at, element + from, weight + tap));
                }
            }
        }
    }

    /// The same within one pair of channels.
    fn for_each_tap(&self, mut visit: impl FnMut(usize, usize, usize)) {
        let [kd, kh, kw] = self.kernel;
        for a in 0..kd {
            for b in 0..kh {
                for c in 0..kw {
                    self.for_each_window([a, b, c], |at, from| visit(at, from, (a * kh + b) * kw + c));
                }
            }
        }
    }

    /// Calls `visit(window, element)` for every window whose tap `[a, b, c]` is not in the padding.
    fn for_each_window(&self, [a, b, c]: [usize; 3], mut visit: impl FnMut(usize, usize)) {
        let ([wd, wh, ww], [_, eh, ew]) = (self.windows.1, self.elements.1);
        for z in 0..wd {
            let Some(from_z) = self.position(0, z, a) else { continue };
            for y in 0..wh {
                let Some(from_y) = self.position(1, y, b) else { continue };
                for x in 0..ww {
                    let Some(from_x) = self.position(2, x, c) else { continue };
                    visit((z * wh + y) * ww + x, (from_z * eh + from_y) * ew + from_x);
                }
            }
        }
    }

    fn position(&self, axis: usize, at: usize, tap: usize) -> Option<usize> {
        let steps = (self.strides[axis], self.dilations[axis]);
        tap_position(at, tap, steps, self.before[axis], self.elements.1[axis])
    }
}

/// Evaluates `conv`.
pub(super) fn conv(site: &EvalSite<'_>) -> Result<Vec<Literal>, Fault> {
    let weight = site.tensor("weight")?;
    convolve(site, &weight, &weight.to_f64s())
}

/// Evaluates `conv_quantized` of quantization type `linear`.
pub(super) fn conv_quantized(site: &EvalSite<'_>) -> Result<Vec<Literal>, Fault> {
    let kind = site.str("quantization_type")?;
    if kind != "linear" {
        return Err(Fault::arg("quantization_type", kind, "linear to be evaluated"));
    }
    let (weight, scale, bias) =
        (site.tensor("weight")?, site.tensor("quant_scale")?, site.tensor("quant_bias")?);
    let (scale, bias) = (scale.to_f64s(), bias.to_f64s());
    let per_channel = weight.len() / weight.shape().first().copied().unwrap_or(1).max(1);
    let at = |list: &[f64], i: usize| {
        let channel = if list.len() == 1 { 0 } else { i / per_channel.max(1) };
        list.get(channel).copied()
    };
    let one = |i: usize| Some(weight.f64_at(i) * at(&scale, i)? + at(&bias, i)?);
    let values: Option<Vec<f64>> = (0..weight.len()).map(one).collect();
    let values = values.ok_or_else(|| {
        Fault::arg("quant_scale", format!("of {} elements", scale.len()), "1 or one per output channel")
    })?;
    convolve(site, &weight, &values)
}

fn convolve(site: &EvalSite<'_>, weight: &Tensor, weights: &[f64]) -> Result<Vec<Literal>, Fault> {
    let view = Conv::of(&site.site)?;
    let x = site.tensor("x")?;
    let shape = fixed(&view.output_dims(&dims(&x), &dims(weight))?)?;
    let before: Vec<usize> = view.window.pads(&x.shape()[2..]).iter().map(|p| p.0).collect();
    let geometry = Geometry::new(&shape, x.shape(), &view.window, &before, view.groups);
    check_kernel(&view.window, weight)?;
    let (xs, mut out) = (x.to_f64s(), biased(site, &shape)?);
    geometry.for_each_product(|window, element, w| out[window] += xs[element] * weights[w]);
    EvalSite::floats(x.dtype(), &shape, &out)
}

/// Evaluates `conv_transpose`.
pub(super) fn conv_transpose(site: &EvalSite<'_>) -> Result<Vec<Literal>, Fault> {
    let view = ConvTranspose::of(&site.site)?;
    let (x, weight) = (site.tensor("x")?, site.tensor("weight")?);
    let shape = fixed(&view.output_dims(&dims(&x), &dims(&weight))?)?;
    let before = view.crop_before(&x.shape()[2..], &shape[2..]);
    let geometry = Geometry::new(x.shape(), &shape, &view.window, &before, view.groups);
    check_kernel(&view.window, &weight)?;
    let (xs, weights, mut out) = (x.to_f64s(), weight.to_f64s(), biased(site, &shape)?);
    geometry.for_each_product(|window, element, w| out[element] += xs[window] * weights[w]);
    EvalSite::floats(x.dtype(), &shape, &out)
}

fn dims(t: &Tensor) -> Vec<Dim> {
    t.shape().iter().map(|&n| Dim::Known(n)).collect()
}

/// All extents, each fixed because the operands' are.
fn fixed(dims: &[Dim]) -> Result<Vec<usize>, Fault> {
    let shape: Option<Vec<usize>> = dims.iter().map(Dim::known).collect();
    shape.ok_or_else(|| Fault::new("the result is too large to be addressed"))
}

/// The weight at hand has the kernel extents of its type.
fn check_kernel(window: &Window, weight: &Tensor) -> Result<(), Fault> {
    match weight.shape().get(2..) {
        Some(k) if k == window.kernel => Ok(()),
        _ => {
            let allowed = format!("of spatial extents {:?}, as its type says", window.kernel);
            Err(Fault::arg("weight", format!("of shape {:?}", weight.shape()), allowed))
        }
    }
}

/// A result of shape `[n, c, *spatial]` that holds the bias, or zeros.
fn biased(site: &EvalSite<'_>, shape: &[usize]) -> Result<Vec<f64>, Fault> {
    let count = made(shape, 0)?;
    let Some(bias) = site.optional("bias").filter(|_| count > 0) else { return Ok(vec![0.0; count]) };
    if shape.get(1) != Some(&bias.len()) {
        let allowed = format!("one per output channel of {shape:?}");
        return Err(Fault::arg("bias", format!("of {} elements", bias.len()), allowed));
    }
    let plane = volume(shape.get(2..).unwrap_or(&[]));
    let one = bias.to_f64s().into_iter().flat_map(|b| std::iter::repeat_n(b, plane));
    let one: Vec<f64> = one.collect();
    Ok(one.repeat(shape.first().copied().unwrap_or(0)))
}
