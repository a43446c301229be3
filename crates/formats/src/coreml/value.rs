//! The values of `MIL.proto`: literals, and references into weight files.

use super::mil::ValueType;
use crate::wire::{Packed, message, oneof};
use crate::{Error, ErrorKind, path};
use bytes::Bytes;

message! {
    /// A value with its type.
    pub struct Value {
        /// Documentation.
        1 => doc_string: String,
        /// Its type.
        2 => value_type: Option<Box<ValueType>>,
        /// Where the value is.
        0 => value: Option<ValueKind>,
    }

    /// A value in the file itself.
    pub struct ImmediateValue {
        /// Which kind.
        0 => value: Option<ImmediateKind>,
    }

    /// A value in a file of weights.
    pub struct BlobFileValue {
        /// Path of the file, relative to the model: `@model_path/weights/weight.bin`.
        1 => file_name: String,
        /// Offset of the blob's metadata record, a multiple of 64.
        2 => offset: u64,
    }

    /// The elements of a tensor, row-major. An empty tensor still has its list chosen.
    pub struct TensorValue {
        /// The list for the element type.
        0 => value: Option<TensorElements>,
    }

    /// `fp32`.
    pub struct RepeatedFloats {
        /// The numbers.
        1 => values: Packed<f32>,
    }

    /// `fp64`.
    pub struct RepeatedDoubles {
        /// The numbers.
        1 => values: Packed<f64>,
    }

    /// `int16`, `uint16`, `int32`.
    pub struct RepeatedInts {
        /// The numbers.
        1 => values: Vec<i32>,
    }

    /// `int64`, `uint64`.
    pub struct RepeatedLongInts {
        /// The numbers.
        1 => values: Vec<i64>,
    }

    /// `bool`.
    pub struct RepeatedBools {
        /// The truth values.
        1 => values: Vec<bool>,
    }

    /// `string`.
    pub struct RepeatedStrings {
        /// The texts.
        1 => values: Vec<String>,
    }

    /// `fp16`, `int8`, `uint8`, `uint32` and everything narrower than a byte.
    pub struct RepeatedBytes {
        /// Packed elements, little endian.
        1 => values: Bytes,
    }

    /// Values of different types.
    pub struct TupleValue {
        /// The values.
        1 => values: Vec<Value>,
    }

    /// Values of one type.
    pub struct ListValue {
        /// The values.
        1 => values: Vec<Value>,
    }

    /// Values by key.
    pub struct DictionaryValue {
        /// Keys and values.
        1 => values: Vec<KeyValuePair>,
    }

    /// An entry of a dictionary.
    pub struct KeyValuePair {
        /// The key.
        1 => key: Option<Box<Value>>,
        /// The value.
        2 => value: Option<Box<Value>>,
    }
}

oneof! {
    /// Where a value is.
    pub enum ValueKind {
        /// In the file itself.
        3 => Immediate(Box<ImmediateValue>),
        /// In a file of weights.
        5 => BlobFile(Box<BlobFileValue>),
    }

    /// Which kind of literal.
    pub enum ImmediateKind {
        /// A tensor.
        1 => Tensor(TensorValue),
        /// A tuple.
        2 => Tuple(TupleValue),
        /// A list.
        3 => List(ListValue),
        /// A dictionary.
        4 => Dictionary(DictionaryValue),
    }

    /// The list of a tensor's elements; the element type says which one.
    pub enum TensorElements {
        /// `fp32`.
        1 => Floats(RepeatedFloats),
        /// `int16`, `uint16`, `int32`.
        2 => Ints(RepeatedInts),
        /// `bool`.
        3 => Bools(RepeatedBools),
        /// `string`.
        4 => Strings(RepeatedStrings),
        /// `int64`, `uint64`.
        5 => LongInts(RepeatedLongInts),
        /// `fp64`.
        6 => Doubles(RepeatedDoubles),
        /// `fp16`, `int8`, `uint8`, `uint32` and everything narrower than a byte.
        7 => Bytes(RepeatedBytes),
    }
}

impl Value {
    /// A literal tensor.
    pub fn tensor(value_type: ValueType, elements: TensorElements) -> Value {
        let tensor = TensorValue { value: Some(elements), ..TensorValue::default() };
        Value::immediate(value_type, ImmediateKind::Tensor(tensor))
    }

    /// A literal of any kind.
    pub fn immediate(value_type: ValueType, kind: ImmediateKind) -> Value {
        let immediate = ImmediateValue { value: Some(kind), ..ImmediateValue::default() };
        Value::new(value_type, ValueKind::Immediate(Box::new(immediate)))
    }

    /// A reference to the blob whose metadata record is at `offset` of `file_name`.
    pub fn blob(value_type: ValueType, file_name: impl Into<String>, offset: u64) -> Value {
        let blob = BlobFileValue { file_name: file_name.into(), offset, ..BlobFileValue::default() };
        Value::new(value_type, ValueKind::BlobFile(Box::new(blob)))
    }

    fn new(value_type: ValueType, kind: ValueKind) -> Value {
        Value { value_type: Some(Box::new(value_type)), value: Some(kind), ..Value::default() }
    }

    /// The literal, when the value is in the file itself.
    pub fn as_immediate(&self) -> Option<&ImmediateKind> {
        match &self.value {
            Some(ValueKind::Immediate(immediate)) => immediate.value.as_ref(),
            _ => None,
        }
    }
}

macro_rules! elements_from {
    ($($number:ty => $member:ident($list:ident);)*) => {$(
        impl FromIterator<$number> for TensorElements {
            fn from_iter<I: IntoIterator<Item = $number>>(values: I) -> TensorElements {
                let values = values.into_iter().collect();
                TensorElements::$member($list { values, ..$list::default() })
            }
        }
    )*};
}

elements_from! {
    f32 => Floats(RepeatedFloats);
    f64 => Doubles(RepeatedDoubles);
    i32 => Ints(RepeatedInts);
    i64 => LongInts(RepeatedLongInts);
    bool => Bools(RepeatedBools);
    String => Strings(RepeatedStrings);
}

impl From<Bytes> for TensorElements {
    fn from(values: Bytes) -> TensorElements {
        TensorElements::Bytes(RepeatedBytes { values, ..RepeatedBytes::default() })
    }
}

/// What stands for the folder of the model in the path of a weight file.
const MODEL_PATH: &str = "@model_path/";

impl BlobFileValue {
    /// Path of the weight file relative to the folder of `model.mlmodel`.
    ///
    /// # Errors
    /// When the path does not start with `@model_path/` or leaves that folder.
    pub fn relative_path(&self) -> Result<String, Error> {
        match self.file_name.strip_prefix(MODEL_PATH) {
            Some(path) => path::relative(path),
            None => {
                let cause = format!("weight file {:?} does not start with {MODEL_PATH}", self.file_name);
                Err(Error::new(ErrorKind::Path, cause))
            }
        }
    }
}
