//! Golden files: programs before and after passes, one named test per file.
//!
//! A file holds a header, MIL text, a separator, and what comes out:
//!
//! ```text
//! // pass: fuse_relu6
//! program(1.0)
//! { .. }
//! // ----
//! program(1.0)
//! { .. }
//! // miss "y": the bounds are 0 and 5, not 0 and 6
//! ```
//! `// unchanged` stands for a program that comes out as it went in. The header may name several passes, separated by
//! commas, and may say `// floats: lo..hi` or `// ints: lo..hi` for the range of random inputs.
//! Besides comparing texts, the runner asks of every file that the programs verify before and after, that inputs and
//! outputs keep names and types, that a second run changes nothing, and that both programs compute the same.

mod diff;
mod numerics;
mod suite;

pub use diff::unified;
pub(crate) use numerics::Random;
pub use numerics::{Ranges, compare, random_inputs};
pub use suite::Suite;

use anemone_mil::text::{Dialect, PrintOptions, parse, print};
use anemone_mil::{Const, Def, Function, Level, Program, Type, difference, verify};

/// Line between input and output.
const SEPARATOR: &str = "// ----";
/// Output of a pass that does nothing.
const UNCHANGED: &str = "// unchanged";
/// Weights with at most this many elements are printed as numbers.
const PRINTED: usize = 1 << 10;

/// What a pass did to a program.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// How many ops it changed.
    pub changed: usize,
    /// What it looked at in vain: name of the op and reason.
    pub misses: Vec<(String, String)>,
    /// True when results must be the same to the last bit.
    pub exact: bool,
}

/// Runs the pass of a name on a program; `None` when there is no such pass.
pub type Transform<'a> = dyn Fn(&str, &mut Program) -> Option<Outcome> + 'a;

/// The parts of a golden file.
struct File<'t> {
    header: Vec<&'t str>,
    input: &'t str,
}

impl<'t> File<'t> {
    fn split(text: &'t str) -> File<'t> {
        let (before, _) = text.split_once(SEPARATOR).unwrap_or((text, ""));
        let lines = before.split_inclusive('\n').take_while(|l| l.trim_start().starts_with("//"));
        let length = lines.map(str::len).sum();
        let (header, input) = before.split_at(length);
        File { header: header.lines().collect(), input: input.trim_end() }
    }

    fn field(&self, keys: &[&str]) -> Option<&'t str> {
        let value = |line: &'t str| {
            let (key, value) = line.trim_start_matches('/').trim().split_once(':')?;
            keys.contains(&key.trim()).then(|| value.trim())
        };
        self.header.iter().find_map(|line| value(line))
    }

    fn passes(&self) -> Result<Vec<&'t str>, String> {
        let names =
            self.field(&["pass", "passes"]).ok_or("the header does not name a pass: `// pass: name`")?;
        Ok(names.split(',').map(str::trim).collect())
    }
}

/// Runs a golden file: gives the whole text as it should be.
///
/// # Errors
/// When it cannot be run, or a program breaks a promise; the first reason.
pub fn render(name: &str, text: &str, transform: &Transform<'_>) -> Result<String, String> {
    let file = File::split(text);
    let mut before =
        parse(file.input, &|_, _, _| None).map_err(|e| format!("the input does not parse: {e}"))?;
    for function in &mut before.functions {
        print_numbers(function);
    }
    check("the input", &before)?;
    let mut after = before.clone();
    let mut out = Outcome { exact: true, ..Outcome::default() };
    let passes = file.passes()?;
    for pass in &passes {
        let here = transform(pass, &mut after).ok_or_else(|| format!("there is no pass `{pass}`"))?;
        check(&format!("what {pass} leaves"), &after)?;
        out.changed += here.changed;
        out.exact &= here.exact;
        out.misses = here.misses;
    }
    after.functions.iter_mut().for_each(print_numbers);
    same_ports(&before, &after)?;
    settled(&passes, &after, transform)?;
    let ranges = Ranges::read(file.field(&["floats"]), file.field(&["ints"]))?;
    for (a, b) in before.functions.iter().zip(&after.functions) {
        compare(a, b, out.exact, name, ranges)?;
    }
    let printed = print(&after, &options());
    let again = parse(&printed, &|_, _, _| None).map_err(|e| format!("the output does not parse: {e}"))?;
    if let Some(what) = difference(&again, &after) {
        return Err(format!("the output does not survive printing and parsing: {what}"));
    }
    let same = print(&before, &options()) == printed;
    if same != (out.changed == 0) {
        return Err(format!(
            "{} changes are reported, but the text is {}",
            out.changed,
            if same { "the same" } else { "another" }
        ));
    }
    let mut lines: Vec<String> = file.header.iter().map(ToString::to_string).collect();
    lines.extend([file.input.to_owned(), SEPARATOR.to_owned()]);
    lines.push(if same { UNCHANGED.to_owned() } else { printed });
    lines.extend(out.misses.iter().map(|(op, why)| format!("// miss \"{op}\": {why}")));
    Ok(lines.join("\n") + "\n")
}

/// The shorter dialect, whatever the op set.
fn options() -> PrintOptions {
    PrintOptions { dialect: Some(Dialect::V1_3), ..PrintOptions::default() }
}

fn check(what: &str, program: &Program) -> Result<(), String> {
    verify(program, Level::Canonical).map(drop).map_err(|faults| format!("{what} does not verify:\n{faults}"))
}

/// Turns small weights whose bytes are at hand into literals, so that the text holds all of the program.
fn print_numbers(function: &mut Function) {
    let ids: Vec<_> = function.values().map(|(id, _)| id).collect();
    for id in ids {
        let literal = match function.constant(id) {
            Some(Const::Weight(w)) if w.is_available() && w.shape.iter().product::<usize>() <= PRINTED => {
                function.constant(id).and_then(|c| c.literal().ok())
            }
            _ => None,
        };
        if let Some(literal) = literal {
            function.value_mut(id).def = Def::Const(Const::Literal(literal));
        }
    }
}

/// Inputs and outputs keep names, types and order.
fn same_ports(before: &Program, after: &Program) -> Result<(), String> {
    let ports = |f: &Function, ids: &[anemone_mil::ValueId]| -> Vec<(String, Type)> {
        ids.iter().map(|&v| (f.value(v).name.to_string(), f.value(v).ty.clone())).collect()
    };
    for (a, b) in before.functions.iter().zip(&after.functions) {
        for (what, was, is) in [
            ("inputs", ports(a, &a.inputs), ports(b, &b.inputs)),
            ("outputs", ports(a, a.outputs()), ports(b, b.outputs())),
        ] {
            if was != is {
                return Err(format!("{what} of {} were {was:?}, but are {is:?}", a.name));
            }
        }
    }
    Ok(())
}

/// A second run changes nothing.
fn settled(passes: &[&str], after: &Program, transform: &Transform<'_>) -> Result<(), String> {
    let mut again = after.clone();
    for pass in passes {
        let here = transform(pass, &mut again).ok_or_else(|| format!("there is no pass `{pass}`"))?;
        if here.changed > 0 {
            let text = print(&again, &options());
            return Err(format!("a second run of {pass} changes {} ops:\n{text}", here.changed));
        }
    }
    Ok(())
}
