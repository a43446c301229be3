//! Convolutions over one to three spatial dimensions, weights packed once.

mod depthwise;
mod product;

use super::activation::{Activation, Bias, Epilogue};
use super::gemm::{Mat, PackedLhs, seat_scratch};
use super::simd::Isa;
use super::stencil;
use super::window::{Planes, Window};
use super::{Misfit, fits};
use crate::pool::Pool;

/// The shape of a convolution: `x [batch, channels_in, spatial]`, weights `[channels_out, channels_in / groups, taps]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvGeometry {
    /// Images.
    pub batch: usize,
    /// Input channels.
    pub channels_in: usize,
    /// Output channels.
    pub channels_out: usize,
    /// Groups of channels that do not see one another.
    pub groups: usize,
    /// Spatial extents, strides, dilations and padding.
    pub window: Window,
}

impl ConvGeometry {
    /// # Errors
    /// [`Misfit`] when the channels do not divide into the groups or a count of elements overflows.
    pub(crate) fn check(&self) -> Result<(), Misfit> {
        let Self { channels_in, channels_out, groups, .. } = *self;
        fits!(
            groups > 0 && channels_in % groups == 0 && channels_out % groups == 0,
            "{channels_in} input and {channels_out} output channels do not divide into {groups} groups"
        );
        let volume = |channels: usize, len: usize| self.batch.max(1).checked_mul(channels)?.checked_mul(len);
        let largest = [
            volume(channels_in, self.window.input_len() * self.window.taps()),
            volume(channels_out, self.window.output_len()),
            channels_out.checked_mul(channels_in).and_then(|n| n.checked_mul(self.window.taps())),
        ];
        let fit = largest.iter().all(|n| n.is_some_and(|n| n <= isize::MAX as usize / 64));
        fits!(fit, "convolution {self:?} is too large");
        Ok(())
    }

    fn group_in(&self) -> usize {
        self.channels_in / self.groups
    }

    fn group_out(&self) -> usize {
        self.channels_out / self.groups
    }

    /// Elements of the input.
    pub fn input_len(&self) -> usize {
        self.batch * self.channels_in * self.window.input_len()
    }

    /// Elements of the output.
    pub fn output_len(&self) -> usize {
        self.batch * self.channels_out * self.window.output_len()
    }

    /// Elements of the weights.
    pub fn weights_len(&self) -> usize {
        self.channels_out * self.group_in() * self.window.taps()
    }
}

/// Weights in the layout of the kernel that was chosen.
enum Weights {
    /// `[channels_out, taps]`
    Depthwise(Vec<f32>),
    /// `group_out x (group_in * taps)` per group, and where each row of the unfolded input begins.
    Product { packed: Vec<PackedLhs>, rows: Vec<usize> },
}

/// A convolution ready to run.
pub struct ConvPlan {
    geometry: ConvGeometry,
    planes: Planes,
    weights: Weights,
    bias: Option<Vec<f32>>,
    activation: Activation,
    half: bool,
    isa: Isa,
}

impl ConvPlan {
    /// Packs `weights` (`[channels_out, channels_in / groups, taps]`) and keeps `bias` (`[channels_out]`).
    ///
    /// # Errors
    /// [`Misfit`] when the geometry is impossible or `weights` or `bias` have another length.
    pub fn new(
        geometry: ConvGeometry,
        weights: &[f32],
        bias: Option<&[f32]>,
        activation: Activation,
        isa: Isa,
    ) -> Result<Self, Misfit> {
        geometry.check()?;
        let need = geometry.weights_len();
        fits!(weights.len() == need, "convolution has {} weights, {geometry:?} needs {need}", weights.len());
        if let Some(bias) = bias {
            fits!(
                bias.len() == geometry.channels_out,
                "bias has {} entries, not one per channel",
                bias.len()
            );
        }
        let planes = Planes::new(geometry.window);
        let (m, channels) = (geometry.group_out(), geometry.group_in());
        let weights = if channels == 1 && m <= 4 {
            Weights::Depthwise(weights.to_vec())
        } else {
            let depth = channels * geometry.window.taps();
            let group =
                |g| PackedLhs::new(Mat::new(&weights[g * m * depth..(g + 1) * m * depth], m, depth), isa);
            let rows = (0..channels).flat_map(|c| planes.taps.iter().map(move |t| (c, t)));
            let rows = rows.map(|(c, t)| c * planes.len + t).collect();
            Weights::Product { packed: (0..geometry.groups).map(group).collect(), rows }
        };
        let bias = bias.map(<[f32]>::to_vec);
        Ok(Self { geometry, planes, weights, bias, activation, half: false, isa })
    }

    /// Rounds results to f16 (see [`Epilogue::half`]).
    pub fn rounded_to_half(mut self, half: bool) -> Self {
        self.half = half;
        self
    }

    /// The shape it was made for.
    pub fn geometry(&self) -> &ConvGeometry {
        &self.geometry
    }

    fn epilogue(&self) -> Epilogue<'_> {
        let bias = self.bias.as_deref().map_or(Bias::None, Bias::Row);
        Epilogue { bias, activation: self.activation, half: self.half }
    }

    /// Elements of the planes of a group, 0 when the input is read in place.
    fn unfolded(&self) -> usize {
        if self.planes.direct { 0 } else { self.geometry.group_in() * self.planes.len }
    }

    fn product_scratch(&self) -> usize {
        let depth = self.geometry.group_in() * self.geometry.window.taps();
        seat_scratch(self.geometry.group_out(), depth, self.geometry.window.output_len())
    }

    /// True when every thread computes groups of its own.
    fn groups_first(&self, pool: &Pool) -> bool {
        pool.threads() > 1 && self.geometry.batch * self.geometry.groups >= pool.threads() * 2
    }

    /// Scratch elements that [`ConvPlan::run`] needs.
    pub fn scratch(&self, pool: &Pool) -> usize {
        match self.weights {
            Weights::Depthwise(_) => {
                stencil::seat_scratch(&self.planes, self.geometry.window.output) * pool.threads()
            }
            Weights::Product { .. } if self.groups_first(pool) => {
                (self.unfolded() + self.product_scratch()) * pool.threads()
            }
            Weights::Product { .. } => self.unfolded() + self.product_scratch() * pool.threads(),
        }
    }

    /// Convolves `x` into `out`.
    ///
    /// # Panics
    /// When `x`, `out` or `scratch` (see [`ConvPlan::scratch`]) do not have the lengths of the geometry.
    pub fn run(&self, x: &[f32], out: &mut [f32], scratch: &mut [f32], pool: &Pool) {
        assert_eq!(x.len(), self.geometry.input_len(), "elements of the input");
        assert_eq!(out.len(), self.geometry.output_len(), "elements of the output");
        assert!(scratch.len() >= self.scratch(pool), "scratch of a convolution");
        match &self.weights {
            Weights::Depthwise(weights) => depthwise::run(self, weights, x, out, scratch, pool),
            Weights::Product { packed, rows } => product::run(self, packed, rows, x, out, scratch, pool),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
