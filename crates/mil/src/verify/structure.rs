//! Arenas that agree with each other, no cycles, and values defined before they are used.

use super::{Check, MAX_DEPTH};
use crate::ops::Fault;
use crate::{BlockId, Def, Op, OpId, Type, ValueId};

/// What has been met so far.
struct Seen {
    blocks: Vec<bool>,
    ops: Vec<bool>,
    /// Values whose definition stands before the place looked at and in a block around it.
    visible: Vec<bool>,
    /// Values whose definition has been met anywhere.
    defined: Vec<bool>,
    sound: bool,
}

impl<'a> Check<'a, '_> {
    /// Checks the arenas and the order of definitions; false when a walk over the function could fail.
    pub(super) fn structure(&mut self) -> bool {
        let f = self.function;
        let mut seen = Seen {
            blocks: vec![false; f.block_count()],
            ops: vec![false; f.op_count()],
            visible: vec![false; f.value_count()],
            defined: vec![false; f.value_count()],
            sound: true,
        };
        for (i, &id) in f.inputs.iter().enumerate() {
            self.define(&mut seen, id, &format!("input {i}"), |def| matches!(def, Def::Input(n) if *n == i));
        }
        self.block(&mut seen, f.body(), 0);
        seen.sound
    }

    fn block(&mut self, seen: &mut Seen, id: BlockId, depth: usize) {
        let function = self.function;
        match seen.blocks.get_mut(id.index()) {
            Some(met) if !*met && depth <= MAX_DEPTH => *met = true,
            met => {
                let deep = format!("blocks are nested deeper than {MAX_DEPTH}");
                self.fault(match met {
                    None => format!("block {id:?} does not exist"),
                    Some(false) => deep,
                    Some(true) => format!("block {id:?} stands in two places, or in itself"),
                });
                seen.sound = false;
                return;
            }
        }
        let block = function.block(id);
        let mut local = Vec::new();
        for (i, &v) in block.inputs.iter().enumerate() {
            let place = format!("input {i} of block {id:?}");
            self.define(seen, v, &place, |def| matches!(def, Def::BlockInput(b, n) if *b == id && *n == i));
            local.push(v);
        }
        for &op in &block.ops {
            self.op(seen, op, depth);
            local.extend(function_op(function, op).map_or(&[][..], |op| &op.outputs));
        }
        for &v in &block.outputs {
            if let Some(message) = self.unavailable(seen, v) {
                self.fault(format!("a block hands out {message}"));
            }
        }
        for v in local {
            if let Some(visible) = seen.visible.get_mut(v.index()) {
                *visible = false;
            }
        }
    }

    fn op(&mut self, seen: &mut Seen, id: OpId, depth: usize) {
        let function = self.function;
        match seen.ops.get_mut(id.index()) {
            Some(met) if !*met => *met = true,
            met => {
                let why = if met.is_none() { "does not exist" } else { "stands in two places" };
                seen.sound = false;
                return self.fault(format!("{id:?} {why}"));
            }
        }
        let op = function.op(id);
        if !op.args.is_sorted_by(|a, b| a.param < b.param) {
            self.op_fault(
                op,
                Fault::new("arguments must be sorted by name, each given once; use `Op::set_arg`"),
            );
        }
        for arg in &op.args {
            for &v in &arg.values {
                if let Some(message) = self.unavailable(seen, v) {
                    self.op_fault(
                        op,
                        Fault { param: Some(arg.param.to_string()), message: format!("is {message}") },
                    );
                }
            }
        }
        for &block in &op.blocks {
            self.block(seen, block, depth + 1);
        }
        for (i, &v) in op.outputs.iter().enumerate() {
            let place = format!("result {i} of {} \"{}\"", op.kind.name(), op.name);
            self.define(seen, v, &place, |def| matches!(def, Def::Result(o, n) if *o == id && *n == i));
            self.no_state(op, seen, v);
        }
    }

    fn no_state(&mut self, op: &Op, seen: &Seen, id: ValueId) {
        if id.index() < seen.defined.len() && matches!(self.function.value(id).ty, Type::State(_)) {
            self.op_fault(op, Fault::new("a result cannot be a state; only function inputs are states"));
        }
    }

    /// Marks a definition, and checks that the value says the same of itself.
    fn define(&mut self, seen: &mut Seen, id: ValueId, place: &str, is_that: impl Fn(&Def) -> bool) {
        let Some(defined) = seen.defined.get_mut(id.index()) else {
            seen.sound = false;
            return self.fault(format!("{place}: value {id:?} does not exist"));
        };
        let twice = std::mem::replace(defined, true);
        seen.visible[id.index()] = true;
        let value = self.function.value(id);
        if twice || !is_that(&value.def) {
            seen.sound = false;
            self.fault(format!("{place}: value `{}` is defined elsewhere", value.name));
        }
    }

    /// Why a value cannot be used here, in words that follow "is"; `None` when it can.
    fn unavailable(&mut self, seen: &mut Seen, id: ValueId) -> Option<String> {
        let Some(&visible) = seen.visible.get(id.index()) else {
            seen.sound = false;
            return Some(format!("value {id:?}, which does not exist"));
        };
        let value = self.function.value(id);
        if visible || matches!(value.def, Def::Const(_)) {
            return None;
        }
        let why = if seen.defined[id.index()] {
            "is defined in a block that does not enclose this one"
        } else {
            "is not defined before; define it first"
        };
        Some(format!("`{}`, which {why}", value.name))
    }
}

fn function_op(function: &crate::Function, id: OpId) -> Option<&Op> {
    (id.index() < function.op_count()).then(|| function.op(id))
}
