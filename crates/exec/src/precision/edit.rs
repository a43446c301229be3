//! Rebuilding the blocks of a function op by op.

use anemone_mil::ops::Site;
use anemone_mil::{
    BlockId, Const, DType, Function, Literal, Name, Op, OpId, OpKind, Origin, Tensor, Type, ValueId,
};
use std::collections::HashMap;

/// A block in the making: ops are put in one after the other, and what they replaced is used no more.
pub(super) struct Edit<'f> {
    pub function: &'f mut Function,
    block: BlockId,
    origin: Origin,
    replaced: HashMap<ValueId, ValueId>,
}

/// Goes through every block in program order and lets `visit` put each op back, changed or not.
///
/// Operands that an earlier visit replaced are exchanged before an op is visited.
pub(super) fn rebuild(function: &mut Function, visit: &mut dyn FnMut(&mut Edit<'_>, OpId)) {
    let (block, origin) = (function.body(), Origin::default());
    Edit { function, block, origin, replaced: HashMap::new() }.rebuild(block, visit);
}

impl Edit<'_> {
    fn rebuild(&mut self, block: BlockId, visit: &mut dyn FnMut(&mut Edit<'_>, OpId)) {
        let outer = std::mem::replace(&mut self.block, block);
        for id in std::mem::take(&mut self.function.block_mut(block).ops) {
            for inner in self.function.op(id).blocks.clone() {
                self.rebuild(inner, visit);
            }
            let args = self.function.op_mut(id).args.iter_mut().flat_map(|a| a.values.iter_mut());
            args.for_each(|v| *v = *self.replaced.get(v).unwrap_or(v));
            self.origin = self.function.op(id).origin.clone();
            visit(self, id);
        }
        let outputs = &mut self.function.block_mut(block).outputs;
        outputs.iter_mut().for_each(|v| *v = *self.replaced.get(v).unwrap_or(v));
        self.block = outer;
    }

    /// Puts an op back.
    pub fn push(&mut self, id: OpId) {
        self.function.block_mut(self.block).ops.push(id);
    }

    /// Element type of a value that is a tensor.
    pub fn dtype(&self, v: ValueId) -> Option<DType> {
        self.function.value(v).ty.tensor().map(|t| t.dtype)
    }

    /// A constant tensor without a name.
    pub fn constant(&mut self, tensor: Tensor) -> ValueId {
        self.function.add_const("", Const::Literal(tensor.into()))
    }

    /// A constant number of the element type of `like`.
    pub fn number(&mut self, like: ValueId, value: f64) -> ValueId {
        let dtype = self.dtype(like).unwrap_or(DType::F32);
        self.constant(Tensor::scalar_f64(dtype, value))
    }

    /// A constant text.
    fn text(&mut self, text: &str) -> ValueId {
        self.function.add_const("", Const::Literal(Literal::string(text)))
    }

    /// Puts in a new op with one result, whose type is inferred; `None` when it cannot be.
    pub fn op(&mut self, kind: &str, name: &str, args: &[(&str, ValueId)]) -> Option<ValueId> {
        let args: Vec<(&str, &[ValueId])> = args.iter().map(|(p, v)| (*p, std::slice::from_ref(v))).collect();
        match self.ops(kind, name, &args)?.as_slice() {
            &[result] => Some(result),
            _ => None,
        }
    }

    /// Puts in a new op with operands that may be lists of values; its results, whose types are inferred.
    pub fn ops(&mut self, kind: &str, name: &str, args: &[(&str, &[ValueId])]) -> Option<Vec<ValueId>> {
        let mut op = Op::new(OpKind::named(kind), name);
        op.origin = self.origin.clone();
        args.iter().for_each(|&(param, values)| op.set_arg(param, values.to_vec()));
        let types = Site::new(self.function, &op).ok()?.infer().ok()?;
        let names: Vec<Name> = match types.len() {
            1 => vec![name.into()],
            n => (0..n).map(|i| format!("{name}_{i}").as_str().into()).collect(),
        };
        let id = self.function.append(self.block, op, names.into_iter().zip(types).collect());
        Some(self.function.op(id).outputs.clone())
    }

    /// Puts in a cast.
    pub fn cast(&mut self, x: ValueId, to: DType, name: &str) -> Option<ValueId> {
        let dtype = self.text(to.name());
        self.op("cast", name, &[("x", x), ("dtype", dtype)])
    }

    /// Lets `new` stand wherever `old` is used later on, under the name of `old`, with the declared dims of `old`.
    pub fn replace(&mut self, old: ValueId, new: ValueId, name_of_old: &str) {
        let name = std::mem::replace(&mut self.function.value_mut(old).name, name_of_old.into());
        let dims = self.function.value(old).ty.tensor().map(|t| t.dims.clone());
        let value = self.function.value_mut(new);
        value.name = name;
        if let (Type::Tensor(t), Some(dims)) = (&mut value.ty, dims) {
            t.dims = dims;
        }
        self.replaced.insert(old, new);
    }

    /// Name of a value.
    pub fn name(&self, v: ValueId) -> Name {
        self.function.value(v).name.clone()
    }

    /// How many ops the block in the making has.
    pub fn len(&self) -> usize {
        self.function.block(self.block).ops.len()
    }

    /// Names of the results of the ops put in after there were `len`.
    pub fn since(&self, len: usize) -> Vec<String> {
        let f = &self.function;
        let results = f.block(self.block).ops[len..].iter().flat_map(|&id| &f.op(id).outputs);
        results.map(|&v| f.value(v).name.to_string()).collect()
    }

    /// Takes ops out again that were put in after there were `len`.
    pub fn truncate(&mut self, len: usize) {
        self.function.block_mut(self.block).ops.truncate(len);
    }
}
