//! Facts: what is known, of what, from where. They stand in `data/facts.toml`.

use crate::device::Device;
use crate::os::Os;
use crate::source::Source;
use serde::Deserialize;
use std::collections::HashMap;
use std::fmt;
use std::sync::LazyLock;

static FACTS: LazyLock<Vec<Fact>> = LazyLock::new(|| {
    let table: Table =
        toml::from_str(include_str!("../data/facts.toml")).expect("a table of facts, which a test reads");
    table.fact
});

static BY_NAME: LazyLock<HashMap<&'static str, &'static Fact>> =
    LazyLock::new(|| FACTS.iter().flat_map(|f| [(&*f.id, f), (&*f.key, f)]).collect());

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    fact: Vec<Fact>,
}

/// How a fact is known.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[serde(rename_all = "lowercase")]
pub enum Evidence {
    /// Somebody says so, without data.
    Claimed,
    /// The vendor says so, in documents or in the messages of its own tools.
    Documented,
    /// Somebody observed it on a device and published the observation.
    Measured,
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Evidence::Measured => "measured",
            Evidence::Documented => "documented",
            Evidence::Claimed => "claimed",
        })
    }
}

/// One voice for or against a claim.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Witness {
    /// How it knows.
    pub strength: Evidence,
    /// Who it is.
    pub source: Source,
    /// What it says in particular, or which records hold it; empty when it says the claim.
    #[serde(default)]
    pub says: String,
}

/// What became of a claim.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Hash)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// Nothing of weight contradicts it.
    Holds,
    /// It holds for less than it says.
    Narrowed,
    /// Later measurements say otherwise.
    Overruled,
    /// Sources of equal weight contradict each other.
    Open,
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Standing::Holds => "holds",
            Standing::Narrowed => "narrowed",
            Standing::Overruled => "overruled",
            Standing::Open => "open",
        })
    }
}

/// One thing that is known about placement.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Fact {
    /// Number, such as `F017`; never given to another claim.
    pub id: String,
    /// Name, such as `ane-int32`.
    pub key: String,
    /// What it is about: `eligibility`, `preference`, `running`, `cost`, `weights`, `numerics`, `hardware`,
    /// `package`, `device` or `advice`.
    pub topic: String,
    /// The claim, in one sentence.
    pub claim: String,
    /// Kinds of op that it is about; none when it is about ops as such, or not about ops.
    #[serde(default)]
    pub ops: Vec<String>,
    /// Chips (`M4`) and engines (`H13`) that it was seen on; none when it is about all of them.
    #[serde(default)]
    pub chips: Vec<String>,
    /// System that it was seen on; empty when not recorded.
    #[serde(default)]
    pub os: String,
    /// How it was observed; empty when not recorded.
    #[serde(default)]
    pub path: String,
    /// Claims of the seed documents that it covers.
    #[serde(default)]
    pub seeds: Vec<String>,
    /// Rows of the table of evidence that it covers.
    #[serde(default)]
    pub rules: Vec<String>,
    /// What became of it.
    pub standing: Standing,
    /// Who says so.
    pub evidence: Vec<Witness>,
    /// Who says otherwise.
    #[serde(default)]
    pub against: Vec<Witness>,
    /// Facts that contradict it.
    #[serde(default)]
    pub conflicts: Vec<String>,
    /// Which side decided, and why; empty when nothing contradicts it.
    #[serde(default)]
    pub verdict: String,
}

impl Fact {
    /// Every fact, in the order of their ids.
    pub fn all() -> &'static [Fact] {
        &FACTS
    }

    /// The fact of that id (`F017`) or key (`ane-int32`); case does not count.
    pub fn named(name: &str) -> Option<&'static Fact> {
        let known = |name: &str| BY_NAME.get(name).copied();
        known(name).or_else(|| known(&name.to_lowercase())).or_else(|| known(&name.to_uppercase()))
    }

    /// The strongest evidence for it.
    pub fn strength(&self) -> Evidence {
        self.evidence.iter().map(|w| w.strength).max().unwrap_or(Evidence::Claimed)
    }

    /// True when it says something of that kind of op.
    pub fn concerns(&self, op: &str) -> bool {
        self.ops.iter().any(|o| o == op)
    }

    /// True when it was seen on that chip, or is about all chips.
    pub fn covers(&self, device: &Device) -> bool {
        self.chips.is_empty() || self.chips.iter().any(|c| *c == device.chip || *c == device.engine)
    }

    /// True when it was seen on a system of that generation, or no system is recorded; macOS and iOS of one year count
    /// as one.
    pub fn holds_on(&self, os: Os) -> bool {
        self.os.is_empty() || self.os.parse::<Os>().is_ok_and(|seen| seen.generation() == os.generation())
    }

    /// Where it was seen, for people; `everywhere` when that is not limited.
    pub fn scope(&self) -> String {
        let chips = self.chips.join(", ");
        let parts = [chips.as_str(), &self.os, &self.path].into_iter().filter(|p| !p.is_empty());
        let scope = parts.collect::<Vec<_>>().join("; ");
        if scope.is_empty() { "everywhere".to_owned() } else { scope }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_fact_has_a_name_of_its_own_a_claim_and_sources() {
        let mut seen = HashSet::new();
        for (i, fact) in Fact::all().iter().enumerate() {
            assert_eq!(fact.id, format!("F{:03}", i + 1));
            assert!(seen.insert(&fact.key), "{} stands twice", fact.key);
            assert!(fact.claim.ends_with('.') && !fact.evidence.is_empty(), "{}", fact.id);
            for witness in fact.evidence.iter().chain(&fact.against) {
                assert!(
                    witness.source.is_listed() || witness.strength == Evidence::Claimed,
                    "{}: {}",
                    fact.id,
                    witness.source
                );
            }
        }
    }

    #[test]
    fn a_contradiction_names_who_decided() {
        for fact in Fact::all() {
            let contradicted = !fact.against.is_empty() || fact.standing != Standing::Holds;
            assert!(!contradicted || fact.verdict.ends_with('.'), "{}", fact.id);
            for other in &fact.conflicts {
                let other = Fact::named(other).unwrap_or_else(|| panic!("{}: no {other}", fact.id));
                assert!(other.conflicts.contains(&fact.id), "{} and {}", fact.id, other.id);
            }
        }
    }

    #[test]
    fn scopes_and_ops_name_things_that_exist() {
        for fact in Fact::all() {
            for chip in &fact.chips {
                let known = Device::known().iter().any(|d| d.chip == *chip || d.engine == *chip);
                assert!(known, "{}: {chip}", fact.id);
            }
            assert!(fact.os.is_empty() || fact.os.parse::<Os>().is_ok(), "{}: {}", fact.id, fact.os);
            for op in &fact.ops {
                assert!(anemone_mil::ops::find(op).is_some(), "{}: {op}", fact.id);
            }
        }
    }

    #[test]
    fn a_fact_counts_for_the_systems_of_the_year_it_was_seen_in() {
        let on = |text: &str| text.parse::<Os>().expect("a system");
        let seen = Fact::named("planner-fixed-cost").expect("a fact");
        assert_eq!(seen.os, "macOS 27.0.1");
        assert!(
            seen.holds_on(on("macOS 27")) && seen.holds_on(on("ios27.2")) && !seen.holds_on(on("macOS 15"))
        );
        let unrecorded = Fact::all().iter().find(|f| f.os.is_empty()).expect("one without a system");
        assert!(unrecorded.holds_on(on("macOS 15")));
    }

    #[test]
    fn every_claim_of_the_seeds_and_every_row_of_the_evidence_is_a_fact() {
        let wanted = include_str!("../../../corpus/placement/claims.txt");
        let covered: HashSet<&str> =
            Fact::all().iter().flat_map(|f| f.seeds.iter().chain(&f.rules)).map(String::as_str).collect();
        let missing: Vec<&str> = wanted.split_whitespace().filter(|id| !covered.contains(id)).collect();
        assert!(missing.is_empty(), "{missing:?}");
        let listed: HashSet<&str> = wanted.split_whitespace().collect();
        assert!(covered.is_subset(&listed), "{:?}", covered.difference(&listed));
    }
}
