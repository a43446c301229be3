//! What is to be done with which weight, under the names and with the defaults of coremltools 9.0
//! (`optimize/coreml/_config.py`).

use crate::{LinearMode, PaletteMode};
use anemone_tensor::DType;
use std::collections::BTreeMap;
use std::fmt;

/// Which weights share a scale or a table.
#[derive(Clone, Debug, PartialEq)]
pub enum Granularity {
    /// One for the whole weight.
    PerTensor,
    /// One per output channel.
    PerChannel,
    /// One per group of channels; the axis is that of output channels unless it is given.
    PerGroupedChannel {
        /// Channels per group.
        size: usize,
        /// Axis of the channels.
        axis: Option<usize>,
    },
    /// One per block: so many input channels of one output channel.
    PerBlock(usize),
    /// One per block with a length along each dim, 0 for the whole dim.
    PerBlockOf(Vec<usize>),
}

/// `OpLinearQuantizerConfig`.
#[derive(Clone, Debug, PartialEq)]
pub struct Linear {
    /// Symmetric by default.
    pub mode: LinearMode,
    /// `int8` (default), `uint8`, `int4` or `uint4`.
    pub dtype: DType,
    /// Per channel by default.
    pub granularity: Granularity,
}

impl Default for Linear {
    fn default() -> Linear {
        Linear { mode: LinearMode::Symmetric, dtype: DType::I8, granularity: Granularity::PerChannel }
    }
}

/// `OpPalettizerConfig`.
#[derive(Clone, Debug, PartialEq)]
pub struct Palette {
    /// k-means by default.
    pub mode: PaletteMode,
    /// Bits per index.
    pub bits: Option<usize>,
    /// Per tensor by default, or per grouped channel.
    pub granularity: Granularity,
    /// Length of the vectors; 1 by default.
    pub cluster_dim: usize,
    /// Divide each channel by its largest magnitude first.
    pub per_channel_scale: bool,
}

impl Default for Palette {
    fn default() -> Palette {
        let granularity = Granularity::PerTensor;
        Palette {
            mode: PaletteMode::Kmeans,
            bits: None,
            granularity,
            cluster_dim: 1,
            per_channel_scale: false,
        }
    }
}

/// `OpActivationLinearQuantizerConfig`: 8 bits for what an op reads, per tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Activation {
    /// Symmetric by default.
    pub mode: LinearMode,
    /// `int8` (default) or `uint8`.
    pub dtype: DType,
}

impl Default for Activation {
    fn default() -> Activation {
        Activation { mode: LinearMode::Symmetric, dtype: DType::I8 }
    }
}

/// What is done with a weight, or with what an op reads.
#[derive(Clone, Debug, PartialEq)]
pub enum Scheme {
    /// Integers for what ops compute and read; see [`crate::quantize_activations`].
    Activation(Activation),
    /// Integers and scales.
    Linear(Linear),
    /// Indices into a table.
    Palette(Palette),
    /// Zeros left out.
    Prune(crate::Pruning),
}

/// A scheme, and how large a weight must be for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// What is done.
    pub scheme: Scheme,
    /// Weights of more elements than this are compressed; 2048 by default.
    pub weight_threshold: usize,
}

impl From<Scheme> for Rule {
    fn from(scheme: Scheme) -> Rule {
        Rule { scheme, weight_threshold: 2048 }
    }
}

/// Which rule holds for which weight: by the name of the weight or of the op that takes it, then by the kind of the op, then
/// the rule for all. `None` leaves a weight as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// For every weight that nothing else names.
    pub global: Option<Rule>,
    /// By kind of op, such as `conv`.
    pub op_types: BTreeMap<String, Option<Rule>>,
    /// By name of a weight or an op.
    pub op_names: BTreeMap<String, Option<Rule>>,
}

impl Config {
    /// True when a rule is about activations, so that there must be data.
    pub fn has_activations(&self) -> bool {
        let all = self.global.iter().chain(self.op_types.values().chain(self.op_names.values()).flatten());
        all.into_iter().any(|r| matches!(r.scheme, Scheme::Activation(_)))
    }

    /// The same scheme for every weight.
    pub fn all(scheme: Scheme) -> Config {
        Config { global: Some(scheme.into()), ..Config::default() }
    }
}

impl fmt::Display for Granularity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Granularity::PerTensor => f.write_str("per tensor"),
            Granularity::PerChannel => f.write_str("per channel"),
            Granularity::PerGroupedChannel { size, .. } => write!(f, "per {size} channels"),
            Granularity::PerBlock(size) => write!(f, "per block of {size}"),
            Granularity::PerBlockOf(sizes) => write!(f, "per block of {sizes:?}"),
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scheme::Activation(a) => {
                let offset = if a.mode == LinearMode::Affine { " with offset" } else { "" };
                write!(f, "{}{offset} activations", a.dtype.name())
            }
            Scheme::Linear(l) => {
                let offset = if l.mode == LinearMode::Affine { " with offset" } else { "" };
                write!(f, "{}{offset} {}", l.dtype.name(), l.granularity)
            }
            Scheme::Palette(p) => {
                let mode = match p.mode {
                    PaletteMode::Kmeans => "k-means",
                    PaletteMode::Uniform => "uniform",
                    PaletteMode::Unique => "unique",
                    PaletteMode::Custom(_) => "custom",
                };
                if let Some(bits) = p.bits {
                    write!(f, "{bits}-bit ")?;
                }
                write!(f, "palette ({mode}) {}", p.granularity)?;
                if p.cluster_dim > 1 {
                    write!(f, ", vectors of {}", p.cluster_dim)?;
                }
                if p.per_channel_scale { f.write_str(", scaled per channel") } else { Ok(()) }
            }
            Scheme::Prune(p) => match p {
                crate::Pruning::Threshold { threshold, .. } => write!(f, "pruned up to {threshold}"),
                crate::Pruning::Magnitude { sparsity } => write!(f, "pruned by {:.0} %", sparsity * 100.0),
                crate::Pruning::Blocks { sparsity, size, .. } => {
                    write!(f, "pruned by {:.0} % in blocks of {size}", sparsity * 100.0)
                }
                crate::Pruning::NOfM { n, m, .. } => write!(f, "pruned {n}:{m}"),
            },
        }
    }
}
