//! The printer.

use super::literal::{write_string, write_value};
use super::place::{Placement, in_bracket};
use super::types::write_type;
use super::{Dialect, PrintOptions, compact};
use crate::{BlobRef, BlockId, Const, Def, Function, Literal, Name, Op, Program, ValueId, Weight};
use std::fmt::Write;

/// Names the place of a weight that was not read from a file.
pub type BlobNamer<'a> = dyn FnMut(&Weight) -> BlobRef + 'a;

const WEIGHT_FILE: &str = "@model_path/weights/weight.bin";
const BODY_INDENT: usize = 12;
const NESTED_INDENT: usize = 4;

/// The program as MIL text, without a final newline, as Apple's compiler leaves it.
///
/// Weights that were not read from a file are numbered as if they were appended to `weight.bin` in the order of
/// the text.
pub fn print(program: &Program, options: &PrintOptions) -> String {
    let mut next = first_free_offset(program);
    print_with(program, options, &mut |weight| {
        let offset = next;
        next = end_of(offset, weight);
        BlobRef { path: WEIGHT_FILE.into(), offset }
    })
}

/// As [`print`], asking `blobs` for the place of every weight that was not read from a file.
pub fn print_with(program: &Program, options: &PrintOptions, blobs: &mut BlobNamer<'_>) -> String {
    if options.compact {
        return compact::print(program, options);
    }
    let dialect = options.dialect.unwrap_or_else(|| Dialect::of(program));
    let mut printer = Printer { out: String::new(), dialect, options, blobs };
    printer.program(program);
    printer.out
}

fn all_weights(program: &Program) -> impl Iterator<Item = &Weight> {
    let values = |f| (0..Function::value_count(f)).map(move |i| f.value(ValueId::of(i)));
    program.functions.iter().flat_map(values).filter_map(|v| match &v.def {
        Def::Const(Const::Weight(w)) => Some(w),
        _ => None,
    })
}

fn first_free_offset(program: &Program) -> u64 {
    let placed = all_weights(program).filter_map(|w| Some((w.origin.as_ref()?.offset, w)));
    placed.map(|(offset, w)| end_of(offset, w)).max().unwrap_or(64)
}

/// Where the next record may start after one at `offset`: 64 bytes of metadata, the data, and padding to 64.
fn end_of(offset: u64, weight: &Weight) -> u64 {
    let count = anemone_tensor::num::element_count(&weight.shape);
    let bytes = count.and_then(|n| weight.dtype.packed_len(n)).and_then(|n| u64::try_from(n).ok());
    offset
        .saturating_add(64)
        .saturating_add(bytes.unwrap_or(0))
        .checked_next_multiple_of(64)
        .unwrap_or(u64::MAX)
}

struct Printer<'a, 'b> {
    out: String,
    dialect: Dialect,
    options: &'a PrintOptions,
    blobs: &'a mut BlobNamer<'b>,
}

/// A function on its way to text.
#[derive(Clone, Copy)]
struct Scope<'a> {
    function: &'a Function,
    placement: &'a Placement,
}

impl Printer<'_, '_> {
    fn program(&mut self, program: &Program) {
        let minor = if self.dialect == Dialect::V1_3 { 3 } else { 0 };
        writeln!(self.out, "program({}.{minor})", program.version).unwrap_or_default();
        if !program.attributes.is_empty() {
            self.attributes(&program.attributes);
            self.out.push('\n');
        }
        self.out.push_str("{\n");
        for function in &program.functions {
            if self.options.function.as_ref().is_none_or(|wanted| *wanted == function.name) {
                self.function(function);
            }
        }
        self.out.push('}');
    }

    fn function(&mut self, function: &Function) {
        let placement = Placement::of(function, self.options.order);
        let scope = Scope { function, placement: &placement };
        let body = function.body();
        write!(self.out, "    func {}<{}>", function.name, function.opset).unwrap_or_default();
        self.attributes(&function.attributes);
        self.out.push('(');
        self.declarations(function, &function.inputs);
        self.out.push(')');
        self.attributes(&function.block(body).attributes);
        self.out.push_str(" {\n");
        self.statements(scope, body, BODY_INDENT);
        self.out.push_str("        } -> (");
        self.names(function, function.outputs());
        self.out.push_str(");\n");
    }

    fn statements(&mut self, scope: Scope<'_>, block: BlockId, indent: usize) {
        let ops = &scope.function.block(block).ops;
        for (i, &id) in ops.iter().enumerate() {
            scope.placement.before(block, i).for_each(|v| self.constant(scope.function, v, indent));
            self.indent(indent);
            self.op(scope, scope.function.op(id), indent);
            self.out.push_str(";\n");
        }
        scope.placement.before(block, ops.len()).for_each(|v| self.constant(scope.function, v, indent));
    }

    fn constant(&mut self, function: &Function, id: ValueId, indent: usize) {
        let value = function.value(id);
        let Def::Const(constant) = &value.def else { return };
        self.indent(indent);
        write_type(&mut self.out, &constant.ty(), self.dialect);
        write!(self.out, " {} = const()[name = ", value.name).unwrap_or_default();
        self.string(&const_op_name(&value.name));
        self.out.push_str(", val = ");
        self.const_value(constant);
        self.out.push_str("];\n");
    }

    fn op(&mut self, scope: Scope<'_>, op: &Op, indent: usize) {
        let function = scope.function;
        self.declarations(function, &op.outputs);
        if !op.outputs.is_empty() {
            self.out.push_str(" = ");
        }
        self.out.push_str(op.kind.name());
        let bracket = in_bracket(function, op);
        self.arguments(function, op, bracket);
        for &block in &op.blocks {
            self.nested(scope, block, indent + NESTED_INDENT);
        }
        let bare = op.name.is_empty() && op.attributes.is_empty();
        if !(op.blocks.is_empty() || bare) {
            self.out.push('\n');
            self.indent(indent + NESTED_INDENT);
        }
        self.bracket(function, op, bracket);
    }

    fn nested(&mut self, scope: Scope<'_>, block: BlockId, indent: usize) {
        self.out.push('\n');
        self.indent(indent);
        self.out.push_str("block(");
        self.declarations(scope.function, &scope.function.block(block).inputs);
        self.out.push(')');
        self.attributes(&scope.function.block(block).attributes);
        self.out.push_str(" {\n");
        self.statements(scope, block, indent + NESTED_INDENT);
        self.indent(indent);
        self.out.push_str("} -> (");
        self.names(scope.function, &scope.function.block(block).outputs);
        self.out.push(')');
    }

    /// Arguments in parentheses; those that stand in the bracket are left out.
    fn arguments(&mut self, function: &Function, op: &Op, bracket: bool) {
        self.out.push('(');
        let mut first = true;
        for arg in &op.args {
            if bracket && inline_constant(function, &arg.values).is_some() {
                continue;
            }
            self.out.push_str(if first { "" } else { ", " });
            first = false;
            write!(self.out, "{} = ", arg.param).unwrap_or_default();
            let variadic = op.kind.def().and_then(|d| d.version(function.opset)?.param(&arg.param));
            let variadic = variadic.is_some_and(|p| p.kind == crate::ops::Kind::Variadic);
            match arg.values.as_slice() {
                [one] if !variadic => self.operand(function, *one),
                several => {
                    self.out.push('(');
                    for (i, &v) in several.iter().enumerate() {
                        self.out.push_str(if i > 0 { ", " } else { "" });
                        self.operand(function, v);
                    }
                    self.out.push(')');
                }
            }
        }
        self.out.push(')');
    }

    /// The op's name, its attributes and, for older `constexpr_*` ops, its operands, sorted by key.
    fn bracket(&mut self, function: &Function, op: &Op, bracket: bool) {
        let mut entries: Vec<(&str, Entry<'_>)> = Vec::new();
        if !op.name.is_empty() {
            entries.push(("name", Entry::Name(&op.name)));
        }
        entries.extend(op.attributes.iter().map(|(key, value)| (&**key, Entry::Literal(value))));
        if bracket {
            let inline = |a: &crate::Arg| inline_constant(function, &a.values);
            entries.extend(op.args.iter().filter_map(|a| Some((&*a.param, Entry::Const(inline(a)?)))));
        }
        if entries.is_empty() {
            return;
        }
        entries.sort_by_key(|&(key, _)| key);
        self.out.push('[');
        for (i, (key, entry)) in entries.into_iter().enumerate() {
            write!(self.out, "{}{key} = ", if i > 0 { ", " } else { "" }).unwrap_or_default();
            match entry {
                Entry::Name(name) => self.string(name),
                Entry::Literal(literal) => write_value(&mut self.out, literal, self.dialect),
                Entry::Const(constant) => self.const_value(constant),
            }
        }
        self.out.push(']');
    }

    fn attributes(&mut self, attributes: &[(Name, Literal)]) {
        if attributes.is_empty() {
            return;
        }
        self.out.push('[');
        for (i, (key, value)) in attributes.iter().enumerate() {
            write!(self.out, "{}{key} = ", if i > 0 { ", " } else { "" }).unwrap_or_default();
            write_value(&mut self.out, value, self.dialect);
        }
        self.out.push(']');
    }

    fn declarations(&mut self, function: &Function, values: &[ValueId]) {
        for (i, &id) in values.iter().enumerate() {
            self.out.push_str(if i > 0 { ", " } else { "" });
            write_type(&mut self.out, &function.value(id).ty, self.dialect);
            self.out.push(' ');
            self.name(function, id);
        }
    }

    fn names(&mut self, function: &Function, values: &[ValueId]) {
        for (i, &id) in values.iter().enumerate() {
            self.out.push_str(if i > 0 { ", " } else { "" });
            self.operand(function, id);
        }
    }

    fn operand(&mut self, function: &Function, id: ValueId) {
        match function.constant(id) {
            Some(constant) if function.value(id).name.is_empty() => self.const_value(constant),
            _ => self.name(function, id),
        }
    }

    /// A name; a value without one, which no legal program has, shows its id.
    fn name(&mut self, function: &Function, id: ValueId) {
        match &*function.value(id).name {
            "" => write!(self.out, "{id:?}").unwrap_or_default(),
            name => self.out.push_str(name),
        }
    }

    fn const_value(&mut self, constant: &Const) {
        let weight = match constant {
            Const::Literal(literal) => return write_value(&mut self.out, literal, self.dialect),
            Const::Weight(weight) => weight,
        };
        let place = weight.origin.clone().unwrap_or_else(|| (self.blobs)(weight));
        write_type(&mut self.out, &constant.ty(), self.dialect);
        self.out.push_str("(BLOBFILE(path = ");
        self.string(&place.path);
        let offset = place.offset;
        match self.dialect {
            Dialect::V1_0 => write!(self.out, ", offset = tensor<uint64, []>({offset})))"),
            Dialect::V1_3 => write!(self.out, ", offset = uint64({offset})))"),
        }
        .unwrap_or_default();
    }

    fn string(&mut self, text: &str) {
        self.out.push_str(if self.dialect == Dialect::V1_3 { "string(" } else { "tensor<string, []>(" });
        write_string(&mut self.out, text);
        self.out.push(')');
    }

    fn indent(&mut self, width: usize) {
        self.out.extend(std::iter::repeat_n(' ', width));
    }
}

/// One entry of an op's bracket.
enum Entry<'a> {
    Name(&'a str),
    Literal(&'a Literal),
    Const(&'a Const),
}

/// The constant of an argument that can stand in a bracket.
fn inline_constant<'a>(function: &'a Function, values: &[ValueId]) -> Option<&'a Const> {
    match values {
        [one] => function.constant(*one),
        _ => None,
    }
}

/// The `name` of the const op behind a constant, which the IR does not keep.
///
/// coremltools writes it as the value's name, with `op_` for the `var_` that it puts before a leading digit.
fn const_op_name(value: &str) -> String {
    match value.strip_prefix("var_") {
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_digit()) => format!("op_{rest}"),
        _ => value.to_owned(),
    }
}
