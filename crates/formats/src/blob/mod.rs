//! Weight files of ML programs: blob storage version 2 (`weight.bin`).
//!
//! Little endian, not compressed. A header of 64 bytes, then for each blob a metadata record of 64 bytes and its data,
//! both at multiples of 64. Values refer to a blob by the offset of its metadata record. Layout after
//! `mlmodel/src/MILBlob/Blob/StorageFormat.hpp` of apple/coremltools:
//!
//! | part | bytes |
//! |---|---|
//! | header | `u32` count, `u32` version = 2, 56 reserved |
//! | metadata | `u32` sentinel, `u32` type, `u64` size, `u64` offset of the data, `u64` padding bits, 32 reserved |
//!
//! Elements narrower than a byte are packed least significant bit first; the padding bits fill the last byte. Reserved
//! fields may hold anything, and so may the padding field of other types, which older writers did not know.

mod writer;

pub use writer::Layout;

use crate::{Error, ErrorKind};
use anemone_tensor::DType;
use bytes::Bytes;

/// First word of every metadata record.
pub const SENTINEL: u32 = 0xDEAD_BEEF;

/// Headers, metadata records and data start at multiples of this.
pub const ALIGNMENT: u64 = 64;

/// The only supported version.
pub const VERSION: u32 = 2;

const FORMAT: &str = "weight file";

/// Type codes of metadata records.
const TYPES: [(u32, DType); 17] = [
    (1, DType::F16),
    (2, DType::F32),
    (3, DType::U8),
    (4, DType::I8),
    (5, DType::Bf16),
    (6, DType::I16),
    (7, DType::U16),
    (8, DType::I4),
    (9, DType::U1),
    (10, DType::U2),
    (11, DType::U4),
    (12, DType::U3),
    (13, DType::U6),
    (14, DType::I32),
    (15, DType::U32),
    (16, DType::F8E4M3),
    (17, DType::F8E5M2),
];

/// True when a weight file can hold elements of that type.
pub fn holds(dtype: DType) -> bool {
    code_of(dtype).is_some()
}

fn code_of(dtype: DType) -> Option<u32> {
    TYPES.iter().find(|row| row.1 == dtype).map(|row| row.0)
}

/// The next multiple of [`ALIGNMENT`].
fn align(offset: u64) -> Option<u64> {
    offset.checked_next_multiple_of(ALIGNMENT)
}

/// A weight file whose header was checked. Opening touches the first 64 bytes only.
#[derive(Clone, Debug)]
pub struct Storage {
    bytes: Bytes,
    count: u32,
}

/// One blob.
#[derive(Clone, Debug, PartialEq)]
pub struct Blob {
    /// Offset of the metadata record, by which values refer to the blob.
    pub offset: u64,
    /// Element type.
    pub dtype: DType,
    /// Number of elements.
    pub count: usize,
    /// Packed elements, shared with the file.
    pub bytes: Bytes,
}

/// The fields of a metadata record.
struct Record {
    at: u64,
    dtype: DType,
    size: u64,
    offset: u64,
    padding: u64,
}

fn fail<T>(at: u64, kind: ErrorKind, cause: String) -> Result<T, Error> {
    Err(Error::new(kind, cause).at(usize::try_from(at).unwrap_or(usize::MAX)).format(FORMAT))
}

impl Storage {
    /// Opens a weight file.
    ///
    /// # Errors
    /// When the header is cut off or names another version.
    pub fn open(bytes: Bytes) -> Result<Storage, Error> {
        let Some([count, version]) = bytes.get(..64).map(|header| [word(header, 0), word(header, 4)]) else {
            let cause = format!("the file has {} bytes, but its header takes 64", bytes.len());
            return fail(0, ErrorKind::Truncated, cause);
        };
        if version != VERSION {
            let cause = format!("blob storage version {version} is not supported, only {VERSION}");
            return fail(4, ErrorKind::Version, cause);
        }
        Ok(Storage { bytes, count })
    }

    /// How many blobs the header announces.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The blob whose metadata record is at `offset`; its bytes share the file.
    ///
    /// # Errors
    /// When `offset` is no multiple of 64, when no record is there, or when the record does not fit the file or itself.
    pub fn blob(&self, offset: u64) -> Result<Blob, Error> {
        let record = self.record(offset)?;
        let bytes = self.data(&record)?;
        let count = element_count(&record)?;
        Ok(Blob { offset, dtype: record.dtype, count, bytes })
    }

    /// All blobs in the order of the file; ends after the first error.
    pub fn blobs(&self) -> impl Iterator<Item = Result<Blob, Error>> + '_ {
        let mut next = Some(ALIGNMENT);
        let mut left = self.count;
        std::iter::from_fn(move || {
            left = left.checked_sub(1)?;
            let blob = self.record(next?).and_then(|record| {
                next = record.offset.checked_add(record.size).and_then(align);
                self.blob(record.at)
            });
            if blob.is_err() {
                next = None;
            }
            Some(blob)
        })
    }

    fn record(&self, at: u64) -> Result<Record, Error> {
        if !at.is_multiple_of(ALIGNMENT) {
            let cause =
                format!("a metadata record is said to be at {at}, which is no multiple of {ALIGNMENT}");
            return fail(at, ErrorKind::Misaligned, cause);
        }
        let Some(raw) = range(at, ALIGNMENT).and_then(|r| self.bytes.get(r)).filter(|_| at > 0) else {
            let cause = format!("no metadata record fits at {at} of a file of {} bytes", self.bytes.len());
            return fail(at, ErrorKind::OutOfBounds, cause);
        };
        if word(raw, 0) != SENTINEL {
            let cause = format!("the record starts with {:#010x} instead of {SENTINEL:#010x}", word(raw, 0));
            return fail(at, ErrorKind::Sentinel, cause);
        }
        let code = word(raw, 4);
        let Some(&(_, dtype)) = TYPES.iter().find(|row| row.0 == code) else {
            let cause = format!("blob type {code} is not supported; types 1 to {} are known", TYPES.len());
            return fail(at + 4, ErrorKind::Unsupported, cause);
        };
        Ok(Record { at, dtype, size: long(raw, 8), offset: long(raw, 16), padding: long(raw, 24) })
    }

    fn data(&self, record: &Record) -> Result<Bytes, Error> {
        let Record { at, size, offset, .. } = *record;
        if offset < at.saturating_add(ALIGNMENT) {
            let cause = format!("the data at {offset} overlap the metadata record that describes them");
            return fail(at + 16, ErrorKind::Overlap, cause);
        }
        if !offset.is_multiple_of(ALIGNMENT) {
            let cause = format!("the data are at {offset}, which is no multiple of {ALIGNMENT}");
            return fail(at + 16, ErrorKind::Misaligned, cause);
        }
        let Some(wanted) = range(offset, size) else {
            return fail(at + 8, ErrorKind::TooLarge, format!("{size} bytes at {offset} overflow"));
        };
        if self.bytes.get(wanted.clone()).is_none() {
            let cause = format!(
                "{size} bytes at {offset} end beyond the file of {} bytes; is it cut off?",
                self.bytes.len()
            );
            return fail(at + 8, ErrorKind::OutOfBounds, cause);
        }
        Ok(self.bytes.slice(wanted))
    }
}

fn range(at: u64, len: u64) -> Option<std::ops::Range<usize>> {
    Some(usize::try_from(at).ok()?..usize::try_from(at.checked_add(len)?).ok()?)
}

/// The number of elements, from size and padding.
fn element_count(record: &Record) -> Result<usize, Error> {
    let Record { at, dtype, size, padding, .. } = *record;
    let bits = u64::try_from(dtype.bits()).unwrap_or(u64::MAX);
    let total = u128::from(size) * 8;
    let padding = if bits < 8 { u128::from(padding) } else { 0 };
    if padding >= 8 || padding > total || (bits < 8 && (total - padding) % u128::from(bits) != 0) {
        let cause = format!("{padding} padding bits do not fit {size} bytes of {dtype}");
        return fail(at + 24, ErrorKind::Padding, cause);
    }
    if (total - padding) % u128::from(bits) != 0 {
        return fail(
            at + 8,
            ErrorKind::Length,
            format!("{size} bytes are no whole number of {dtype} elements"),
        );
    }
    match usize::try_from((total - padding) / u128::from(bits)) {
        Ok(count) => Ok(count),
        Err(_) => fail(at + 8, ErrorKind::TooLarge, format!("{size} bytes of {dtype} overflow")),
    }
}

fn word(raw: &[u8], at: usize) -> u32 {
    let mut out = [0; 4];
    out.copy_from_slice(&raw[at..at + 4]);
    u32::from_le_bytes(out)
}

fn long(raw: &[u8], at: usize) -> u64 {
    let mut out = [0; 8];
    out.copy_from_slice(&raw[at..at + 8]);
    u64::from_le_bytes(out)
}
