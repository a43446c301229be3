//! The one place where patches become edits.

use crate::{Index, NewOp, OpRef, Patch, Ref};
use anemone_mil::ops::{Fault, Site};
use anemone_mil::{
    BlockId, Const, Function, Level, Name, Op, OpId, OpKind, Origin, Type, ValueId, verify_op,
};
use std::collections::HashSet;

/// A function under change, with side tables that stay true from edit to edit.
///
/// Removed ops leave their blocks when the editor is [finished](Editor::finish).
pub(crate) struct Editor<'f> {
    pub(crate) function: &'f mut Function,
    pub(crate) index: Index,
    pass: &'static str,
    doomed: HashSet<OpId>,
    touched: Vec<OpId>,
}

/// Values with more users than this do not make all of them be looked at again after each edit.
const WIDE: usize = 8;

impl<'f> Editor<'f> {
    pub(crate) fn new(function: &'f mut Function, pass: &'static str) -> Editor<'f> {
        let index = Index::of(function);
        Editor { function, index, pass, doomed: HashSet::new(), touched: Vec::new() }
    }

    /// The op as rewrites look at it; `None` when it was removed.
    pub(crate) fn look(&self, id: OpId) -> Option<OpRef<'_>> {
        self.index.home(id)?;
        Some(OpRef { function: self.function, index: &self.index, id })
    }

    /// Ops near the edits since the last call.
    pub(crate) fn take_touched(&mut self) -> Vec<OpId> {
        std::mem::take(&mut self.touched)
    }

    /// Takes removed ops out of their blocks.
    pub(crate) fn finish(self) {
        self.function.remove_ops(&self.doomed);
    }

    /// Applies a patch about op `at`; the first new op that replaces a value takes over its name, and the op's.
    ///
    /// # Errors
    /// When a new op is not legal, a replacement has another type, or an output would lose its name or type. The
    /// function computes what it did before then.
    pub(crate) fn apply(&mut self, at: OpId, patch: Patch) -> Result<(), Fault> {
        let Some(block) = self.index.home(at) else { return Err(Fault::new("the op was removed")) };
        let base = self.base_name(at);
        let mut position = self.function.position(block, at).unwrap_or(usize::MAX);
        let consts: Vec<ValueId> = patch
            .consts
            .into_iter()
            .map(|(suffix, c)| self.add_const(&format!("{base}_{suffix}"), c))
            .collect();
        let mut made = Vec::new();
        for new in patch.ops {
            let op = self.new_op(&base, at, new, &consts, &made);
            match self.insert(block, position, op) {
                Ok(id) => made.push(id),
                Err(fault) => return Err(self.undo(&made, &consts, fault)),
            }
            position = position.saturating_add(1);
        }
        let replace: Option<Vec<(ValueId, ValueId)>> = patch
            .replace
            .into_iter()
            .map(|(old, new)| Some((old, resolve(self.function, new, &consts, &made)?)))
            .collect();
        let replace = replace.unwrap_or_default();
        if let Err(fault) = replace.iter().try_for_each(|&(old, new)| self.may_replace(old, new, &made)) {
            return Err(self.undo(&made, &consts, fault));
        }
        for &(old, new) in &replace {
            let is_new = self.function.producer(new).is_some_and(|op| made.contains(&op));
            self.replace(old, new, is_new);
        }
        for (old, _) in replace {
            self.function.producer(old).into_iter().for_each(|op| self.sweep(op));
        }
        self.sweep(at);
        Ok(())
    }

    /// Makes every use of `old` one of `new`, which exists already, and removes what nothing needs any more.
    ///
    /// # Errors
    /// When the types differ, or what a block hands out would lose its name or its place.
    pub(crate) fn redirect(&mut self, old: ValueId, new: ValueId) -> Result<(), Fault> {
        self.may_replace(old, new, &[])?;
        self.replace(old, new, false);
        self.function.producer(old).into_iter().for_each(|op| self.sweep(op));
        Ok(())
    }

    /// Front of the names of what replaces an op: that of its first result.
    fn base_name(&self, at: OpId) -> Name {
        let op = self.function.op(at);
        op.outputs.first().map_or_else(|| op.name.clone(), |&v| self.function.value(v).name.clone())
    }

    fn new_op(&mut self, base: &str, at: OpId, new: NewOp, consts: &[ValueId], made: &[OpId]) -> Op {
        let name = self.spare_name(&format!("{base}_{}", new.suffix));
        let mut op = Op::new(OpKind::named(&new.kind), name);
        op.origin = Origin { source: self.function.op(at).origin.source.clone(), pass: Some(self.pass) };
        op.attributes = new.attributes;
        for (param, refs) in &new.args {
            let values = refs.iter().filter_map(|&r| resolve(self.function, r, consts, made));
            op.set_arg(param, values.collect());
        }
        op
    }

    /// Adds a constant under a name close to `wanted`.
    pub(crate) fn add_const(&mut self, wanted: &str, constant: impl Into<Const>) -> ValueId {
        let name = self.index.take_name(self.function, wanted);
        self.function.add_const(name, constant)
    }

    /// A name close to `wanted` that no value has; it is not taken yet.
    pub(crate) fn spare_name(&mut self, wanted: &str) -> Name {
        let name = self.index.take_name(self.function, wanted);
        self.index.free_name(&name);
        name
    }

    /// Makes every use of `old` one of `new`, which was just made for it and takes over its name.
    pub(crate) fn take_over(&mut self, old: ValueId, new: ValueId) {
        self.replace(old, new, true);
    }

    /// Puts an op before `position` of a block; its results are named after it.
    ///
    /// # Errors
    /// When the op is not legal where it stands; it is gone then.
    pub(crate) fn insert(&mut self, block: BlockId, position: usize, op: Op) -> Result<OpId, Fault> {
        let types = Site::new(self.function, &op).and_then(|s| s.infer())?;
        let single = types.len() == 1;
        let name = op.name.clone();
        let named = |(i, ty): (usize, Type)| {
            let wanted = if single { name.to_string() } else { format!("{name}_{i}") };
            (self.index.take_name(self.function, &wanted), ty)
        };
        let results = types.into_iter().enumerate().map(named).collect();
        let id = self.function.insert(block, position, op, results);
        self.index.link(self.function, block, id);
        if let Err(faults) = verify_op(self.function, self.function.op(id), Level::Canonical) {
            self.remove(id);
            return Err(Fault::new(faults.to_string()));
        }
        self.touched.push(id);
        Ok(id)
    }

    /// Takes back what a patch has added so far.
    fn undo(&mut self, made: &[OpId], consts: &[ValueId], fault: Fault) -> Fault {
        made.iter().rev().for_each(|&id| self.remove(id));
        consts.iter().for_each(|&v| self.forget(v));
        fault
    }

    /// Checks that `new` may stand for `old`.
    fn may_replace(&self, old: ValueId, new: ValueId, made: &[OpId]) -> Result<(), Fault> {
        let (from, to) = (self.function.value(old), self.function.value(new));
        let is_output = |v| self.function.outputs().contains(&v);
        if !from.ty.compatible(&to.ty) {
            return Err(Fault::new(format!("{} cannot stand for {}", to.ty, from.ty)));
        }
        let maker = self.function.producer(new);
        if !self.index.escapes(old) || maker.is_some_and(|op| made.contains(&op)) {
            return Ok(());
        }
        let home = |v| self.function.producer(v).and_then(|op| self.index.home(op));
        let apart = home(old).is_none() || home(old) != home(new);
        if apart || is_output(old) && (is_output(new) || from.ty != to.ty) {
            return Err(Fault::new(format!("output `{}` needs a value of its own", from.name)));
        }
        Ok(())
    }

    /// Makes every use of `old` one of `new`; an output keeps its name, and what is made anew takes over names.
    fn replace(&mut self, old: ValueId, new: ValueId, is_new: bool) {
        let is_output = self.function.outputs().contains(&old);
        if is_new || is_output {
            self.swap_names(old, new);
        }
        if is_new {
            let ty = self.function.value(old).ty.clone();
            if is_output || known_dims(&ty) > known_dims(&self.function.value(new).ty) {
                self.function.value_mut(new).ty = ty;
            }
        }
        if (is_new || is_output)
            && let (Some(from), Some(to)) = (self.function.producer(old), self.function.producer(new))
        {
            self.function.op_mut(to).name = self.function.op(from).name.clone();
        }
        let (users, holders) = self.index.redirect(old, new);
        for &user in &users {
            let args = self.function.op_mut(user).args.iter_mut().flat_map(|a| a.values.iter_mut());
            args.filter(|v| **v == old).for_each(|v| *v = new);
        }
        for block in holders {
            let outputs = self.function.block_mut(block).outputs.iter_mut();
            outputs.filter(|v| **v == old).for_each(|v| *v = new);
        }
        self.touched.extend(users);
        self.touch_around(new);
    }

    fn swap_names(&mut self, a: ValueId, b: ValueId) {
        let first = std::mem::take(&mut self.function.value_mut(a).name);
        let second = std::mem::replace(&mut self.function.value_mut(b).name, first);
        self.function.value_mut(a).name = second;
    }

    /// Removes an op whose results nothing uses, and then those that only fed it.
    pub(crate) fn sweep(&mut self, id: OpId) {
        let mut queue = vec![id];
        while let Some(id) = queue.pop() {
            let op = self.function.op(id);
            let removable = op.kind.def().is_some_and(|d| d.effect.removable()) && op.blocks.is_empty();
            let dead = op.outputs.iter().all(|&v| self.index.is_dead(v));
            if !removable || !dead || self.index.home(id).is_none() {
                continue;
            }
            let operands: Vec<ValueId> = op.operands().collect();
            self.remove(id);
            for v in operands {
                self.touch_around(v);
                queue.extend(self.function.producer(v));
            }
        }
    }

    fn remove(&mut self, id: OpId) {
        self.index.unlink(self.function, id);
        self.doomed.insert(id);
        for v in self.function.op(id).outputs.clone() {
            self.forget(v);
        }
    }

    /// Frees the name of a value that nothing uses.
    fn forget(&mut self, v: ValueId) {
        let name = std::mem::take(&mut self.function.value_mut(v).name);
        self.index.free_name(&name);
    }

    fn touch_around(&mut self, v: ValueId) {
        self.touched.extend(self.function.producer(v));
        let users = self.index.users(v);
        if users.len() <= WIDE {
            self.touched.extend(users);
        }
    }
}

fn resolve(function: &Function, r: Ref, consts: &[ValueId], made: &[OpId]) -> Option<ValueId> {
    match r {
        Ref::Value(v) => Some(v),
        Ref::Const(c) => consts.get(c).copied(),
        Ref::New(n) => function.op(*made.get(n)?).outputs.first().copied(),
    }
}

fn known_dims(ty: &Type) -> usize {
    ty.tensor().map_or(0, |t| t.dims.iter().filter(|d| d.known().is_some()).count())
}
