//! `anemone.size/1`.

use super::finite;
use anemone::ane::Device;
use anemone::size::{APP_BYTES, Fit, Origin, Room, Scheme, Subject, fit};
use serde::Serialize;
use std::path::Path;
use std::sync::Arc;

/// How large a model is, and what holds it.
#[derive(Debug, Serialize)]
pub(crate) struct Size {
    schema: &'static str,
    model: String,
    what: String,
    /// `model`, `config` or `count`.
    origin: &'static str,
    parameters: u64,
    active_parameters: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    stored_bytes: Option<u64>,
    app_limit_bytes: u64,
    schemes: Vec<Weights>,
    caches: Vec<Cache>,
    devices: Vec<OnDevice>,
    notes: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Weights {
    scheme: String,
    bytes: u64,
    table_bytes: u64,
    bits_per_parameter: f64,
    fits_app: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    standing: Option<&'static str>,
    facts: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Cache {
    context: u64,
    bytes: u64,
}

#[derive(Debug, Serialize)]
struct OnDevice {
    device: String,
    fits: Vec<Fitted>,
}

#[derive(Debug, Serialize)]
struct Fitted {
    scheme: String,
    context: u64,
    bytes: u64,
    /// `yes`, `tight`, `no` or `unknown`.
    in_memory: &'static str,
    wanted_ram_bytes: u64,
    programs: u64,
    program_limit_bytes: u64,
    program_limit_known: bool,
    beyond_address_space: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    tokens_per_s_at_most: Option<f64>,
}

impl Size {
    pub(crate) fn of(
        model: &Path,
        subject: &Subject,
        contexts: &[u64],
        devices: &[Arc<Device>],
        shard: Option<u64>,
    ) -> Size {
        let on = |device: &Arc<Device>| {
            let pairs = Scheme::ALL.iter().flat_map(|s| contexts.iter().map(move |c| (*s, *c)));
            let fits = pairs.map(|(s, c)| Fitted::of(s, c, &fit(subject, s, c, device, shard))).collect();
            OnDevice { device: device.name.clone(), fits }
        };
        Size {
            schema: "anemone.size/1",
            model: model.display().to_string(),
            what: subject.what.clone(),
            origin: match subject.origin {
                Origin::Model => "model",
                Origin::Config => "config",
                Origin::Count => "count",
            },
            parameters: subject.parameters(),
            active_parameters: subject.active(),
            stored_bytes: subject.stored,
            app_limit_bytes: APP_BYTES,
            schemes: Scheme::ALL.iter().map(|s| Weights::of(*s, subject)).collect(),
            caches: contexts.iter().map(|&c| Cache { context: c, bytes: subject.cache.bytes(c) }).collect(),
            devices: devices.iter().map(on).collect(),
            notes: subject.notes.clone(),
        }
    }
}

impl Weights {
    fn of(scheme: Scheme, subject: &Subject) -> Weights {
        let bytes = subject.bytes(scheme);
        let (standing, facts) = scheme.standing().map_or((None, [].as_slice()), |(s, f)| (Some(s), f));
        let facts = facts.iter().filter_map(|key| anemone::ane::Fact::named(key)).map(|f| f.id.clone());
        Weights {
            scheme: scheme.to_string(),
            bytes: bytes.total(),
            table_bytes: bytes.tables,
            bits_per_parameter: finite(bytes.total() as f64 * 8.0 / subject.parameters().max(1) as f64)
                .unwrap_or_default(),
            fits_app: bytes.total() < APP_BYTES,
            standing,
            facts: facts.collect(),
        }
    }
}

impl Fitted {
    fn of(scheme: Scheme, context: u64, fit: &Fit) -> Fitted {
        Fitted {
            scheme: scheme.to_string(),
            context,
            bytes: fit.bytes,
            in_memory: match fit.room {
                Room::Yes => "yes",
                Room::Tight => "tight",
                Room::No => "no",
                Room::Unknown => "unknown",
            },
            wanted_ram_bytes: fit.wanted_ram,
            programs: fit.programs,
            program_limit_bytes: fit.program_bytes,
            program_limit_known: fit.limit_known,
            beyond_address_space: fit.beyond_address_space,
            tokens_per_s_at_most: fit.tokens_per_s.and_then(finite),
        }
    }
}
