//! Who uses a value.

use crate::{Function, OpId, ValueId};

/// Side table: the ops that take each value, and whether a block hands it out.
#[derive(Clone, Debug)]
pub struct Uses {
    ops: Vec<Vec<OpId>>,
    escapes: Vec<bool>,
}

impl Uses {
    /// The uses in a function as it stands.
    pub fn of(function: &Function) -> Uses {
        let count = function.value_count();
        let mut uses = Uses { ops: vec![Vec::new(); count], escapes: vec![false; count] };
        let mut mark = |outputs: &[ValueId]| outputs.iter().for_each(|v| uses.escapes[v.index()] = true);
        mark(function.outputs());
        for (_, id) in function.walk() {
            let op = function.op(id);
            op.blocks.iter().for_each(|&b| mark(&function.block(b).outputs));
        }
        for (_, id) in function.walk() {
            for v in function.op(id).operands() {
                let list = &mut uses.ops[v.index()];
                if list.last() != Some(&id) {
                    list.push(id);
                }
            }
        }
        uses
    }

    /// The ops that take `value`, in program order, each once.
    pub fn ops(&self, value: ValueId) -> &[OpId] {
        self.ops.get(value.index()).map_or(&[], Vec::as_slice)
    }

    /// True when a block or the function hands the value out.
    pub fn escapes(&self, value: ValueId) -> bool {
        self.escapes.get(value.index()).copied().unwrap_or(false)
    }

    /// True when nothing takes the value and no block hands it out.
    pub fn is_dead(&self, value: ValueId) -> bool {
        self.ops(value).is_empty() && !self.escapes(value)
    }

    /// The only op that takes the value, when there is exactly one and no block hands it out.
    pub fn only(&self, value: ValueId) -> Option<OpId> {
        match self.ops(value) {
            [op] if !self.escapes(value) => Some(*op),
            _ => None,
        }
    }
}
