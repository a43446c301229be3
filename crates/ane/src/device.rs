//! Device profiles.

use crate::cost::Rates;
use std::fmt;

/// What is known of one chip, on one system.
#[derive(Debug)]
pub struct Device {
    /// Name on the command line.
    pub name: &'static str,
    /// Name as Apple writes it.
    pub chip: &'static str,
    /// The ANE compiler's name for its Neural Engine.
    pub ane_target: &'static str,
    /// The system that the profile was observed on.
    pub os: &'static str,
    /// What the ANE compiler accepts at most.
    pub limits: Limits,
    /// The segmenter's fixed costs.
    pub fixed: FixedCosts,
    /// The segmenter's estimates.
    pub rates: &'static Rates,
    /// Where the profile comes from.
    pub source: &'static str,
}

/// The largest things that the ANE compiler accepts.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Extent of any axis, in elements.
    pub extent: usize,
    /// Number of axes.
    pub rank: usize,
    /// Width of a convolution kernel.
    pub conv_width: usize,
    /// Height of a convolution kernel.
    pub conv_height: usize,
    /// Width and height of the one square convolution kernel that is accepted beyond `conv_width`.
    pub conv_square: usize,
    /// Width of a max pool kernel.
    pub max_pool_width: usize,
    /// The one max pool kernel width that is accepted beyond `max_pool_width`.
    pub max_pool_wide: usize,
    /// Bytes of one row along the inner dim of a matrix product.
    pub matmul_row_bytes: usize,
}

/// Costs of a segment that do not depend on its ops, in ms.
#[derive(Clone, Copy, Debug)]
pub struct FixedCosts {
    /// Entering an ANE segment.
    pub enter_ane: f64,
    /// Going from any backend to another one.
    pub change: f64,
    /// Ending the graph on the ANE.
    pub end_on_ane: f64,
}

/// M4; every number is from the records named in `source`.
static M4: Device = Device {
    name: "m4",
    chip: "M4",
    ane_target: "h16g",
    os: "macOS 27.0.1",
    limits: Limits {
        extent: 65536,
        rank: 5,
        conv_width: 15,
        conv_height: 31,
        conv_square: 16,
        max_pool_width: 8,
        max_pool_wide: 32,
        matmul_row_bytes: 65536,
    },
    fixed: FixedCosts { enter_ane: 0.125, change: 0.125, end_on_ane: 0.125 },
    rates: &crate::cost::H16G,
    source: "751K/Apple-Neural-Engine-Microarchitecture-Study-M6: MLComputePlan tables and analytics.mil files under \
             data/03_compile/opdispatch, direct compiles in arch_h16g_h18g.tsv (M4, macOS 27.0.1, coremltools 9.0)",
};

static KNOWN: [&Device; 1] = [&M4];

impl Device {
    /// Every device with a profile.
    pub fn known() -> &'static [&'static Device] {
        &KNOWN
    }

    /// The device of that name; case does not count.
    ///
    /// # Errors
    /// When there is no profile of that name; the error lists those that are.
    pub fn named(name: &str) -> Result<&'static Device, UnknownDevice> {
        let found = KNOWN.iter().copied().find(|d| d.name.eq_ignore_ascii_case(name));
        found.ok_or_else(|| UnknownDevice { name: name.to_owned() })
    }
}

/// No profile of that name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownDevice {
    /// The name that was asked for.
    pub name: String,
}

impl fmt::Display for UnknownDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known: Vec<&str> = Device::known().iter().map(|d| d.name).collect();
        write!(f, "unknown device `{}`; known devices are: {}", self.name, known.join(", "))
    }
}

impl std::error::Error for UnknownDevice {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_device_is_answered_with_the_known_ones() {
        assert_eq!(Device::named("M4").map(|d| d.ane_target), Ok("h16g"));
        let error = Device::named("m9").expect_err("no such chip").to_string();
        assert_eq!(error, "unknown device `m9`; known devices are: m4");
    }
}
