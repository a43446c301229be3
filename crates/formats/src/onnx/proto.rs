//! `onnx-ml.proto`: models, graphs, nodes, tensors and types.

use crate::wire::{self, Packed, message, oneof};
use crate::{Error, ErrorKind};
use bytes::Bytes;

/// Name of the format in errors.
pub(super) const FORMAT: &str = "ONNX model";

message! {
    /// A model, the root of the file.
    pub struct ModelProto {
        /// Version of the ONNX format.
        1 => ir_version: i64,
        /// Program that made the file.
        2 => producer_name: String,
        /// Its version.
        3 => producer_version: String,
        /// Name space of the model, as a reversed domain name.
        4 => domain: String,
        /// Version of the model.
        5 => model_version: i64,
        /// Documentation.
        6 => doc_string: String,
        /// The main graph.
        7 => graph: Option<Box<GraphProto>>,
        /// Operator sets in use, one for each domain.
        8 => opset_import: Vec<OperatorSetIdProto>,
        /// Free keys and values.
        14 => metadata_props: Vec<StringStringEntryProto>,
        /// Functions that nodes may call.
        25 => functions: Vec<FunctionProto>,
    }

    /// An operator set.
    pub struct OperatorSetIdProto {
        /// Domain; empty or `ai.onnx` for the standard operators.
        1 => domain: String,
        /// Version.
        2 => version: i64,
    }

    /// A key and a value.
    pub struct StringStringEntryProto {
        /// Key.
        1 => key: String,
        /// Value.
        2 => value: String,
    }

    /// A graph.
    pub struct GraphProto {
        /// Nodes in topological order.
        1 => node: Vec<NodeProto>,
        /// Name of the graph.
        2 => name: String,
        /// Constants; a graph input of the same name has this as its default.
        5 => initializer: Vec<TensorProto>,
        /// Documentation.
        10 => doc_string: String,
        /// Inputs.
        11 => input: Vec<ValueInfoProto>,
        /// Outputs.
        12 => output: Vec<ValueInfoProto>,
        /// Types of values in between.
        13 => value_info: Vec<ValueInfoProto>,
        /// Quantization parameters of values.
        14 => quantization_annotation: Vec<TensorAnnotation>,
        /// Sparse constants.
        15 => sparse_initializer: Vec<SparseTensorProto>,
        /// Free keys and values.
        16 => metadata_props: Vec<StringStringEntryProto>,
    }

    /// One node.
    pub struct NodeProto {
        /// Names of the inputs; empty for an optional one that is left out.
        1 => input: Vec<String>,
        /// Names of the outputs; empty for an optional one that is left out.
        2 => output: Vec<String>,
        /// Name of the node, possibly empty.
        3 => name: String,
        /// Name of the operator.
        4 => op_type: String,
        /// Attributes.
        5 => attribute: Vec<AttributeProto>,
        /// Documentation.
        6 => doc_string: String,
        /// Domain of the operator; empty for the standard ones.
        7 => domain: String,
        /// Overload of a function.
        8 => overload: String,
        /// Free keys and values.
        9 => metadata_props: Vec<StringStringEntryProto>,
    }

    /// A named attribute; [`AttributeProto::attribute_type`] says which field holds its value.
    pub struct AttributeProto {
        /// Name.
        1 => name: String,
        /// A float.
        2 => f: f32,
        /// An integer.
        3 => i: i64,
        /// Text.
        4 => s: Bytes,
        /// A tensor.
        5 => t: Option<Box<TensorProto>>,
        /// A graph.
        6 => g: Option<Box<GraphProto>>,
        /// Floats.
        7 => floats: Vec<f32>,
        /// Integers.
        8 => ints: Vec<i64>,
        /// Texts.
        9 => strings: Vec<Bytes>,
        /// Tensors.
        10 => tensors: Vec<TensorProto>,
        /// Graphs.
        11 => graphs: Vec<GraphProto>,
        /// Documentation.
        13 => doc_string: String,
        /// A type.
        14 => tp: Option<Box<TypeProto>>,
        /// Types.
        15 => type_protos: Vec<TypeProto>,
        /// Code of an [`AttributeType`].
        20 => attribute_type: i32,
        /// Inside a function: name of the function's attribute that this one takes its value from.
        21 => ref_attr_name: String,
        /// A sparse tensor.
        22 => sparse_tensor: Option<Box<SparseTensorProto>>,
        /// Sparse tensors.
        23 => sparse_tensors: Vec<SparseTensorProto>,
    }

    /// A name with its type.
    pub struct ValueInfoProto {
        /// Name.
        1 => name: String,
        /// Type.
        2 => value_type: Option<TypeProto>,
        /// Documentation.
        3 => doc_string: String,
        /// Free keys and values.
        4 => metadata_props: Vec<StringStringEntryProto>,
    }

    /// A tensor; its elements are in one of the data fields or in another file.
    pub struct TensorProto {
        /// Dims, outermost first; none for a scalar.
        1 => dims: Vec<i64>,
        /// Code of an [`ElementType`](super::ElementType).
        2 => data_type: i32,
        /// Part of a larger tensor; not in use.
        3 => segment: Option<Segment>,
        /// Elements of `FLOAT` and `COMPLEX64`.
        4 => float_data: Packed<f32>,
        /// Elements of types of up to 32 bits, bit patterns for the floats among them.
        5 => int32_data: Vec<i32>,
        /// Elements of `STRING`.
        6 => string_data: Vec<Bytes>,
        /// Elements of `INT64`.
        7 => int64_data: Vec<i64>,
        /// Name.
        8 => name: String,
        /// Packed elements, little endian.
        9 => raw_data: Option<Bytes>,
        /// Elements of `DOUBLE` and `COMPLEX128`.
        10 => double_data: Packed<f64>,
        /// Elements of `UINT32` and `UINT64`.
        11 => uint64_data: Vec<u64>,
        /// Documentation.
        12 => doc_string: String,
        /// Where the elements are when `data_location` is 1.
        13 => external_data: Vec<StringStringEntryProto>,
        /// 0 for this file, 1 for another one.
        14 => data_location: i32,
        /// Free keys and values.
        16 => metadata_props: Vec<StringStringEntryProto>,
    }

    /// Part of a larger tensor.
    pub struct Segment {
        /// First element.
        1 => begin: i64,
        /// One past the last element.
        2 => end: i64,
    }

    /// A tensor given by its elements that are not zero.
    pub struct SparseTensorProto {
        /// The elements; its name is that of the whole.
        1 => values: Option<TensorProto>,
        /// Their positions.
        2 => indices: Option<TensorProto>,
        /// Dims of the whole.
        3 => dims: Vec<i64>,
    }

    /// Quantization parameters of a value.
    pub struct TensorAnnotation {
        /// Name of the value.
        1 => tensor_name: String,
        /// Names of the tensors with its parameters.
        2 => quant_parameter_tensor_names: Vec<StringStringEntryProto>,
    }

    /// A type.
    pub struct TypeProto {
        /// Which type.
        0 => value: Option<TypeValue>,
        /// What the value stands for.
        6 => denotation: String,
    }

    /// A dense or sparse tensor.
    pub struct TensorType {
        /// Code of an [`ElementType`](super::ElementType).
        1 => elem_type: i32,
        /// Shape; unknown when absent.
        2 => shape: Option<TensorShapeProto>,
    }

    /// A sequence or an optional value.
    pub struct ElementOf {
        /// Type of the element.
        1 => elem_type: Option<Box<TypeProto>>,
    }

    /// A map.
    pub struct MapType {
        /// Code of the element type of the keys.
        1 => key_type: i32,
        /// Type of the values.
        2 => value_type: Option<Box<TypeProto>>,
    }

    /// A type that ONNX does not describe.
    pub struct OpaqueType {
        /// Domain.
        1 => domain: String,
        /// Name.
        2 => name: String,
    }

    /// A shape.
    pub struct TensorShapeProto {
        /// Dims, outermost first.
        1 => dim: Vec<Dimension>,
    }

    /// One dim.
    pub struct Dimension {
        /// A number or a name; unknown when absent.
        0 => value: Option<DimensionValue>,
        /// What the dim stands for.
        3 => denotation: String,
    }

    /// A function: an operator made of nodes.
    pub struct FunctionProto {
        /// Name of the operator.
        1 => name: String,
        /// Names of the inputs.
        4 => input: Vec<String>,
        /// Names of the outputs.
        5 => output: Vec<String>,
        /// Names of attributes without default.
        6 => attribute: Vec<String>,
        /// Nodes in topological order.
        7 => node: Vec<NodeProto>,
        /// Documentation.
        8 => doc_string: String,
        /// Operator sets in use.
        9 => opset_import: Vec<OperatorSetIdProto>,
        /// Domain of the operator.
        10 => domain: String,
        /// Attributes with default.
        11 => attribute_proto: Vec<AttributeProto>,
        /// Types of values inside.
        12 => value_info: Vec<ValueInfoProto>,
        /// Overload, to tell functions of the same name apart.
        13 => overload: String,
        /// Free keys and values.
        14 => metadata_props: Vec<StringStringEntryProto>,
    }
}

oneof! {
    /// Which type a value has.
    pub enum TypeValue {
        /// A dense tensor.
        1 => Tensor(TensorType),
        /// A sequence.
        4 => Sequence(ElementOf),
        /// A map.
        5 => Map(MapType),
        /// Something opaque.
        7 => Opaque(OpaqueType),
        /// A sparse tensor.
        8 => SparseTensor(TensorType),
        /// An optional value.
        9 => Optional(ElementOf),
    }

    /// The size of a dim.
    pub enum DimensionValue {
        /// A number.
        1 => Value(i64),
        /// A name; equal names mean equal sizes.
        2 => Param(String),
    }
}

/// Which field of an [`AttributeProto`] holds its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each variant is the member of `AttributeProto.AttributeType` of that name")]
pub enum AttributeType {
    Float,
    Int,
    String,
    Tensor,
    Graph,
    SparseTensor,
    TypeProto,
    Floats,
    Ints,
    Strings,
    Tensors,
    Graphs,
    SparseTensors,
    TypeProtos,
}

impl AttributeProto {
    /// Which field holds the value.
    ///
    /// Files of IR version 1 leave the code out; then the field that is filled decides.
    ///
    /// # Errors
    /// When the code is unknown, or is absent and no field is filled.
    pub fn kind(&self) -> Result<AttributeType, Error> {
        use AttributeType as T;
        let by_code = match self.attribute_type {
            0 => self.filled(),
            1 => Some(T::Float),
            2 => Some(T::Int),
            3 => Some(T::String),
            4 => Some(T::Tensor),
            5 => Some(T::Graph),
            6 => Some(T::Floats),
            7 => Some(T::Ints),
            8 => Some(T::Strings),
            9 => Some(T::Tensors),
            10 => Some(T::Graphs),
            11 => Some(T::SparseTensor),
            12 => Some(T::SparseTensors),
            13 => Some(T::TypeProto),
            14 => Some(T::TypeProtos),
            _ => None,
        };
        by_code.ok_or_else(|| {
            let cause = format!(
                "attribute {:?} has type code {}; codes 1 to 14 are known",
                self.name, self.attribute_type
            );
            Error::new(ErrorKind::Unsupported, cause).format(FORMAT)
        })
    }

    fn filled(&self) -> Option<AttributeType> {
        use AttributeType as T;
        let filled = [
            (self.t.is_some(), T::Tensor),
            (self.g.is_some(), T::Graph),
            (!self.s.is_empty(), T::String),
            (!self.floats.is_empty(), T::Floats),
            (!self.ints.is_empty(), T::Ints),
            (!self.strings.is_empty(), T::Strings),
            (!self.tensors.is_empty(), T::Tensors),
            (!self.graphs.is_empty(), T::Graphs),
            (self.f != 0.0, T::Float),
            (self.i != 0, T::Int),
        ];
        filled.into_iter().find(|(is_filled, _)| *is_filled).map(|(_, kind)| kind)
    }
}

impl ModelProto {
    /// Reads an `.onnx` file.
    ///
    /// # Errors
    /// When the bytes are not a model or have no graph, with offset and path such as `graph.node[12].attribute[3]`.
    pub fn read(bytes: &Bytes) -> Result<ModelProto, Error> {
        let model: ModelProto = wire::decode(bytes).map_err(|e| e.format(FORMAT))?;
        if model.graph.is_none() {
            let cause = "the model has no graph; is this really an ONNX file?";
            return Err(Error::new(ErrorKind::Missing, cause).format(FORMAT));
        }
        Ok(model)
    }

    /// The bytes of an `.onnx` file.
    pub fn write(&self) -> Vec<u8> {
        wire::encode(self)
    }

    /// Version of the operator set of `domain`; the empty domain and `ai.onnx` are the same.
    pub fn opset(&self, domain: &str) -> Option<i64> {
        let same = |a: &str| a == domain || (matches!(a, "" | "ai.onnx") && matches!(domain, "" | "ai.onnx"));
        self.opset_import.iter().find(|entry| same(&entry.domain)).map(|entry| entry.version)
    }
}

impl TensorProto {
    /// Reads a `.pb` file of one tensor, as ONNX's own tests use them.
    ///
    /// # Errors
    /// When the bytes are not a tensor, with offset and path.
    pub fn read(bytes: &Bytes) -> Result<TensorProto, Error> {
        wire::decode(bytes).map_err(|e| e.format("ONNX tensor"))
    }
}
