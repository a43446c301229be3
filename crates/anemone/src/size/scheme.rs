//! Ways to store weights, and the bytes they take.
//!
//! Layouts: `constexpr_blockwise_shift_scale` and `constexpr_lut_to_dense` of op set iOS 18, as coremltools 9.0 fills
//! them: symmetric codes without offsets, scales and palettes in fp16, indices packed to their bits.

use std::fmt;

/// Weights of fewer elements stay as they are, as do vectors (`weight_threshold` of coremltools 9.0).
pub const THRESHOLD: u64 = 2048;
/// Bytes of a scale or palette entry: fp16.
const FP16: u64 = 2;

/// What shares a scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Granularity {
    /// The whole weight.
    Tensor,
    /// An output channel.
    Channel,
    /// So many inputs of an output channel.
    Block(u64),
}

/// A way to store weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// As they are used.
    Float16,
    /// Whole numbers of so many bits, with scales.
    Linear {
        /// Bits of a code: 4 or 8.
        bits: u64,
        /// What shares a scale.
        granularity: Granularity,
    },
    /// Indices of so many bits into a table of fp16 values.
    Palette {
        /// Bits of an index: 1, 2, 3, 4, 6 or 8.
        bits: u64,
        /// Output channels that share a table; `None` when all do.
        group: Option<u64>,
    },
}

/// Bytes of a weight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bytes {
    /// Codes, indices or the values themselves.
    pub values: u64,
    /// Scales and tables.
    pub tables: u64,
}

impl Bytes {
    /// All of them.
    pub fn total(self) -> u64 {
        self.values.saturating_add(self.tables)
    }

    /// These bytes `n` times.
    #[must_use]
    pub fn times(self, n: u64) -> Bytes {
        Bytes { values: self.values.saturating_mul(n), tables: self.tables.saturating_mul(n) }
    }

    /// Both.
    #[must_use]
    pub fn plus(self, other: Bytes) -> Bytes {
        Bytes {
            values: self.values.saturating_add(other.values),
            tables: self.tables.saturating_add(other.tables),
        }
    }
}

/// Inputs that share a scale, and output channels that share a table, where nothing else is asked for: the defaults of
/// coremltools 9.0 (`block_size`, `group_size`).
pub const SHARED: u64 = 32;

impl Scheme {
    /// Every scheme, from the largest to the smallest.
    pub const ALL: [Scheme; 15] = [
        Scheme::Float16,
        Scheme::Linear { bits: 8, granularity: Granularity::Tensor },
        Scheme::Linear { bits: 8, granularity: Granularity::Channel },
        Scheme::Linear { bits: 8, granularity: Granularity::Block(SHARED) },
        Scheme::Linear { bits: 4, granularity: Granularity::Tensor },
        Scheme::Linear { bits: 4, granularity: Granularity::Channel },
        Scheme::Linear { bits: 4, granularity: Granularity::Block(SHARED) },
        Scheme::Palette { bits: 8, group: None },
        Scheme::Palette { bits: 6, group: None },
        Scheme::Palette { bits: 4, group: None },
        Scheme::Palette { bits: 4, group: Some(SHARED) },
        Scheme::Palette { bits: 3, group: None },
        Scheme::Palette { bits: 2, group: None },
        Scheme::Palette { bits: 2, group: Some(SHARED) },
        Scheme::Palette { bits: 1, group: None },
    ];

    /// The ones that devices are compared by.
    pub const COMPARED: [Scheme; 5] = [
        Scheme::Float16,
        Scheme::Linear { bits: 8, granularity: Granularity::Tensor },
        Scheme::Linear { bits: 4, granularity: Granularity::Block(SHARED) },
        Scheme::Palette { bits: 4, group: None },
        Scheme::Palette { bits: 2, group: None },
    ];

    /// Bytes of one weight of `rows` output channels with `columns` inputs each.
    pub fn bytes(self, rows: u64, columns: u64) -> Bytes {
        let elements = rows.saturating_mul(columns);
        let plain = Bytes { values: elements.saturating_mul(FP16), tables: 0 };
        if rows < 2 || columns < 2 || elements < THRESHOLD {
            return plain;
        }
        let packed = |bits: u64| elements.saturating_mul(bits).div_ceil(8);
        match self {
            Scheme::Float16 => plain,
            Scheme::Linear { bits, granularity } => {
                let scales = match granularity {
                    Granularity::Tensor => 1,
                    Granularity::Channel => rows,
                    Granularity::Block(n) => rows.saturating_mul(columns.div_ceil(n.max(1))),
                };
                Bytes { values: packed(bits), tables: scales.saturating_mul(FP16) }
            }
            Scheme::Palette { bits, group } => {
                let tables = group.map_or(1, |g| rows.div_ceil(g.max(1)));
                Bytes { values: packed(bits), tables: tables.saturating_mul(FP16 << bits) }
            }
        }
    }

    /// What is known of the scheme on the Neural Engine: a few words and the facts behind them, where something is.
    pub fn standing(self) -> Option<(&'static str, &'static [&'static str])> {
        match self {
            Scheme::Linear { bits: 8, granularity: Granularity::Tensor } => {
                Some(("stays there", &["weights-int8-tensor"]))
            }
            Scheme::Linear { granularity: Granularity::Channel, .. } => {
                Some(("sources differ", &["weights-per-channel"]))
            }
            Scheme::Linear { bits: 8, granularity: Granularity::Block(_) } => {
                Some(("wrong values on A18 Pro", &["ane-w8-per-block"]))
            }
            Scheme::Linear { bits: 4, granularity: Granularity::Block(_) } => {
                Some(("small shards left it", &["ane-int4-per-block"]))
            }
            Scheme::Palette { bits, group: None } if bits <= 6 => Some(("read packed", &["weights-palette"])),
            Scheme::Palette { bits: 8, .. } => Some(("73 ops left it", &["ane-palette-blocks"])),
            _ => None,
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scheme::Float16 => f.write_str("fp16"),
            Scheme::Linear { bits, granularity } => {
                write!(f, "int{bits} ")?;
                match granularity {
                    Granularity::Tensor => f.write_str("per tensor"),
                    Granularity::Channel => f.write_str("per channel"),
                    Granularity::Block(n) => write!(f, "per block of {n}"),
                }
            }
            Scheme::Palette { bits, group } => {
                write!(f, "palette {bits}-bit")?;
                group.map_or(Ok(()), |g| write!(f, ", per {g} channels"))
            }
        }
    }
}
