//! The walk over a graph: inputs, initializers, nodes, outputs.

use super::node::Node;
use super::room::Room;
use super::{Options, check, table};
use crate::{Diagnostic, Diagnostics, Imported};
use anemone_formats::onnx::{
    DimensionValue, ElementType, ExternalReader, GraphProto, ModelProto, TensorProto, TypeValue,
    ValueInfoProto,
};
use anemone_mil::interface::{Interface, Metadata};
use anemone_mil::ops::Fault;
use anemone_mil::text::plain_interface;
use anemone_mil::{
    BlockId, Builder, Const, DType, Dim, FoldLimits, Level, Name, Origin, Program, Tensor, TensorType,
    ValueId, Weight, verify,
};
use anemone_tensor::num;
use std::collections::{HashMap, HashSet};

/// Arithmetic on shapes and the like is done at once, up to this many elements; larger results stay computed.
const FOLD: FoldLimits = FoldLimits { constexpr: false, max_elements: 1 << 14 };

/// Largest extent of an input: MIL counts in `int32`.
const MAX_EXTENT: usize = (1 << 31) - 1;

/// `TensorProto.DataLocation` of a tensor in another file.
const EXTERNAL: i32 = 1;

/// Largest tensor that an allocator hands out.
const MAX_BYTES: usize = usize::MAX / 2;

/// The names of one graph.
#[derive(Default)]
struct Scope<'m> {
    values: HashMap<String, ValueId>,
    initializers: HashMap<&'m str, &'m TensorProto>,
    /// Names that a failed node should have made: what depends on them is skipped, not reported again.
    failed: HashSet<String>,
}

impl<'m> Scope<'m> {
    fn of(graph: &'m GraphProto) -> Scope<'m> {
        let initializers = graph.initializer.iter().map(|t| (t.name.as_str(), t)).collect();
        Scope { initializers, ..Scope::default() }
    }
}

/// A branch of an `If` that has been read.
pub(super) enum Branch {
    /// Its ops.
    Block(BlockId),
    /// What failed is reported.
    Failed,
    /// It fails in every runtime for the shapes at hand, with these problems, which are not reported.
    Impossible(Vec<Diagnostic>),
}

/// Translates one model.
pub(super) struct Importer<'m> {
    model: &'m ModelProto,
    pub(super) opset: i64,
    options: &'m Options,
    external: ExternalReader<'m>,
    pub(super) builder: Builder,
    /// What may still be made.
    pub(super) room: Room,
    /// Names by graph, the innermost one last.
    scopes: Vec<Scope<'m>>,
    /// Where the graph being read stands, such as `node 3 "if" (If, opset 16), then_branch: `.
    inside: String,
    /// Element types in ONNX of values that have a wider one here.
    source_types: HashMap<ValueId, DType>,
    problems: Vec<Diagnostic>,
    /// How many of the problems every runtime would have.
    pub(super) impossible: usize,
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
            room: Room::of(model.graph.as_deref()),
            scopes: Vec::new(),
            inside: String::new(),
            source_types: HashMap::new(),
            problems: Vec::new(),
            impossible: 0,
            notes: Vec::new(),
        }
    }

    pub(super) fn run(mut self) -> Result<Imported, Diagnostics> {
        let Some(graph) = &self.model.graph else {
            return Err(Diagnostic::new("model", "has no graph").into());
        };
        self.scopes.push(Scope::of(graph));
        self.inputs(graph);
        for (i, node) in graph.node.iter().enumerate() {
            self.node(i, node);
        }
        self.outputs(graph);
        if !self.problems.is_empty() {
            return Err(Diagnostics(self.problems));
        }
        let imported = self.finish();
        match verify(&imported.program, Level::Canonical) {
            Ok(_) => Ok(imported),
            // What an operator's translation could not see, such as a weight that must be constant.
            Err(found) => Err(Diagnostics(found.iter().map(located).collect())),
        }
    }

    fn inputs(&mut self, graph: &'m GraphProto) {
        let given: Vec<&ValueInfoProto> =
            graph.input.iter().filter(|i| !self.is_initializer(&i.name)).collect();
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
                    let v = self.input(info, ty);
                    self.note_source_type(v, info);
                    self.bind(&info.name, v);
                }
                Err(problem) => {
                    self.fail(&info.name);
                    self.problems.push(Diagnostic::new(format!("input `{}`", info.name), problem));
                }
            }
        }
    }

    /// Adds an input of the function. Core ML has no boolean inputs and none without dims: booleans come in as `int32`,
    /// a number as one element.
    fn input(&mut self, info: &ValueInfoProto, ty: TensorType) -> ValueId {
        let (boolean, scalar) = (ty.dtype == DType::Bool, ty.dims.is_empty());
        let dtype = if boolean { DType::I32 } else { ty.dtype };
        let dims = if scalar { vec![Dim::Known(1)] } else { ty.dims };
        let mut v = self.builder.input(&info.name, TensorType { dtype, dims });
        let name = self.builder.function().value(v).name.clone();
        let place = format!("input `{}`", info.name);
        if *name != *info.name {
            self.note(&place, format!("is called `{name}` in the package, as Core ML wants identifiers"));
        }
        if scalar {
            self.note(&place, "has one dim in the package, as Core ML has no inputs without dims");
            v = self.builder.op("squeeze").arg("x", v).one(&format!("{}_number", info.name)).unwrap_or(v);
        }
        if boolean {
            self.note(&place, "is int32 in the package, as Core ML has no boolean inputs; 0 is false");
            let cast = self.builder.op("cast").arg("x", v).str("dtype", "bool");
            v = cast.one(&format!("{}_bool", info.name)).unwrap_or(v);
        }
        v
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
                    let extent = usize::try_from(*n).ok().filter(|&n| n <= MAX_EXTENT);
                    Dim::Known(
                        extent
                            .ok_or_else(|| format!("dim {axis} is {n}, but must be at most {MAX_EXTENT}"))?,
                    )
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
        let known: Vec<usize> = dims.iter().filter_map(Dim::known).collect();
        if num::element_count(&known).and_then(|n| dtype.packed_len(n)).is_none_or(|n| n > MAX_BYTES) {
            return Err(format!("has shape {known:?}, which is more than can be addressed"));
        }
        Ok(TensorType { dtype, dims })
    }

    fn node(&mut self, index: usize, proto: &'m anemone_formats::onnx::NodeProto) {
        if proto.input.iter().any(|i| self.has_failed(i)) {
            proto.output.iter().for_each(|o| self.fail(o));
            return;
        }
        let place = format!("{}{}", self.inside, check::place(index, proto, self.opset));
        if let Some(twice) = proto.output.iter().find(|o| self.is_bound(o)) {
            let what = format!("makes `{twice}`, which is already there; names must be unique");
            self.problems.push(Diagnostic::new(place, what));
            return;
        }
        let label = if proto.name.is_empty() { proto.output.first() } else { Some(&proto.name) };
        let source: Name = format!("onnx:{}", label.map_or("", String::as_str)).into();
        self.builder.set_origin(Origin { source: Some(source), pass: None });
        let Some(translate) = table::find(&proto.domain, &proto.op_type) else { return };
        let outer = std::mem::replace(&mut self.inside, format!("{place}, "));
        let done = translate(&mut Node { importer: self, proto });
        self.inside = outer;
        if let Err(fault) = done {
            // An operand that did not read has been reported in its own place.
            if !proto.input.iter().any(|i| self.has_failed(i)) {
                self.problems.push(Diagnostic::new(place, fault.to_string()));
            }
            proto.output.iter().for_each(|o| self.fail(o));
        }
    }

    /// Reads a graph within the current block; `None` when nodes failed that its outputs need.
    ///
    /// # Errors
    /// When an output is made by no node.
    pub(super) fn inline(
        &mut self,
        graph: &'m GraphProto,
        what: &str,
    ) -> Result<Option<Vec<ValueId>>, Fault> {
        let outer = self.inside.clone();
        self.inside = format!("{outer}{what}: ");
        self.scopes.push(Scope::of(graph));
        for (i, node) in graph.node.iter().enumerate() {
            self.node(i, node);
        }
        let mut outputs = Vec::with_capacity(graph.output.len());
        let mut failed = false;
        for info in &graph.output {
            failed |= self.has_failed(&info.name);
            outputs.push(
                self.value(&info.name).ok_or_else(|| {
                    Fault::new(format!("output `{}` of {what} is made by no node", info.name))
                }),
            );
        }
        self.scopes.pop();
        self.inside = outer;
        if failed { Ok(None) } else { outputs.into_iter().collect::<Result<_, _>>().map(Some) }
    }

    /// Reads a graph as a nested block that hands out results of its own.
    ///
    /// # Errors
    /// As [`Importer::inline`].
    pub(super) fn block(&mut self, graph: &'m GraphProto, what: &str) -> Result<Option<BlockId>, Fault> {
        let entered = self.builder.enter_block();
        let outputs = self.inline(graph, what);
        let handed = outputs.and_then(|outputs| {
            let Some(outputs) = outputs else { return Ok(false) };
            for (v, info) in outputs.into_iter().zip(&graph.output) {
                let v = self.own_result(v, &info.name)?;
                self.builder.output(v);
            }
            Ok(true)
        });
        let block = self.builder.leave_block(entered);
        handed.map(|ok| ok.then_some(block))
    }

    /// Reads a branch of an `If` as a nested block.
    ///
    /// # Errors
    /// As [`Importer::inline`].
    pub(super) fn branch(&mut self, graph: &'m GraphProto, what: &str) -> Result<Branch, Fault> {
        let (known, impossible) = (self.problems.len(), self.impossible);
        if let Some(block) = self.block(graph, what)? {
            return Ok(Branch::Block(block));
        }
        let found = self.problems.len() - known;
        if found == 0 || found != self.impossible - impossible {
            return Ok(Branch::Failed);
        }
        self.impossible = impossible;
        Ok(Branch::Impossible(self.problems.split_off(known)))
    }

    /// Says that a branch is never taken, and why.
    pub(super) fn note_left_out(&mut self, what: &str, why: &[Diagnostic]) {
        let place = self.inside.trim_end_matches([' ', ',']).to_owned();
        let why: Vec<String> = why.iter().map(Diagnostic::to_string).collect();
        let why = why.join("; ");
        self.note(
            place,
            format!("{what} fails for the given input shapes, so the other one is always taken: {why}"),
        );
    }

    /// Keeps problems that were put aside.
    pub(super) fn report(&mut self, problems: Vec<Diagnostic>) {
        self.problems.extend(problems);
    }

    /// A value made by an op of the current block and not handed out yet; a copy where it is not.
    fn own_result(&mut self, v: ValueId, name: &str) -> Result<ValueId, Fault> {
        let function = self.builder.function();
        let block = function.block(self.builder.current_block());
        let own =
            function.producer(v).is_some_and(|op| block.ops.contains(&op)) && !block.outputs.contains(&v);
        if own {
            return Ok(v);
        }
        // An op even when the operand is constant: what is handed out must be a result.
        self.builder.fold_as_built(FoldLimits { constexpr: false, max_elements: 0 });
        let made = self.builder.op("identity").arg("x", v).one(&format!("{name}_out"));
        self.builder.fold_as_built(FOLD);
        made
    }

    fn is_initializer(&self, name: &str) -> bool {
        self.scopes.last().is_some_and(|s| s.initializers.contains_key(name))
    }

    /// True when the innermost graph has something of that name already.
    fn is_bound(&self, name: &str) -> bool {
        self.is_initializer(name) || self.scopes.last().is_some_and(|s| s.values.contains_key(name))
    }

    /// Marks a name as one that a failed node should have made.
    pub(super) fn fail(&mut self, name: &str) {
        if let Some(scope) = self.scopes.last_mut().filter(|_| !name.is_empty()) {
            scope.failed.insert(name.to_owned());
        }
    }

    fn has_failed(&self, name: &str) -> bool {
        let found = self.scopes.iter().rev().find(|s| s.failed.contains(name) || s.values.contains_key(name));
        found.is_some_and(|s| s.failed.contains(name))
    }

    fn outputs(&mut self, graph: &GraphProto) {
        self.builder.set_origin(Origin::default());
        for (i, info) in graph.output.iter().enumerate() {
            if self.has_failed(&info.name) {
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
    fn output(&mut self, v: ValueId, name: &str) -> Result<ValueId, Fault> {
        let dtype = self.builder.ty(v).tensor().map(|t| t.dtype);
        match dtype {
            Some(DType::Bool | DType::I8 | DType::U8) => {
                self.builder.op("cast").arg("x", v).str("dtype", "int32").one(&format!("{name}_int32"))
            }
            _ => self.own_result(v, name),
        }
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
        let known = |s: &Scope<'_>| s.values.contains_key(name) || s.initializers.contains_key(name);
        let at = self.scopes.iter().rposition(known)?;
        if let Some(&v) = self.scopes[at].values.get(name) {
            return Some(v);
        }
        let proto = *self.scopes[at].initializers.get(name)?;
        match proto.to_tensor(self.external) {
            Ok(t) => {
                if proto.data_location == EXTERNAL {
                    self.room.grow(t.bytes().len());
                }
                let v = self.constant(name, &t);
                self.scopes[at].values.insert(name.to_owned(), v);
                Some(v)
            }
            Err(e) => {
                self.scopes[at].failed.insert(name.to_owned());
                let place = format!("initializer `{name}`");
                let problem = Diagnostic::new(place, e.to_string());
                if !self.problems.contains(&problem) {
                    self.problems.push(problem);
                }
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
        let v = self.builder.constant(name, constant);
        self.set_source_type(v, tensor.dtype());
        v
    }

    /// Remembers the element type that a value has in ONNX.
    pub(super) fn set_source_type(&mut self, v: ValueId, dtype: DType) {
        if narrowed(dtype) != dtype {
            self.source_types.insert(v, dtype);
        }
    }

    /// The element type that a value has in ONNX, as far as it is known to differ.
    pub(super) fn source_type(&self, v: ValueId) -> Option<DType> {
        self.source_types.get(&v).copied()
    }

    fn note_source_type(&mut self, v: ValueId, info: &ValueInfoProto) {
        if let Some(TypeValue::Tensor(t)) = info.value_type.as_ref().and_then(|t| t.value.as_ref())
            && let Ok(dtype) = ElementType(t.elem_type).dtype()
        {
            self.set_source_type(v, dtype);
        }
    }

    pub(super) fn bind(&mut self, name: &str, v: ValueId) {
        if let Some(scope) = self.scopes.last_mut().filter(|_| !name.is_empty()) {
            scope.values.insert(name.to_owned(), v);
        }
    }

    /// Reads a tensor attribute.
    pub(super) fn tensor(&self, proto: &TensorProto) -> Result<Tensor, Fault> {
        proto.to_tensor(self.external).map_err(|e| Fault::new(e.to_string()))
    }
}

/// A fault of the finished program in the words of the source.
fn located(fault: &anemone_mil::Diagnostic) -> Diagnostic {
    match (&fault.source, &fault.op) {
        (Some(source), Some((kind, _))) => {
            let node = source.strip_prefix("onnx:").unwrap_or(source);
            Diagnostic::new(format!("node \"{node}\""), format!("becomes {kind}, whose {}", fault.fault))
        }
        _ => Diagnostic::new("", fault.to_string()),
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
