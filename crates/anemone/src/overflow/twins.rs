//! A function in `fp32` with a twin beside each op that computes as declared, on the operands of the `fp32` run.
//!
//! ```text
//! y = mul(a: fp16, b: fp16): fp16      becomes      y = mul(a, b): fp32; y__own = mul(cast(a, "fp16"), cast(b, "fp16")): fp16
//! ```
//! What a twin has lost against its op, the op loses by itself.

use anemone_exec::Precision;
use anemone_mil::ops::Effect;
use anemone_mil::{
    BlockId, Const, DType, Function, Literal, Name, Op, OpId, OpKind, TensorType, Type, ValueId,
};
use std::collections::{HashMap, HashSet};

/// The function with its twins.
pub(super) struct Twins {
    /// The function; results of ops have their declared names.
    pub function: Function,
    /// Name of a twin's result to the name of the result that it is a twin of.
    pub of: HashMap<String, String>,
}

/// Puts a twin beside each op of `declared` that only computes.
pub(super) fn twins(declared: &Function) -> Twins {
    let mut wide = declared.clone();
    Precision::F32.apply(&mut wide);
    let taken = wide.values().map(|(_, v)| v.name.clone()).collect();
    let mut pairing =
        Pairing { declared, wide, taken, casts: HashMap::new(), same: HashMap::new(), of: HashMap::new() };
    let mut blocks = vec![pairing.wide.body()];
    for (_, id) in pairing.wide.walk() {
        blocks.extend(pairing.wide.op(id).blocks.iter().copied());
    }
    blocks.into_iter().for_each(|b| pairing.block(b));
    Twins { function: pairing.wide, of: pairing.of }
}

struct Pairing<'f> {
    declared: &'f Function,
    wide: Function,
    taken: HashSet<Name>,
    /// Casts to declared types by block, value and type.
    casts: HashMap<(BlockId, ValueId, DType), ValueId>,
    /// Constants and unpacked weights as declared.
    same: HashMap<ValueId, ValueId>,
    of: HashMap<String, String>,
}

impl Pairing<'_> {
    fn block(&mut self, block: BlockId) {
        for id in std::mem::take(&mut self.wide.block_mut(block).ops) {
            self.wide.block_mut(block).ops.push(id);
            if id.index() < self.declared.op_count() && self.computes(id) {
                self.twin(block, id);
            }
        }
    }

    /// True for an op from tensors to tensors without effect, some of them `fp16`, and for all that unpacks weights.
    fn computes(&self, id: OpId) -> bool {
        let op = self.declared.op(id);
        let effect = op.kind.def().map(|d| d.effect);
        let ty = |v: ValueId| self.declared.value(v).ty.tensor();
        let all: Vec<Option<&TensorType>> = op.operands().chain(op.outputs.iter().copied()).map(ty).collect();
        let unpacks = effect == Some(Effect::Constexpr);
        (unpacks || effect == Some(Effect::Pure))
            && op.blocks.is_empty()
            && all.iter().all(Option::is_some)
            && (unpacks || all.iter().flatten().any(|t| t.dtype == DType::F16))
            && (unpacks || op.outputs.iter().all(|&v| ty(v).is_some_and(|t| t.dtype.is_float())))
    }

    fn twin(&mut self, block: BlockId, id: OpId) {
        let mut twin = self.declared.op(id).clone();
        let weights = twin.kind.def().is_some_and(|d| d.effect == Effect::Constexpr);
        let now = self.wide.op(id).args.clone();
        for (arg, wide) in twin.args.iter_mut().zip(&now) {
            for (v, &wide) in arg.values.iter_mut().zip(&wide.values) {
                *v = self.operand(block, *v, wide);
            }
        }
        let results = twin.outputs.clone();
        let named: Vec<(Name, Type)> = results
            .iter()
            .map(|&v| {
                let value = self.declared.value(v);
                (self.fresh(&format!("{}__own", value.name)), value.ty.clone())
            })
            .collect();
        twin.name = self.fresh(&format!("{}__own", twin.name));
        let twin = self.wide.append(block, twin, named);
        for (old, new) in results.into_iter().zip(self.wide.op(twin).outputs.clone()) {
            let name = |f: &Function, v: ValueId| f.value(v).name.to_string();
            if weights {
                self.same.insert(old, new);
            } else {
                self.of.insert(name(&self.wide, new), name(self.declared, old));
            }
        }
    }

    /// The operand of a twin: as declared where it is constant, else that of the `fp32` run cast to the declared type.
    fn operand(&mut self, block: BlockId, declared: ValueId, wide: ValueId) -> ValueId {
        if let Some(&same) = self.same.get(&declared) {
            return same;
        }
        let value = self.declared.value(declared);
        let Some(ty) = value.ty.tensor() else { return wide };
        if let Some(constant) = value.as_const() {
            // Only floats were changed where they stand; of names of types the wide operand is another one.
            let untouched = self.wide.value(declared).ty == value.ty;
            let same = if untouched { declared } else { self.wide.add_const("", constant.clone()) };
            self.same.insert(declared, same);
            return same;
        }
        if self.wide.value(wide).ty.tensor().is_none_or(|t| t.dtype == ty.dtype) {
            return wide;
        }
        let key = (block, wide, ty.dtype);
        if let Some(&cast) = self.casts.get(&key) {
            return cast;
        }
        let cast = self.cast(block, wide, ty.dtype);
        self.casts.insert(key, cast);
        cast
    }

    fn cast(&mut self, block: BlockId, x: ValueId, to: DType) -> ValueId {
        let Some(ty) = self.wide.value(x).ty.tensor().map(|t| t.with_dtype(to)) else { return x };
        let name = self.fresh(&format!("{}__cast", self.wide.value(x).name));
        let mut op = Op::new(OpKind::named("cast"), name.clone());
        let dtype = self.wide.add_const("", Const::Literal(Literal::string(to.name())));
        op.set_arg("x", vec![x]);
        op.set_arg("dtype", vec![dtype]);
        let cast = self.wide.append(block, op, vec![(name, ty.into())]);
        self.wide.op(cast).outputs[0]
    }

    fn fresh(&mut self, wanted: &str) -> Name {
        let mut name: Name = wanted.into();
        let mut n = 1;
        while !self.taken.insert(name.clone()) {
            n += 1;
            name = format!("{wanted}_{n}").into();
        }
        name
    }
}
