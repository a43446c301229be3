//! ONNX tensors as dense tensors.

use super::proto::TensorProto;
use crate::{Error, ErrorKind, path};
use anemone_tensor::{DType, Tensor, num};
use bytes::Bytes;

/// Element type of an ONNX tensor, by its code in `TensorProto.DataType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ElementType(pub i32);

/// Code, name in the schema, and the element type that holds it.
const ELEMENT_TYPES: [(i32, &str, Option<DType>); 28] = [
    (1, "FLOAT", Some(DType::F32)),
    (2, "UINT8", Some(DType::U8)),
    (3, "INT8", Some(DType::I8)),
    (4, "UINT16", Some(DType::U16)),
    (5, "INT16", Some(DType::I16)),
    (6, "INT32", Some(DType::I32)),
    (7, "INT64", Some(DType::I64)),
    (8, "STRING", Some(DType::String)),
    (9, "BOOL", Some(DType::Bool)),
    (10, "FLOAT16", Some(DType::F16)),
    (11, "DOUBLE", Some(DType::F64)),
    (12, "UINT32", Some(DType::U32)),
    (13, "UINT64", Some(DType::U64)),
    (14, "COMPLEX64", None),
    (15, "COMPLEX128", None),
    (16, "BFLOAT16", Some(DType::Bf16)),
    (17, "FLOAT8E4M3FN", Some(DType::F8E4M3)),
    (18, "FLOAT8E4M3FNUZ", None),
    (19, "FLOAT8E5M2", Some(DType::F8E5M2)),
    (20, "FLOAT8E5M2FNUZ", None),
    (21, "UINT4", Some(DType::U4)),
    (22, "INT4", Some(DType::I4)),
    (23, "FLOAT4E2M1", None),
    (24, "FLOAT8E8M0", None),
    (25, "UINT2", Some(DType::U2)),
    (26, "INT2", None),
    (27, "FLOAT6E2M3", None),
    (28, "FLOAT6E3M2", None),
];

impl ElementType {
    /// Name in the schema, such as `FLOAT16`; `None` for unknown codes.
    pub fn name(self) -> Option<&'static str> {
        ELEMENT_TYPES.iter().find(|row| row.0 == self.0).map(|row| row.1)
    }

    /// The element type of that code.
    ///
    /// # Errors
    /// When nothing here holds such elements, with the type's name.
    pub fn dtype(self) -> Result<DType, Error> {
        let found = ELEMENT_TYPES.iter().find(|row| row.0 == self.0);
        found.and_then(|row| row.2).ok_or_else(|| {
            let name = self.name().unwrap_or("unknown");
            let cause = format!("element type {name} (code {}) is not supported", self.0);
            Error::new(ErrorKind::Unsupported, cause)
        })
    }

    /// The code of an element type; `None` for types that ONNX does not have.
    pub fn of(dtype: DType) -> Option<ElementType> {
        ELEMENT_TYPES.iter().find(|row| row.2 == Some(dtype)).map(|row| ElementType(row.0))
    }
}

/// Where the elements of a tensor are when they are in another file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct External {
    /// Path of the file, relative to the model, without `..`.
    pub location: String,
    /// First byte in that file.
    pub offset: usize,
    /// Number of bytes; to the end of the tensor when absent.
    pub length: Option<usize>,
}

/// Hands out `length` bytes at `offset` of the file at `location`, relative to the model: `(location, offset, length)`.
pub type ExternalReader<'a> = &'a dyn Fn(&str, usize, usize) -> Result<Bytes, Error>;

impl TensorProto {
    /// Dims as sizes.
    ///
    /// # Errors
    /// When a dim is negative.
    pub fn shape(&self) -> Result<Vec<usize>, Error> {
        let size = |&dim: &i64| num::usize_of(dim).ok_or(dim);
        self.dims.iter().map(size).collect::<Result<_, _>>().map_err(|dim| {
            let cause = format!("dim {dim} of {:?} is not a size", self.dims);
            self.name_in(Error::new(ErrorKind::Malformed, cause))
        })
    }

    /// Where the elements are, when they are in another file.
    ///
    /// # Errors
    /// When the location is absent or leaves the folder of the model, or a number does not parse.
    pub fn external(&self) -> Result<Option<External>, Error> {
        if self.data_location != 1 {
            return Ok(None);
        }
        self.parse_external().map(Some).map_err(|e| self.name_in(e))
    }

    fn parse_external(&self) -> Result<External, Error> {
        let entry = |key: &str| self.external_data.iter().find(|e| e.key == key).map(|e| e.value.as_str());
        let number = |key: &str| {
            let parse = |text: &str| {
                text.trim().parse::<usize>().map_err(|_| {
                    let cause = format!("external data: {key} {text:?} is not a number of bytes");
                    Error::new(ErrorKind::Malformed, cause)
                })
            };
            entry(key).map(parse).transpose()
        };
        let Some(location) = entry("location") else {
            return Err(Error::new(ErrorKind::Missing, "external data has no location"));
        };
        let location = path::relative(location)?;
        Ok(External { location, offset: number("offset")?.unwrap_or(0), length: number("length")? })
    }

    /// The tensor, sharing the bytes of the file where they are packed.
    ///
    /// `external` is asked for elements that are in another file.
    ///
    /// # Errors
    /// When the element type has no packed form (`STRING`; see [`TensorProto::strings`]) or is not supported, when the
    /// data does not fit the shape, or when `external` fails.
    pub fn to_tensor(&self, external: ExternalReader<'_>) -> Result<Tensor, Error> {
        self.dense(external).map_err(|e| self.name_in(e))
    }

    fn dense(&self, external: ExternalReader<'_>) -> Result<Tensor, Error> {
        if self.segment.is_some() {
            return Err(Error::new(ErrorKind::Unsupported, "tensors in segments are not supported"));
        }
        let (dtype, shape) = (ElementType(self.data_type).dtype()?, self.shape()?);
        let len = num::element_count(&shape).and_then(|n| dtype.packed_len(n));
        let Some(len) = len.filter(|_| dtype != DType::String) else {
            let cause = format!("{dtype} {shape:?} has no packed form of a size that fits memory");
            return Err(Error::new(ErrorKind::TooLarge, cause));
        };
        let bytes = match self.external()? {
            Some(found) => external(&found.location, found.offset, found.length.unwrap_or(len))?,
            None => self.packed(dtype)?,
        };
        Tensor::new(dtype, shape, bytes).map_err(|e| Error::new(ErrorKind::Length, e.to_string()))
    }

    fn packed(&self, dtype: DType) -> Result<Bytes, Error> {
        if let Some(raw) = &self.raw_data {
            return Ok(raw.clone());
        }
        Ok(match dtype {
            DType::F32 => self.float_data.bytes().clone(),
            DType::F64 => self.double_data.bytes().clone(),
            DType::I64 => self.int64_data.iter().flat_map(|v| v.to_le_bytes()).collect(),
            DType::U64 => self.uint64_data.iter().flat_map(|v| v.to_le_bytes()).collect(),
            DType::U32 => low_bytes(4, self.uint64_data.iter().map(|&v| i128::from(v)))?,
            _ => {
                let width = dtype.bits().div_ceil(8);
                low_bytes(width, self.int32_data.iter().map(|&v| i128::from(v)))?
            }
        })
    }

    /// The texts of a `STRING` tensor, row-major.
    ///
    /// # Errors
    /// When the type is another one, the number of texts does not fit the shape, or a text is not UTF-8.
    pub fn strings(&self) -> Result<Vec<String>, Error> {
        let expected = num::element_count(&self.shape()?);
        if self.data_type != 8 || expected != Some(self.string_data.len()) {
            let kind = ElementType(self.data_type).name().unwrap_or("unknown");
            let found = self.string_data.len();
            let cause = format!("{kind} {:?} holds {found} strings instead of one per element", self.dims);
            return Err(self.name_in(Error::new(ErrorKind::Length, cause)));
        }
        let text = |raw: &Bytes| {
            let text = std::str::from_utf8(raw).map(str::to_owned);
            text.map_err(|_| self.name_in(Error::new(ErrorKind::NotUtf8, "an element is not UTF-8")))
        };
        self.string_data.iter().map(text).collect()
    }

    fn name_in(&self, e: Error) -> Error {
        let named = if e.path().is_empty() { e.within(&format!("tensor {:?}", self.name)) } else { e };
        named.format(super::proto::FORMAT)
    }
}

/// The low `width` bytes of each value, which must fit them as a signed or unsigned number.
fn low_bytes(width: usize, values: impl Iterator<Item = i128>) -> Result<Bytes, Error> {
    let bits = width * 8;
    let mut out = Vec::new();
    for v in values {
        if v < -(1i128 << (bits - 1)) || v >= 1i128 << bits {
            let cause = format!("value {v} does not fit an element of {bits} bits");
            return Err(Error::new(ErrorKind::Malformed, cause));
        }
        out.extend(v.to_le_bytes().into_iter().take(width));
    }
    Ok(out.into())
}
