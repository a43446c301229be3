//! What the IR has no place for: unknown fields, attributes and texts of types, values and arguments.

use anemone_formats::coreml::mil::{
    self, BindingKind, DimensionKind, ImmediateKind, NamedValueType, TypeKind, ValueKind,
};

/// A note for every function that loses something.
pub(super) fn notes(program: &mil::Program) -> Vec<String> {
    let note = |(name, f): (&String, &mil::Function)| match function(f) {
        0 => None,
        n => Some(format!(
            "function {name}: {n} unknown fields, attributes or texts of types and values are not read and will not be written"
        )),
    };
    program.functions.iter().filter_map(note).collect()
}

fn function(f: &mil::Function) -> usize {
    named(&f.inputs) + f.attributes.values().map(value).sum::<usize>() + f.body().map_or(0, block)
}

fn block(b: &mil::Block) -> usize {
    named(&b.inputs)
        + b.attributes.values().map(value).sum::<usize>()
        + b.operations.iter().map(operation).sum::<usize>()
}

/// A `const` op is read as a value: only its name and value remain of it.
fn operation(op: &mil::Operation) -> usize {
    let own = match op.op_type.as_str() {
        "const" => {
            let other = op.attributes.keys().filter(|key| !matches!(key.as_str(), "name" | "val"));
            other.count() + usize::from(!op.unknown.is_empty())
        }
        _ => 0,
    };
    let argument = |a: &mil::Argument| {
        usize::from(!a.unknown.is_empty()) + a.arguments.iter().map(binding).sum::<usize>()
    };
    own + named(&op.outputs)
        + op.inputs.values().map(argument).sum::<usize>()
        + op.attributes.values().map(value).sum::<usize>()
        + op.blocks.iter().map(block).sum::<usize>()
}

fn binding(b: &mil::Binding) -> usize {
    let inner = match &b.binding {
        Some(BindingKind::Value(v)) => value(v),
        _ => 0,
    };
    inner + usize::from(!b.unknown.is_empty())
}

fn named(list: &[NamedValueType]) -> usize {
    let one =
        |n: &NamedValueType| usize::from(!n.unknown.is_empty()) + n.value_type.as_ref().map_or(0, value_type);
    list.iter().map(one).sum()
}

fn value_type(ty: &mil::ValueType) -> usize {
    let boxed = |t: &Option<Box<mil::ValueType>>| t.as_deref().map_or(0, value_type);
    let inner = match &ty.kind {
        Some(TypeKind::Tensor(t)) => {
            let dims = t.dimensions.iter().map(dimension).sum::<usize>();
            usize::from(!t.unknown.is_empty()) + t.attributes.len() + dims
        }
        Some(TypeKind::List(l)) => usize::from(!l.unknown.is_empty()) + boxed(&l.element),
        Some(TypeKind::Tuple(t)) => {
            usize::from(!t.unknown.is_empty()) + t.types.iter().map(value_type).sum::<usize>()
        }
        Some(TypeKind::Dictionary(d)) => {
            usize::from(!d.unknown.is_empty()) + boxed(&d.key_type) + boxed(&d.value_type)
        }
        Some(TypeKind::State(s)) => usize::from(!s.unknown.is_empty()) + boxed(&s.wrapped_type),
        None => 0,
    };
    inner + usize::from(!ty.unknown.is_empty())
}

fn dimension(d: &mil::Dimension) -> usize {
    let inner = match &d.dimension {
        Some(DimensionKind::Constant(c)) => !c.unknown.is_empty(),
        Some(DimensionKind::Unknown(u)) => !u.unknown.is_empty(),
        None => false,
    };
    usize::from(inner) + usize::from(!d.unknown.is_empty())
}

fn value(v: &mil::Value) -> usize {
    let boxed = |v: &Option<Box<mil::Value>>| v.as_deref().map_or(0, value);
    let inner = match &v.value {
        Some(ValueKind::BlobFile(blob)) => usize::from(!blob.unknown.is_empty()),
        Some(ValueKind::Immediate(immediate)) => {
            let inner = match &immediate.value {
                Some(ImmediateKind::Tensor(t)) => usize::from(!t.unknown.is_empty()),
                Some(ImmediateKind::Tuple(t)) => t.values.iter().map(value).sum(),
                Some(ImmediateKind::List(l)) => l.values.iter().map(value).sum(),
                Some(ImmediateKind::Dictionary(d)) => {
                    d.values.iter().map(|p| boxed(&p.key) + boxed(&p.value)).sum()
                }
                None => 0,
            };
            inner + usize::from(!immediate.unknown.is_empty())
        }
        None => 0,
    };
    inner
        + usize::from(!v.unknown.is_empty())
        + usize::from(!v.doc_string.is_empty())
        + v.value_type.as_deref().map_or(0, value_type)
}
