//! How the Neural Engine of a chip computes, as far as that is known.

use crate::device::Device;
use crate::fact::{Evidence, Fact};

/// From which magnitude on a running sum is infinite on chips with [`Arithmetic::sums`].
pub const SUM_LIMIT: f64 = 32768.0;

/// The parts of a chip's arithmetic that were measured on it, each with the fact that says so.
#[derive(Clone, Copy, Debug, Default)]
pub struct Arithmetic {
    /// Sums of products in fixed point.
    pub sums: Option<&'static Fact>,
    /// Sums of 8-bit products in whole numbers.
    pub whole_sums: Option<&'static Fact>,
    /// Functions of single elements.
    pub elementwise: Option<&'static Fact>,
    /// Functions read from tables.
    pub tables: Option<&'static Fact>,
}

impl Arithmetic {
    /// What was measured on that chip; nothing is carried over from another one.
    pub fn of(device: &Device) -> Arithmetic {
        let known = |key| {
            let fact = Fact::named(key)?;
            let measured = fact.strength() == Evidence::Measured && !fact.chips.is_empty();
            (measured && fact.covers(device)).then_some(fact)
        };
        Arithmetic {
            sums: known("ane-fixed-sums"),
            whole_sums: known("ane-whole-sums"),
            elementwise: known("ane-elementwise-rounding"),
            tables: known("ane-tables"),
        }
    }

    /// True when nothing of it is known.
    pub fn is_unknown(&self) -> bool {
        self.facts().next().is_none()
    }

    /// The facts behind it.
    pub fn facts(&self) -> impl Iterator<Item = &'static Fact> {
        [self.sums, self.whole_sums, self.elementwise, self.tables].into_iter().flatten()
    }

    /// What is said of the sums of a chip without being enough to compute as it does.
    pub fn hearsay(device: &Device) -> Vec<&'static Fact> {
        let facts = ["ane-half-sums", "ane-open-sums"].into_iter().filter_map(Fact::named);
        facts.filter(|f| f.covers(device)).collect()
    }

    /// Names of the chips of whose arithmetic something was measured, latest first.
    pub fn known_chips() -> Vec<&'static str> {
        let known = Device::known().iter().filter(|d| !Arithmetic::of(d).is_unknown());
        let mut chips: Vec<&str> = known.map(|d| d.chip.as_str()).collect();
        chips.reverse();
        chips
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(chip: &str) -> Arithmetic {
        Arithmetic::of(&Device::named(chip).expect("known"))
    }

    /// The page says: all on an M6, the accumulator again on an M4, the rest not.
    #[test]
    fn arithmetic_is_known_where_it_was_measured() {
        assert_eq!(of("m6").facts().count(), 4);
        let keys: Vec<&str> = of("m4").facts().map(|f| &*f.key).collect();
        assert_eq!(keys, ["ane-fixed-sums"]);
        for chip in ["m1", "a14", "m5", "m4-pro", "a17-pro", "m2"] {
            assert!(of(chip).is_unknown(), "{chip}");
        }
        assert_eq!(Arithmetic::known_chips(), ["M6", "M4"]);
    }

    #[test]
    fn what_is_only_said_of_a_chip_is_told_apart() {
        let said = |chip: &str| {
            let facts = Arithmetic::hearsay(&Device::named(chip).expect("known"));
            facts.iter().map(|f| &*f.key).collect::<Vec<&str>>()
        };
        assert_eq!(
            [said("m1"), said("a14"), said("m5")],
            [["ane-half-sums"], ["ane-half-sums"], ["ane-open-sums"]]
        );
        assert!(said("m4").is_empty() && said("m3").is_empty());
    }
}
