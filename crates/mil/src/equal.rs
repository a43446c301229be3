//! Structural equality of programs: same names, kinds, types and constants in the same order.

use crate::{BlockId, Const, Def, Function, Op, Program, ValueId};
use std::collections::HashMap;

/// What differs first between two programs, in words; `None` when they are equal.
///
/// Arena numbering, origins of ops, and where a weight's bytes are kept do not count. An op without a name is as one
/// that is named after its first result: packages cannot tell them apart.
pub fn difference(a: &Program, b: &Program) -> Option<String> {
    if a.version != b.version {
        return Some(format!("program version: {} and {}", a.version, b.version));
    }
    if a.attributes != b.attributes {
        return Some("program attributes differ".into());
    }
    if a.interface != b.interface {
        return Some(format!("interface: {:#?} and {:#?}", a.interface, b.interface));
    }
    let names = |p: &Program| p.functions.iter().map(|f| f.name.clone()).collect::<Vec<_>>();
    if names(a) != names(b) {
        return Some(format!("functions: {:?} and {:?}", names(a), names(b)));
    }
    a.functions.iter().zip(&b.functions).find_map(|(a, b)| function_difference(a, b))
}

impl PartialEq for Program {
    fn eq(&self, other: &Program) -> bool {
        difference(self, other).is_none()
    }
}

fn function_difference(a: &Function, b: &Function) -> Option<String> {
    let mut pairs = Pairs { a, b, map: HashMap::new() };
    let place = format!("function {}", a.name);
    if a.opset != b.opset || a.attributes != b.attributes {
        return Some(format!("{place}: op set or attributes differ"));
    }
    pairs.bind(&a.inputs, &b.inputs, &place).or_else(|| pairs.block(a.body(), b.body(), &place))
}

struct Pairs<'a> {
    a: &'a Function,
    b: &'a Function,
    map: HashMap<ValueId, ValueId>,
}

impl Pairs<'_> {
    fn bind(&mut self, a: &[ValueId], b: &[ValueId], place: &str) -> Option<String> {
        if a.len() != b.len() {
            return Some(format!("{place}: {} and {} values", a.len(), b.len()));
        }
        for (&x, &y) in a.iter().zip(b) {
            let (v, w) = (self.a.value(x), self.b.value(y));
            if v.name != w.name || v.ty != w.ty {
                return Some(format!("{place}: {} {} and {} {}", v.ty, v.name, w.ty, w.name));
            }
            self.map.insert(x, y);
        }
        None
    }

    fn same(&mut self, x: ValueId, y: ValueId) -> bool {
        if let Some(&known) = self.map.get(&x) {
            return known == y;
        }
        let (v, w) = (self.a.value(x), self.b.value(y));
        let equal = matches!((&v.def, &w.def), (Def::Const(c), Def::Const(d)) if same_const(c, d))
            && v.name == w.name;
        if equal {
            self.map.insert(x, y);
        }
        equal
    }

    fn values(&mut self, a: &[ValueId], b: &[ValueId]) -> bool {
        a.len() == b.len() && a.iter().zip(b).all(|(&x, &y)| self.same(x, y))
    }

    fn block(&mut self, x: BlockId, y: BlockId, place: &str) -> Option<String> {
        let (a, b) = (self.a, self.b);
        let (p, q) = (a.block(x), b.block(y));
        if p.ops.len() != q.ops.len() || p.attributes != q.attributes {
            return Some(format!("{place}: {} and {} ops, or attributes differ", p.ops.len(), q.ops.len()));
        }
        if let Some(d) = self.bind(&p.inputs, &q.inputs, place) {
            return Some(d);
        }
        for (&m, &n) in p.ops.iter().zip(&q.ops) {
            let (f, g) = (a.op(m), b.op(n));
            let place = format!("{place}, op {} \"{}\"", f.kind.name(), f.name);
            if f.kind != g.kind
                || name(a, f) != name(b, g)
                || f.attributes != g.attributes
                || f.unknown != g.unknown
            {
                return Some(format!(
                    "{place}: against {} \"{}\", or attributes differ",
                    g.kind.name(),
                    g.name
                ));
            }
            if f.args.len() != g.args.len() || f.blocks.len() != g.blocks.len() {
                return Some(format!("{place}: other arguments or blocks"));
            }
            for (s, t) in f.args.iter().zip(&g.args) {
                if s.param != t.param || !self.values(&s.values, &t.values) {
                    return Some(format!("{place}: argument {} differs", s.param));
                }
            }
            for (&c, &d) in f.blocks.iter().zip(&g.blocks) {
                if let Some(d) = self.block(c, d, &place) {
                    return Some(d);
                }
            }
            if let Some(d) = self.bind(&f.outputs, &g.outputs, &place) {
                return Some(d);
            }
        }
        (!self.values(&p.outputs, &q.outputs)).then(|| format!("{place}: block outputs differ"))
    }
}

fn name<'f>(function: &'f Function, op: &'f Op) -> &'f str {
    match op.outputs.first() {
        Some(&result) if op.name.is_empty() => &function.value(result).name,
        _ => &op.name,
    }
}

fn same_const(a: &Const, b: &Const) -> bool {
    a.ty() == b.ty() && a == b
}
