//! Functions: arenas of ops, values and blocks.

use crate::ops::{self, Form, OpDef};
use crate::{BlockId, Const, Literal, Name, OpId, Opset, Type, ValueId};
use anemone_tensor::Bytes;

/// What an op is: a row of the op table, or a name that the table does not have.
#[derive(Clone)]
pub enum OpKind {
    /// A row of the op table.
    Known(&'static OpDef),
    /// An op that the table does not know: carried along, never executed.
    Foreign(Name),
}

impl OpKind {
    /// The kind with that name.
    pub fn named(name: &str) -> OpKind {
        ops::find(name).map_or_else(|| OpKind::Foreign(name.into()), OpKind::Known)
    }

    /// Name in MIL, such as `conv`.
    pub fn name(&self) -> &str {
        match self {
            OpKind::Known(def) => def.name,
            OpKind::Foreign(name) => name,
        }
    }

    /// The row of the op table, when known.
    pub fn def(&self) -> Option<&'static OpDef> {
        match self {
            OpKind::Known(def) => Some(def),
            OpKind::Foreign(_) => None,
        }
    }

    /// Where the elements of the results come from; [`Form::Other`] for ops that the table does not know.
    pub fn form(&self) -> Form {
        self.def().map_or(Form::Other, |def| def.form)
    }

    /// True when an attribute of that key is an operand in truth, as those of `constexpr_*` ops before iOS 18 are.
    ///
    /// Every key counts for ops and versions that the table does not know.
    pub fn unpacks_weight(&self, key: &str, opset: Opset) -> bool {
        match self.def() {
            Some(def) if def.effect == ops::Effect::Constexpr => {
                def.version(opset).is_none_or(|v| v.param(key).is_some())
            }
            Some(_) => false,
            None => self.name().starts_with("constexpr_"),
        }
    }
}

impl PartialEq for OpKind {
    fn eq(&self, other: &OpKind) -> bool {
        self.name() == other.name()
    }
}

impl std::fmt::Debug for OpKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The values given for one parameter; more than one only where the parameter is variadic.
#[derive(Clone, Debug, PartialEq)]
pub struct Arg {
    /// Parameter name.
    pub param: Name,
    /// The values, in order.
    pub values: Vec<ValueId>,
}

/// Where an op comes from, in the user's words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// Node of the source model, such as `onnx:/layers.0/q_proj`.
    pub source: Option<Name>,
    /// The pass that made the op.
    pub pass: Option<&'static str>,
}

/// One operation.
#[derive(Clone, Debug)]
pub struct Op {
    /// What it does.
    pub kind: OpKind,
    /// The op's `name` attribute.
    pub name: Name,
    /// Arguments, sorted by parameter name.
    pub args: Vec<Arg>,
    /// Results.
    pub outputs: Vec<ValueId>,
    /// Nested blocks, in order.
    pub blocks: Vec<BlockId>,
    /// Attributes other than `name`, sorted by key.
    pub attributes: Vec<(Name, Literal)>,
    /// Where it comes from; takes no part in equality.
    pub origin: Origin,
    /// Protobuf fields that this version does not know, kept as they were.
    pub unknown: Bytes,
}

impl Op {
    /// An op without arguments and results.
    pub fn new(kind: OpKind, name: impl Into<Name>) -> Op {
        Op {
            kind,
            name: name.into(),
            args: Vec::new(),
            outputs: Vec::new(),
            blocks: Vec::new(),
            attributes: Vec::new(),
            origin: Origin::default(),
            unknown: Bytes::new(),
        }
    }

    /// The values given for `param`; empty when it is left out.
    pub fn values(&self, param: &str) -> &[ValueId] {
        self.args.iter().find(|a| &*a.param == param).map_or(&[], |a| &a.values)
    }

    /// The value given for `param`.
    pub fn value(&self, param: &str) -> Option<ValueId> {
        self.values(param).first().copied()
    }

    /// Sets or replaces the values of `param`, keeping the order by name; no values remove it.
    pub fn set_arg(&mut self, param: &str, values: Vec<ValueId>) {
        let at = self.args.binary_search_by(|a| (*a.param).cmp(param));
        match (at, values.is_empty()) {
            (Ok(i), true) => drop(self.args.remove(i)),
            (Ok(i), false) => self.args[i].values = values,
            (Err(_), true) => {}
            (Err(i), false) => self.args.insert(i, Arg { param: param.into(), values }),
        }
    }

    /// True when the op table or its name says that it is of kind `name`.
    pub fn is(&self, name: &str) -> bool {
        self.kind.name() == name
    }

    /// Every value that the op takes, in parameter order.
    pub fn operands(&self) -> impl Iterator<Item = ValueId> + '_ {
        self.args.iter().flat_map(|a| a.values.iter().copied())
    }
}

/// Where a value comes from.
#[derive(Clone, Debug)]
pub enum Def {
    /// Input `n` of the function.
    Input(usize),
    /// Input `n` of a nested block.
    BlockInput(BlockId, usize),
    /// Result `n` of an op.
    Result(OpId, usize),
    /// A constant; without a name it is written inline.
    Const(Const),
}

/// A value: name, type and definition.
#[derive(Clone, Debug)]
pub struct Value {
    /// Name; empty for inline constants.
    pub name: Name,
    /// Type.
    pub ty: Type,
    /// Definition.
    pub def: Def,
}

impl Value {
    /// The constant, when it is one.
    pub fn as_const(&self) -> Option<&Const> {
        match &self.def {
            Def::Const(c) => Some(c),
            _ => None,
        }
    }
}

/// A list of ops with inputs and outputs.
#[derive(Clone, Debug, Default)]
pub struct Block {
    /// Values bound on entry; empty for a function's body.
    pub inputs: Vec<ValueId>,
    /// Ops in program order.
    pub ops: Vec<OpId>,
    /// Values handed out.
    pub outputs: Vec<ValueId>,
    /// Attributes, sorted by key.
    pub attributes: Vec<(Name, Literal)>,
    /// Protobuf fields that this version does not know.
    pub unknown: Bytes,
}

/// A function: its inputs, its body and the arenas behind them.
#[derive(Clone, Debug)]
pub struct Function {
    /// Name, `main` unless the package has several.
    pub name: Name,
    /// Op set that the body is written in.
    pub opset: Opset,
    /// Inputs and states, in order.
    pub inputs: Vec<ValueId>,
    /// Attributes, sorted by key.
    pub attributes: Vec<(Name, Literal)>,
    /// Protobuf fields that this version does not know.
    pub unknown: Bytes,
    body: BlockId,
    ops: Vec<Op>,
    values: Vec<Value>,
    blocks: Vec<Block>,
}

impl Function {
    /// A function with an empty body.
    pub fn new(name: impl Into<Name>, opset: Opset) -> Function {
        Function {
            name: name.into(),
            opset,
            inputs: Vec::new(),
            attributes: Vec::new(),
            unknown: Bytes::new(),
            body: BlockId::of(0),
            ops: Vec::new(),
            values: Vec::new(),
            blocks: vec![Block::default()],
        }
    }

    /// The body.
    pub fn body(&self) -> BlockId {
        self.body
    }

    /// Values that the function returns.
    pub fn outputs(&self) -> &[ValueId] {
        &self.block(self.body).outputs
    }

    /// An op.
    pub fn op(&self, id: OpId) -> &Op {
        &self.ops[id.index()]
    }

    /// An op, to change.
    pub fn op_mut(&mut self, id: OpId) -> &mut Op {
        &mut self.ops[id.index()]
    }

    /// A value.
    pub fn value(&self, id: ValueId) -> &Value {
        &self.values[id.index()]
    }

    /// A value, to change.
    pub fn value_mut(&mut self, id: ValueId) -> &mut Value {
        &mut self.values[id.index()]
    }

    /// A block.
    pub fn block(&self, id: BlockId) -> &Block {
        &self.blocks[id.index()]
    }

    /// A block, to change.
    pub fn block_mut(&mut self, id: BlockId) -> &mut Block {
        &mut self.blocks[id.index()]
    }

    /// Every value slot in creation order, dead ones included.
    pub fn values(&self) -> impl Iterator<Item = (ValueId, &Value)> {
        self.values.iter().enumerate().map(|(i, v)| (ValueId::of(i), v))
    }

    /// Number of value slots, for side tables.
    pub fn value_count(&self) -> usize {
        self.values.len()
    }

    /// Number of op slots, for side tables.
    pub fn op_count(&self) -> usize {
        self.ops.len()
    }

    /// Number of block slots, for side tables.
    pub fn block_count(&self) -> usize {
        self.blocks.len()
    }

    /// Every block slot, the body and blocks that nothing holds any more included.
    pub fn block_ids(&self) -> impl Iterator<Item = BlockId> + use<> {
        (0..self.blocks.len()).map(BlockId::of)
    }

    /// The constant behind a value, when it is one.
    pub fn constant(&self, id: ValueId) -> Option<&Const> {
        self.value(id).as_const()
    }

    /// The op that makes a value, when one does.
    pub fn producer(&self, id: ValueId) -> Option<OpId> {
        match self.value(id).def {
            Def::Result(op, _) => Some(op),
            _ => None,
        }
    }

    /// Every op in program order, nested ones after the op that holds them, with its block.
    pub fn walk(&self) -> Vec<(BlockId, OpId)> {
        let mut out = Vec::with_capacity(self.ops.len());
        let mut stack: Vec<(BlockId, usize)> = vec![(self.body, 0)];
        while let Some((block, at)) = stack.pop() {
            let Some(&op) = self.block(block).ops.get(at) else { continue };
            out.push((block, op));
            stack.push((block, at + 1));
            stack.extend(self.op(op).blocks.iter().rev().map(|&b| (b, 0)));
        }
        out
    }

    /// Adds a function input.
    pub fn add_input(&mut self, name: impl Into<Name>, ty: impl Into<Type>) -> ValueId {
        let id = self.add_value(name, ty, Def::Input(self.inputs.len()));
        self.inputs.push(id);
        id
    }

    /// Adds a constant; an empty name makes it inline.
    pub fn add_const(&mut self, name: impl Into<Name>, constant: impl Into<Const>) -> ValueId {
        let constant = constant.into();
        self.add_value(name, constant.ty(), Def::Const(constant))
    }

    /// Adds a block without ops, to be put into an op's `blocks`.
    pub fn add_block(&mut self) -> BlockId {
        self.blocks.push(Block::default());
        BlockId::of(self.blocks.len() - 1)
    }

    /// Adds an input to a nested block.
    pub fn add_block_input(&mut self, block: BlockId, name: impl Into<Name>, ty: impl Into<Type>) -> ValueId {
        let id = self.add_value(name, ty, Def::BlockInput(block, self.block(block).inputs.len()));
        self.block_mut(block).inputs.push(id);
        id
    }

    /// Adds an op at the end of `block`, with results of the given names and types.
    pub fn append(&mut self, block: BlockId, op: Op, results: Vec<(Name, Type)>) -> OpId {
        let at = self.block(block).ops.len();
        self.insert(block, at, op, results)
    }

    /// Adds an op before position `at` of `block`, with results of the given names and types.
    pub fn insert(&mut self, block: BlockId, at: usize, mut op: Op, results: Vec<(Name, Type)>) -> OpId {
        let id = OpId::of(self.ops.len());
        op.args.sort_by(|a, b| a.param.cmp(&b.param));
        op.outputs = results
            .into_iter()
            .enumerate()
            .map(|(i, (name, ty))| self.add_value(name, ty, Def::Result(id, i)))
            .collect();
        self.ops.push(op);
        let ops = &mut self.block_mut(block).ops;
        ops.insert(at.min(ops.len()), id);
        id
    }

    fn add_value(&mut self, name: impl Into<Name>, ty: impl Into<Type>, def: Def) -> ValueId {
        self.values.push(Value { name: name.into(), ty: ty.into(), def });
        ValueId::of(self.values.len() - 1)
    }
}
