//! The walk over a graph: inputs, initializers, nodes, outputs.

use super::node::Node;
use super::{Options, check, table};
use crate::{Diagnostic, Diagnostics, Imported};
use anemone_formats::onnx::{
    DimensionValue, ElementType, ExternalReader, GraphProto, ModelProto, TensorProto, TypeValue,
    ValueInfoProto,
};
use anemone_mil::interface::{Interface, Metadata};
use anemone_mil::text::plain_interface;
use anemone_mil::{
    Builder, Const, DType, Dim, FoldLimits, Name, Origin, Program, Tensor, TensorType, ValueId, Weight,
};
use std::collections::{HashMap, HashSet};

/// Arithmetic on shapes and the like is done at once, up to this many elements; larger results stay computed.
const FOLD: FoldLimits = FoldLimits { constexpr: false, max_elements: 1 << 14 };

/// Translates one model.
pub(super) struct Importer<'m> {
    model: &'m ModelProto,
    pub(super) opset: i64,
    options: &'m Options,
    external: ExternalReader<'m>,
    pub(super) builder: Builder,
    values: HashMap<String, ValueId>,
    initializers: HashMap<&'m str, &'m TensorProto>,
    /// Names that a failed node should have made: what depends on them is skipped, not reported again.
    failed: HashSet<String>,
    problems: Vec<Diagnostic>,
    notes: Vec<Diagnostic>,
}

impl<'m> Importer<'m> {
    pub(super) fn new(
        model: &'m ModelProto,
        opset: i64,
        options: &'m Options,
        external: ExternalReader<'m>,
    ) -> Importer<'m> {
        let mut builder = Builder::new("main", options.opset);
        builder.fold_as_built(FOLD);
        Importer {
            model,
            opset,
            options,
            external,
            builder,
            values: HashMap::new(),
            initializers: HashMap::new(),
            failed: HashSet::new(),
            problems: Vec::new(),
            notes: Vec::new(),
        }
    }

    pub(super) fn run(mut self) -> Result<Imported, Diagnostics> {
        let Some(graph) = &self.model.graph else {
            return Err(Diagnostic::new("model", "has no graph").into());
        };
        self.initializers = graph.initializer.iter().map(|t| (t.name.as_str(), t)).collect();
        self.inputs(graph);
        for (i, node) in graph.node.iter().enumerate() {
            self.node(i, node);
        }
        self.outputs(graph);
        if !self.problems.is_empty() {
            return Err(Diagnostics(self.problems));
        }
        Ok(self.finish())
    }

    fn inputs(&mut self, graph: &'m GraphProto) {
        let given: Vec<&ValueInfoProto> =
            graph.input.iter().filter(|i| !self.initializers.contains_key(i.name.as_str())).collect();
        for (name, _) in &self.options.shapes {
            if !given.iter().any(|i| same_name(&i.name, name)) {
                let known: Vec<&str> = given.iter().map(|i| i.name.as_str()).collect();
                let what = format!("is not an input of the model; its inputs are {known:?}");
                self.problems.push(Diagnostic::new(format!("input `{name}`"), what));
            }
        }
        for info in given {
            match self.input_type(info) {
                Ok(ty) => {
                    let v = self.builder.input(&info.name, ty);
                    let name = self.builder.function().value(v).name.clone();
                    if *name != *info.name {
                        self.note(
                            format!("input `{}`", info.name),
                            format!("is called `{name}` in the package, as Core ML wants identifiers"),
                        );
                    }
                    self.values.insert(info.name.clone(), v);
                }
                Err(problem) => {
                    self.failed.insert(info.name.clone());
                    self.problems.push(Diagnostic::new(format!("input `{}`", info.name), problem));
                }
            }
        }
    }

    /// The declared type of an input, its free dims fixed where the options say so.
    fn input_type(&mut self, info: &ValueInfoProto) -> Result<TensorType, String> {
        let Some(TypeValue::Tensor(tensor)) = info.value_type.as_ref().and_then(|t| t.value.as_ref()) else {
            return Err("is no tensor; only tensors can be inputs".into());
        };
        let dtype = narrowed(ElementType(tensor.elem_type).dtype().map_err(|e| e.to_string())?);
        let fixed =
            self.options.shapes.iter().find(|(n, _)| same_name(&info.name, n)).map(|(_, s)| s.clone());
        let Some(shape) = &tensor.shape else {
            let dims =
                fixed.ok_or(format!("has no shape; give one with --input {}:1x3x224x224", info.name))?;
            return Ok(TensorType::new(dtype, dims));
        };
        let mut dims = Vec::with_capacity(shape.dim.len());
        for (axis, d) in shape.dim.iter().enumerate() {
            dims.push(match &d.value {
                Some(DimensionValue::Value(n)) if *n >= 0 => {
                    Dim::Known(usize::try_from(*n).map_err(|_| format!("dim {axis} is {n}"))?)
                }
                Some(DimensionValue::Param(p)) if !p.is_empty() && p != "?" => Dim::Symbol(p.as_str().into()),
                // Some exporters write -1 or nothing for a free dim.
                _ => Dim::Symbol(format!("{}_{axis}", info.name).into()),
            });
        }
        if let Some(fixed) = fixed {
            if fixed.len() != dims.len()
                || !dims.iter().zip(&fixed).all(|(d, f)| d.known().is_none_or(|n| n == *f))
            {
                let declared: Vec<String> = dims.iter().map(Dim::to_string).collect();
                return Err(format!(
                    "was given shape {fixed:?}, but the model declares [{}]",
                    declared.join(", ")
                ));
            }
            dims = fixed.into_iter().map(Dim::Known).collect();
        }
        Ok(TensorType { dtype, dims })
    }

    fn node(&mut self, index: usize, proto: &'m anemone_formats::onnx::NodeProto) {
        if proto.input.iter().any(|i| self.failed.contains(i)) {
            self.failed.extend(proto.output.iter().cloned());
            return;
        }
        let place = check::place(index, proto, self.opset);
        let label = if proto.name.is_empty() { proto.output.first() } else { Some(&proto.name) };
        let source: Name = format!("onnx:{}", label.map_or("", String::as_str)).into();
        self.builder.set_origin(Origin { source: Some(source), pass: None });
        let Some(translate) = table::find(&proto.op_type) else { return };
        if let Err(fault) = translate(&mut Node { importer: self, proto }) {
            self.problems.push(Diagnostic::new(place, fault.to_string()));
            self.failed.extend(proto.output.iter().cloned());
        }
    }

    fn outputs(&mut self, graph: &GraphProto) {
        self.builder.set_origin(Origin::default());
        for (i, info) in graph.output.iter().enumerate() {
            if self.failed.contains(&info.name) {
                continue;
            }
            let Some(v) = self.value(&info.name) else {
                self.problems.push(Diagnostic::new(
                    format!("output `{}`", info.name),
                    "is made by no node".to_owned(),
                ));
                continue;
            };
            match self.output(v, &info.name) {
                Ok(v) => self.builder.output(v),
                Err(e) => {
                    self.problems.push(Diagnostic::new(format!("output {i} `{}`", info.name), e.to_string()))
                }
            }
        }
    }

    /// The value to hand out: a result of its own, of a type that Core ML can hand out.
    fn output(&mut self, v: ValueId, name: &str) -> Result<ValueId, anemone_mil::ops::Fault> {
        let function = self.builder.function();
        let own = function.producer(v).is_some() && !function.outputs().contains(&v);
        let dtype = function.value(v).ty.tensor().map(|t| t.dtype);
        let v = match dtype {
            Some(DType::Bool) => {
                self.builder.op("cast").arg("x", v).str("dtype", "int32").one(&format!("{name}_int32"))?
            }
            _ if own => v,
            _ => {
                // Written as an op even when the operand is constant: an output must be a result.
                self.builder.fold_as_built(FoldLimits { constexpr: false, max_elements: 0 });
                let made = self.builder.op("identity").arg("x", v).one(&format!("{name}_out"));
                self.builder.fold_as_built(FOLD);
                made?
            }
        };
        Ok(v)
    }

    fn finish(mut self) -> Imported {
        let graph_outputs: Vec<String> =
            self.model.graph.iter().flat_map(|g| g.output.iter().map(|o| o.name.clone())).collect();
        let outputs = self.builder.function().outputs().to_vec();
        for (v, wanted) in outputs.iter().zip(&graph_outputs) {
            self.claim_name(*v, wanted);
        }
        let mut function = self.builder.finish();
        function.remove_dead_ops();
        let interface =
            Interface { metadata: metadata(self.model), ..plain_interface(std::slice::from_ref(&function)) };
        Imported { program: Program::new(function, interface), notes: self.notes }
    }

    /// Gives an output the name that the model's user knows; whatever has it gets another.
    fn claim_name(&mut self, v: ValueId, wanted: &str) {
        let legal = Builder::identifier(wanted);
        if *self.builder.function().value(v).name == *legal {
            return;
        }
        let holder =
            self.builder.function().values().find(|(_, value)| *value.name == *legal).map(|(id, _)| id);
        if let Some(holder) = holder {
            if self.builder.function().inputs.contains(&holder) {
                self.note(format!("output `{wanted}`"), "has the name of an input and was renamed");
                return;
            }
            self.builder.rename(holder, &format!("{legal}_inner"));
        }
        self.builder.take_name(v, &legal);
    }

    pub(super) fn note(&mut self, place: impl Into<String>, message: impl Into<String>) {
        self.notes.push(Diagnostic::new(place, message));
    }

    /// The value of an ONNX name; initializers become constants when they are first asked for.
    pub(super) fn value(&mut self, name: &str) -> Option<ValueId> {
        if let Some(&v) = self.values.get(name) {
            return Some(v);
        }
        let proto = *self.initializers.get(name)?;
        match proto.to_tensor(self.external) {
            Ok(t) => {
                let v = self.constant(name, &t);
                self.values.insert(name.to_owned(), v);
                Some(v)
            }
            Err(e) => {
                self.problems.push(Diagnostic::new(format!("initializer `{name}`"), e.to_string()));
                None
            }
        }
    }

    /// Adds a constant in a type that MIL computes with.
    pub(super) fn constant(&mut self, name: &str, tensor: &Tensor) -> ValueId {
        let dtype = narrowed(tensor.dtype());
        let weight = Weight::of(tensor).cast(dtype);
        let constant = if tensor.rank() == 0 || tensor.len() < 10 {
            weight.tensor().map_or(Const::Weight(weight), Const::from)
        } else {
            Const::Weight(weight)
        };
        self.builder.constant(name, constant)
    }

    pub(super) fn bind(&mut self, name: &str, v: ValueId) {
        if !name.is_empty() {
            self.values.insert(name.to_owned(), v);
        }
    }

    /// Reads a tensor attribute.
    pub(super) fn tensor(&self, proto: &TensorProto) -> Result<Tensor, anemone_mil::ops::Fault> {
        proto.to_tensor(self.external).map_err(|e| anemone_mil::ops::Fault::new(e.to_string()))
    }
}

/// The type that MIL computes with in the place of an ONNX one.
pub(super) fn narrowed(dtype: DType) -> DType {
    match dtype {
        DType::F64 | DType::Bf16 | DType::F8E4M3 | DType::F8E5M2 => DType::F32,
        d if d.is_int() => DType::I32,
        d => d,
    }
}

/// True when `given` is the ONNX name or the identifier made of it.
fn same_name(onnx: &str, given: &str) -> bool {
    onnx == given || Builder::identifier(onnx) == given
}

fn metadata(model: &ModelProto) -> Metadata {
    let mut user = vec![("com.github.apple.coremltools.source_dialect".to_owned(), "ONNX".to_owned())];
    if !model.producer_name.is_empty() {
        let source = format!("{} {}", model.producer_name, model.producer_version);
        user.insert(0, ("com.github.apple.coremltools.source".into(), source.trim().to_owned()));
    }
    Metadata { description: model.doc_string.clone(), user, ..Metadata::default() }
}
