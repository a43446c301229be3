//! The plans of a session: one for each set of input shapes, the latest ones kept.

use crate::plan::Plan;

/// Shapes of the inputs in order, and whether activations may become part of the ops before them.
pub(crate) type Key = (Vec<Vec<usize>>, bool);

/// At most a stated number of plans; the one that was used longest ago makes way.
pub(crate) struct Plans {
    most: usize,
    /// Last used last.
    kept: Vec<(Key, Plan)>,
}

impl Plans {
    /// Room for `most` plans, at least one.
    pub(crate) fn new(most: usize) -> Plans {
        Plans { most: most.max(1), kept: Vec::new() }
    }

    /// The plan for these shapes, when it is there; it counts as used now.
    pub(crate) fn find(&mut self, key: &Key) -> Option<&mut Plan> {
        let at = self.kept.iter().position(|(k, _)| k == key)?;
        self.kept[at..].rotate_left(1);
        self.kept.last_mut().map(|(_, plan)| plan)
    }

    /// Drops the plan that was used longest ago, when there is no room for another.
    ///
    /// Called before a plan is made, so that never more than the stated number are in memory.
    pub(crate) fn make_room(&mut self) {
        if self.kept.len() >= self.most {
            self.kept.remove(0);
        }
    }

    /// Keeps a plan, in place of one for the same shapes.
    pub(crate) fn insert(&mut self, key: Key, plan: Plan) {
        self.kept.retain(|(k, _)| *k != key);
        self.make_room();
        self.kept.push((key, plan));
    }

    /// All plans there are.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Plan> {
        self.kept.iter().map(|(_, plan)| plan)
    }
}
