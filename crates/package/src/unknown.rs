//! Protobuf fields that this version does not know, carried through the IR as raw bytes.

use anemone_formats::wire::Unknown;
use anemone_tensor::Bytes;

/// The raw fields, one after the other.
pub(crate) fn bytes(unknown: &Unknown) -> Bytes {
    match unknown.fields() {
        [] => Bytes::new(),
        [one] => one.clone(),
        many => many.concat().into(),
    }
}
