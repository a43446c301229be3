//! Names that are legal and unique where they are visible.

use super::Check;
use crate::ops::Fault;
use crate::text::{ConstOrder, Placement, is_identifier};
use crate::{BlockId, Literal, Name, ValueId};
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

    /// Checks the keys of all attributes, and the names of ops' kinds and arguments.
    pub(super) fn keys(&mut self) {
        let function = self.function;
        for message in key_faults(&function.attributes) {
            self.fault(message);
        }
        let mut blocks = vec![function.body()];
        for (_, id) in function.walk() {
            let op = function.op(id);
            blocks.extend(&op.blocks);
            let mut faults = key_faults(&op.attributes);
            faults.extend(
                op.attributes
                    .iter()
                    .filter(|(key, _)| &**key == "name")
                    .map(|_| "has an attribute `name` beside its name; remove it".to_owned()),
            );
            let words = op.args.iter().map(|a| &*a.param).chain([op.kind.name()]);
            faults.extend(words.filter(|w| !is_identifier(w)).map(|w| format!("`{w}` {NO_IDENTIFIER}")));
            for message in faults {
                self.op_fault(op, Fault::new(message));
            }
        }
        for block in blocks {
            for message in key_faults(&function.block(block).attributes) {
                self.fault(format!("a block: {message}"));
            }
        }
    }
}

const NO_IDENTIFIER: &str = "is no MIL identifier ([A-Za-z_][A-Za-z0-9_@]*)";

/// Keys that cannot be printed, or stand twice.
pub(super) fn key_faults(attributes: &[(Name, Literal)]) -> Vec<String> {
    let mut seen = HashSet::new();
    let fault = |key: &Name| {
        if !is_identifier(key) {
            return Some(format!("attribute `{key}` {NO_IDENTIFIER}"));
        }
        (!seen.insert(key.clone())).then(|| format!("attribute `{key}` is there twice; remove one"))
    };
    attributes.iter().map(|(key, _)| key).filter_map(fault).collect()
}
