//! The weight file in the making: places are planned while the program is written, bytes stream in afterwards.

use super::value::available;
use crate::{Error, ErrorKind};
use anemone_formats::blob;
use anemone_mil::{Opset, Recipe, Weight, WeightData};
use anemone_tensor::{Bytes, DType};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write};
use std::sync::Arc;

/// What goes where in the weight file. Equal weights share one place.
pub(super) struct Plan {
    spec_version: i32,
    layout: blob::Layout,
    records: Vec<Record>,
    by_key: HashMap<(DType, Key), usize>,
    /// Records of packed bytes by type, length and [`sample`], among which equal ones are looked for.
    alike: HashMap<(DType, usize, u64), Vec<usize>>,
}

struct Record {
    weight: Weight,
    offset: u64,
    /// Of the bytes; made when another record comes that is alike.
    hash: Option<u64>,
}

/// Tells weights apart without looking at their bytes.
#[derive(PartialEq, Eq, Hash)]
enum Key {
    Bytes(usize, usize),
    Cast(DType, Box<Key>),
    Transpose(DType, Vec<usize>, Vec<usize>, Box<Key>),
}

impl Plan {
    pub(super) fn new(spec_version: i32) -> Plan {
        Plan {
            spec_version,
            layout: blob::Layout::new(),
            records: Vec::new(),
            by_key: HashMap::new(),
            alike: HashMap::new(),
        }
    }

    /// True when the weight file may hold elements of that type in this specification version.
    pub(super) fn takes(&self, dtype: DType) -> bool {
        match dtype {
            DType::Bool | DType::F64 | DType::I64 | DType::U64 | DType::String => false,
            DType::I16 | DType::U16 | DType::I32 | DType::U32 => {
                self.spec_version >= Opset::Ios18.spec_version()
            }
            _ => true,
        }
    }

    /// Offset of the record that holds the weight.
    pub(super) fn place(&mut self, weight: &Weight) -> Result<u64, Error> {
        available(weight)?;
        let key = (weight.dtype, key(weight));
        if let Some(&known) = self.by_key.get(&key) {
            return Ok(self.records[known].offset);
        }
        let index = match &weight.data {
            WeightData::Bytes(bytes) => {
                let looks = (weight.dtype, bytes.len(), sample(bytes));
                match self.twin(&looks, bytes) {
                    Ok(twin) => twin,
                    Err(hash) => {
                        let index = self.add(weight, hash)?;
                        self.alike.entry(looks).or_default().push(index);
                        index
                    }
                }
            }
            _ => self.add(weight, None)?,
        };
        self.by_key.insert(key, index);
        Ok(self.records[index].offset)
    }

    /// The record of the same bytes; else the hash of these, when it had to be made.
    fn twin(&mut self, looks: &(DType, usize, u64), bytes: &Bytes) -> Result<usize, Option<u64>> {
        let Some(alike) = self.alike.get(looks) else { return Err(None) };
        let hash = hash(bytes);
        for &i in alike {
            let record = &mut self.records[i];
            let WeightData::Bytes(other) = &record.weight.data else { continue };
            let theirs = *record.hash.get_or_insert_with(|| self::hash(other));
            if theirs == hash && other == bytes {
                return Ok(i);
            }
        }
        Err(Some(hash))
    }

    fn add(&mut self, weight: &Weight, hash: Option<u64>) -> Result<usize, Error> {
        let count = element_count(weight)?;
        let offset = self
            .layout
            .push(weight.dtype, count)
            .map_err(|e| Error::new(ErrorKind::Weight, "does not go into the weight file").caused_by(e))?;
        self.records.push(Record { weight: weight.clone(), offset, hash });
        Ok(self.records.len() - 1)
    }

    /// True when nothing goes into the weight file.
    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Size of the weight file in bytes.
    pub(super) fn file_len(&self) -> u64 {
        self.layout.file_len()
    }

    /// Writes the weight file. Weights that are computed are made one by one and let go.
    pub(super) fn stream(&self, out: &mut dyn Write) -> Result<(), Error> {
        let mut made: Result<(), Error> = Ok(());
        let written = self.layout.write(out, |i, out| {
            let weight = &self.records[i].weight;
            if let WeightData::Bytes(bytes) = &weight.data {
                return out.write_all(bytes);
            }
            match weight.tensor() {
                Ok(tensor) => out.write_all(tensor.bytes()),
                Err(e) => {
                    made = Err(Error::new(ErrorKind::Weight, "a weight cannot be made").caused_by(e));
                    Err(io::Error::other("a weight cannot be made"))
                }
            }
        });
        made?;
        written.map_err(|e| Error::io("weights/weight.bin", e))
    }
}

fn element_count(weight: &Weight) -> Result<usize, Error> {
    anemone_tensor::num::element_count(&weight.shape).ok_or_else(|| {
        let message = format!("{} {:?} is too large to address", weight.dtype, weight.shape);
        Error::new(ErrorKind::Length, message)
    })
}

fn key(weight: &Weight) -> Key {
    match &weight.data {
        WeightData::Bytes(b) => Key::Bytes(b.as_ptr().addr(), b.len()),
        WeightData::Missing => Key::Bytes(0, 0),
        WeightData::Computed(recipe) => match &**recipe {
            Recipe::Unpack(packed) => Key::Bytes(Arc::as_ptr(packed).cast::<u8>().addr(), usize::MAX),
            Recipe::Cast(from) => Key::Cast(from.dtype, Box::new(key(from))),
            Recipe::Scale(..) => Key::Bytes(Arc::as_ptr(recipe).addr(), usize::MAX),
            Recipe::Transpose(from, perm) => {
                Key::Transpose(from.dtype, from.shape.clone(), perm.clone(), Box::new(key(from)))
            }
        },
    }
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

/// Bytes that a sample takes.
const SAMPLE: usize = 1024;

/// A hash of a few bytes in the middle, so that weights that differ need not be read as a whole before they are written.
///
/// One place alone: a system may keep 2 MB of a mapped file in memory for each that is looked at.
fn sample(bytes: &[u8]) -> u64 {
    let start = bytes.len().saturating_sub(SAMPLE) / 2;
    hash(&bytes[start..bytes.len().min(start + SAMPLE)])
}
