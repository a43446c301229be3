//! Models computed as a Neural Engine does: which ops, and how much of its arithmetic is known.

mod layers;

pub use layers::{Emulated, SumLayer, verify_emulated};

use crate::{Error, ErrorKind};
use anemone_ane::{Arithmetic, Device, Unit, Units};
use anemone_exec::Emulation;
use anemone_mil::VerifiedFunction;
use std::sync::Arc;

/// Which ops are computed as the Neural Engine does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// Those that the plan puts there.
    #[default]
    Planned,
    /// Those that it would take, also where the plan keeps them elsewhere.
    Eligible,
}

/// How to compute as a Neural Engine does.
#[derive(Clone, Debug)]
pub struct Emulate {
    /// The device that is planned for.
    device: Arc<Device>,
    /// The device whose arithmetic is used.
    arithmetic: Arc<Device>,
    units: Units,
    scope: Scope,
}

impl Emulate {
    /// The ops that the plan for `device` puts on its Neural Engine, computed in the arithmetic of that chip; with
    /// `assume` in that of another one.
    ///
    /// # Errors
    /// When the arithmetic of the chip was not measured; the error names those of which it was, and what is said of
    /// this one.
    pub fn new(device: Arc<Device>, assume: Option<Arc<Device>>) -> Result<Emulate, Error> {
        let arithmetic = assume.unwrap_or_else(|| Arc::clone(&device));
        if Arithmetic::of(&arithmetic).is_unknown() {
            return Err(unknown(&arithmetic));
        }
        Ok(Emulate { device, arithmetic, units: Units::All, scope: Scope::Planned })
    }

    /// With another choice of ops.
    #[must_use]
    pub fn scope(mut self, scope: Scope) -> Emulate {
        self.scope = scope;
        self
    }

    /// With other units allowed in the plan.
    #[must_use]
    pub fn units(mut self, units: Units) -> Emulate {
        self.units = units;
        self
    }

    /// The device that is planned for.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The device whose arithmetic is used.
    pub fn arithmetic(&self) -> &Device {
        &self.arithmetic
    }

    /// Parts of the arithmetic that were not measured on that chip; they are computed as the CPU does.
    pub fn unknown_parts(&self) -> Vec<&'static str> {
        let known = Arithmetic::of(&self.arithmetic);
        let parts = [
            (known.sums.is_some(), "sums of products"),
            (known.whole_sums.is_some(), "sums of 8-bit products"),
            (known.elementwise.is_some(), "elementwise functions"),
            (known.tables.is_some(), "tables of activations"),
        ];
        parts.into_iter().filter(|(known, _)| !known).map(|(_, part)| part).collect()
    }

    /// What the engine is told of a function.
    pub(crate) fn emulation(&self, function: VerifiedFunction<'_>, measure: bool) -> Emulation {
        let plan = anemone_ane::plan(function, &self.device, self.units);
        let taken = |op: &&anemone_ane::OpPlan| match self.scope {
            Scope::Planned => op.preferred == Unit::Ane,
            Scope::Eligible => op.supported.contains(&Unit::Ane),
        };
        let ops = plan.ops.iter().filter(taken).map(|op| op.name.clone()).collect();
        let known = Arithmetic::of(&self.arithmetic);
        let arithmetic = anemone_exec::Arithmetic {
            sums: known.sums.is_some(),
            whole_sums: known.whole_sums.is_some(),
            elementwise: known.elementwise.is_some(),
            tables: known.tables.is_some(),
        };
        Emulation { ops, arithmetic, measure }
    }
}

fn unknown(device: &Device) -> Error {
    let chips = Arithmetic::known_chips();
    let said: Vec<String> = Arithmetic::hearsay(device)
        .into_iter()
        .map(|f| format!("; it is {} that {}", f.strength(), f.claim.trim_end_matches('.').to_lowercase()))
        .collect();
    let what = format!(
        "how the Neural Engine of {} computes is not known{}; it was measured on {}: compute as one of these does with \
         --assume {}",
        device.chip,
        said.concat(),
        chips.join(" and "),
        chips.last().map(|c| c.to_lowercase()).unwrap_or_default(),
    );
    Error::new(what).of_kind(ErrorKind::Unsupported)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(name: &str) -> Arc<Device> {
        Device::named(name).expect("known")
    }

    #[test]
    fn chips_of_unknown_arithmetic_name_the_known_ones_and_the_way_out() {
        let error = |name: &str| Emulate::new(device(name), None).expect_err("not known").to_string();
        assert!(error("m2").contains("M6 and M4") && error("m2").contains("--assume m4"), "{}", error("m2"));
        assert!(error("m1").contains("fp16 and end at 32768"), "{}", error("m1"));
        assert!(error("m5").contains("do not end at 32768"), "{}", error("m5"));
        let assumed = Emulate::new(device("m2"), Some(device("m6"))).expect("a way out");
        assert_eq!((assumed.device().chip.as_str(), assumed.arithmetic().chip.as_str()), ("M2", "M6"));
        assert!(assumed.unknown_parts().is_empty());
        assert_eq!(Emulate::new(device("m4"), None).expect("known").unknown_parts().len(), 3);
    }
}
