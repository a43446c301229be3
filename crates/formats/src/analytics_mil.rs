//! The segmenter's `analytics.mil`: MIL text in which every op carries what the E5 compiler thought of it.
//!
//! Per op: `BackendSupport` (a list), `EstimatedRuntime` (ms by backend), `SelectedBackend`, `ValidationMessage` (why, by
//! backend). Per function: `Launch_<backend>_ms` and `Src_<backend>_Dest_<backend>_ms`. Values live in `tensor_buffer`s
//! at the edges of the graph, with conversions to and from tensors. Observed in the files that
//! 751K/Apple-Neural-Engine-Microarchitecture-Study-M6 publishes; freedomtan/coreml_modelc_profling shows the same keys
//! as `EstimatedRunTime` and `ValidationMessages` on an older system.

use crate::{Error, ErrorKind};
use std::ops::Range;

/// Largest file that is read, in bytes.
pub const MAX_BYTES: usize = 1 << 26;
/// Deepest nesting of brackets and blocks.
const MAX_DEPTH: usize = 64;
const FORMAT: &str = "analytics.mil";

/// The end that the compiler gives to names of values that it moved into its own memory: `MEM_OPT` in hexadecimal.
const MOVED: &str = "_4D454D5F4F5054";

/// A name as it stands in the package.
pub fn plain_name(name: &str) -> &str {
    name.strip_suffix(MOVED).unwrap_or(name)
}

/// What the file says.
#[derive(Clone, Debug, PartialEq)]
pub struct Analytics {
    /// Functions, in written order; one at least.
    pub functions: Vec<Function>,
    /// The program alone, as MIL text: no attributes, tensors for buffers, and `identity` for the conversions between them.
    pub program: String,
}

/// One function.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Function {
    /// Name.
    pub name: String,
    /// Fixed costs by name, in ms, such as `Launch_ane_ms`.
    pub fixed: Vec<(String, f64)>,
    /// Ops in written order, those of nested blocks after the op that holds them; without conversions of buffers.
    pub ops: Vec<Op>,
}

/// One op.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Op {
    /// Kind, such as `conv`.
    pub kind: String,
    /// Name of its first result, as in the package.
    pub name: String,
    /// Depth of the block that holds it; 0 at the top.
    pub depth: usize,
    /// Backend that was chosen; empty when not told.
    pub selected: String,
    /// Backends that take it.
    pub supported: Vec<String>,
    /// Estimated time by backend, in ms.
    pub estimates: Vec<(String, f64)>,
    /// Why a backend refuses it, by backend.
    pub messages: Vec<(String, String)>,
}

/// Reads an `analytics.mil`.
///
/// # Errors
/// When the text is no MIL or cut off, or no op in it says which backend was chosen.
pub fn read(bytes: &[u8]) -> Result<Analytics, Error> {
    if bytes.len() > MAX_BYTES {
        let why = format!("{} bytes, of at most {MAX_BYTES}", bytes.len());
        return Err(Error::new(ErrorKind::TooLarge, why).format(FORMAT));
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|e| Error::new(ErrorKind::NotUtf8, "is not UTF-8").at(e.valid_up_to()).format(FORMAT))?;
    let mut reader = Reader { text, at: 0, edits: Vec::new() };
    let functions = reader.file().map_err(|e| e.format(FORMAT))?;
    if functions.iter().flat_map(|f| &f.ops).all(|op| op.selected.is_empty()) {
        let cause =
            "no op has the attribute SelectedBackend; is this the file that the compiler left in its cache?";
        return Err(Error::new(ErrorKind::Missing, cause).format(FORMAT));
    }
    Ok(Analytics { functions, program: apply(text, &reader.edits) })
}

/// The text with edits applied, which are in order and apart.
fn apply(text: &str, edits: &[(Range<usize>, String)]) -> String {
    let (mut out, mut at) = (String::with_capacity(text.len()), 0);
    for (range, new) in edits {
        if range.start >= at {
            out.push_str(&text[at..range.start]);
            out.push_str(new);
            at = range.end;
        }
    }
    out + &text[at..]
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    /// A name or number.
    Word(&'a str),
    /// What stands between quotation marks, escapes as written.
    Text(&'a str),
    /// `->`
    Arrow,
    Mark(char),
    End,
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    edits: Vec<(Range<usize>, String)>,
}

/// A literal of an attribute.
#[derive(Clone, Debug)]
enum Literal {
    Text(String),
    Number(f64),
}

impl<'a> Reader<'a> {
    fn skip_space(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
    }

    /// The next token and where it ends.
    fn look(&mut self) -> Result<(Token<'a>, usize), Error> {
        self.skip_space();
        let rest = &self.text[self.at..];
        let Some(first) = rest.chars().next() else { return Ok((Token::End, self.at)) };
        if first == '"' {
            return self.quoted(rest);
        }
        if rest.starts_with("->") {
            return Ok((Token::Arrow, self.at + 2));
        }
        let word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '@' | '/' | '$');
        // A sign belongs to a number: after the exponent, or in front.
        let number = first.is_ascii_digit() || matches!(first, '-' | '+');
        let mut before = ' ';
        let mut part = |c: char| {
            let sign = matches!(c, '-' | '+') && (before == ' ' || matches!(before, 'e' | 'E' | 'p' | 'P'));
            before = c;
            word(c) || (number && sign)
        };
        let len = rest.find(|c: char| !part(c)).unwrap_or(rest.len());
        if len == 0 {
            return Ok((Token::Mark(first), self.at + first.len_utf8()));
        }
        Ok((Token::Word(&rest[..len]), self.at + len))
    }

    fn quoted(&self, rest: &'a str) -> Result<(Token<'a>, usize), Error> {
        let mut escaped = false;
        for (i, c) in rest.char_indices().skip(1) {
            match c {
                '"' if !escaped => return Ok((Token::Text(&rest[1..i]), self.at + i + 1)),
                '\\' => escaped = !escaped,
                _ => escaped = false,
            }
        }
        Err(Error::new(ErrorKind::Truncated, "a text has no closing quotation mark").at(self.at))
    }

    fn next(&mut self) -> Result<Token<'a>, Error> {
        let (token, end) = self.look()?;
        self.at = end;
        Ok(token)
    }

    fn is(&mut self, mark: char) -> Result<bool, Error> {
        Ok(self.look()?.0 == Token::Mark(mark))
    }

    fn wrong(&mut self, expected: &str) -> Error {
        let (found, _) = self.look().unwrap_or((Token::End, self.at));
        let (kind, found) = match found {
            Token::End => (ErrorKind::Truncated, "the end of the file".to_owned()),
            Token::Word(w) | Token::Text(w) => {
                (ErrorKind::Malformed, format!("{:?}", w.chars().take(40).collect::<String>()))
            }
            Token::Arrow => (ErrorKind::Malformed, "`->`".to_owned()),
            Token::Mark(c) => (ErrorKind::Malformed, format!("`{c}`")),
        };
        let line = 1 + self.text[..self.at].matches('\n').count();
        Error::new(kind, format!("expected {expected}, found {found}"))
            .at(self.at)
            .within(&format!("line {line}"))
    }

    fn expect(&mut self, mark: char) -> Result<(), Error> {
        if self.is(mark)? { self.next().map(drop) } else { Err(self.wrong(&format!("`{mark}`"))) }
    }

    fn word(&mut self, what: &str) -> Result<&'a str, Error> {
        match self.look()? {
            (Token::Word(word), end) => {
                self.at = end;
                Ok(word)
            }
            _ => Err(self.wrong(what)),
        }
    }

    /// Steps over a bracket and all that it holds.
    fn skip(&mut self, what: &str) -> Result<(), Error> {
        let mut open = Vec::new();
        loop {
            match self.look()? {
                (Token::Mark(c @ ('(' | '[' | '{' | '<')), _) => open.push(c),
                (Token::Mark(c @ (')' | ']' | '}' | '>')), _) => {
                    let fits = matches!(
                        (open.pop(), c),
                        (Some('('), ')') | (Some('['), ']') | (Some('{'), '}') | (Some('<'), '>')
                    );
                    if !fits {
                        return Err(self.wrong(&format!("the end of {what}")));
                    }
                }
                (Token::End, _) => return Err(self.wrong(&format!("the end of {what}"))),
                _ => {}
            }
            if open.len() > MAX_DEPTH {
                return Err(Error::new(
                    ErrorKind::TooDeep,
                    format!("more than {MAX_DEPTH} brackets inside each other"),
                )
                .at(self.at));
            }
            self.next()?;
            if open.is_empty() {
                return Ok(());
            }
        }
    }

    fn file(&mut self) -> Result<Vec<Function>, Error> {
        if self.look()?.0 != Token::Word("program") {
            return Err(self.wrong("`program`"));
        }
        self.next()?;
        self.skip("the version")?;
        if self.is('[')? {
            self.skip("the attributes")?;
        }
        self.expect('{')?;
        let mut functions = Vec::new();
        while !self.is('}')? {
            functions.push(self.function()?);
        }
        Ok(functions)
    }

    fn function(&mut self) -> Result<Function, Error> {
        if self.look()?.0 != Token::Word("func") {
            return Err(self.wrong("`func` or the end of the program"));
        }
        self.next()?;
        let mut function =
            Function { name: self.word("the name of a function")?.to_owned(), ..Function::default() };
        if self.is('<')? {
            self.skip("the operator set")?;
        }
        self.inputs()?;
        for (key, literals) in self.attributes()? {
            if let [Literal::Number(ms)] = literals[..] {
                function.fixed.push((key, ms));
            }
        }
        self.block(&mut function.ops, 0)?;
        if self.is(';')? {
            self.next()?;
        }
        Ok(function)
    }

    /// Inputs of a function, whose buffers become tensors.
    fn inputs(&mut self) -> Result<(), Error> {
        self.expect('(')?;
        while !self.is(')')? {
            self.ty()?;
            self.word("the name of an input")?;
            if self.is(',')? {
                self.next()?;
            }
        }
        self.expect(')')
    }

    /// A type; that of a buffer is noted as that of the tensor in it.
    fn ty(&mut self) -> Result<(), Error> {
        self.skip_space();
        let start = self.at;
        let word = self.word("a type")?;
        if self.is('<')? {
            self.skip("a type")?;
        }
        if word == "tensor_buffer" {
            let inner = &self.text[start..self.at];
            let dtype = inner.split(['<', ',']).nth(1).unwrap_or("fp16").trim();
            let shape = inner.split_once("shape").and_then(|(_, s)| s.split_once('['));
            let shape = shape.and_then(|(_, s)| s.split_once(']')).map_or("", |(s, _)| s);
            self.edits.push((start..self.at, format!("tensor<{dtype}, [{shape}]>")));
        }
        Ok(())
    }

    fn block(&mut self, ops: &mut Vec<Op>, depth: usize) -> Result<(), Error> {
        if depth > MAX_DEPTH {
            return Err(Error::new(
                ErrorKind::TooDeep,
                format!("more than {MAX_DEPTH} blocks inside each other"),
            )
            .at(self.at));
        }
        self.expect('{')?;
        while !self.is('}')? {
            self.statement(ops, depth)?;
        }
        self.next()?;
        if self.look()?.0 != Token::Arrow {
            return Err(self.wrong("`->`"));
        }
        self.next()?;
        self.skip("the results")
    }

    fn statement(&mut self, ops: &mut Vec<Op>, depth: usize) -> Result<(), Error> {
        let mut op = Op { depth, ..Op::default() };
        loop {
            self.ty()?;
            let name = self.word("the name of a result")?;
            if op.name.is_empty() {
                op.name = plain_name(name).to_owned();
            }
            if self.is(',')? {
                self.next()?;
                continue;
            }
            if !self.is('=')? {
                return Err(self.wrong("`=`"));
            }
            self.next()?;
            break;
        }
        self.skip_space();
        let start = self.at;
        op.kind = self.word("an op")?.to_owned();
        if self.is('<')? {
            self.skip("the operator set")?;
        }
        let arguments = self.at;
        if !self.is('(')? {
            return Err(self.wrong("`(`"));
        }
        self.skip("the arguments")?;
        let conversion = matches!(&*op.kind, "tensor_buffer_to_tensor" | "tensor_to_tensor_buffer");
        if conversion {
            let input = self.text[arguments..self.at].split_once("input").map_or("", |(_, rest)| rest);
            let input: String = input
                .chars()
                .skip_while(|c| matches!(c, ' ' | '='))
                .take_while(|c| !matches!(c, ',' | ')'))
                .collect();
            self.edits.push((start..self.at, format!("identity(x = {})", input.trim())));
        }
        for (key, literals) in self.attributes()? {
            op.set(&key, literals);
        }
        let at = ops.len();
        while !self.is(';')? {
            match self.look()?.0 {
                Token::Mark('{') => self.block(ops, depth + 1)?,
                Token::Mark('(') => self.inputs()?,
                Token::Mark(',') => drop(self.next()?),
                Token::Mark('[') => {
                    self.attributes()?.into_iter().for_each(|(key, literals)| op.set(&key, literals))
                }
                Token::Word(_) => drop(self.next()?),
                _ => return Err(self.wrong("`;`")),
            }
        }
        self.next()?;
        if !conversion && op.kind != "const" {
            ops.insert(at, op);
        }
        Ok(())
    }

    /// Attributes in brackets, none when there is no bracket; the program is left without them.
    fn attributes(&mut self) -> Result<Vec<(String, Vec<Literal>)>, Error> {
        let mut found = Vec::new();
        if !self.is('[')? {
            return Ok(found);
        }
        let start = self.at;
        self.next()?;
        while !self.is(']')? {
            let key = self.word("the name of an attribute")?.to_owned();
            self.expect('=')?;
            self.word("the type of an attribute")?;
            if self.is('<')? {
                self.skip("the type of an attribute")?;
            }
            let value = self.at;
            if !self.is('(')? {
                return Err(self.wrong("the value of an attribute, in brackets"));
            }
            self.skip("the value of an attribute")?;
            found.push((key, self.literals(value..self.at)));
            if self.is(',')? {
                self.next()?;
            }
        }
        self.next()?;
        self.edits.push((start..self.at, String::new()));
        Ok(found)
    }

    /// Texts and numbers in a part of the text, which is known to be well formed.
    fn literals(&self, part: Range<usize>) -> Vec<Literal> {
        let mut inner = Reader { text: &self.text[..part.end], at: part.start, edits: Vec::new() };
        let mut found = Vec::new();
        while let Ok(token) = inner.next() {
            match token {
                Token::End => break,
                Token::Text(text) => found.push(Literal::Text(text.replace("\\\"", "\""))),
                Token::Word(word) => found.extend(number(word).map(Literal::Number)),
                _ => {}
            }
        }
        found
    }
}

impl Op {
    fn set(&mut self, key: &str, literals: Vec<Literal>) {
        let texts =
            || literals.iter().filter_map(|l| if let Literal::Text(t) = l { Some(t.clone()) } else { None });
        match key {
            "SelectedBackend" => self.selected = texts().next().unwrap_or_default(),
            "BackendSupport" => self.supported = texts().filter(|t| t != "unsupported").collect(),
            "EstimatedRuntime" | "EstimatedRunTime" => {
                for pair in literals.chunks(2) {
                    if let [Literal::Text(backend), Literal::Number(ms)] = pair {
                        self.estimates.push((backend.clone(), *ms));
                    }
                }
            }
            "ValidationMessage" | "ValidationMessages" => {
                let all: Vec<String> = texts().collect();
                self.messages
                    .extend(all.chunks(2).filter(|p| p.len() == 2).map(|p| (p[0].clone(), p[1].clone())));
            }
            _ => {}
        }
    }
}

/// A number from 0 on, decimal or hexadecimal with a binary exponent (`0x1p-3`).
fn number(word: &str) -> Option<f64> {
    let Some(hex) = word.strip_prefix("0x") else {
        return word.parse().ok().filter(|v: &f64| v.is_finite() && *v >= 0.0);
    };
    let (digits, exponent) = hex.split_once('p').unwrap_or((hex, "0"));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let mut value = 0.0_f64;
    for c in whole.chars() {
        value = value * 16.0 + f64::from(c.to_digit(16)?);
    }
    let mut unit = 1.0_f64;
    for c in fraction.chars() {
        unit /= 16.0;
        value += f64::from(c.to_digit(16)?) * unit;
    }
    let exponent: i32 = exponent.parse().ok()?;
    Some(value * 2.0_f64.powi(exponent)).filter(|v| v.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_in_both_notations() {
        assert_eq!(
            [number("0x1p-3"), number("0x1.8p1"), number("6.3110803182750176e-06"), number("0x0p+0")],
            [Some(0.125), Some(3.0), Some(6.311_080_318_275_018e-6), Some(0.0)]
        );
        assert!(
            ["", "0x", "x", "-1", "nan", "0x1p9999", "inf"]
                .iter()
                .all(|w| number(w).is_none_or(|v| v == 0.0))
        );
    }
}
