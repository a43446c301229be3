//! `fix`: mends what a check finds, and shows what that changed.

use crate::compare::{Difference, Tolerance, compare};
use crate::data::{self, Inputs};
use crate::files::Files;
use crate::{Container, Error, Model, Opened, files, open};
use anemone_ane::Plan;
use anemone_lint::fix::Exactness;
use anemone_lint::{Finding, Fix, LookUp, MendOptions, Rule, Severity, Step, Subject, rules};
use anemone_mil::{Level, Program};
use anemone_model::Features;
use anemone_tensor::{Tensor, num};
use std::path::{Path, PathBuf};

/// What to fix, and for what.
#[derive(Clone, Debug)]
pub struct FixOptions {
    /// Package to write; `None` writes nothing.
    pub output: Option<PathBuf>,
    /// What to mend, and for what.
    pub mend: MendOptions,
    /// Run both models on the same random inputs.
    pub check: bool,
}

/// One function before and after.
#[derive(Clone, Debug)]
pub struct FixedFunction {
    /// Its name.
    pub name: String,
    /// Its plan before.
    pub before: Plan,
    /// Its plan after.
    pub after: Plan,
    /// How far the outputs are apart; `Err` says why they were not compared.
    pub outputs: Result<Vec<Difference>, String>,
}

/// Findings of one rule that are left, and why.
#[derive(Clone, Debug)]
pub struct Left {
    /// The rule.
    pub rule: &'static Rule,
    /// How much it matters.
    pub severity: Severity,
    /// The function.
    pub function: String,
    /// How many places break it.
    pub count: usize,
    /// Why it was not mended.
    pub why: Why,
}

/// Why a finding is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// No fix is automatic; the rule's help says what to do.
    Manual,
    /// The fix moves results, and that was not allowed.
    Rounding,
    /// The user did not ask for this rule.
    NotAsked,
    /// The fix made the plan worse, or a faulty program, and was undone.
    Undone,
    /// The fix does not apply to the places that are left.
    DoesNotApply,
}

/// What fixing did.
#[derive(Clone, Debug)]
pub struct Fixed {
    /// The model.
    pub source: PathBuf,
    /// The package that was written.
    pub output: Option<PathBuf>,
    /// The fixes that were tried, in order.
    pub steps: Vec<Step>,
    /// Every function before and after.
    pub functions: Vec<FixedFunction>,
    /// Findings that are left, notes included.
    pub left: Vec<Left>,
    /// Look-ups that the host does now.
    pub look_ups: Vec<LookUp>,
    /// The file with their tables, by the names of the inputs that take their rows.
    pub tables: Option<PathBuf>,
}

impl Fixed {
    /// How many fixes stand.
    pub fn applied(&self) -> usize {
        self.steps.iter().filter(|s| s.undone.is_none()).count()
    }
}

/// Applies the fixes of the rules that a model breaks, and writes the result as a package.
///
/// Nothing is written when nothing was changed, and nothing is left behind on failure.
///
/// # Errors
/// When the model does not open or is faulty, a rule named does not exist, the output is no `.mlpackage`, or cannot be
/// written; MIL text has no weights to be written.
pub fn fix(source: &Path, options: &FixOptions) -> Result<Fixed, Error> {
    let mend = &options.mend;
    if let Some(name) = mend.rules.iter().chain(&mend.off).find(|n| rules::named(n).is_none()) {
        return Err(Error::new(format!(
            "there is no rule `{name}`; `anemone check --list` shows those there are"
        )));
    }
    let opened = open(source)?;
    if let Some(output) = &options.output {
        check_output(source, output, &opened)?;
    }
    let before = plans(&opened.program, mend).map_err(|e| e.at(source))?;
    let mut program = opened.program.clone();
    let steps = anemone_lint::mend(&mut program, mend);
    let after = plans(&program, mend).map_err(|e| e.at(source))?;
    let left = left(&program, &after, &steps, mend);
    let changed = steps.iter().any(|s| s.undone.is_none());
    let look_ups = anemone_lint::look_ups(&opened.program, &program);
    let fixed = Opened { program, ..opened.clone() };
    let output = options.output.clone().filter(|_| changed);
    let mut tables = None;
    if let Some(output) = &output {
        let staged = stage_tables(&look_ups, output)?;
        write(&fixed, source, output)?;
        tables = staged.finish()?.pop();
    }
    let compared = |name: &str| -> Result<Vec<Difference>, String> {
        match (changed, options.check, opened.container) {
            (false, ..) => Err("nothing was changed".into()),
            (_, false, _) => Err("not asked for".into()),
            (.., Container::Text) => Err("MIL text has no weights to run with".into()),
            _ => outputs(&opened, &fixed, name, &look_ups).map_err(|e| e.to_string()),
        }
    };
    let joined = before.into_iter().zip(after);
    let functions = joined
        .map(|((name, before), (_, after))| FixedFunction { outputs: compared(&name), name, before, after })
        .collect();
    Ok(Fixed { source: source.to_path_buf(), output, steps, functions, left, look_ups, tables })
}

fn check_output(source: &Path, output: &Path, opened: &Opened) -> Result<(), Error> {
    if output.extension().is_none_or(|e| e != "mlpackage") {
        return Err(Error::new("must end in .mlpackage, as Core ML asks").at(output));
    }
    if opened.container == Container::Text {
        let what = "is MIL text, which has no weights to be written; give a package, or ask for --dry-run";
        return Err(Error::new(what).at(source));
    }
    Ok(())
}

/// The plan of every function.
fn plans(program: &Program, mend: &MendOptions) -> Result<Vec<(String, Plan)>, Error> {
    let verified = anemone_mil::verify(program, Level::Imported)
        .map_err(|faults| Error::new(format!("the program has {} faults:\n{faults}", faults.count())))?;
    let one = |f: &anemone_mil::Function| {
        let ticket = verified.function(Some(&f.name))?;
        Some((f.name.to_string(), anemone_ane::plan(ticket, &mend.device, mend.units)))
    };
    Ok(program.functions.iter().filter_map(one).collect())
}

/// What is found after all, rule by rule.
fn left(program: &Program, plans: &[(String, Plan)], steps: &[Step], mend: &MendOptions) -> Vec<Left> {
    let mut left: Vec<Left> = Vec::new();
    for function in &program.functions {
        let Some((name, plan)) = plans.iter().find(|(n, _)| **n == *function.name) else { continue };
        let subject = Subject::new(program, function, plan);
        let off = |rule: &Rule| mend.off.iter().any(|n| n == rule.name);
        let found: Vec<Finding> =
            anemone_lint::check(&subject, |rule| if off(rule) { None } else { Some(rule.severity) });
        for f in found {
            match left.iter_mut().find(|l| l.rule.name == f.rule.name && l.function == *name) {
                Some(known) => known.count += 1,
                None => left.push(Left {
                    rule: f.rule,
                    severity: f.severity,
                    function: name.clone(),
                    count: 1,
                    why: why(f.rule, name, steps, mend),
                }),
            }
        }
    }
    left.sort_by_key(|l| std::cmp::Reverse(l.severity));
    left
}

fn why(rule: &Rule, function: &str, steps: &[Step], mend: &MendOptions) -> Why {
    let undone =
        steps.iter().any(|s| s.rule.name == rule.name && *s.function == *function && s.undone.is_some());
    match rule.fix {
        Fix::Manual => Why::Manual,
        _ if undone => Why::Undone,
        Fix::Automatic(a) if a.exactness != Exactness::Identical && !mend.rounding => Why::Rounding,
        _ if !mend.wants(rule) => Why::NotAsked,
        Fix::Automatic(_) => Why::DoesNotApply,
    }
}

fn write(fixed: &Opened, source: &Path, output: &Path) -> Result<(), Error> {
    let verified = anemone_mil::verify(&fixed.program, Level::Imported).map_err(|faults| {
        Error::new(format!("became a faulty program, please report this:\n{faults}")).at(source)
    })?;
    let mut staging = files::Staging::new(output)?;
    anemone_package::write(verified, &fixed.kept, &mut staging)
        .map_err(|e| Error::from_cause(e).at(output))?;
    staging.finish()
}

/// The tables of look-ups, in a file beside the package that is not in its place yet.
fn stage_tables(look_ups: &[LookUp], output: &Path) -> Result<Files, Error> {
    let mut files = Files::default();
    if look_ups.is_empty() {
        return Ok(files);
    }
    let mut tables: Vec<(String, Tensor)> = Vec::new();
    for l in look_ups.iter().filter(|l| l.function == look_ups[0].function) {
        tables.push((l.rows.clone(), table(l)?));
    }
    data::write_safetensors(&output.with_extension("tables.safetensors"), &tables, &mut files)?;
    Ok(files)
}

fn table(look_up: &LookUp) -> Result<Tensor, Error> {
    let literal = look_up.table.literal().map_err(Error::from_cause)?;
    literal
        .as_tensor()
        .cloned()
        .ok_or_else(|| Error::new(format!("the table of `{}` is no tensor", look_up.rows)))
}

/// The rows of a table that numbers name; negative ones count from its end.
fn rows(look_up: &LookUp, numbers: &Tensor) -> Result<Tensor, Error> {
    let table = table(look_up)?;
    let count = table.shape().first().copied().unwrap_or(0);
    let width = table.bytes().len().checked_div(count).unwrap_or(0);
    let mut bytes = Vec::with_capacity(width.saturating_mul(numbers.len()));
    for n in numbers.to_i64s() {
        let n = if n < 0 { n.saturating_add(num::i64_of(count)) } else { n };
        let at = num::usize_of(n).filter(|&at| at < count).unwrap_or(0);
        bytes.extend_from_slice(&table.bytes()[at * width..(at + 1) * width]);
    }
    let shape: Vec<usize> = numbers.shape().iter().chain(&table.shape()[1..]).copied().collect();
    Tensor::new(table.dtype(), shape, bytes).map_err(Error::from_cause)
}

/// Seed of the random inputs.
const SEED: u64 = 1;

/// Every difference counts.
const EXACT: Tolerance = Tolerance { atol: 0.0, rtol: 0.0 };

/// Runs a function of both models on the same random inputs: those that the fixed one takes.
fn outputs(
    before: &Opened,
    after: &Opened,
    function: &str,
    look_ups: &[LookUp],
) -> Result<Vec<Difference>, Error> {
    let load = |opened: &Opened| Model::options().function(function).load_opened(opened.clone());
    let (mut old, mut new) = (load(before)?, load(after)?);
    let inputs = Inputs { random: Some(SEED), ..Inputs::default() };
    let mut features = data::gather(&inputs, new.interface(), new.ports())?;
    // What the fixed model takes in another form is made of what the old one takes.
    let all = if look_ups.is_empty() {
        Features::new()
    } else {
        data::gather(&inputs, old.interface(), old.ports())?
    };
    for l in look_ups.iter().filter(|l| l.function == function) {
        let numbers = all.tensor(&l.numbers).ok_or_else(|| Error::new("the numbers are no tensor"))?;
        features.insert(l.rows.as_str(), rows(l, numbers)?);
    }
    let mut given = Features::new();
    for port in old.ports() {
        if let Some(feature) = features.find(&port.name).or_else(|| all.find(&port.name)) {
            given.insert(port.name.as_str(), feature.clone());
        }
    }
    let mut state = (old.new_state()?, new.new_state()?);
    let expected =
        old.predict_with_state(&given, &mut state.0).map_err(|e| e.within("the model as it was"))?;
    let found = new.predict_with_state(&features, &mut state.1)?;
    Ok(compare(&found, &expected, EXACT))
}
