//! `anemone.facts/1`.

use anemone::ane;
use serde::Serialize;

/// Facts with their evidence.
#[derive(Debug, Serialize)]
pub(crate) struct Facts {
    schema: &'static str,
    facts: Vec<Fact>,
}

#[derive(Debug, Serialize)]
struct Fact {
    id: String,
    key: String,
    topic: String,
    claim: String,
    ops: Vec<String>,
    chips: Vec<String>,
    os: String,
    path: String,
    standing: String,
    evidence: Vec<Witness>,
    against: Vec<Witness>,
    conflicts: Vec<String>,
    verdict: String,
    covers: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Witness {
    strength: String,
    source: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    says: String,
}

impl Facts {
    pub(crate) fn of(facts: &[&ane::Fact]) -> Facts {
        Facts { schema: "anemone.facts/1", facts: facts.iter().map(|f| Fact::of(f)).collect() }
    }
}

impl Fact {
    fn of(f: &ane::Fact) -> Fact {
        let witnesses = |all: &[ane::Witness]| all.iter().map(Witness::of).collect();
        Fact {
            id: f.id.clone(),
            key: f.key.clone(),
            topic: f.topic.clone(),
            claim: f.claim.clone(),
            ops: f.ops.clone(),
            chips: f.chips.clone(),
            os: f.os.clone(),
            path: f.path.clone(),
            standing: f.standing.to_string(),
            evidence: witnesses(&f.evidence),
            against: witnesses(&f.against),
            conflicts: f.conflicts.clone(),
            verdict: f.verdict.clone(),
            covers: f.seeds.iter().chain(&f.rules).cloned().collect(),
        }
    }
}

impl Witness {
    fn of(w: &ane::Witness) -> Witness {
        Witness { strength: w.strength.to_string(), source: w.source.to_string(), says: w.says.clone() }
    }
}
