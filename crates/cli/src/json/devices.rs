//! `anemone.devices/1`.

use anemone::ane::Device;
use anemone::ane::device::{Amount, Figure, QUANTITIES};
use serde::Serialize;
use std::sync::Arc;

/// Devices with every figure.
#[derive(Debug, Serialize)]
pub(crate) struct Devices {
    schema: &'static str,
    devices: Vec<One>,
}

#[derive(Debug, Serialize)]
struct One {
    name: String,
    chip: String,
    engine: String,
    target: Option<String>,
    year: Option<u16>,
    products: Vec<String>,
    notes: Vec<String>,
    figures: Vec<Entry>,
    /// Quantities that every device has and whose figure is not known for this one.
    unknown: Vec<&'static str>,
    estimates: Option<Estimates>,
}

#[derive(Debug, Serialize)]
struct Entry {
    what: String,
    unit: &'static str,
    value: Value,
    strength: String,
    source: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    note: String,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Value {
    Number(f64),
    Range([f64; 2]),
    Text(String),
}

#[derive(Debug, Serialize)]
struct Estimates {
    os: String,
    strength: String,
    source: String,
}

impl Devices {
    pub(crate) fn of(devices: &[Arc<Device>]) -> Devices {
        Devices { schema: "anemone.devices/1", devices: devices.iter().map(|d| One::of(d)).collect() }
    }
}

impl One {
    fn of(d: &Device) -> One {
        let missing = QUANTITIES.iter().filter(|q| q.expected && d.figure(q.key).is_none());
        let estimates = d.estimates.as_ref().map(|e| Estimates {
            os: e.os.to_string(),
            strength: e.strength.to_string(),
            source: e.source.to_string(),
        });
        One {
            name: d.name.clone(),
            chip: d.chip.clone(),
            engine: d.engine.clone(),
            target: d.target.clone(),
            year: d.year,
            products: d.products.clone(),
            notes: d.notes.clone(),
            figures: d.figures.iter().map(Entry::of).collect(),
            unknown: missing.map(|q| q.key).collect(),
            estimates,
        }
    }
}

impl Entry {
    fn of(f: &Figure) -> Entry {
        Entry {
            what: f.what.clone(),
            unit: f.quantity().map_or("", |q| q.unit),
            value: match &f.value {
                Amount::Number(v) => Value::Number(*v),
                Amount::Range(r) => Value::Range(*r),
                Amount::Text(t) => Value::Text(t.clone()),
            },
            strength: f.strength.to_string(),
            source: f.source.to_string(),
            note: f.note.clone(),
        }
    }
}
