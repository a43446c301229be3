//! The verifier: every fault of a program at once, and the ticket that later stages ask for.

mod constant;
mod diagnostics;
mod interface;
mod legal;
mod names;
mod signature;
mod structure;

pub use diagnostics::{Diagnostic, Diagnostics};

use crate::{Function, Op, Opset, Program, text};
use std::collections::HashSet;
use std::ops::Deref;

/// Deepest nesting of blocks that a verified function has.
pub const MAX_DEPTH: usize = text::MAX_DEPTH;

/// How much is asked of a program; each level asks for everything that the ones before ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// As a reader or importer leaves it: well formed, typed, with symbolic dims and ops that the table lacks.
    Imported,
    /// Every op is in the op table.
    Canonical,
    /// Everything exists in this op set, and no dim is symbolic: what a writer needs.
    Legal(Opset),
}

/// A program that passed [`verify`]; no later stage panics on it.
#[derive(Clone, Copy, Debug)]
pub struct Verified<'a> {
    program: &'a Program,
    level: Level,
}

impl<'a> Verified<'a> {
    /// The program, for as long as it is borrowed.
    pub fn program(&self) -> &'a Program {
        self.program
    }

    /// The level that was asked for.
    pub fn level(&self) -> Level {
        self.level
    }
}

impl<'a> Verified<'a> {
    /// The function of that name, or the one that runs when none is named.
    pub fn function(&self, name: Option<&str>) -> Option<VerifiedFunction<'a>> {
        let found = match name {
            Some(name) => self.program.function(name),
            None => self.program.default_function(),
        };
        found.map(VerifiedFunction)
    }
}

/// A function of a program that passed [`verify`]: what planners and engines ask for.
#[derive(Clone, Copy, Debug)]
pub struct VerifiedFunction<'a>(&'a Function);

impl<'a> VerifiedFunction<'a> {
    /// The function, for as long as its program is borrowed.
    pub fn function(&self) -> &'a Function {
        self.0
    }
}

impl Deref for VerifiedFunction<'_> {
    type Target = Function;

    fn deref(&self) -> &Function {
        self.0
    }
}

impl Deref for Verified<'_> {
    type Target = Program;

    fn deref(&self) -> &Program {
        self.program
    }
}

/// Checks a whole program: structure, names, constants, signatures, types, interface.
///
/// # Errors
/// All faults, function by function in program order. A function whose arenas contradict each other is checked no
/// further.
pub fn verify(program: &Program, level: Level) -> Result<Verified<'_>, Diagnostics> {
    let mut found = Diagnostics::default();
    let mut names = HashSet::new();
    if program.functions.is_empty() {
        found.push(Diagnostic::of_program("the program has no function; give it one"));
    }
    for message in names::key_faults(&program.attributes) {
        found.push(Diagnostic::of_program(message));
    }
    for function in &program.functions {
        let mut check = Check { function, level, found: &mut found };
        if !names.insert(&function.name) {
            check.fault("another function has the same name; rename one");
        }
        check.function();
    }
    interface::check(program, &mut found);
    if found.is_empty() { Ok(Verified { program, level }) } else { Err(found) }
}

/// Checks one op that stands in a function: arguments, element types, nested blocks, types of results.
///
/// # Errors
/// All faults of the op.
pub fn verify_op(function: &Function, op: &Op, level: Level) -> Result<(), Diagnostics> {
    let mut found = Diagnostics::default();
    Check { function, level, found: &mut found }.signature(op);
    if found.is_empty() { Ok(()) } else { Err(found) }
}

/// One function under examination.
struct Check<'a, 'd> {
    function: &'a Function,
    level: Level,
    found: &'d mut Diagnostics,
}

impl<'a> Check<'a, '_> {
    fn function(&mut self) {
        if !text::is_identifier(&self.function.name) {
            self.fault("the function's name is no MIL identifier ([A-Za-z_][A-Za-z0-9_@]*)");
        }
        if !self.structure() {
            return;
        }
        self.names();
        self.keys();
        self.constants();
        let function: &'a Function = self.function;
        for (_, id) in function.walk() {
            self.signature(function.op(id));
        }
        if let Level::Legal(opset) = self.level {
            self.legal(opset);
        }
    }

    /// A fault of the function as a whole.
    fn fault(&mut self, message: impl Into<String>) {
        self.found.push(Diagnostic::of_function(&self.function.name, message));
    }

    /// A fault of one op.
    fn op_fault(&mut self, op: &Op, fault: crate::ops::Fault) {
        self.found.push(Diagnostic::of_op(&self.function.name, op, fault));
    }
}
