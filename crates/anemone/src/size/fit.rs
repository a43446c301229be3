//! What fits where: app, memory and programs of a device.

use super::scheme::Scheme;
use super::subject::{Part, Subject};
use anemone_ane::Device;
use anemone_tensor::num::i64_trunc;

/// Largest app of the App Store for phones and tablets, unpacked (App Store Connect Help, maximum build file sizes).
pub const APP_BYTES: u64 = 4_000_000_000;
/// Part of the RAM of a phone that an app gets at least: 3 of 8 GB, seen on an iPad from iPadOS 26.4 on (Apple's
/// developer forums, thread 826325).
pub const ROOMY: f64 = 0.375;
/// Part of the RAM that an app gets at most: 6 of 8 GB, seen on the same iPad before.
pub const MOST: f64 = 0.75;
/// Bytes of a program that are counted on where none are published: the least that are (fact `size-program`).
pub const PROGRAM_BYTES: u64 = 1_000_000_000;

/// Whether something fits into memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// Into what an app gets on every product of the chip.
    Yes,
    /// Into the most that an app gets on every product, or on none but the largest.
    Tight,
    /// Not even on the product with the most RAM.
    No,
    /// The RAM of the products is not known.
    Unknown,
}

/// How a device holds a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Fit {
    /// Bytes in memory: weights, and keys and values.
    pub bytes: u64,
    /// Whether they fit.
    pub room: Room,
    /// RAM of a product that gives an app that many bytes at least, in bytes.
    pub wanted_ram: u64,
    /// Programs that the weights are cut into.
    pub programs: u64,
    /// Bytes that one program may have.
    pub program_bytes: u64,
    /// True when that limit is published for the chip; otherwise [`PROGRAM_BYTES`] are counted on.
    pub limit_known: bool,
    /// True when all programs together are more than the Neural Engine addresses.
    pub beyond_address_space: bool,
    /// Tokens a second that the bandwidth allows at most when every weight and the cache is read once a token; `None`
    /// where the bandwidth is not known.
    pub tokens_per_s: Option<f64>,
}

/// How a device holds a model whose weights are stored by a scheme, with a cache of so many positions; `shard` is the
/// largest program that is asked for.
pub fn fit(subject: &Subject, scheme: Scheme, context: u64, device: &Device, shard: Option<u64>) -> Fit {
    let (weights, cache) = (subject.bytes(scheme).total(), subject.cache.bytes(context));
    let bytes = weights.saturating_add(cache);
    let published = device.figure("limit_program_mb").and_then(|f| f.value.least());
    let limit = published.map_or(PROGRAM_BYTES, |mb| whole(mb * 1e6)).max(1);
    let program_bytes = shard.map_or(limit, |s| s.min(limit)).max(1);
    let addressed = device.figure("virtual_memory_bytes").and_then(|f| f.value.least());
    let read = subject.active_bytes(scheme).saturating_add(cache);
    Fit {
        bytes,
        room: room(bytes, device),
        wanted_ram: whole(float(bytes) / ROOMY),
        programs: programs(subject, scheme, program_bytes),
        program_bytes,
        limit_known: published.is_some(),
        beyond_address_space: addressed.is_some_and(|most| float(weights) > most),
        tokens_per_s: device
            .figure("weight_bandwidth_gb_s")
            .and_then(|f| f.value.most())
            .filter(|_| read > 0)
            .map(|gb| gb * 1e9 / float(read)),
    }
}

/// Nearest `f64`; sizes stay below 2^53.
fn float(n: u64) -> f64 {
    anemone_tensor::num::f64_of(i64::try_from(n).unwrap_or(i64::MAX))
}

fn whole(v: f64) -> u64 {
    u64::try_from(i64_trunc(v)).unwrap_or(0)
}

fn room(bytes: u64, device: &Device) -> Room {
    let Some(ram) = device.figure("ram_gb") else { return Room::Unknown };
    let (Some(least), Some(most)) = (ram.value.least(), ram.value.most()) else { return Room::Unknown };
    let need = float(bytes);
    if need <= least * 1e9 * ROOMY {
        Room::Yes
    } else if need <= most * 1e9 * MOST {
        Room::Tight
    } else {
        Room::No
    }
}

/// Programs of at most so many bytes, pieces packed in order; one that is larger is cut by itself.
///
/// A model of several programs looks its tokens up outside of them, on the CPU; a head that shares the table is a piece.
fn programs(subject: &Subject, scheme: Scheme, limit: u64) -> u64 {
    if subject.bytes(scheme).total() <= limit {
        return 1;
    }
    let head_apart = subject.pieces.iter().any(|p| p.part == Part::Head);
    let (mut done, mut filled) = (0_u64, 0_u64);
    let body = subject.pieces.iter().filter(|p| p.part != Part::Embedding);
    let head = subject.pieces.iter().filter(|p| p.part == Part::Embedding && !head_apart);
    for piece in body.chain(head) {
        let bytes = subject.piece_bytes(piece, scheme);
        if filled.saturating_add(bytes) <= limit {
            filled += bytes;
            continue;
        }
        done += u64::from(filled > 0);
        let whole_ones = bytes.div_ceil(limit).saturating_sub(1);
        done = done.saturating_add(whole_ones);
        filled = bytes - whole_ones * limit;
    }
    done + u64::from(filled > 0)
}
