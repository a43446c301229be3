//! Functions of `MIL.proto` to functions of the IR.

use super::{types, value, weights::Weights};
use crate::unknown;
use crate::{Error, ErrorKind};
use anemone_formats::coreml::mil::{self, BindingKind};
use anemone_mil::{Arg, BlockId, Const, Function, Literal, Name, Op, OpKind, Opset, Type, ValueId};
use std::collections::{BTreeMap, HashMap};

/// Reads one function.
///
/// # Errors
/// With the op and the argument, when names, types or sizes do not fit together.
pub(super) fn function(
    name: &str,
    source: &mil::Function,
    weights: &mut Weights<'_>,
    notes: &mut Vec<String>,
) -> Result<Function, Error> {
    read_function(name, source, weights, notes).map_err(|e| e.within(format!("function {name}")))
}

fn read_function(
    name: &str,
    source: &mil::Function,
    weights: &mut Weights<'_>,
    notes: &mut Vec<String>,
) -> Result<Function, Error> {
    let Some(opset) = Opset::from_name(&source.opset) else {
        let known = Opset::ALL.map(Opset::coreml_name).join(", ");
        let message = format!("op set {:?} is not known; known are {known}", source.opset);
        return Err(Error::new(ErrorKind::Unsupported, message));
    };
    let Some(body) = source.body() else {
        let found: Vec<&str> = source.block_specializations.keys().map(String::as_str).collect();
        let message = format!("has no body for its op set {}, only for {found:?}", source.opset);
        return Err(Error::new(ErrorKind::Missing, message));
    };
    for other in source.block_specializations.keys().filter(|k| **k != source.opset) {
        notes.push(format!(
            "function {name}: its body for op set {other} is not read and will not be written"
        ));
    }
    if let Some(input) = body.inputs.first() {
        let message = format!("its body has an input {:?} of its own; only nested blocks may", input.name);
        return Err(Error::new(ErrorKind::Unsupported, message));
    }
    let mut reader = FunctionReader {
        function: Function::new(name, opset),
        scope: HashMap::new(),
        bound: Vec::new(),
        params: HashMap::new(),
        later: HashMap::new(),
        weights,
    };
    reader.function.unknown = unknown::bytes(&source.unknown);
    reader.function.attributes = literals(&source.attributes, reader.weights)?;
    reader.inputs(&source.inputs)?;
    let id = reader.function.body();
    reader.block(id, body)?;
    Ok(reader.function)
}

/// Attributes, sorted by key as the map is.
pub(super) fn literals(
    attributes: &BTreeMap<String, mil::Value>,
    weights: &mut Weights<'_>,
) -> Result<Vec<(Name, Literal)>, Error> {
    let one = |(key, v): (&String, &mil::Value)| {
        let literal = value::literal(v, weights).map_err(|e| e.within(format!("attribute {key}")))?;
        Ok((Name::from(key.as_str()), literal))
    };
    attributes.iter().map(one).collect()
}

struct FunctionReader<'s, 'a, 'w> {
    function: Function,
    scope: HashMap<Name, ValueId>,
    /// Names in the order in which they were bound, to forget those of a nested block.
    bound: Vec<Name>,
    params: HashMap<&'s str, Name>,
    /// How often the blocks being read define each name, above or below.
    later: HashMap<&'s str, usize>,
    weights: &'a mut Weights<'w>,
}

impl<'s> FunctionReader<'s, '_, '_> {
    fn inputs(&mut self, inputs: &[mil::NamedValueType]) -> Result<(), Error> {
        for input in inputs {
            let place = |e: Error| e.within(format!("input {:?}", input.name));
            let ty = types::required(input.value_type.as_ref()).map_err(place)?;
            let id = self.function.add_input(input.name.as_str(), ty);
            self.bind(&input.name, id).map_err(place)?;
        }
        Ok(())
    }

    /// Makes a name visible; an empty one stays invisible.
    fn bind(&mut self, name: &str, id: ValueId) -> Result<(), Error> {
        if name.is_empty() {
            return Ok(());
        }
        let key = self.function.value(id).name.clone();
        self.bound.push(key.clone());
        match self.scope.insert(key, id) {
            None => Ok(()),
            Some(_) => {
                let message = format!("the name {name:?} is defined twice; names must be unique");
                Err(Error::new(ErrorKind::Duplicate, message))
            }
        }
    }

    fn look_up(&self, name: &str) -> Result<ValueId, Error> {
        if let Some(&id) = self.scope.get(name) {
            return Ok(id);
        }
        if self.later.contains_key(name) {
            let message = format!(
                "takes {name:?}, which is only defined by itself or further down; \
                 ops must stand in the order of their data, without cycles"
            );
            return Err(Error::new(ErrorKind::Order, message));
        }
        let message = format!("takes {name:?}, which nothing defines");
        Err(Error::new(ErrorKind::Undefined, message))
    }

    fn block(&mut self, id: BlockId, block: &'s mil::Block) -> Result<(), Error> {
        let defined = || block.operations.iter().flat_map(|op| &op.outputs).map(|o| o.name.as_str());
        defined().for_each(|name| *self.later.entry(name).or_default() += 1);
        for (i, op) in block.operations.iter().enumerate() {
            self.operation(id, op).map_err(|e| e.within(place(i, op)))?;
        }
        for name in defined() {
            let count = self.later.entry(name).or_default();
            *count -= 1;
            if *count == 0 {
                self.later.remove(name);
            }
        }
        let mut outputs = Vec::with_capacity(block.outputs.len());
        for name in &block.outputs {
            outputs.push(self.look_up(name).map_err(|e| e.within("outputs"))?);
        }
        let attributes = literals(&block.attributes, self.weights)?;
        let target = self.function.block_mut(id);
        (target.outputs, target.attributes) = (outputs, attributes);
        target.unknown = unknown::bytes(&block.unknown);
        Ok(())
    }

    /// A nested block, whose names are forgotten at its end.
    fn nested(&mut self, block: &'s mil::Block) -> Result<BlockId, Error> {
        let id = self.function.add_block();
        let outer = self.bound.len();
        for input in &block.inputs {
            let ty = types::required(input.value_type.as_ref())
                .map_err(|e| e.within(format!("input {:?}", input.name)))?;
            let value = self.function.add_block_input(id, input.name.as_str(), ty);
            self.bind(&input.name, value)?;
        }
        self.block(id, block)?;
        for name in self.bound.drain(outer..) {
            self.scope.remove(&name);
        }
        Ok(id)
    }

    fn operation(&mut self, block: BlockId, source: &'s mil::Operation) -> Result<(), Error> {
        if source.op_type == "const" {
            return self.constant(source);
        }
        let mut op = Op::new(OpKind::named(&source.op_type), name_attribute(source)?);
        op.unknown = unknown::bytes(&source.unknown);
        for (param, argument) in &source.inputs {
            let values = argument.arguments.iter().map(|b| self.binding(b)).collect::<Result<_, _>>();
            let values = values.map_err(|e: Error| e.within(format!("argument {param}")))?;
            let arg = Arg { param: self.param(param), values };
            op.args.push(arg);
        }
        self.attributes(&mut op, source)?;
        for (i, nested) in source.blocks.iter().enumerate() {
            let id = self.nested(nested).map_err(|e| e.within(format!("block {i}")))?;
            op.blocks.push(id);
        }
        let results = source.outputs.iter().map(named_type).collect::<Result<Vec<_>, _>>()?;
        let id = self.function.append(block, op, results);
        for (output, value) in source.outputs.iter().zip(self.function.op(id).outputs.clone()) {
            self.bind(&output.name, value)?;
        }
        Ok(())
    }

    /// Attributes, of which those of `constexpr_*` ops that are operands become arguments.
    ///
    /// Definitions of iOS 16 keep operands in attributes, those of iOS 18 in inputs.
    fn attributes(&mut self, op: &mut Op, source: &'s mil::Operation) -> Result<(), Error> {
        for (key, v) in source.attributes.iter().filter(|(key, _)| *key != "name") {
            let place = |e: Error| e.within(format!("attribute {key}"));
            if !op.kind.unpacks_weight(key, self.function.opset) {
                let literal = value::literal(v, self.weights).map_err(place)?;
                op.attributes.push((key.as_str().into(), literal));
                continue;
            }
            if !op.values(key).is_empty() {
                let message = "is given as an input and as an attribute; give it once";
                return Err(place(Error::new(ErrorKind::Duplicate, message)));
            }
            let constant = value::constant(v, self.weights).map_err(place)?;
            let id = self.function.add_const("", constant);
            let arg = Arg { param: self.param(key), values: vec![id] };
            op.args.push(arg);
        }
        Ok(())
    }

    /// A `const` op becomes a value of its own name.
    fn constant(&mut self, source: &mil::Operation) -> Result<(), Error> {
        let [output] = source.outputs.as_slice() else {
            let message = format!("has {} results; a const has one", source.outputs.len());
            return Err(Error::new(ErrorKind::Missing, message));
        };
        let missing =
            || Error::new(ErrorKind::Missing, "has no attribute `val`, which holds a constant's value");
        let v = source.attributes.get("val").or_else(|| inline_input(source, "val")).ok_or_else(missing)?;
        let constant = value::constant(v, self.weights)?;
        let declared = types::required(output.value_type.as_ref())?;
        if !constant.ty().compatible(&declared) {
            let message = format!("says {declared}, but its value is {}", constant.ty());
            return Err(Error::new(ErrorKind::Type, message));
        }
        if output.name.is_empty() {
            return Err(Error::new(ErrorKind::Missing, "has a result without a name"));
        }
        let id = self.function.add_const(output.name.as_str(), constant);
        self.bind(&output.name, id)
    }

    fn binding(&mut self, binding: &mil::Binding) -> Result<ValueId, Error> {
        match &binding.binding {
            Some(BindingKind::Name(name)) => self.look_up(name),
            Some(BindingKind::Value(v)) => {
                let constant: Const = value::constant(v, self.weights)?;
                Ok(self.function.add_const("", constant))
            }
            None => Err(Error::new(ErrorKind::Missing, "is bound to neither a name nor a value")),
        }
    }

    fn param(&mut self, name: &'s str) -> Name {
        self.params.entry(name).or_insert_with(|| name.into()).clone()
    }
}

fn place(index: usize, op: &mil::Operation) -> String {
    let name = name_attribute(op).unwrap_or_default();
    format!("op {index} {} {name:?}", op.op_type)
}

/// The `name` attribute; the name of the first result when there is none or an empty one.
fn name_attribute(op: &mil::Operation) -> Result<Name, Error> {
    let given = match op.attributes.get("name").map(mil::Value::as_immediate) {
        None => "",
        Some(Some(mil::ImmediateKind::Tensor(mil::TensorValue {
            value: Some(mil::TensorElements::Strings(texts)),
            ..
        }))) if texts.values.len() == 1 => texts.values[0].as_str(),
        Some(_) => {
            return Err(Error::new(ErrorKind::Type, "has an attribute `name` that is not one string"));
        }
    };
    let result = op.outputs.first().map_or("", |o| &o.name);
    Ok(if given.is_empty() { result } else { given }.into())
}

fn inline_input<'a>(op: &'a mil::Operation, param: &str) -> Option<&'a mil::Value> {
    match op.inputs.get(param)?.arguments.first()?.binding.as_ref()? {
        BindingKind::Value(v) => Some(v),
        BindingKind::Name(_) => None,
    }
}

fn named_type(output: &mil::NamedValueType) -> Result<(Name, Type), Error> {
    let ty = types::required(output.value_type.as_ref())
        .map_err(|e| e.within(format!("result {:?}", output.name)))?;
    Ok((output.name.as_str().into(), ty))
}
