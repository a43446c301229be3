//! Compression of weights: quantise, palettise, prune, and the joint forms.
#![forbid(unsafe_code)]

mod blocks;
mod fit;
mod kmeans;
mod linear;
mod palette;
mod prune;
mod refusal;
mod threads;
mod vectors;
mod weight;

pub use fit::Fit;
pub use linear::{LinearMode, Quantized, quantize};
pub use palette::{BITS, PaletteMode, PaletteSpec, Palettized, palettize};
pub use prune::{Pruned, Pruning, prune};
pub use refusal::Refusal;
