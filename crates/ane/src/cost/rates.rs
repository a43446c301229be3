//! Rates of the estimates, per device.

use super::Threshold;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// One number per backend.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PerBackend {
    /// The Neural Engine.
    pub ane: f64,
    /// The CPU through BNNS.
    pub bnns: f64,
    /// The older CPU backend.
    pub classic_cpu: f64,
}

/// Every rate that the families use: bytes, operations or elements per second.
#[derive(Clone, Debug)]
pub struct Rates {
    /// Bytes per second of ops that the default formula covers.
    pub bandwidth: PerBackend,
    /// Operations per second of the default formula.
    pub peak: PerBackend,
    /// Bytes per second of `relu`.
    pub relu: PerBackend,
    /// FLOP per second of `conv` by FLOP per byte: from the smallest band to the largest.
    pub conv: Vec<PerBackend>,
    /// FLOP per byte where the rate of `conv` changes.
    pub conv_steps: Vec<Threshold>,
    /// Operations per second of `linear` by output elements: from the smallest band to the largest.
    pub linear: Vec<PerBackend>,
    /// Output elements where the rate of `linear` changes.
    pub linear_steps: Vec<Threshold>,
    /// FLOP per second of `conv_transpose`, from the smallest band to the largest.
    pub conv_transpose: Vec<PerBackend>,
    /// FLOP where the rate of `conv_transpose` changes.
    pub conv_transpose_steps: Vec<Threshold>,
    /// Elements per second of `add` and `sub`.
    pub add: PerBackend,
    /// Elements per second of `mul`.
    pub mul: PerBackend,
    /// Elements per second of `concat`.
    pub concat: PerBackend,
    /// Elements per second of `transpose` that leaves axis 0 where it is.
    pub transpose: PerBackend,
    /// Elements per second of `transpose` that moves axis 0.
    pub transpose_outer: PerBackend,
    /// Elements per second of `gather` on the CPU; `ane` is not used.
    pub gather: PerBackend,
    /// Output elements per second of `upsample_bilinear`.
    pub upsample_bilinear: PerBackend,
    /// FLOP per second of `gru` and `rnn`; `ane` is not used.
    pub recurrent: PerBackend,
    /// FLOP per second of `lstm`; `ane` is not used.
    pub lstm: PerBackend,
    /// What estimates of some families are multiplied by.
    pub times: Times,
}

impl Rates {
    /// The rates with other factors.
    #[must_use]
    pub fn times(self, times: Times) -> Rates {
        Rates { times, ..self }
    }
}

/// Families of formulas that a factor can be given for.
pub const FAMILIES: &[&str] = &[
    "default",
    "relu",
    "conv",
    "depthwise",
    "linear",
    "conv_transpose",
    "add",
    "mul",
    "concat",
    "transpose",
    "gather",
    "upsample_bilinear",
    "lstm",
    "recurrent",
];

/// Factors by which the estimates of a chip differ from those of its rates, per family; 1 where nothing is known.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(transparent)]
pub struct Times(BTreeMap<String, Factor>);

/// The factor of one family.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(untagged)]
pub enum Factor {
    /// The same for every backend.
    Same(f64),
    /// One for each backend.
    Each(Factors),
}

/// The factors of one family, with what they rest on.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Factors {
    /// On the Neural Engine.
    pub ane: f64,
    /// On the CPU through BNNS.
    pub bnns: f64,
    /// On the older CPU backend.
    pub classic_cpu: f64,
    /// Who says so; empty when the estimates' source does.
    pub source: String,
    /// Ops that the factors were fitted to.
    pub ops: u32,
    /// Largest relative error over those ops.
    pub error: f64,
}

impl Default for Factors {
    fn default() -> Factors {
        Factors { ane: 1.0, bnns: 1.0, classic_cpu: 1.0, source: String::new(), ops: 0, error: 0.0 }
    }
}

impl Times {
    /// Factors by family.
    pub fn new(factors: BTreeMap<String, Factor>) -> Times {
        Times(factors)
    }

    /// Every family that has a factor.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Factor)> {
        self.0.iter().map(|(family, factor)| (&**family, factor))
    }

    /// The factors of a family.
    pub fn of(&self, family: &str) -> PerBackend {
        match self.0.get(family) {
            None => PerBackend { ane: 1.0, bnns: 1.0, classic_cpu: 1.0 },
            Some(factor) => factor.each(),
        }
    }

    /// # Errors
    /// When there is no such family, or a factor is not a positive number.
    pub(crate) fn check(&self) -> Result<(), String> {
        for (family, factor) in &self.0 {
            if !FAMILIES.contains(&&**family) {
                return Err(format!(
                    "there is no family `times.{family}`; there are {}",
                    FAMILIES.join(", ")
                ));
            }
            let PerBackend { ane, bnns, classic_cpu } = factor.each();
            if let Some(v) = [ane, bnns, classic_cpu].into_iter().find(|v| !(v.is_finite() && *v > 0.0)) {
                return Err(format!("`times.{family}` is {v}, but must be a number above 0"));
            }
        }
        Ok(())
    }
}

impl Factor {
    fn each(&self) -> PerBackend {
        match self {
            Factor::Same(v) => PerBackend { ane: *v, bnns: *v, classic_cpu: *v },
            Factor::Each(f) => PerBackend { ane: f.ane, bnns: f.bnns, classic_cpu: f.classic_cpu },
        }
    }
}

/// Text of the fitted rates; written by `cargo xtask fit`.
const H16G: &str = include_str!("../../../../corpus/placement/rates-h16g.toml");

static FITTED: LazyLock<Rates> =
    LazyLock::new(|| Rates::read(H16G).expect("fitted rates, which a test reads"));

/// The file of fitted rates.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    rates: BTreeMap<String, Vec<Fitted>>,
    #[serde(default)]
    steps: BTreeMap<String, Vec<Step>>,
}

/// One rate per backend; a backend is left out where the data do not bind it.
#[derive(Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fitted {
    #[serde(default = "unbound")]
    ane: f64,
    #[serde(default = "unbound")]
    bnns: f64,
    #[serde(default = "unbound")]
    classic_cpu: f64,
    /// Largest relative error over the estimates that it was fitted to.
    #[serde(rename = "error")]
    _error: f64,
    /// How many those are.
    #[serde(rename = "estimates")]
    _estimates: u32,
}

const fn unbound() -> f64 {
    f64::INFINITY
}

#[derive(Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    below: f64,
    above: f64,
    used: f64,
}

impl Rates {
    /// The estimates of ANE target h16g on macOS 27.0.1, fitted to 97 published ones.
    ///
    /// Source: 751K/Apple-Neural-Engine-Microarchitecture-Study-M6, `data/03_compile/opdispatch/ana`.
    pub fn h16g() -> &'static Rates {
        &FITTED
    }

    /// Reads a file of fitted rates.
    ///
    /// # Errors
    /// When it is no TOML, or lacks a rate.
    pub fn read(text: &str) -> Result<Rates, String> {
        let file: File = toml::from_str(text).map_err(|e| e.to_string())?;
        let all = |name: &str| {
            let found = file.rates.get(name).filter(|r| !r.is_empty());
            let found = found.ok_or_else(|| format!("there is no rate of `{name}`"))?;
            let each = |f: &Fitted| PerBackend { ane: f.ane, bnns: f.bnns, classic_cpu: f.classic_cpu };
            Ok::<Vec<PerBackend>, String>(found.iter().map(each).collect())
        };
        let one = |name: &str| all(name).map(|r| r[0]);
        let steps = |name: &str, what| {
            let steps = file.steps.get(name).map_or(&[][..], Vec::as_slice);
            steps.iter().map(|s| Threshold { what, below: s.below, above: s.above, used: s.used }).collect()
        };
        Ok(Rates {
            bandwidth: one("bandwidth")?,
            peak: one("peak")?,
            relu: one("relu")?,
            conv: all("conv")?,
            conv_steps: steps("conv", "FLOP per byte of conv"),
            linear: all("linear")?,
            linear_steps: steps("linear", "output elements of linear"),
            conv_transpose: all("conv_transpose")?,
            conv_transpose_steps: steps("conv_transpose", "FLOP of conv_transpose"),
            add: one("add")?,
            mul: one("mul")?,
            concat: one("concat")?,
            transpose: one("transpose")?,
            transpose_outer: one("transpose_outer")?,
            gather: one("gather")?,
            upsample_bilinear: one("upsample_bilinear")?,
            recurrent: one("recurrent")?,
            lstm: one("lstm")?,
            times: Times::default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fitted_rates_read_and_every_band_has_a_rate() {
        let rates = Rates::read(H16G).expect("complete");
        assert_eq!(rates.conv.len(), rates.conv_steps.len() + 1);
        assert_eq!(rates.linear.len(), rates.linear_steps.len() + 1);
        assert_eq!(rates.conv_transpose.len(), rates.conv_transpose_steps.len() + 1);
        for step in rates.conv_steps.iter().chain(&rates.linear_steps).chain(&rates.conv_transpose_steps) {
            assert!(step.below < step.used && step.used < step.above, "{step:?}");
        }
        assert!(Rates::read("").is_err() && Rates::read("[rates]\nconv = []").is_err());
    }
}
