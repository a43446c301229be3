//! Element types, shapes and bytes: the ground floor that every room stands on.
#![forbid(unsafe_code)]

pub mod codec;
mod dtype;
pub mod num;
mod tensor;

pub use bytes::Bytes;
pub use dtype::DType;
pub use half::{bf16, f16};
pub use tensor::{Tensor, TensorError};
