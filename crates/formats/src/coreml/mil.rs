//! `MIL.proto`: programs, functions, blocks, operations and their types.

pub use super::value::*;
use crate::wire::{message, oneof};
use anemone_tensor::DType;
use std::collections::BTreeMap;

message! {
    /// An ML program.
    pub struct Program {
        /// Version of the format, always 1.
        1 => version: i64,
        /// Functions by name.
        2 => functions: BTreeMap<String, Function>,
        /// Documentation.
        3 => doc_string: String,
        /// Attributes, such as `buildInfo`.
        4 => attributes: BTreeMap<String, Value>,
    }

    /// A function.
    pub struct Function {
        /// Parameters.
        1 => inputs: Vec<NamedValueType>,
        /// Name of the active opset, such as `CoreML8`.
        2 => opset: String,
        /// Bodies by opset; the one of [`Function::opset`] counts.
        3 => block_specializations: BTreeMap<String, Block>,
        /// Attributes.
        4 => attributes: BTreeMap<String, Value>,
    }

    /// A list of operations with inputs and outputs.
    pub struct Block {
        /// Parameters; none for the body of a function.
        1 => inputs: Vec<NamedValueType>,
        /// Names of the results.
        2 => outputs: Vec<String>,
        /// Operations in order of execution.
        3 => operations: Vec<Operation>,
        /// Attributes.
        4 => attributes: BTreeMap<String, Value>,
    }

    /// One operation.
    pub struct Operation {
        /// Name of the operator, such as `conv`.
        1 => op_type: String,
        /// Arguments by parameter.
        2 => inputs: BTreeMap<String, Argument>,
        /// Results.
        3 => outputs: Vec<NamedValueType>,
        /// Nested blocks.
        4 => blocks: Vec<Block>,
        /// Attributes, such as `name`, and `val` of a `const`.
        5 => attributes: BTreeMap<String, Value>,
    }

    /// What is bound to one parameter.
    pub struct Argument {
        /// One binding, or several for a variadic parameter.
        1 => arguments: Vec<Binding>,
    }

    /// One value bound to a parameter.
    pub struct Binding {
        /// A name or a literal.
        0 => binding: Option<BindingKind>,
    }

    /// A name with its type.
    pub struct NamedValueType {
        /// Name of the value.
        1 => name: String,
        /// Its type.
        2 => value_type: Option<ValueType>,
    }

    /// A type.
    pub struct ValueType {
        /// Which type.
        0 => kind: Option<TypeKind>,
    }

    /// A tensor; a scalar has rank 0.
    pub struct TensorType {
        /// Code of the element type; see [`dtype_of_code`].
        1 => data_type: i32,
        /// Number of dims; negative when it varies.
        2 => rank: i64,
        /// Dims, outermost first.
        3 => dimensions: Vec<Dimension>,
        /// Attributes.
        4 => attributes: BTreeMap<String, Value>,
    }

    /// A fixed number of values of different types.
    pub struct TupleType {
        /// Their types.
        1 => types: Vec<ValueType>,
    }

    /// Values of one type.
    pub struct ListType {
        /// Type of each.
        1 => element: Option<Box<ValueType>>,
        /// How many.
        2 => length: Option<Dimension>,
    }

    /// Values by key.
    pub struct DictionaryType {
        /// Type of the keys.
        1 => key_type: Option<Box<ValueType>>,
        /// Type of the values.
        2 => value_type: Option<Box<ValueType>>,
    }

    /// A value that lives from one prediction to the next.
    pub struct StateType {
        /// Its type.
        1 => wrapped_type: Option<Box<ValueType>>,
    }

    /// The size of one dim.
    pub struct Dimension {
        /// Known or not.
        0 => dimension: Option<DimensionKind>,
    }

    /// A known size.
    pub struct ConstantDimension {
        /// The size.
        1 => size: u64,
    }

    /// A size known at run time.
    pub struct UnknownDimension {
        /// True when it stands for any number of dims.
        1 => variadic: bool,
    }
}

oneof! {
    /// What is bound to a parameter.
    pub enum BindingKind {
        /// The value of that name.
        1 => Name(String),
        /// A literal.
        2 => Value(Box<Value>),
    }

    /// Which type a value has.
    pub enum TypeKind {
        /// A tensor.
        1 => Tensor(TensorType),
        /// A list.
        2 => List(ListType),
        /// A tuple.
        3 => Tuple(TupleType),
        /// A dictionary.
        4 => Dictionary(DictionaryType),
        /// A state.
        5 => State(StateType),
    }

    /// Size of a dim.
    pub enum DimensionKind {
        /// Known.
        1 => Constant(ConstantDimension),
        /// Known at run time.
        2 => Unknown(UnknownDimension),
    }
}

/// Codes of `MILSpec.DataType`.
const DATA_TYPES: [(i32, DType); 22] = [
    (1, DType::Bool),
    (2, DType::String),
    (10, DType::F16),
    (11, DType::F32),
    (12, DType::F64),
    (13, DType::Bf16),
    (21, DType::I8),
    (22, DType::I16),
    (23, DType::I32),
    (24, DType::I64),
    (25, DType::I4),
    (31, DType::U8),
    (32, DType::U16),
    (33, DType::U32),
    (34, DType::U64),
    (35, DType::U4),
    (36, DType::U2),
    (37, DType::U1),
    (38, DType::U6),
    (39, DType::U3),
    (40, DType::F8E4M3),
    (41, DType::F8E5M2),
];

/// The element type of a code of `MILSpec.DataType`; `None` for 0 and unknown codes.
pub fn dtype_of_code(code: i32) -> Option<DType> {
    DATA_TYPES.iter().find(|row| row.0 == code).map(|row| row.1)
}

/// The code of an element type in `MILSpec.DataType`.
pub fn code_of_dtype(dtype: DType) -> i32 {
    DATA_TYPES.iter().find(|row| row.1 == dtype).map_or(0, |row| row.0)
}

impl Function {
    /// The body for the active opset.
    pub fn body(&self) -> Option<&Block> {
        self.block_specializations.get(&self.opset)
    }
}

impl From<TypeKind> for ValueType {
    fn from(kind: TypeKind) -> ValueType {
        ValueType { kind: Some(kind), ..ValueType::default() }
    }
}

impl ValueType {
    /// A tensor type; `None` is a dim known at run time.
    pub fn tensor(dtype: DType, dims: impl IntoIterator<Item = Option<u64>>) -> ValueType {
        let dimensions: Vec<Dimension> = dims.into_iter().map(Dimension::new).collect();
        let rank = anemone_tensor::num::i64_of(dimensions.len());
        let data_type = code_of_dtype(dtype);
        TypeKind::Tensor(TensorType { data_type, rank, dimensions, ..TensorType::default() }).into()
    }

    /// The tensor type, when it is one.
    pub fn as_tensor(&self) -> Option<&TensorType> {
        match &self.kind {
            Some(TypeKind::Tensor(tensor)) => Some(tensor),
            _ => None,
        }
    }
}

impl TensorType {
    /// The element type; `None` for codes that Anemone does not know.
    pub fn dtype(&self) -> Option<DType> {
        dtype_of_code(self.data_type)
    }
}

impl Dimension {
    /// A known size, or one known at run time.
    pub fn new(size: Option<u64>) -> Dimension {
        let kind = match size {
            Some(size) => DimensionKind::Constant(ConstantDimension { size, ..ConstantDimension::default() }),
            None => DimensionKind::Unknown(UnknownDimension::default()),
        };
        Dimension { dimension: Some(kind), ..Dimension::default() }
    }

    /// The size, when it is known.
    pub fn size(&self) -> Option<u64> {
        match &self.dimension {
            Some(DimensionKind::Constant(constant)) => Some(constant.size),
            _ => None,
        }
    }
}

impl NamedValueType {
    /// A name with its type.
    pub fn new(name: impl Into<String>, value_type: ValueType) -> NamedValueType {
        NamedValueType { name: name.into(), value_type: Some(value_type), ..NamedValueType::default() }
    }
}

impl From<BindingKind> for Binding {
    fn from(kind: BindingKind) -> Binding {
        Binding { binding: Some(kind), ..Binding::default() }
    }
}

impl Argument {
    /// One binding to the value of that name.
    pub fn name(name: impl Into<String>) -> Argument {
        Argument { arguments: vec![BindingKind::Name(name.into()).into()], ..Argument::default() }
    }

    /// One literal.
    pub fn value(value: Value) -> Argument {
        Argument { arguments: vec![BindingKind::Value(Box::new(value)).into()], ..Argument::default() }
    }
}
