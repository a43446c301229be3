//! NumPy's `.npy` files, and `.npz` archives of them.
//!
//! Format: `numpy.lib.format`. Magic, version, header length, a header that is a Python dictionary with `descr`,
//! `fortran_order` and `shape`, then the elements. Numbers of all widths are read in either byte order and either element
//! order; objects, which would need Python's pickle, and structures are not.

use crate::{Error, ErrorKind};
use anemone_tensor::{DType, Tensor, num};
use bytes::Bytes;
use std::io::{self, Read, Write};

/// Largest header that is read; NumPy itself stops at 10 000 bytes.
pub const MAX_HEADER: usize = 1 << 16;

/// Most bytes that the members of an `.npz` archive may have together when unpacked.
pub const MAX_NPZ_BYTES: u64 = 1 << 30;

const FORMAT: &str = "npy file";
const NPZ: &str = "npz file";
const MAGIC: &[u8] = b"\x93NUMPY";

const TYPES: [(&str, DType); 12] = [
    ("b1", DType::Bool),
    ("i1", DType::I8),
    ("i2", DType::I16),
    ("i4", DType::I32),
    ("i8", DType::I64),
    ("u1", DType::U8),
    ("u2", DType::U16),
    ("u4", DType::U32),
    ("u8", DType::U64),
    ("f2", DType::F16),
    ("f4", DType::F32),
    ("f8", DType::F64),
];

fn fail<T>(at: usize, kind: ErrorKind, cause: impl Into<String>) -> Result<T, Error> {
    Err(Error::new(kind, cause).at(at).format(FORMAT))
}

/// Reads an `.npy` file; little-endian arrays in C order share its bytes.
///
/// # Errors
/// When the header is cut off or malformed, the element type is no number, or the data do not fit the shape.
pub fn read(bytes: &Bytes) -> Result<Tensor, Error> {
    let (header, start) = header(bytes)?;
    let Header { descr, fortran_order, shape } =
        Header::parse(header).map_err(|e| e.at(10).format(FORMAT))?;
    let (order, name) = descr.split_at(descr.find(|c: char| c.is_ascii_alphanumeric()).unwrap_or(0));
    let Some(&(_, dtype)) = TYPES.iter().find(|row| row.0 == name) else {
        return fail(10, ErrorKind::Unsupported, format!("element type {descr:?} is not supported"));
    };
    let mut data = bytes.slice(start..);
    let width = dtype.bits() / 8;
    let expected = num::element_count(&shape).and_then(|n| dtype.packed_len(n));
    if expected != Some(data.len()) {
        let cause = format!("{} bytes follow the header, which do not fit {dtype} {shape:?}", data.len());
        return fail(start, ErrorKind::Length, cause);
    }
    match order {
        "<" | "|" | "=" => {}
        ">" => data = data.chunks_exact(width).flat_map(|element| element.iter().rev()).copied().collect(),
        _ => return fail(10, ErrorKind::Malformed, format!("byte order {order:?} is not one of < > | =")),
    }
    if fortran_order && shape.len() > 1 {
        data = to_c_order(&data, &shape, width);
    }
    Tensor::new(dtype, shape, data).or_else(|e| fail(start, ErrorKind::Length, e.to_string()))
}

/// The text of the header and where the data start.
fn header(bytes: &Bytes) -> Result<(&str, usize), Error> {
    if !bytes.starts_with(MAGIC) {
        return fail(0, ErrorKind::Sentinel, "the file does not start with \\x93NUMPY");
    }
    let (len, start) = match bytes.get(6..12) {
        Some(&[1, _, a, b, ..]) => (usize::from(u16::from_le_bytes([a, b])), 10),
        Some(&[2 | 3, _, a, b, c, d]) => {
            (usize::try_from(u32::from_le_bytes([a, b, c, d])).unwrap_or(usize::MAX), 12)
        }
        Some(&[major, ..]) => {
            return fail(6, ErrorKind::Version, format!("version {major} is not supported, only 1, 2 and 3"));
        }
        _ => return fail(6, ErrorKind::Truncated, "the file ends within its first 12 bytes"),
    };
    if len > MAX_HEADER {
        return fail(8, ErrorKind::TooLarge, format!("a header of {len} bytes exceeds {MAX_HEADER}"));
    }
    let Some(text) = bytes.get(start..start + len) else {
        return fail(8, ErrorKind::Truncated, format!("the header of {len} bytes ends beyond the file"));
    };
    match std::str::from_utf8(text) {
        Ok(text) => Ok((text, start + len)),
        Err(e) => fail(start + e.valid_up_to(), ErrorKind::NotUtf8, "the header is not UTF-8"),
    }
}

#[derive(Debug, PartialEq)]
struct Header {
    descr: String,
    fortran_order: bool,
    shape: Vec<usize>,
}

impl Header {
    /// Reads the dictionary; its three keys may come in any order.
    fn parse(text: &str) -> Result<Header, Error> {
        let malformed = |what: &str| Error::new(ErrorKind::Malformed, format!("the header {what}"));
        let inner = text.trim().strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        let mut rest = inner.ok_or_else(|| malformed("is no dictionary"))?.trim();
        let (mut descr, mut fortran_order, mut shape) = (None, None, None);
        while !rest.is_empty() {
            let (key, value) = rest.split_once(':').ok_or_else(|| malformed("has a key without value"))?;
            let value = value.trim_start();
            let end = if value.starts_with('(') { value.find(')').map(|i| i + 1) } else { value.find(',') };
            let (value, tail) = value.split_at(end.unwrap_or(value.len()));
            match unquote(key).ok_or_else(|| malformed("has a key that is no string"))? {
                "descr" => {
                    let text = unquote(value).ok_or_else(|| {
                        Error::new(ErrorKind::Unsupported, "structured element types are not supported")
                    })?;
                    descr = Some(text.to_owned());
                }
                "fortran_order" => fortran_order = Some(value.trim() == "True"),
                "shape" => shape = Some(dims(value).ok_or_else(|| malformed("has a malformed shape"))?),
                other => return Err(malformed(&format!("has the unknown key {other:?}"))),
            }
            rest = tail.trim_start().trim_start_matches(',').trim_start();
        }
        match (descr, fortran_order, shape) {
            (Some(descr), Some(fortran_order), Some(shape)) => Ok(Header { descr, fortran_order, shape }),
            _ => Err(Error::new(ErrorKind::Missing, "the header lacks descr, fortran_order or shape")),
        }
    }
}

fn unquote(text: &str) -> Option<&str> {
    let text = text.trim();
    let inner = |quote: char| text.strip_prefix(quote)?.strip_suffix(quote);
    inner('\'').or_else(|| inner('"'))
}

fn dims(text: &str) -> Option<Vec<usize>> {
    let inner = text.trim().strip_prefix('(')?.strip_suffix(')')?;
    let parts: Vec<&str> = inner.split(',').map(str::trim).collect();
    let parts = parts.strip_suffix(&[""]).unwrap_or(&parts);
    parts.iter().map(|part| part.parse().ok()).collect()
}

/// Reorders elements whose first dim varies fastest.
fn to_c_order(data: &[u8], shape: &[usize], width: usize) -> Bytes {
    let mut out = Vec::with_capacity(data.len());
    let mut index = vec![0usize; shape.len()];
    let strides: Vec<usize> = shape
        .iter()
        .scan(1, |stride, &dim| {
            let this = *stride;
            *stride *= dim;
            Some(this)
        })
        .collect();
    while out.len() < data.len() {
        let at: usize = index.iter().zip(&strides).map(|(i, stride)| i * stride).sum();
        out.extend_from_slice(&data[at * width..(at + 1) * width]);
        for (i, &dim) in index.iter_mut().zip(shape).rev() {
            *i += 1;
            if *i < dim {
                break;
            }
            *i = 0;
        }
    }
    out.into()
}

/// Writes an `.npy` file, version 1.
///
/// # Errors
/// When NumPy has no such element type, or `out` fails.
pub fn write(mut out: impl Write, tensor: &Tensor) -> io::Result<()> {
    let dtype = tensor.dtype();
    let Some((name, _)) = TYPES.iter().find(|row| row.1 == dtype) else {
        let cause = format!("NumPy has no element type {dtype}; cast to fp32 or int8 first");
        let error = Error::new(ErrorKind::Unsupported, cause).format(FORMAT);
        return Err(io::Error::new(io::ErrorKind::InvalidInput, error));
    };
    let order = if dtype.bits() == 8 { '|' } else { '<' };
    let dims: Vec<String> = tensor.shape().iter().map(usize::to_string).collect();
    let comma = if dims.len() == 1 { "," } else { "" };
    let shape = format!("({}{comma})", dims.join(", "));
    let mut header = format!("{{'descr': '{order}{name}', 'fortran_order': False, 'shape': {shape}, }}");
    let padded = (10 + header.len() + 1).next_multiple_of(64) - 10;
    header.extend(std::iter::repeat_n(' ', padded - header.len() - 1));
    header.push('\n');
    let len = u16::try_from(header.len()).map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
    out.write_all(MAGIC)?;
    out.write_all(&[1, 0])?;
    out.write_all(&len.to_le_bytes())?;
    out.write_all(header.as_bytes())?;
    out.write_all(tensor.bytes())
}

/// Reads the arrays of an `.npz` archive, stored or deflated, in the order of the archive.
///
/// # Errors
/// When the archive or a member is malformed, or the members exceed [`MAX_NPZ_BYTES`] together.
pub fn read_npz(bytes: &Bytes) -> Result<Vec<(String, Tensor)>, Error> {
    let zip_error = |e: zip::result::ZipError| Error::new(ErrorKind::Malformed, e.to_string()).format(NPZ);
    let mut archive = zip::ZipArchive::new(io::Cursor::new(bytes.as_ref())).map_err(zip_error)?;
    let mut left = MAX_NPZ_BYTES;
    let mut out = Vec::new();
    for i in 0..archive.len() {
        let member = archive.by_index(i).map_err(zip_error)?;
        let name = member.name().strip_suffix(".npy").unwrap_or(member.name()).to_owned();
        let raw = unpack(member, &mut left).map_err(|e| e.within(&format!("member {name:?}")).format(NPZ))?;
        let tensor = read(&raw).map_err(|e| e.within(&format!("member {name:?}")))?;
        out.push((name, tensor));
    }
    Ok(out)
}

fn unpack(member: impl Read, left: &mut u64) -> Result<Bytes, Error> {
    let mut raw = Vec::new();
    let read = member.take(*left + 1).read_to_end(&mut raw);
    read.map_err(|e| Error::new(ErrorKind::Malformed, e.to_string()))?;
    let len = u64::try_from(raw.len()).unwrap_or(u64::MAX);
    match left.checked_sub(len) {
        Some(rest) => *left = rest,
        None => {
            let cause = format!("the arrays exceed the limit of {MAX_NPZ_BYTES} bytes");
            return Err(Error::new(ErrorKind::TooLarge, cause));
        }
    }
    Ok(raw.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_with_keys_in_any_order_and_either_quote_are_read() {
        let header = Header::parse("{\"shape\": (2, 3), 'fortran_order': True, 'descr': '>f8'}  \n");
        let expected = Header { descr: ">f8".into(), fortran_order: true, shape: vec![2, 3] };
        assert_eq!(header, Ok(expected));
    }

    #[test]
    fn archives_beyond_the_limit_are_refused() {
        let mut left = 3;
        assert!(unpack(&[1u8, 2, 3][..], &mut left).is_ok());
        assert_eq!(unpack(&[1u8][..], &mut left).map_err(|e| e.kind()), Err(ErrorKind::TooLarge));
    }
}
