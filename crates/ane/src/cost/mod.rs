//! The segmenter's estimates: how long an op would take on each backend.
//!
//! The compiler walks small decision trees; [`families`] holds the smallest set of formulas that gives back the
//! published estimates (`estimated_ms` of the study that [`Rates::h16g`] names). Rates are leaves of those
//! trees, seen at a few sizes: where one leaf ends and the next begins is known only to lie between two observed
//! sizes, and a [`Threshold`] says which. The figures are the planner's estimates, never measured times.

mod families;
mod rates;

pub(crate) use families::inner_dim;
pub use families::{compared_size, estimate};
pub use rates::{FAMILIES, Factor, Factors, PerBackend, Rates, Times};

use std::fmt;

/// What the segmenter chooses among. Both CPU backends are reported as CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Backend {
    /// The Neural Engine.
    Ane,
    /// The CPU through BNNS.
    Bnns,
    /// The older CPU backend.
    ClassicCpu,
}

impl Backend {
    /// Every backend.
    pub const ALL: [Backend; 3] = [Backend::Ane, Backend::Bnns, Backend::ClassicCpu];

    /// Name in the published estimates.
    pub const fn name(self) -> &'static str {
        match self {
            Backend::Ane => "ane",
            Backend::Bnns => "bnns",
            Backend::ClassicCpu => "classic_cpu",
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Estimated run time of one op per backend, in ms.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// On the ANE; `None` when the ANE does not take the op.
    pub ane: Option<f64>,
    /// On the CPU through BNNS.
    pub bnns: f64,
    /// On the older CPU backend.
    pub classic_cpu: f64,
    /// What the figures rest on.
    pub basis: Basis,
}

impl Estimate {
    /// The figure for one backend; `None` where the backend does not take the op.
    pub const fn on(&self, backend: Backend) -> Option<f64> {
        match backend {
            Backend::Ane => self.ane,
            Backend::Bnns => Some(self.bnns),
            Backend::ClassicCpu => Some(self.classic_cpu),
        }
    }

    /// The better of the two CPU backends.
    pub const fn cpu(&self) -> f64 {
        self.bnns.min(self.classic_cpu)
    }

    /// The estimate of an op that the ANE refuses.
    #[must_use]
    pub const fn without_ane(self) -> Estimate {
        Estimate { ane: None, ..self }
    }
}

/// What an estimate rests on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Basis {
    /// The formula's family, such as `conv` or `default`.
    pub family: &'static str,
    /// How sure the formula is at this size.
    pub reach: Reach,
    /// True when an extent was unknown and counted as 1.
    pub guessed_extent: bool,
}

/// How sure a formula is at a size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reach {
    /// The formula reproduces published estimates of this family at several sizes.
    Observed,
    /// The size lies where no estimate was published, and the rate changes somewhere there.
    Between(Threshold),
    /// One size was published; the figure scales it.
    OneSize,
}

impl Basis {
    /// False when the figure may be off by the whole step between two rates, or scales a single observation.
    pub const fn is_sure(&self) -> bool {
        matches!(self.reach, Reach::Observed) && !self.guessed_extent
    }
}

/// A size at which the rate changes, known only as a bracket.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Threshold {
    /// What is compared.
    pub what: &'static str,
    /// Largest size seen below.
    pub below: f64,
    /// Smallest size seen above.
    pub above: f64,
    /// The value used here, somewhere between.
    pub used: f64,
}

impl Threshold {
    /// True when nothing was published at that size.
    pub const fn is_open_at(&self, size: f64) -> bool {
        self.below < size && size < self.above
    }
}
