//! When values are no longer needed.

use crate::{BlockId, Def, Function, ValueId};
use std::collections::HashMap;

/// For each op of a block, the values of that block that nothing needs once it has run.
pub(super) struct Lifetimes {
    dead_after: HashMap<(BlockId, usize), Vec<ValueId>>,
}

impl Lifetimes {
    /// The lifetimes in a function; values that a block hands out live on.
    pub(super) fn of(function: &Function) -> Lifetimes {
        let mut scan = Scan { function, path: Vec::new(), last: HashMap::new() };
        scan.block(function.body());
        let mut dead_after: HashMap<(BlockId, usize), Vec<ValueId>> = HashMap::new();
        for (value, place) in scan.last {
            dead_after.entry(place).or_default().push(value);
        }
        Lifetimes { dead_after }
    }

    /// Values that are dead once op `at` of `block` has run.
    pub(super) fn dead_after(&self, block: BlockId, at: usize) -> &[ValueId] {
        self.dead_after.get(&(block, at)).map_or(&[], Vec::as_slice)
    }
}

struct Scan<'a> {
    function: &'a Function,
    path: Vec<(BlockId, usize)>,
    /// Block that defines the value, and the last op of that block that needs it.
    last: HashMap<ValueId, (BlockId, usize)>,
}

impl Scan<'_> {
    fn block(&mut self, id: BlockId) {
        let function = self.function;
        self.path.push((id, 0));
        for (i, &op) in function.block(id).ops.iter().enumerate() {
            if let Some(last) = self.path.last_mut() {
                last.1 = i;
            }
            let op = function.op(op);
            self.last.extend(op.outputs.iter().map(|&v| (v, (id, i))));
            op.operands().for_each(|v| self.touch(v));
            op.blocks.iter().for_each(|&b| self.block(b));
        }
        self.path.pop();
        for &v in &function.block(id).outputs {
            match self.last.get(&v) {
                Some(&(home, _)) if home == id => {
                    self.last.remove(&v);
                }
                _ => self.touch(v),
            }
        }
    }

    /// Extends the life of a result to the op of its own block that is being looked at.
    fn touch(&mut self, value: ValueId) {
        let Def::Result(..) = self.function.value(value).def else { return };
        let Some(place) = self.last.get_mut(&value) else { return };
        if let Some(&(_, at)) = self.path.iter().find(|(block, _)| *block == place.0) {
            place.1 = at;
        }
    }
}
