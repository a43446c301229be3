//! ONNX models: one protobuf message, `onnx.ModelProto`.
//!
//! Field numbers and names follow `onnx-ml.proto` of onnx/onnx, IR versions 3 to 14. Tensors share the bytes of the file.

mod proto;
mod tensor;

pub use proto::*;
pub use tensor::{ElementType, External, ExternalReader};
