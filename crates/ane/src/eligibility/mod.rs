//! Eligibility: would a compute unit take the op?
//!
//! A [`Rule`] joins one [`Fact`] with the predicate that applies it. All rules that speak are named in the verdict; a
//! refusal outweighs doubt, and doubt outweighs acceptance.

mod ane;
mod ops;
mod other;
mod weights;

use crate::device::Device;
use crate::fact::Fact;
use crate::units::Unit;
use anemone_mil::ops::Site;

/// Whether a unit takes an op.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// It does.
    Yes,
    /// It does not.
    No,
    /// There is no record, or the records contradict each other. A plan leaves the op off the unit.
    Unknown,
}

/// The answer for one op on one unit.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The answer.
    pub answer: Answer,
    /// What decided, with the op's own values; one clause without a full stop.
    pub why: String,
    /// The facts behind the answer, the deciding one first.
    pub facts: Vec<&'static Fact>,
}

/// What a rule says of one op.
pub(crate) struct Ruling {
    answer: Answer,
    why: String,
}

impl Ruling {
    fn yes(why: impl Into<String>) -> Option<Ruling> {
        Some(Ruling { answer: Answer::Yes, why: why.into() })
    }

    fn no(why: impl Into<String>) -> Option<Ruling> {
        Some(Ruling { answer: Answer::No, why: why.into() })
    }

    fn unknown(why: impl Into<String>) -> Option<Ruling> {
        Some(Ruling { answer: Answer::Unknown, why: why.into() })
    }
}

/// A fact and where it applies; silent (`None`) on ops that it says nothing of.
pub(crate) struct Rule {
    /// Key of the fact.
    fact: &'static str,
    check: fn(&Site<'_>, &Device) -> Option<Ruling>,
}

/// Whether `unit` of `device` takes the op.
pub fn verdict(site: &Site<'_>, device: &Device, unit: Unit) -> Verdict {
    let mut spoken: Vec<(&'static Fact, Ruling)> = Vec::new();
    for rule in rules(unit) {
        if let Some(ruling) = (rule.check)(site, device) {
            spoken.extend(Fact::named(rule.fact).map(|fact| (fact, ruling)));
        }
    }
    decide(spoken, site.def.name, unit)
}

/// Whether `unit` takes an op that the op table does not have.
pub fn foreign(name: &str, unit: Unit) -> Verdict {
    match unit {
        Unit::Cpu => Verdict {
            answer: Answer::Yes,
            why: format!("`{name}` is not in the op table; the CPU is where every op must run"),
            facts: Fact::named("cpu-all").into_iter().collect(),
        },
        _ => decide(Vec::new(), name, unit),
    }
}

fn rules(unit: Unit) -> &'static [Rule] {
    match unit {
        Unit::Cpu => other::CPU,
        Unit::Gpu => other::GPU,
        Unit::Ane => ane::RULES,
    }
}

fn decide(mut spoken: Vec<(&'static Fact, Ruling)>, name: &str, unit: Unit) -> Verdict {
    let rank = |r: &Ruling| match r.answer {
        Answer::No => 0,
        Answer::Unknown => 1,
        Answer::Yes => 2,
    };
    spoken.sort_by_key(|(_, r)| rank(r));
    let facts = spoken.iter().map(|(fact, _)| *fact).collect();
    match spoken.into_iter().next() {
        Some((_, ruling)) => Verdict { answer: ruling.answer, why: ruling.why, facts },
        None => Verdict {
            answer: Answer::Unknown,
            why: format!("there is no record of `{name}` on the {unit}"),
            facts,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_rule_names_a_fact() {
        for rule in Unit::ALL.into_iter().flat_map(rules) {
            assert!(Fact::named(rule.fact).is_some(), "{}", rule.fact);
        }
    }

    #[test]
    fn an_op_stands_in_one_list_at_most() {
        let mut seen = HashSet::new();
        for name in ops::LISTS.iter().flat_map(|l| l.iter()) {
            assert!(seen.insert(*name), "{name} stands twice");
        }
    }
}
