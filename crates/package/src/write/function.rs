//! Functions of the IR to functions of `MIL.proto`.

use super::{plan::Plan, value};
use crate::{Error, ErrorKind};
use anemone_formats::coreml::mil::{self, BindingKind};
use anemone_mil::ops::Effect;
use anemone_mil::{BlockId, Const, Function, Name, Op, OpId, Opset, ValueId};
use std::collections::{BTreeMap, HashMap, HashSet};

/// Parameters whose constants stand inline, as in `backend/mil/load.py` of apple/coremltools.
const INLINE_PARAMS: [(&str, &str); 4] = [
    ("classify", "classes"),
    ("reshape_like", "begins"),
    ("reshape_like", "ends"),
    ("reshape_like", "end_masks"),
];

/// Writes one function; its large constants get their place in the weight file.
///
/// # Errors
/// When a weight is not at hand, or an operand must be constant where the format keeps it in an attribute.
pub(super) fn function(f: &Function, plan: &mut Plan) -> Result<mil::Function, Error> {
    FunctionWriter::new(f, plan).function().map_err(|e| e.within(format!("function {}", f.name)))
}

struct FunctionWriter<'a> {
    f: &'a Function,
    plan: &'a mut Plan,
    /// The block in which each constant that gets a `const` op is written: the innermost around all its uses.
    homes: HashMap<ValueId, BlockId>,
    /// Constants that already have their op.
    written: HashSet<ValueId>,
    /// Names for constants without one that a block hands out.
    made: HashMap<ValueId, Name>,
}

impl<'a> FunctionWriter<'a> {
    fn new(f: &'a Function, plan: &'a mut Plan) -> FunctionWriter<'a> {
        let homes = Homes::of(f);
        let made = names_for(f, &homes);
        FunctionWriter { f, plan, homes, written: HashSet::new(), made }
    }

    fn function(mut self) -> Result<mil::Function, Error> {
        let f = self.f;
        let body = self.block(f.body())?;
        let opset = f.opset.coreml_name().to_owned();
        Ok(mil::Function {
            inputs: self.named(&f.inputs),
            block_specializations: BTreeMap::from([(opset.clone(), body)]),
            opset,
            attributes: value::attributes(&f.attributes, None)?,
            unknown: f.unknown.clone().into(),
        })
    }

    fn block(&mut self, id: BlockId) -> Result<mil::Block, Error> {
        let block = self.f.block(id);
        let mut operations = Vec::with_capacity(block.ops.len());
        for (i, &op) in block.ops.iter().enumerate() {
            let place = |e: Error| {
                let op = self.f.op(op);
                e.within(format!("op {i} {} {:?}", op.kind.name(), op.name))
            };
            let mut uses = Vec::new();
            used_constants(self.f, op, &mut uses);
            self.constants(id, &uses, &mut operations).map_err(place)?;
            let written = self.operation(op).map_err(place)?;
            operations.push(written);
        }
        self.constants(id, &block.outputs, &mut operations)?;
        Ok(mil::Block {
            inputs: self.named(&block.inputs),
            outputs: block.outputs.iter().map(|&v| self.name(v).to_string()).collect(),
            operations,
            attributes: value::attributes(&block.attributes, None)?,
            unknown: block.unknown.clone().into(),
        })
    }

    /// `const` ops of those values that are at home in the block and not written yet.
    fn constants(
        &mut self,
        block: BlockId,
        values: &[ValueId],
        out: &mut Vec<mil::Operation>,
    ) -> Result<(), Error> {
        for &v in values {
            let Some(constant) = self.f.constant(v) else { continue };
            if self.homes.get(&v) == Some(&block) && self.written.insert(v) {
                let name = self.name(v);
                let op = self.const_op(&name, v, constant);
                out.push(op.map_err(|e| e.within(format!("constant {name:?}")))?);
            }
        }
        Ok(())
    }

    fn const_op(&mut self, name: &Name, v: ValueId, constant: &Const) -> Result<mil::Operation, Error> {
        let mut attributes = value::attributes(&[], Some(name))?;
        attributes.insert("val".to_owned(), value::constant(constant, self.plan)?);
        Ok(mil::Operation {
            op_type: "const".to_owned(),
            outputs: vec![mil::NamedValueType::new(&**name, value::value_type(&self.f.value(v).ty))],
            attributes,
            ..Default::default()
        })
    }

    fn operation(&mut self, id: OpId) -> Result<mil::Operation, Error> {
        let op = self.f.op(id);
        let mut written = mil::Operation {
            op_type: op.kind.name().to_owned(),
            outputs: self.named(&op.outputs),
            attributes: value::attributes(&op.attributes, Some(&op.name))?,
            unknown: op.unknown.clone().into(),
            ..Default::default()
        };
        let in_attributes = keeps_operands_in_attributes(op, self.f.opset);
        for arg in &op.args {
            let place = |e: Error| e.within(format!("argument {}", arg.param));
            if in_attributes {
                let operand = self.attribute(&arg.values).map_err(place)?;
                written.attributes.insert(arg.param.to_string(), operand);
            } else {
                let inline = stands_inline(op, &arg.param);
                let bindings = arg.values.iter().map(|&v| self.binding(v, inline));
                let arguments = bindings.collect::<Result<_, _>>().map_err(place)?;
                let argument = mil::Argument { arguments, ..Default::default() };
                written.inputs.insert(arg.param.to_string(), argument);
            }
        }
        for (i, &block) in op.blocks.iter().enumerate() {
            let nested = self.block(block).map_err(|e| e.within(format!("block {i}")))?;
            written.blocks.push(nested);
        }
        Ok(written)
    }

    /// The one constant that an attribute holds.
    fn attribute(&mut self, values: &[ValueId]) -> Result<mil::Value, Error> {
        match values {
            [v] => match self.f.constant(*v) {
                Some(c) => value::constant(c, self.plan),
                None => {
                    let name = &self.f.value(*v).name;
                    let message =
                        format!("is {name:?}, which is computed; before iOS 18 it must be a constant");
                    Err(Error::new(ErrorKind::Unsupported, message))
                }
            },
            _ => {
                let message = format!("has {} values; an attribute holds one", values.len());
                Err(Error::new(ErrorKind::Unsupported, message))
            }
        }
    }

    fn binding(&mut self, v: ValueId, inline: bool) -> Result<mil::Binding, Error> {
        match self.f.constant(v) {
            Some(c) if inline || !self.homes.contains_key(&v) => {
                Ok(BindingKind::Value(Box::new(value::constant(c, self.plan)?)).into())
            }
            _ => Ok(BindingKind::Name(self.name(v).to_string()).into()),
        }
    }

    fn name(&self, v: ValueId) -> Name {
        self.made.get(&v).unwrap_or(&self.f.value(v).name).clone()
    }

    fn named(&self, values: &[ValueId]) -> Vec<mil::NamedValueType> {
        let one = |&v: &ValueId| {
            let value = self.f.value(v);
            mil::NamedValueType::new(&*value.name, value::value_type(&value.ty))
        };
        values.iter().map(one).collect()
    }
}

/// True when the definition of the op that counts is older than iOS 18 and unpacks a weight: such definitions keep their
/// operands in attributes. Ops that the table does not know follow their function.
fn keeps_operands_in_attributes(op: &Op, opset: Opset) -> bool {
    match op.kind.def() {
        Some(def) => {
            let since = def.version(opset).or(def.versions.first()).map_or(opset, |v| v.since);
            def.effect == Effect::Constexpr && since < Opset::Ios18
        }
        None => op.kind.name().starts_with("constexpr_") && opset < Opset::Ios18,
    }
}

/// True when constants of that parameter are written as the argument itself, whether they have a name or not.
fn stands_inline(op: &Op, param: &str) -> bool {
    is_constexpr(op) || INLINE_PARAMS.contains(&(op.kind.name(), param))
}

fn is_constexpr(op: &Op) -> bool {
    op.kind.def().map_or(op.kind.name().starts_with("constexpr_"), |d| d.effect == Effect::Constexpr)
}

/// The values that an op and its nested blocks take and that may need a `const` op, in order of use.
fn used_constants(f: &Function, id: OpId, out: &mut Vec<ValueId>) {
    let op = f.op(id);
    for arg in op.args.iter().filter(|arg| !stands_inline(op, &arg.param)) {
        out.extend(arg.values.iter().filter(|&&v| f.constant(v).is_some()));
    }
    for &block in &op.blocks {
        f.block(block).ops.iter().for_each(|&inner| used_constants(f, inner, out));
        out.extend(f.block(block).outputs.iter().filter(|&&v| f.constant(v).is_some()));
    }
}

fn handed_out(f: &Function) -> HashSet<ValueId> {
    let mut out: HashSet<ValueId> = f.outputs().iter().copied().collect();
    for (_, op) in f.walk() {
        f.op(op).blocks.iter().for_each(|&b| out.extend(&f.block(b).outputs));
    }
    out
}

/// Finds the block of every `const` op.
struct Homes<'a> {
    f: &'a Function,
    /// Values that some block hands out, which need a name.
    handed_out: HashSet<ValueId>,
    /// The block around each nested block, and how deep that one is.
    outer: HashMap<BlockId, (BlockId, usize)>,
    homes: HashMap<ValueId, BlockId>,
}

impl<'a> Homes<'a> {
    fn of(f: &'a Function) -> HashMap<ValueId, BlockId> {
        let mut homes = Homes { f, handed_out: handed_out(f), outer: HashMap::new(), homes: HashMap::new() };
        homes.block(f.body(), 0);
        homes.homes
    }

    fn block(&mut self, id: BlockId, depth: usize) {
        let f = self.f;
        for &op in &f.block(id).ops {
            let op = f.op(op);
            for arg in op.args.iter().filter(|arg| !stands_inline(op, &arg.param)) {
                for &v in &arg.values {
                    if !f.value(v).name.is_empty() || self.handed_out.contains(&v) {
                        self.note(v, id);
                    }
                }
            }
            for &inner in &op.blocks {
                self.outer.insert(inner, (id, depth + 1));
                self.block(inner, depth + 1);
            }
        }
        f.block(id).outputs.iter().for_each(|&v| self.note(v, id));
    }

    fn note(&mut self, v: ValueId, used_in: BlockId) {
        if self.f.constant(v).is_some() {
            let home = self.homes.get(&v).map_or(used_in, |&home| self.common(home, used_in));
            self.homes.insert(v, home);
        }
    }

    /// The innermost block around both.
    fn common(&self, mut a: BlockId, mut b: BlockId) -> BlockId {
        let depth = |x: BlockId| self.outer.get(&x).map_or(0, |o| o.1);
        while a != b {
            let deeper = if depth(a) >= depth(b) { &mut a } else { &mut b };
            match self.outer.get(deeper) {
                Some((outer, _)) => *deeper = *outer,
                None => return self.f.body(),
            }
        }
        a
    }
}

/// Fresh names for constants without one that get a `const` op, because a block hands them out.
fn names_for(f: &Function, homes: &HashMap<ValueId, BlockId>) -> HashMap<ValueId, Name> {
    let mut nameless: Vec<ValueId> = homes.keys().copied().filter(|&v| f.value(v).name.is_empty()).collect();
    if nameless.is_empty() {
        return HashMap::new();
    }
    nameless.sort();
    let mut names = anemone_mil::Builder::resume(f.clone());
    nameless.into_iter().map(|v| (v, names.fresh_name("constant"))).collect()
}
