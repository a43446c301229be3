//! Edits as values: what a rewrite wants, and the one place that does it.

use anemone_mil::ops::{Fault, Site};
use anemone_mil::{BlockId, Const, Function, Literal, Name, Op, OpId, OpKind, Origin, Type, Uses, ValueId};
use std::collections::HashSet;

/// Why a rewrite does not apply, for people who ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Miss(pub String);

impl From<&str> for Miss {
    fn from(why: &str) -> Miss {
        Miss(why.to_owned())
    }
}

impl From<Fault> for Miss {
    fn from(fault: Fault) -> Miss {
        Miss(fault.to_string())
    }
}

/// A value that a patch refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ref {
    /// One that exists.
    Value(ValueId),
    /// The first result of new op `n` of the patch.
    New(usize),
    /// New constant `n` of the patch.
    Const(usize),
}

/// An op that a patch adds.
#[derive(Clone, Debug)]
pub struct NewOp {
    /// Kind.
    pub kind: &'static str,
    /// Arguments.
    pub args: Vec<(Name, Vec<Ref>)>,
    /// End of its name; the front is the name of the op that the patch is about.
    pub suffix: &'static str,
}

/// What to put in the place of an op: new constants, new ops, and which values they replace.
#[derive(Clone, Debug, Default)]
pub struct Patch {
    /// New constants with the ends of their names.
    pub consts: Vec<(&'static str, Const)>,
    /// New ops, put before the op that the patch is about, in order.
    pub ops: Vec<NewOp>,
    /// Old values and what all their users take instead.
    pub replace: Vec<(ValueId, Ref)>,
}

impl Patch {
    /// A patch that only redirects users.
    pub fn redirect(from: ValueId, to: ValueId) -> Patch {
        Patch { replace: vec![(from, Ref::Value(to))], ..Patch::default() }
    }

    /// Adds a constant.
    pub fn constant(&mut self, suffix: &'static str, constant: impl Into<Const>) -> Ref {
        self.consts.push((suffix, constant.into()));
        Ref::Const(self.consts.len() - 1)
    }

    /// Adds a literal constant.
    pub fn literal(&mut self, suffix: &'static str, literal: impl Into<Literal>) -> Ref {
        self.constant(suffix, Const::Literal(literal.into()))
    }

    /// Adds an op.
    pub fn op(&mut self, kind: &'static str, suffix: &'static str, args: Vec<(&str, Ref)>) -> Ref {
        let args = args.into_iter().map(|(p, r)| (p.into(), vec![r])).collect();
        self.ops.push(NewOp { kind, args, suffix });
        Ref::New(self.ops.len() - 1)
    }

    /// Adds an op that is `op` with some arguments set anew.
    pub fn variant(
        &mut self,
        op: &Op,
        kind: &'static str,
        suffix: &'static str,
        changed: Vec<(&str, Ref)>,
    ) -> Ref {
        let kept = op.args.iter().filter(|a| changed.iter().all(|(p, _)| *p != &*a.param));
        let mut args: Vec<(Name, Vec<Ref>)> =
            kept.map(|a| (a.param.clone(), a.values.iter().map(|&v| Ref::Value(v)).collect())).collect();
        args.extend(changed.into_iter().map(|(p, r)| (p.into(), vec![r])));
        self.ops.push(NewOp { kind, args, suffix });
        Ref::New(self.ops.len() - 1)
    }
}

/// Looks at one op of a function and answers with a patch, or says why not.
pub type Rewrite = fn(&Function, &Uses, OpId) -> Result<Patch, Miss>;

/// Applies a patch about op `at` of `block`; the first replaced value hands its name on.
///
/// # Errors
/// When a new op does not type-check; the function is unchanged but for unused constants and ops, which are removed.
pub fn apply(
    function: &mut Function,
    block: BlockId,
    at: OpId,
    patch: Patch,
    pass: &'static str,
) -> Result<(), Fault> {
    let base = function.op(at).name.clone();
    let source = function.op(at).origin.source.clone();
    let position = function.position(block, at).unwrap_or(0);
    let consts: Vec<ValueId> = patch
        .consts
        .into_iter()
        .map(|(suffix, c)| {
            let name = unused_name(function, &format!("{base}_{suffix}"));
            function.add_const(name, c)
        })
        .collect();
    let mut made: Vec<OpId> = Vec::new();
    for new in patch.ops {
        let resolve = |r: &Ref| match r {
            Ref::Value(v) => Some(*v),
            Ref::Const(c) => consts.get(*c).copied(),
            Ref::New(n) => made.get(*n).and_then(|&id: &OpId| function.op(id).outputs.first().copied()),
        };
        let name = unused_name(function, &format!("{base}_{}", new.suffix));
        let mut op = Op::new(OpKind::named(new.kind), name.clone());
        op.origin = Origin { source: source.clone(), pass: Some(pass) };
        for (param, refs) in &new.args {
            op.set_arg(param, refs.iter().filter_map(resolve).collect());
        }
        let types = match Site::new(function, &op).and_then(|s| s.infer()) {
            Ok(types) => types,
            Err(fault) => {
                function.remove_ops(&made.into_iter().collect());
                return Err(fault);
            }
        };
        let results = name_results(function, &name, types);
        let at = position + made.len();
        made.push(function.insert(block, at, op, results));
    }
    for (old, new) in patch.replace {
        let new = match new {
            Ref::Value(v) => v,
            Ref::Const(c) => consts[c],
            Ref::New(n) => function.op(made[n]).outputs[0],
        };
        hand_over(function, old, new);
    }
    remove_if_unused(function, block, at);
    Ok(())
}

fn name_results(function: &Function, name: &Name, types: Vec<Type>) -> Vec<(Name, Type)> {
    let single = types.len() == 1;
    let named =
        |(i, ty)| (if single { name.clone() } else { unused_name(function, &format!("{name}_{i}")) }, ty);
    types.into_iter().enumerate().map(named).collect()
}

/// Redirects all users of `old`; a value that is new takes over its name, so that outputs keep theirs.
fn hand_over(function: &mut Function, old: ValueId, new: ValueId) {
    let escapes = Uses::of(function).escapes(old);
    function.replace_uses(old, new);
    let made_here = function.producer(new).is_some_and(|op| function.op(op).origin.pass.is_some());
    if escapes || made_here {
        let name = function.value(old).name.clone();
        let spare = unused_name(function, &format!("{name}_replaced"));
        function.value_mut(old).name = spare;
        function.value_mut(new).name = name;
    }
}

fn remove_if_unused(function: &mut Function, block: BlockId, at: OpId) {
    let uses = Uses::of(function);
    let dead = function.op(at).outputs.iter().all(|&v| uses.is_dead(v));
    let removable = function.op(at).kind.def().is_some_and(|d| d.effect.removable());
    if dead && removable && function.position(block, at).is_some() {
        function.remove_ops(&HashSet::from([at]));
    }
}

/// A name close to `wanted` that no value of the function has.
pub(crate) fn unused_name(function: &Function, wanted: &str) -> Name {
    let taken = |n: &str| function.values().any(|(_, v)| &*v.name == n);
    if !taken(wanted) {
        return wanted.into();
    }
    (1usize..).map(|n| format!("{wanted}_{n}")).find(|n| !taken(n)).unwrap_or_default().into()
}

/// Tries a rewrite on every op, again and again, until it applies nowhere; returns how often it did.
///
/// A rewrite that never settles is cut off after as many rounds as the function has ops.
pub fn drive(function: &mut Function, rewrite: Rewrite, pass: &'static str) -> usize {
    let mut applied = 0;
    for _ in 0..=function.op_count() {
        let before = applied;
        let uses = Uses::of(function);
        let mut touched: HashSet<ValueId> = HashSet::new();
        for (block, id) in function.walk() {
            let op = function.op(id);
            // The use table is as old as the round: ops whose neighbourhood has changed wait for the next one.
            let stale = op.operands().chain(op.outputs.iter().copied()).any(|v| touched.contains(&v));
            if stale || function.position(block, id).is_none() {
                continue;
            }
            let Ok(patch) = rewrite(function, &uses, id) else { continue };
            let near: Vec<ValueId> = neighbourhood(function, id, &patch);
            if apply(function, block, id, patch, pass).is_ok() {
                touched.extend(near);
                applied += 1;
            }
        }
        function.remove_dead_ops();
        if applied == before {
            return applied;
        }
    }
    applied
}

fn neighbourhood(function: &Function, id: OpId, patch: &Patch) -> Vec<ValueId> {
    let op = function.op(id);
    let mut near: Vec<ValueId> = op.operands().chain(op.outputs.iter().copied()).collect();
    for (old, new) in &patch.replace {
        near.push(*old);
        if let Ref::Value(v) = new {
            near.push(*v);
        }
        if let Some(producer) = function.producer(*old) {
            near.extend(function.op(producer).operands());
        }
    }
    let args = patch.ops.iter().flat_map(|o| o.args.iter().flat_map(|(_, r)| r));
    near.extend(args.filter_map(|r| if let Ref::Value(v) = r { Some(*v) } else { None }));
    near
}
