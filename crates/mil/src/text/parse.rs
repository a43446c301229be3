//! The parser.

use super::cursor::{Parser, Result};
use super::lex::{Lexer, Token, error_at};
use super::value::is_type_word;
use super::{MAX_ENTRIES, MAX_TEXT, ParseError, plain_interface};
use crate::{
    Arg, BlobRef, BlockId, Const, DType, Function, Literal, Name, Op, OpKind, Opset, Program, Type, ValueId,
};
use anemone_tensor::Bytes;
use std::collections::{HashMap, HashSet};

/// Gives the packed bytes of a weight from its place, element type and shape; `None` when they are not at hand.
pub type Resolver<'a> = dyn Fn(&BlobRef, DType, &[usize]) -> Option<Bytes> + 'a;

/// Parses MIL text of either dialect.
///
/// Weights that `resolver` does not give are kept as [`crate::WeightData::Missing`]. The interface is no part of the text;
/// the program gets the plain one of [`plain_interface`].
///
/// # Errors
/// The first place where the text is no program. Types of results are not compared with what the ops compute;
/// that is the verifier's work.
pub fn parse(text: &str, resolver: &Resolver<'_>) -> Result<Program, ParseError> {
    if text.len() > MAX_TEXT {
        let message = format!("the text has {} bytes, but at most {MAX_TEXT} are read", text.len());
        return Err(error_at(text, 0, message));
    }
    let mut lexer = Lexer::new(text);
    let (at, token) = lexer.next()?;
    let mut parser = Parser { text, lexer, token, at, depth: 0, resolver };
    parser.program()
}

/// Values by name, block by block, innermost last.
struct Scope {
    function: Function,
    names: Vec<HashMap<Name, ValueId>>,
}

/// One entry of an attribute bracket.
pub(super) struct Entry {
    pub(super) key: Name,
    pub(super) at: usize,
    pub(super) value: Const,
}

impl<'a> Parser<'a, '_> {
    fn program(&mut self) -> Result<Program> {
        self.word("program")?;
        self.punct('(')?;
        let version = self.version()?;
        self.punct(')')?;
        let attributes = self.attributes()?;
        self.punct('{')?;
        let (mut functions, mut names) = (Vec::new(), HashSet::new());
        while !self.eat('}')? {
            let at = self.at;
            let function = self.function()?;
            if !names.insert(function.name.clone()) {
                return self.fail(at, format!("function `{}` is defined twice", function.name));
            }
            functions.push(function);
        }
        if self.token != Token::End {
            return self.expected("the end of the text");
        }
        functions.sort_by(|a: &Function, b| a.name.cmp(&b.name));
        let interface = plain_interface(&functions);
        let (doc, unknown) = (String::new(), Bytes::new());
        Ok(Program { version, functions, interface, attributes, doc, unknown })
    }

    fn version(&mut self) -> Result<i64> {
        let major = match &self.token {
            Token::Number(n) => n.split_once('.').and_then(|(major, _)| major.parse().ok()),
            _ => None,
        };
        let Some(major) = major.filter(|&m: &i64| m == 1) else {
            return self.expected("a version such as 1.3");
        };
        self.advance()?;
        Ok(major)
    }

    fn function(&mut self) -> Result<Function> {
        self.word("func")?;
        let name = self.ident("a function name")?;
        self.punct('<')?;
        let opset = self.opset()?;
        self.punct('>')?;
        let mut scope = Scope { function: Function::new(name, opset), names: vec![HashMap::new()] };
        scope.function.attributes = self.attributes()?;
        self.punct('(')?;
        for (at, name, ty) in self.declarations(')')? {
            let id = scope.function.add_input(name.clone(), ty);
            self.bind(&mut scope, at, name, id)?;
        }
        let body = scope.function.body();
        scope.function.block_mut(body).attributes = self.attributes()?;
        self.body(&mut scope, body)?;
        self.punct(';')?;
        Ok(scope.function)
    }

    fn opset(&mut self) -> Result<Opset> {
        let opset = match self.token {
            Token::Ident(s) => Opset::from_name(s),
            _ => None,
        };
        let Some(opset) = opset else {
            let known: Vec<&str> = Opset::ALL.iter().map(|o| o.name()).collect();
            return self.expected(&format!("an op set ({})", known.join(", ")));
        };
        self.advance()?;
        Ok(opset)
    }

    /// Statements in braces, and the block's outputs.
    fn body(&mut self, scope: &mut Scope, block: BlockId) -> Result<()> {
        self.punct('{')?;
        while !self.eat('}')? {
            self.statement(scope, block)?;
        }
        if self.token != Token::Arrow {
            return self.expected("`->`");
        }
        self.advance()?;
        self.punct('(')?;
        let outputs = self.operands(scope)?;
        scope.function.block_mut(block).outputs = outputs;
        Ok(())
    }

    fn statement(&mut self, scope: &mut Scope, block: BlockId) -> Result<()> {
        let results = self.results()?;
        let at = self.at;
        let kind = self.ident("an op or a result type")?;
        self.punct('(')?;
        if &*kind == "const" {
            self.punct(')')?;
            return self.constant(scope, at, results);
        }
        let mut op = Op::new(OpKind::named(&kind), "");
        op.args = self.arguments(scope)?;
        while matches!(self.token, Token::Ident(_)) {
            let nested = self.nested(scope)?;
            op.blocks.push(nested);
        }
        self.op_bracket(scope, &mut op)?;
        self.punct(';')?;
        let types = results.iter().map(|(_, name, ty)| (name.clone(), ty.clone())).collect();
        let id = scope.function.append(block, op, types);
        let outputs = scope.function.op(id).outputs.clone();
        for ((at, name, _), value) in results.into_iter().zip(outputs) {
            self.bind(scope, at, name, value)?;
        }
        Ok(())
    }

    /// Declared results and the `=` after them; nothing when the statement begins with its op.
    fn results(&mut self) -> Result<Vec<(usize, Name, Type)>> {
        if self.eat('(')? {
            let results = self.declarations(')')?;
            self.punct('=')?;
            return Ok(results);
        }
        match self.token {
            Token::Ident(word) if is_type_word(word) && self.lexer.peek() != Some(b'(') => {
                self.declarations('=')
            }
            _ => Ok(Vec::new()),
        }
    }

    fn constant(&mut self, scope: &mut Scope, at: usize, results: Vec<(usize, Name, Type)>) -> Result<()> {
        let entries = self.entries()?;
        self.punct(';')?;
        let mut value = None;
        for entry in entries {
            match &*entry.key {
                "val" => value = Some(entry.value),
                "name" => drop(self.string_entry(entry)?),
                other => {
                    return self
                        .fail(entry.at, format!("a const has no attribute `{other}`, only name and val"));
                }
            }
        }
        let Some(value) = value else { return self.fail(at, "this const has no attribute `val`".into()) };
        let Ok([(name_at, name, ty)]) = <[_; 1]>::try_from(results) else {
            return self.fail(at, "a const has exactly one result".into());
        };
        if !ty.compatible(&value.ty()) {
            return self
                .fail(name_at, format!("const `{name}` is declared {ty}, but its value is {}", value.ty()));
        }
        let id = scope.function.add_const(name.clone(), value);
        self.bind(scope, name_at, name, id)
    }

    fn arguments(&mut self, scope: &mut Scope) -> Result<Vec<Arg>> {
        let mut args: Vec<Arg> = Vec::new();
        while !self.eat(')')? {
            self.separator(args.is_empty())?;
            let at = self.at;
            let param = self.ident("a parameter name or `)`")?;
            self.punct('=')?;
            let values = if self.eat('(')? { self.operands(scope)? } else { vec![self.operand(scope)?] };
            self.unique(&args, at, &param)?;
            args.push(Arg { param, values });
        }
        Ok(args)
    }

    fn unique(&self, args: &[Arg], at: usize, param: &str) -> Result<()> {
        if args.len() == MAX_ENTRIES {
            return self.fail(at, format!("an op has more than {MAX_ENTRIES} arguments"));
        }
        match args.iter().any(|a| &*a.param == param) {
            true => self.fail(at, format!("argument `{param}` is given twice")),
            false => Ok(()),
        }
    }

    /// Operands up to the closing parenthesis.
    fn operands(&mut self, scope: &mut Scope) -> Result<Vec<ValueId>> {
        let mut out = Vec::new();
        while !self.eat(')')? {
            self.separator(out.is_empty())?;
            out.push(self.operand(scope)?);
        }
        Ok(out)
    }

    fn operand(&mut self, scope: &mut Scope) -> Result<ValueId> {
        let Token::Ident(word) = self.token else { return self.expected("a value name or a typed constant") };
        if is_type_word(word) && matches!(self.lexer.peek(), Some(b'(' | b'<')) {
            let constant = self.value()?;
            return Ok(scope.function.add_const("", constant));
        }
        let known = scope.names.iter().rev().find_map(|names| names.get(word).copied());
        let Some(id) = known else {
            return self.fail(self.at, format!("value `{word}` is not defined here"));
        };
        self.advance()?;
        Ok(id)
    }

    fn nested(&mut self, scope: &mut Scope) -> Result<BlockId> {
        self.enter("blocks")?;
        self.advance()?;
        let block = scope.function.add_block();
        scope.names.push(HashMap::new());
        self.punct('(')?;
        for (at, name, ty) in self.declarations(')')? {
            let id = scope.function.add_block_input(block, name.clone(), ty);
            self.bind(scope, at, name, id)?;
        }
        scope.function.block_mut(block).attributes = self.attributes()?;
        self.body(scope, block)?;
        scope.names.pop();
        self.depth -= 1;
        Ok(block)
    }

    /// The op's name and attributes; for a `constexpr_*` op also operands.
    fn op_bracket(&mut self, scope: &mut Scope, op: &mut Op) -> Result<()> {
        for entry in self.entries()? {
            if &*entry.key == "name" {
                op.name = self.string_entry(entry)?;
            } else if op.kind.unpacks_weight(&entry.key, scope.function.opset) {
                self.unique(&op.args, entry.at, &entry.key)?;
                let id = scope.function.add_const("", entry.value);
                op.args.push(Arg { param: entry.key, values: vec![id] });
            } else {
                op.attributes.push(self.literal_entry(entry)?);
            }
        }
        Ok(())
    }

    /// Attributes of a program, function or block, sorted by key.
    fn attributes(&mut self) -> Result<Vec<(Name, Literal)>> {
        self.entries()?.into_iter().map(|entry| self.literal_entry(entry)).collect()
    }

    /// The entries of an attribute bracket, sorted by key; none when there is no bracket.
    fn entries(&mut self) -> Result<Vec<Entry>> {
        let mut entries: Vec<Entry> = Vec::new();
        if !self.eat('[')? {
            return Ok(entries);
        }
        while !self.eat(']')? {
            self.separator(entries.is_empty())?;
            let at = self.at;
            let key = self.ident("an attribute name or `]`")?;
            if entries.len() == MAX_ENTRIES {
                return self.fail(at, format!("more than {MAX_ENTRIES} attributes"));
            }
            if entries.iter().any(|e| e.key == key) {
                return self.fail(at, format!("attribute `{key}` is given twice"));
            }
            self.punct('=')?;
            let value = self.value()?;
            entries.push(Entry { key, at, value });
        }
        entries.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(entries)
    }

    fn literal_entry(&self, entry: Entry) -> Result<(Name, Literal)> {
        match entry.value {
            Const::Literal(literal) => Ok((entry.key, literal)),
            Const::Weight(_) => self.fail(
                entry.at,
                format!("attribute `{}` is in a weight file; it must be written out", entry.key),
            ),
        }
    }

    pub(super) fn string_entry(&self, entry: Entry) -> Result<Name> {
        match &entry.value {
            Const::Literal(Literal::Strings { shape, values }) if shape.is_empty() && values.len() == 1 => {
                Ok(values[0].clone())
            }
            other => self
                .fail(entry.at, format!("attribute `{}` is {}, but must be a string", entry.key, other.ty())),
        }
    }

    /// `type name` pairs up to `close`, with the place of each name.
    fn declarations(&mut self, close: char) -> Result<Vec<(usize, Name, Type)>> {
        let mut out = Vec::new();
        while !self.eat(close)? {
            self.separator(out.is_empty())?;
            let ty = self.ty()?;
            let at = self.at;
            out.push((at, self.ident("a name")?, ty));
        }
        Ok(out)
    }

    fn bind(&self, scope: &mut Scope, at: usize, name: Name, id: ValueId) -> Result<()> {
        if scope.names.iter().any(|names| names.contains_key(&name)) {
            return self.fail(at, format!("value `{name}` is defined twice"));
        }
        if let Some(innermost) = scope.names.last_mut() {
            innermost.insert(name, id);
        }
        Ok(())
    }
}
