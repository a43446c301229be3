//! `.safetensors` files.
//!
//! `u64` header length, a JSON header, then the data of all tensors. The header maps each name to `dtype`, `shape` and
//! `data_offsets`, which count from the start of the data; `__metadata__` maps strings to strings. The data must be
//! covered without holes or overlaps, so that a file cannot hide another one (format section of the README of
//! huggingface/safetensors).

use crate::{Error, ErrorKind};
use anemone_tensor::{DType, Tensor, num};
use bytes::Bytes;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};

/// Largest header that is read, the limit of the reference implementation.
pub const MAX_HEADER: usize = 100_000_000;

const FORMAT: &str = "safetensors file";
const METADATA: &str = "__metadata__";

const TYPES: [(&str, DType); 15] = [
    ("F64", DType::F64),
    ("F32", DType::F32),
    ("F16", DType::F16),
    ("BF16", DType::Bf16),
    ("I64", DType::I64),
    ("I32", DType::I32),
    ("I16", DType::I16),
    ("I8", DType::I8),
    ("U64", DType::U64),
    ("U32", DType::U32),
    ("U16", DType::U16),
    ("U8", DType::U8),
    ("BOOL", DType::Bool),
    ("F8_E4M3", DType::F8E4M3),
    ("F8_E5M2", DType::F8E5M2),
];

/// The tensors of a file; their bytes share it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SafeTensors {
    /// Free keys and values.
    pub metadata: BTreeMap<String, String>,
    /// Tensors by name.
    pub tensors: BTreeMap<String, Tensor>,
}

/// What a file that is written says about one tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Name.
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// Dims, outermost first.
    pub shape: Vec<usize>,
}

fn fail<T>(at: usize, kind: ErrorKind, cause: String) -> Result<T, Error> {
    Err(Error::new(kind, cause).at(at).format(FORMAT))
}

impl SafeTensors {
    /// Reads a file.
    ///
    /// # Errors
    /// When the header is cut off, too large or malformed, when names repeat, or when the tensors do not cover the data
    /// exactly.
    pub fn read(bytes: &Bytes) -> Result<SafeTensors, Error> {
        let header_len = header_len(bytes)?;
        let header = &bytes[8..8 + header_len];
        if header.first() != Some(&b'{') {
            return fail(8, ErrorKind::Malformed, "the header does not start with `{`".into());
        }
        let header: Header = match serde_json::from_slice(header) {
            Ok(header) => header,
            Err(e) => return fail(8, ErrorKind::Malformed, format!("the header is malformed: {e}")),
        };
        let data = bytes.slice(8 + header_len..);
        let mut read = SafeTensors { metadata: header.metadata, tensors: BTreeMap::new() };
        let mut infos = header.tensors;
        infos.sort_by_key(|(_, info)| info.data_offsets);
        check_cover(&infos, data.len())?;
        for (name, info) in infos {
            let tensor =
                info.tensor(&data).map_err(|e| e.within(&format!("tensor {name:?}")).format(FORMAT))?;
            if read.tensors.insert(name.clone(), tensor).is_some() {
                return fail(8, ErrorKind::Duplicate, format!("the name {name:?} appears twice"));
            }
        }
        Ok(read)
    }
}

fn header_len(bytes: &Bytes) -> Result<usize, Error> {
    let Some(raw) = bytes.first_chunk::<8>() else {
        let cause = format!("the file has {} bytes, but the length of its header takes 8", bytes.len());
        return fail(0, ErrorKind::Truncated, cause);
    };
    let len = u64::from_le_bytes(*raw);
    match usize::try_from(len) {
        Ok(len) if len <= MAX_HEADER && len <= bytes.len() - 8 => Ok(len),
        Ok(len) if len <= MAX_HEADER => {
            let cause = format!("the header takes {len} bytes, but only {} follow", bytes.len() - 8);
            fail(0, ErrorKind::Truncated, cause)
        }
        _ => {
            fail(0, ErrorKind::TooLarge, format!("a header of {len} bytes exceeds the limit of {MAX_HEADER}"))
        }
    }
}

/// Checks that the ranges, in order, cover all data once.
fn check_cover(infos: &[(String, Info)], data_len: usize) -> Result<(), Error> {
    let mut next = 0;
    for (name, info) in infos {
        let (start, end) = info.data_offsets;
        if start != next || end < start {
            let cause = format!(
                "tensor {name:?} takes bytes {start} to {end}, but the tensors before it end at {next}: \
                 holes and overlaps are not allowed"
            );
            return fail(8, ErrorKind::Overlap, cause);
        }
        next = end;
    }
    if next == data_len {
        return Ok(());
    }
    let kind = if next > data_len { ErrorKind::OutOfBounds } else { ErrorKind::Overlap };
    fail(8, kind, format!("the tensors end at byte {next} of {data_len} bytes of data"))
}

#[derive(serde::Deserialize)]
struct Info {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: (usize, usize),
}

impl Info {
    fn tensor(&self, data: &Bytes) -> Result<Tensor, Error> {
        let Some(&(_, dtype)) = TYPES.iter().find(|row| row.0 == self.dtype) else {
            let cause = format!("element type {:?} is not supported", self.dtype);
            return Err(Error::new(ErrorKind::Unsupported, cause));
        };
        let (start, end) = self.data_offsets;
        Tensor::new(dtype, self.shape.clone(), data.slice(start..end))
            .map_err(|e| Error::new(ErrorKind::Length, e.to_string()))
    }
}

/// The header with repeated names kept, which a map would hide.
#[derive(Default)]
struct Header {
    metadata: BTreeMap<String, String>,
    tensors: Vec<(String, Info)>,
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Header, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = Header;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
        let mut header = Header::default();
        while let Some(name) = map.next_key::<String>()? {
            if name == METADATA {
                header.metadata.extend(map.next_value::<BTreeMap<String, String>>()?);
            } else {
                let info = map.next_value()?;
                header.tensors.push((name, info));
            }
        }
        Ok(header)
    }
}

/// Writes a file. `fill` is called once for each entry, widest element type first and then in the order given, and writes
/// its packed elements.
///
/// # Errors
/// When an entry has a type that the format lacks, a name repeats, `out` or `fill` fails, or `fill` writes another number
/// of bytes than the entry takes.
pub fn write<W: Write>(
    mut out: W,
    entries: &[Entry],
    metadata: &BTreeMap<String, String>,
    mut fill: impl FnMut(usize, &mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let mut order: Vec<usize> = (0..entries.len()).collect();
    order.sort_by_key(|&i| std::cmp::Reverse(entries[i].dtype.bits()));
    let header =
        header(entries, &order, metadata).map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
    out.write_all(&u64::try_from(header.len()).map_err(io::Error::other)?.to_le_bytes())?;
    out.write_all(&header)?;
    for i in order {
        let entry = &entries[i];
        let expected = num::element_count(&entry.shape).and_then(|n| entry.dtype.packed_len(n)).unwrap_or(0);
        let mut counted = Counted { out: &mut out, written: 0 };
        fill(i, &mut counted)?;
        if counted.written != expected {
            let cause =
                format!("tensor {:?} has {} bytes instead of {expected}", entry.name, counted.written);
            return Err(io::Error::new(io::ErrorKind::InvalidData, cause));
        }
    }
    out.flush()
}

/// The JSON header, padded with spaces so that the data start at a multiple of 8.
fn header(entries: &[Entry], order: &[usize], metadata: &BTreeMap<String, String>) -> Result<Vec<u8>, Error> {
    let mut header = Map::new();
    if !metadata.is_empty() {
        header.insert(METADATA.to_owned(), json!(metadata));
    }
    let mut next = 0usize;
    for &i in order {
        let Entry { name, dtype, shape } = &entries[i];
        let Some((code, _)) = TYPES.iter().find(|row| row.1 == *dtype) else {
            let cause = format!("tensor {name:?}: {dtype} elements cannot be stored");
            return fail(0, ErrorKind::Unsupported, cause);
        };
        let len = num::element_count(shape).and_then(|n| dtype.packed_len(n));
        let Some(end) = len.and_then(|len| next.checked_add(len)) else {
            return fail(0, ErrorKind::TooLarge, format!("tensor {name:?} {shape:?} is too large"));
        };
        let info = json!({ "dtype": code, "shape": shape, "data_offsets": [next, end] });
        if name == METADATA || header.insert(name.clone(), info).is_some() {
            return fail(0, ErrorKind::Duplicate, format!("the name {name:?} appears twice or is reserved"));
        }
        next = end;
    }
    let mut text = Value::Object(header).to_string().into_bytes();
    text.resize(text.len().next_multiple_of(8), b' ');
    Ok(text)
}

struct Counted<W> {
    out: W,
    written: usize,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, raw: &[u8]) -> io::Result<usize> {
        let written = self.out.write(raw)?;
        self.written += written;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// The bytes of a file with these tensors, for files small enough to be held in memory.
///
/// # Errors
/// When a tensor has a type that the format lacks or a name repeats.
pub fn to_bytes(tensors: &[(String, Tensor)], metadata: &BTreeMap<String, String>) -> Result<Vec<u8>, Error> {
    let entry = |(name, tensor): &(String, Tensor)| Entry {
        name: name.clone(),
        dtype: tensor.dtype(),
        shape: tensor.shape().to_vec(),
    };
    let entries: Vec<Entry> = tensors.iter().map(entry).collect();
    let mut out = Vec::new();
    write(&mut out, &entries, metadata, |i, out| out.write_all(tensors[i].1.bytes())).map_err(|e| {
        e.downcast::<Error>().unwrap_or_else(|e| Error::new(ErrorKind::Malformed, e.to_string()))
    })?;
    Ok(out)
}
