//! How much an import may make itself: a small model must not become a large one while it is read.

use super::node::volume;
use anemone_formats::onnx::{GraphProto, TensorProto};
use anemone_mil::ops::Fault;

/// Elements that any model may have made for it, however small it is: two masks of 1024 by 1024.
const BASE: usize = 1 << 21;
/// Elements that may be computed at once for any model.
const BASE_KNOWN: usize = 1 << 20;
/// Elements for each byte of weights beyond that.
const PER_BYTE: usize = 2;

/// Elements of constants that an import may still make.
#[derive(Debug)]
pub(super) struct Room {
    left: usize,
    known: usize,
}

impl Room {
    /// What the weights in a graph allow.
    pub(super) fn of(graph: Option<&GraphProto>) -> Room {
        let weights = graph.into_iter().flat_map(|g| &g.initializer).map(payload);
        let mut room = Room { left: BASE, known: BASE_KNOWN };
        room.grow(weights.fold(0, usize::saturating_add));
        room
    }

    /// Accounts for bytes that were read from another file.
    pub(super) fn grow(&mut self, bytes: usize) {
        let more = bytes.saturating_mul(PER_BYTE);
        self.left = self.left.saturating_add(more);
        self.known = self.known.saturating_add(more);
    }

    /// Elements of what may be computed at once, where a constant is asked for.
    pub(super) fn known(&self) -> usize {
        self.known
    }

    /// Takes the room of a constant; gives its number of elements.
    ///
    /// # Errors
    /// When less is left.
    pub(super) fn take(&mut self, shape: &[usize]) -> Result<usize, Fault> {
        let count = volume(shape)?;
        let Some(left) = self.left.checked_sub(count) else {
            return Err(Fault::new(format!(
                "needs a constant of shape {shape:?}, which has {count} elements; a model of this size may have {} \
                 made while it is imported",
                self.left
            )));
        };
        self.left = left;
        Ok(count)
    }
}

/// Bytes of a tensor that are in the model itself.
fn payload(t: &TensorProto) -> usize {
    let raw = t.raw_data.as_ref().map_or(0, |b| b.len());
    let words = t.float_data.len() + t.int32_data.len();
    let wide = t.int64_data.len() + t.double_data.len() + t.uint64_data.len();
    raw + 4 * words + 8 * wide
}
