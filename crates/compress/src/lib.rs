//! Compression of weights: quantise, palettise, prune, and the joint forms.
#![forbid(unsafe_code)]

mod activations;
mod apply;
mod blocks;
pub mod config;
mod decompress;
mod encode;
mod error;
mod fit;
mod joint;
mod kmeans;
mod linear;
mod palette;
mod prune;
mod refusal;
pub mod search;
mod select;
mod threads;
mod vectors;
mod weight;

pub use activations::{Quantised, Range, quantize_activations};
pub use apply::{Outcome, Progress, Report, Store, Work, compress};
pub use config::{Config, Rule, Scheme};
pub use decompress::decompress;
pub use error::Error;
pub use fit::Fit;
pub use linear::{LinearMode, Quantized, quantize};
pub use palette::{BITS, PaletteMode, PaletteSpec, Palettized, palettize};
pub use prune::{Pruned, Pruning, prune};
pub use refusal::Refusal;
