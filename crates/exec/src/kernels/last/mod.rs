//! Convolutions and pools over tensors whose channels come last: `[batch, spatial, channels]`.
//!
//! The channels of a position lie together, so that a vector holds channels of one position: no image is too narrow
//! for a vector, a tap of a window is one address, and nothing is unfolded or packed while the network runs. A
//! convolution is a matrix product whose left rows are read through a table of addresses, one per output position and
//! tap; taps in the padding read zeros (the "indirect convolution" of Dukhan, 2019).

mod conv;
mod depthwise;
mod pool;
mod positions;
mod tile;

pub use conv::{Input, LastConv};
pub use depthwise::LastDepthwise;
pub use pool::LastPool;

use super::activation::Activation;
use super::simd::Simd;

/// When a tensor of the result's shape is added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Residual {
    /// Never.
    #[default]
    None,
    /// Before the activation.
    Before,
    /// After the activation.
    After,
}

/// What happens to sums before they are stored: activation, another tensor, rounding to f16.
#[derive(Clone, Copy, Debug, Default)]
pub struct Finish {
    /// Applied to the sum.
    pub activation: Activation,
    /// When the other tensor is added.
    pub residual: Residual,
    /// Rounds to f16 after every one of these steps, as ops with f16 edges would.
    pub half: bool,
}

impl Finish {
    /// The bounds of an activation that is nothing else, unless there is more to do.
    fn bounds(&self) -> Option<(f32, f32)> {
        if self.half || self.residual == Residual::After {
            return None;
        }
        match self.activation {
            Activation::None => Some((f32::NEG_INFINITY, f32::INFINITY)),
            Activation::Relu => Some((0.0, f32::INFINITY)),
            Activation::Relu6 => Some((0.0, 6.0)),
            Activation::Clamp(lo, hi) => Some((lo, hi)),
            _ => None,
        }
    }

    /// Rounds where every step is rounded.
    #[inline(always)]
    fn round<S: Simd>(&self, s: S, x: S::F) -> S::F {
        if self.half { s.round_f16(x) } else { x }
    }

    /// All of it on a vector of sums and, where one is added, of the other tensor.
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, x: S::F, other: S::F) -> S::F {
        let mut x = self.round(s, x);
        if self.residual == Residual::Before {
            x = self.round(s, s.add(x, other));
        }
        if self.activation != Activation::None {
            x = self.round(s, self.activation.apply(s, x));
        }
        if self.residual == Residual::After {
            x = self.round(s, s.add(x, other));
        }
        x
    }
}

#[cfg(test)]
mod tests;
