//! Who uses what, where ops stand, and which names are taken.

use anemone_mil::{BlockId, Function, Name, OpId, ValueId};
use std::collections::HashMap;

/// Side tables of a function that are kept up to date through edits, so that one edit costs no walk over the whole.
#[derive(Clone, Debug)]
pub struct Index {
    /// Per value: the ops that take it, each once.
    users: Vec<Vec<OpId>>,
    /// The blocks that hand a value out, once per place.
    holders: HashMap<ValueId, Vec<BlockId>>,
    /// Per op: the block that it stands in; `None` when it was removed.
    homes: Vec<Option<BlockId>>,
    /// Names in use and how often, as blocks side by side may use one twice; collected when the first is asked for.
    names: Option<HashMap<Name, usize>>,
    /// Where the search for a free number behind a name goes on.
    numbers: HashMap<Name, usize>,
}

impl Index {
    /// The tables of a function as it stands.
    pub fn of(function: &Function) -> Index {
        let mut index = Index {
            users: vec![Vec::new(); function.value_count()],
            holders: HashMap::new(),
            homes: vec![None; function.op_count()],
            names: None,
            numbers: HashMap::new(),
        };
        index.hold(function, function.body());
        for (block, id) in function.walk() {
            index.link(function, block, id);
            function.op(id).blocks.iter().for_each(|&b| index.hold(function, b));
        }
        index
    }

    /// The ops that take `value`, each once, in no particular order.
    pub fn users(&self, value: ValueId) -> &[OpId] {
        self.users.get(value.index()).map_or(&[], Vec::as_slice)
    }

    /// True when a block or the function hands the value out.
    pub fn escapes(&self, value: ValueId) -> bool {
        self.holders.contains_key(&value)
    }

    /// The only op that takes the value, when there is exactly one and no block hands it out.
    pub fn only(&self, value: ValueId) -> Option<OpId> {
        match self.users(value) {
            [op] if !self.escapes(value) => Some(*op),
            _ => None,
        }
    }

    /// True when nothing takes the value and no block hands it out.
    pub fn is_dead(&self, value: ValueId) -> bool {
        self.users(value).is_empty() && !self.escapes(value)
    }

    /// The block that an op stands in; `None` when it was removed.
    pub fn home(&self, op: OpId) -> Option<BlockId> {
        self.homes.get(op.index()).copied().flatten()
    }

    /// A name close to `wanted` that no value of the function has; it is taken from now on.
    pub(crate) fn take_name(&mut self, function: &Function, wanted: &str) -> Name {
        let names = self.names.get_or_insert_with(|| {
            let mut names: HashMap<Name, usize> = HashMap::with_capacity(function.value_count());
            function.values().for_each(|(_, v)| *names.entry(v.name.clone()).or_default() += 1);
            names
        });
        let base: Name = wanted.into();
        let mut name = base.clone();
        while names.contains_key(&name) {
            let n = self.numbers.entry(base.clone()).or_insert(0);
            *n += 1;
            name = format!("{base}_{n}").into();
        }
        names.insert(name.clone(), 1);
        name
    }

    /// Frees the name of a value that has it no more.
    pub(crate) fn free_name(&mut self, name: &Name) {
        let Some(names) = &mut self.names else { return };
        if let Some(count) = names.get_mut(name) {
            *count -= 1;
            if *count == 0 {
                names.remove(name);
            }
        }
    }

    /// Enters an op that stands in `block`, and its operands.
    pub(crate) fn link(&mut self, function: &Function, block: BlockId, id: OpId) {
        self.users.resize(function.value_count(), Vec::new());
        self.homes.resize(function.op_count(), None);
        self.homes[id.index()] = Some(block);
        for v in function.op(id).operands() {
            let users = &mut self.users[v.index()];
            if users.last() != Some(&id) && !users.contains(&id) {
                users.push(id);
            }
        }
    }

    /// Takes out an op and its operands.
    pub(crate) fn unlink(&mut self, function: &Function, id: OpId) {
        self.homes[id.index()] = None;
        for v in function.op(id).operands() {
            self.users[v.index()].retain(|&user| user != id);
        }
    }

    /// Enters what a block hands out.
    fn hold(&mut self, function: &Function, block: BlockId) {
        for &v in &function.block(block).outputs {
            self.holders.entry(v).or_default().push(block);
        }
    }

    /// Notes that every use of `old` has become one of `new`; gives the blocks that handed `old` out.
    pub(crate) fn redirect(&mut self, old: ValueId, new: ValueId) -> (Vec<OpId>, Vec<BlockId>) {
        let users = self.users.get_mut(old.index()).map(std::mem::take).unwrap_or_default();
        self.users.resize(self.users.len().max(new.index() + 1), Vec::new());
        for &user in &users {
            if !self.users[new.index()].contains(&user) {
                self.users[new.index()].push(user);
            }
        }
        let holders = self.holders.remove(&old).unwrap_or_default();
        if !holders.is_empty() {
            self.holders.entry(new).or_default().extend(&holders);
        }
        (users, holders)
    }
}
