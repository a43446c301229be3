//! Programs.

use crate::{Function, Interface, Literal, Name};
use anemone_tensor::Bytes;

/// An ML program: functions, and the interface through which they are called.
#[derive(Clone, Debug)]
pub struct Program {
    /// `MIL.proto` version, 1.
    pub version: i64,
    /// Functions, sorted by name.
    pub functions: Vec<Function>,
    /// Features, metadata and versions.
    pub interface: Interface,
    /// Attributes such as `buildInfo`, sorted by key.
    pub attributes: Vec<(Name, Literal)>,
    /// Free text of the program message.
    pub doc: String,
    /// Protobuf fields that this version does not know.
    pub unknown: Bytes,
}

impl Program {
    /// A program of one function with the given interface.
    pub fn new(function: Function, interface: Interface) -> Program {
        Program {
            version: 1,
            functions: vec![function],
            interface,
            attributes: Vec::new(),
            doc: String::new(),
            unknown: Bytes::new(),
        }
    }

    /// The function of that name.
    pub fn function(&self, name: &str) -> Option<&Function> {
        self.functions.iter().find(|f| &*f.name == name)
    }

    /// The function that runs when none is named.
    pub fn default_function(&self) -> Option<&Function> {
        self.function(&self.interface.default_function).or_else(|| self.functions.first())
    }
}
