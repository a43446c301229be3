//! Names that are legal and unique where they are visible.

use super::Check;
use crate::text::{ConstOrder, Placement, is_identifier};
use crate::{BlockId, Name, ValueId};
use std::collections::HashSet;

impl Check<'_, '_> {
    /// Checks every name; a constant counts as defined in the block that its `const` statement would stand in.
    pub(super) fn names(&mut self) {
        let placement = Placement::of(self.function, ConstOrder::FirstUse);
        let mut scopes = vec![HashSet::new()];
        for &id in &self.function.inputs {
            self.bind(&mut scopes, id);
        }
        self.block_names(self.function.body(), &placement, &mut scopes);
    }

    fn block_names(&mut self, id: BlockId, placement: &Placement, scopes: &mut Vec<HashSet<Name>>) {
        let function = self.function;
        let block = function.block(id);
        scopes.push(HashSet::new());
        for v in block.inputs.iter().copied().chain(placement.of_block(id)) {
            self.bind(scopes, v);
        }
        for &op in &block.ops {
            let op = function.op(op);
            for &nested in &op.blocks {
                self.block_names(nested, placement, scopes);
            }
            for &v in &op.outputs {
                self.bind(scopes, v);
            }
        }
        scopes.pop();
    }

    fn bind(&mut self, scopes: &mut [HashSet<Name>], id: ValueId) {
        let name = &self.function.value(id).name;
        if !is_identifier(name) {
            self.fault(format!(
                "value `{name}` has a name that is no MIL identifier ([A-Za-z_][A-Za-z0-9_@]*)"
            ));
        }
        if scopes.iter().any(|names| names.contains(name)) {
            self.fault(format!("two values are named `{name}`; rename one"));
        }
        if let Some(innermost) = scopes.last_mut() {
            innermost.insert(name.clone());
        }
    }
}
