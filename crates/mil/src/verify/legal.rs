//! What an op set allows beyond the signatures of its ops.
//!
//! Element types of inputs and outputs, and states: `FeatureTypes.proto` of apple/coremltools and the checks that
//! coremltools 9.0 makes while it converts.

use super::Check;
use crate::ops::Fault;
use crate::{DType, Dim, Opset, TensorType, Type, ValueId};

impl<'a> Check<'a, '_> {
    /// Checks the function against a target op set.
    pub(super) fn legal(&mut self, target: Opset) {
        let function = self.function;
        if function.opset > target {
            self.fault(format!("the function is written in {}, but the target is {target}", function.opset));
        }
        if function.outputs().is_empty() {
            self.fault("the function returns nothing; Core ML asks for at least one output");
        }
        for &id in &function.inputs {
            self.port("input", id, target);
        }
        for &id in function.outputs() {
            self.port("output", id, target);
        }
        for (_, id) in function.walk() {
            let op = function.op(id);
            for &v in &op.outputs {
                if let Some(symbol) = symbol(&function.value(v).ty) {
                    let name = &function.value(v).name;
                    let message =
                        format!("`{name}` has the symbolic dim `{symbol}`; fix it or make it unknown");
                    self.op_fault(op, Fault::new(message));
                }
            }
        }
    }

    fn port(&mut self, what: &str, id: ValueId, target: Opset) {
        let value = self.function.value(id);
        let (name, ty) = (&value.name, &value.ty);
        if let Some(symbol) = symbol(ty) {
            self.fault(format!("{what} `{name}` has the symbolic dim `{symbol}`; fix it or make it unknown"));
        }
        match ty {
            Type::Tensor(t) => {
                let allowed = allowed_types(what == "output", target);
                if !allowed.contains(&t.dtype) {
                    let names: Vec<&str> = allowed.iter().map(|d| d.name()).collect();
                    let (dtype, names) = (t.dtype, names.join(", "));
                    self.fault(format!("{what} `{name}` is {dtype}, but must be one of {names} in {target}"));
                }
            }
            Type::State(t) => self.state(name, t, target),
            Type::Dict(..) if what == "output" => {}
            other => self.fault(format!("{what} `{name}` is {other}, but must be a tensor")),
        }
    }

    fn state(&mut self, name: &str, ty: &TensorType, target: Opset) {
        if target < Opset::Ios18 {
            self.fault(format!("state `{name}` needs op set ios18, but the target is {target}"));
        }
        if ty.dtype != DType::F16 || ty.known_shape().is_none() {
            self.fault(format!("state `{name}` is {ty}, but must be fp16 of fixed size"));
        }
    }
}

/// Element types of inputs, and of outputs, which may also be a classifier's label.
fn allowed_types(output: bool, target: Opset) -> Vec<DType> {
    let mut allowed = vec![DType::F32, DType::I32];
    if target >= Opset::Ios16 {
        allowed.push(DType::F16);
    }
    if target >= Opset::Ios26 {
        allowed.push(DType::I8);
    }
    if output {
        allowed.extend([DType::I64, DType::String]);
    }
    allowed
}

/// The first symbolic dim of a type.
fn symbol(ty: &Type) -> Option<&str> {
    match ty {
        Type::Tensor(t) | Type::State(t) => t.dims.iter().find_map(|d| match d {
            Dim::Symbol(s) => Some(&**s),
            _ => None,
        }),
        Type::List { elem, .. } => symbol(elem),
        Type::Tuple(items) => items.iter().find_map(symbol),
        Type::Dict(key, value) => symbol(key).or_else(|| symbol(value)),
    }
}
