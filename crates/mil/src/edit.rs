//! Edits: the one place that changes a function after it is built.

use crate::ops::Effect;
use crate::{BlockId, Function, OpId, Uses, ValueId};
use std::collections::HashSet;

impl Function {
    /// Makes every use of `old`, block outputs included, a use of `new`.
    pub fn replace_uses(&mut self, old: ValueId, new: ValueId) {
        for (_, id) in self.walk() {
            for block in self.op(id).blocks.clone() {
                self.replace_outputs(block, old, new);
            }
            let args = self.op_mut(id).args.iter_mut().flat_map(|a| a.values.iter_mut());
            args.filter(|v| **v == old).for_each(|v| *v = new);
        }
        self.replace_outputs(self.body(), old, new);
    }

    fn replace_outputs(&mut self, block: BlockId, old: ValueId, new: ValueId) {
        self.block_mut(block).outputs.iter_mut().filter(|v| **v == old).for_each(|v| *v = new);
    }

    /// Removes ops from the blocks that hold them; their results must be unused.
    pub fn remove_ops(&mut self, doomed: &HashSet<OpId>) {
        let mut blocks = vec![self.body()];
        while let Some(b) = blocks.pop() {
            self.block_mut(b).ops.retain(|id| !doomed.contains(id));
            let inner: Vec<BlockId> =
                self.block(b).ops.iter().flat_map(|&id| self.op(id).blocks.clone()).collect();
            blocks.extend(inner);
        }
    }

    /// Removes ops without effect whose results nothing uses; returns how many went.
    pub fn remove_dead_ops(&mut self) -> usize {
        let mut removed = 0;
        loop {
            let uses = Uses::of(self);
            let mut alive_use = vec![0usize; self.value_count()];
            let walk = self.walk();
            for (_, id) in &walk {
                self.op(*id).operands().for_each(|v| alive_use[v.index()] += 1);
            }
            let mut doomed = HashSet::new();
            for (_, id) in walk.iter().rev() {
                let op = self.op(*id);
                let pure = op.kind.def().is_some_and(|d| d.effect.removable()) && op.blocks.is_empty();
                if pure && op.outputs.iter().all(|&v| alive_use[v.index()] == 0 && !uses.escapes(v)) {
                    op.operands().for_each(|v| alive_use[v.index()] -= 1);
                    doomed.insert(*id);
                }
            }
            if doomed.is_empty() {
                return removed;
            }
            removed += doomed.len();
            self.remove_ops(&doomed);
        }
    }

    /// Position of an op within a block.
    pub fn position(&self, block: BlockId, op: OpId) -> Option<usize> {
        self.block(block).ops.iter().position(|&o| o == op)
    }
}

impl Effect {
    /// True when an op whose results are unused may go.
    pub fn removable(self) -> bool {
        matches!(self, Effect::Pure | Effect::Constexpr | Effect::Random | Effect::ReadState)
    }
}
