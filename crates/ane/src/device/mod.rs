//! Devices: what is known of each chip, and how sure it is.
//!
//! Every figure stands in a file of `data/devices` with its source and strength; a quantity without a figure is
//! unknown. The numbers that the planner needs ([`Limits`], [`FixedCosts`]) are the best known ones.

mod figure;
mod files;
mod names;
mod profile;
mod seen;

pub use figure::{Amount, Figure, QUANTITIES, Quantity, Strength};
pub use names::UnknownDevice;
pub use profile::ProfileError;
pub use seen::{Seen, SeenMs, signature};

use crate::cost::Rates;
use crate::os::Os;
use crate::source::Source;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

static KNOWN: LazyLock<Vec<Arc<Device>>> = LazyLock::new(|| {
    let read =
        |text: &&str| profile::read(text, |_| None).expect("a device file, each of which a test reads");
    files::FILES.iter().map(read).map(Arc::new).collect()
});

/// What is known of one chip.
#[derive(Clone, Debug)]
pub struct Device {
    /// Name on the command line, such as `m4-pro`.
    pub name: String,
    /// Name as Apple writes it, such as `M4 Pro`.
    pub chip: String,
    /// Generation of its Neural Engine, such as `H16`.
    pub engine: String,
    /// The ANE compiler's name for its Neural Engine, such as `h16g`; `None` when not known.
    pub target: Option<String>,
    /// Year of the first product.
    pub year: Option<u16>,
    /// Products that have it.
    pub products: Vec<String>,
    /// What to know about the device.
    pub notes: Vec<String>,
    /// Every figure; several of one quantity where sources differ.
    pub figures: Vec<Figure>,
    /// What the ANE compiler accepts at most.
    pub limits: Limits,
    /// The segmenter's fixed costs.
    pub fixed: FixedCosts,
    /// The segmenter's estimates; `None` where Core ML cannot reach the Neural Engine.
    pub estimates: Option<Estimates>,
    /// The system to plan for: the newest that all products of a phone's chip run, for others the one that the
    /// estimates were observed on; `None` where nothing is known of any.
    pub os: Option<Os>,
    /// Ops that were seen on the device itself, by [`signature`]; they outweigh rules and formulas.
    pub seen: Arc<BTreeMap<String, Seen>>,
}

/// The segmenter's estimates for a device.
#[derive(Clone, Debug)]
pub struct Estimates {
    /// The rates.
    pub rates: Rates,
    /// The system that they were observed on.
    pub os: Os,
    /// How they are known.
    pub strength: Strength,
    /// Who says so.
    pub source: Source,
}

/// The largest things that the ANE compiler accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Extent of height, width and depth, in elements.
    pub extent: usize,
    /// Extent of batch and channels, in elements.
    pub extent_nc: usize,
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
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FixedCosts {
    /// Entering an ANE segment.
    pub enter_ane: f64,
    /// Going from any backend to another one.
    pub change: f64,
    /// Ending the graph on the ANE.
    pub end_on_ane: f64,
}

impl Device {
    /// Every device with a file of its own, phones first.
    pub fn known() -> &'static [Arc<Device>] {
        &KNOWN
    }

    /// The device of that name: a chip, a compiler target or a product; case, spaces and punctuation do not count.
    ///
    /// # Errors
    /// When nothing has that name; the error tells the nearest names.
    pub fn named(name: &str) -> Result<Arc<Device>, UnknownDevice> {
        names::find(name, Device::known())
    }

    /// Reads a device file.
    ///
    /// # Errors
    /// When it is no TOML, has fields that no device has, or lacks what the planner needs.
    pub fn read(text: &str) -> Result<Device, ProfileError> {
        profile::read(text, |name| Device::named(name).ok().map(|d| Device::clone(&d)))
    }

    /// The best known figure of a quantity: the strongest, of equally strong ones the first.
    pub fn figure(&self, what: &str) -> Option<&Figure> {
        profile::best(&self.figures, what)
    }

    /// Every figure of a quantity.
    pub fn figures_of<'d>(&'d self, what: &'d str) -> impl Iterator<Item = &'d Figure> {
        self.figures.iter().filter(move |f| f.what == what)
    }

    /// Number of the Neural Engine's generation: 16 for `H16`.
    pub fn generation(&self) -> Option<u8> {
        self.engine.strip_prefix('H')?.parse().ok()
    }

    /// True for chips of phones and tablets that run iOS.
    pub fn is_phone(&self) -> bool {
        self.chip.starts_with('A')
    }

    /// The device with another system to plan for.
    #[must_use]
    pub fn on(&self, os: Os) -> Device {
        Device { os: Some(os), ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_device_file_reads_and_names_its_sources() {
        for device in Device::known() {
            for figure in &device.figures {
                assert!(figure.source.is_listed(), "{}: {}", device.chip, figure.source);
            }
            assert_eq!(Device::named(&device.chip).map(|d| d.name.clone()), Ok(device.name.clone()));
        }
    }

    #[test]
    fn no_two_devices_share_a_product() {
        let mut seen = std::collections::HashMap::new();
        for device in Device::known() {
            for product in &device.products {
                assert_eq!(seen.insert(product.to_lowercase(), &device.chip), None, "{product}");
            }
        }
    }

    /// Expected systems: public lists of what iOS 16, 18 and 27 run on.
    #[test]
    fn phones_are_planned_for_the_newest_ios_they_run() {
        let os = |name: &str| Device::named(name).expect("known").os.map(|os| os.to_string());
        for (name, wanted) in [
            ("iPhone X", "iOS 16"),
            ("iPhone XS", "iOS 18"),
            ("iPhone 11", "iOS 27"),
            ("iPhone 15 Pro", "iOS 27"),
            ("m4", "macOS 27.0.1"),
        ] {
            assert_eq!(os(name).as_deref(), Some(wanted), "{name}");
        }
        assert!(Device::known().iter().all(|d| d.os.is_some_and(|os| os.is_mac() != d.is_phone())));
        let own = "chip = \"Mine\"\nbased_on = \"a18\"\n";
        assert_eq!(
            Device::read(own).expect("complete").os.map(|os| os.to_string()).as_deref(),
            Some("iOS 27")
        );
    }

    #[test]
    fn the_limits_of_an_m4_are_those_that_were_measured() {
        let m4 = Device::named("m4").expect("known");
        let limits = m4.limits;
        assert_eq!((limits.extent, limits.conv_width, limits.matmul_row_bytes), (65536, 15, 65536));
        assert_eq!(m4.fixed, FixedCosts { enter_ane: 0.125, change: 0.125, end_on_ane: 0.125 });
        assert_eq!(Device::named("m1").expect("known").limits.extent, 16384);
    }

    #[test]
    fn factors_are_per_backend_and_name_families_that_there_are() {
        let text = |times: &str| {
            format!(
                "chip = \"Mine\"\nbased_on = \"m4\"\n[estimates]\nrates = \"h16g\"\nos = \"macOS 27\"\n\
                 strength = \"measured\"\nsource = \"measured from a\"\n[estimates.times]\n{times}\n"
            )
        };
        let mine =
            Device::read(&text("conv = { ane = 2.0, ops = 3, source = \"measured from a\" }\nadd = 1.5"));
        let times = mine.expect("complete").estimates.expect("estimates").rates.times;
        assert_eq!((times.of("conv").ane, times.of("conv").bnns, times.of("add").bnns), (2.0, 1.0, 1.5));
        for (faulty, part) in
            [("cnv = 2.0", "times.cnv"), ("conv = 0", "above 0"), ("conv = { ane = -1.0 }", "-1")]
        {
            let error = Device::read(&text(faulty)).expect_err("faulty").to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn a_file_of_ones_own_builds_on_a_known_chip() {
        let text = "chip = \"Mine\"\nbased_on = \"m4\"\n[[figures]]\nwhat = \"limit_conv_width\"\nvalue = 7\n\
                    strength = \"measured\"\nsource = \"me\"\n";
        let mine = Device::read(text).expect("complete");
        assert_eq!((mine.limits.conv_width, mine.limits.extent, &*mine.engine), (7, 65536, "H16"));
        let error = |text: &str| Device::read(text).expect_err("faulty").to_string();
        assert!(error("chip = \"X\"").contains("`engine`"));
        assert!(error("chip = \"X\"\nengine = \"H16\"").contains("limit_extent"));
        assert!(error("chip = \"X\"\nbased_on = \"m99\"").contains("m99"));
        assert!(error(&text.replace("= 7", "= -1")).contains("-1"));
        assert!(error(&text.replace("limit_conv_width", "limit_conv")).contains("limit_conv"));
    }
}
