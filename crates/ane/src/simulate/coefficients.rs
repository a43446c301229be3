//! The numbers of the simulator: fitted ones, and those that are carried over from a source.

use crate::device::Strength;
use crate::source::Source;
use serde::Deserialize;
use std::sync::LazyLock;

/// Fitted numbers; written by `cargo xtask fit`.
const FITTED: &str = include_str!("../../../../corpus/placement/simulate-fitted.toml");
/// Numbers with a source of their own.
const CARRIED: &str = include_str!("../../../../corpus/placement/simulate-carried.toml");

static KNOWN: LazyLock<Coefficients> =
    LazyLock::new(|| Coefficients::read(FITTED, CARRIED).expect("complete coefficients, which a test reads"));

/// One number of the simulator.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Coefficient {
    /// Name.
    pub name: String,
    /// Value, in `unit`.
    pub value: f64,
    /// Unit; empty for a share or a factor.
    #[serde(default)]
    pub unit: String,
    /// How it is known.
    pub strength: Strength,
    /// Who says so.
    pub source: Source,
    /// What it is.
    pub what: String,
}

/// How far predictions of one kind were from measurements.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Spread {
    /// What the measurements ran on.
    pub of: String,
    /// Measured over predicted at the 10th percentile.
    pub low: f64,
    /// Measured over predicted at the 90th percentile.
    pub high: f64,
    /// How many measurements.
    pub rows: u32,
    /// How it is known.
    pub strength: Strength,
    /// Who says so.
    pub source: Source,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    coefficient: Vec<Coefficient>,
    #[serde(default)]
    spread: Vec<Spread>,
}

macro_rules! coefficients {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Every number of the simulator.
        #[derive(Clone, Debug, PartialEq)]
        pub struct Coefficients {
            $($(#[$doc])* pub $name: f64,)*
            /// Each with its source, fitted ones first.
            pub listed: Vec<Coefficient>,
            /// How far predictions were from measurements.
            pub spreads: Vec<Spread>,
        }

        impl Coefficients {
            fn gather(listed: Vec<Coefficient>, spreads: Vec<Spread>) -> Result<Coefficients, String> {
                let value = |name: &str| {
                    let found = listed.iter().find(|c| c.name == name).map(|c| c.value);
                    found.filter(|v| v.is_finite() && *v > 0.0)
                        .ok_or_else(|| format!("there is no coefficient `{name}` above 0"))
                };
                Ok(Coefficients { $($name: value(stringify!($name))?,)* listed, spreads })
            }

            /// The coefficient of that name, to be changed; `None` when there is none.
            pub fn named_mut(&mut self, name: &str) -> Option<&mut f64> {
                match name {
                    $(stringify!($name) => Some(&mut self.$name),)*
                    _ => None,
                }
            }
        }
    };
}

coefficients! {
    /// Share of the peak that a convolution reaches.
    conv_share,
    /// Share of the peak that a depthwise convolution reaches.
    depthwise_share,
    /// Share of the peak that products with a matrix reach.
    product_share,
    /// FLOP at which a product reaches half of its rate.
    half_rate_flop,
    /// Rate of activations that stay on the chip, in GB/s at 2.16 GHz.
    on_chip_gb_s,
    /// Rate of activations that go through memory, in GB/s.
    spill_gb_s,
    /// Elements per second of reductions, norms and softmax at 2.16 GHz.
    reduction_per_s,
    /// Rate at which Core ML hands tensors in and out, in GB/s.
    handoff_gb_s,
    /// The same through the private interface, in GB/s.
    handoff_direct_gb_s,
    /// Time of compressed weights over that of as many plain bytes.
    unpacking,
    /// How much faster the engine multiplies 8-bit numbers, from generation 16 on.
    eight_bit_gain,
    /// Elements per second of elementwise ops at 2.58 GHz.
    elementwise_per_s,
    /// Rate of transposes, in GB/s.
    transpose_gb_s,
    /// Share of the memory's bandwidth that weights reach where the engine does not limit it.
    memory_share,
    /// Time of an op that sorts or takes the largest, in ms.
    sort_ms,
    /// Elements up to which such an op costs nothing of its own.
    sort_free_elements,
    /// Rate of products on the CPU, in TFLOP/s.
    cpu_tflops,
    /// Rate of recurrent layers on the CPU, in TFLOP/s.
    cpu_recurrent_tflops,
    /// Rate of bytes on the CPU, in GB/s.
    cpu_gb_s,
    /// Starting one op on the CPU, in µs.
    cpu_op_us,
    /// Calling a program that begins on the CPU, in µs.
    cpu_call_us,
    /// Rate of one GPU core, in TFLOP/s.
    gpu_core_tflops,
    /// Share of that rate that products reach.
    gpu_share,
    /// Share of the memory's bandwidth that the GPU reaches.
    gpu_memory_share,
    /// Starting one op on the GPU, in µs.
    gpu_op_us,
    /// Starting a run of ops on the GPU, in µs.
    gpu_dispatch_us,
    /// Compiling for the engine, in MB of weights per second.
    compile_mb_s,
    /// First call after the engine was switched off, in ms.
    first_call_ms,
}

impl Coefficients {
    /// The numbers of the data files.
    pub fn known() -> &'static Coefficients {
        &KNOWN
    }

    /// Reads the two data files.
    ///
    /// # Errors
    /// When one is no TOML, or a number is missing or not above 0.
    pub fn read(fitted: &str, carried: &str) -> Result<Coefficients, String> {
        let mut fitted: File = toml::from_str(fitted).map_err(|e| e.to_string())?;
        let carried: File = toml::from_str(carried).map_err(|e| e.to_string())?;
        fitted.coefficient.extend(carried.coefficient);
        fitted.spread.extend(carried.spread);
        Coefficients::gather(fitted.coefficient, fitted.spread)
    }

    /// The spread of predictions on `of`; the widest known one where nothing was measured.
    pub(crate) fn spread(&self, of: &str) -> (f64, f64) {
        let found = self.spreads.iter().find(|s| s.of == of).map(|s| (s.low, s.high));
        let widest = self.spreads.iter().fold((1.0_f64, 1.0_f64), |(l, h), s| (l.min(s.low), h.max(s.high)));
        found.unwrap_or(widest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_coefficient_is_there_and_names_a_listed_source() {
        let known = Coefficients::read(FITTED, CARRIED).expect("complete");
        for c in &known.listed {
            assert!(c.source.is_listed() && !c.what.is_empty(), "{}", c.name);
        }
        for s in &known.spreads {
            assert!(s.low <= 1.0 && 1.0 <= s.high && s.source.is_listed(), "{}", s.of);
        }
        assert!(Coefficients::read("", CARRIED).is_err() && Coefficients::read("x", "").is_err());
    }
}
