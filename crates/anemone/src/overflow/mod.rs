//! `verify --find-overflow`: where `fp16` is too small for a program.
//!
//! The program runs twice: as declared, and in `fp32` with a twin beside each op that computes as declared on the
//! operands of the `fp32` run. Three numbers come of it for every op: what its result has lost in all (declared against
//! `fp32`), what it loses by itself (twin against `fp32`), and what it inherits, the difference.

mod advice;
mod range;
mod subjects;
mod twins;

pub use advice::Advice;
pub use range::Range;

pub(crate) use subjects::{Subject, subjects};

use crate::data::Inputs;
use crate::emulate::Emulate;
use crate::run::engine_options;
use crate::{Error, open};
use anemone_exec::{EmulatedOp, Emulation, Precision, Session};
use anemone_mil::ops::Effect;
use anemone_mil::{Function, Level, OpId, Program, ValueId, verify};
use anemone_model::{Features, Predict};
use anemone_tensor::Tensor;
use range::Ranges;
use std::collections::{HashMap, HashSet, VecDeque};
use std::path::Path;
use twins::{Twins, twins};

/// What is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Numbers that are finite in `fp32` become infinite.
    Infinite,
    /// Numbers that are finite in `fp32` become no number.
    NotANumber,
    /// More of the accuracy is lost than allowed.
    Loss,
    /// The model itself makes infinities or no numbers of finite ones, in `fp32` too.
    Model,
}

/// An op at which `fp16` is too small.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Kind of the op.
    pub kind: String,
    /// Name of its result; in a pipeline the stage stands before it, or the number of that: `body/conv_1`.
    pub name: String,
    /// Node of the source model, where the package records it.
    pub source: Option<String>,
    /// What is at fault.
    pub fault: Fault,
    /// What the op loses by itself: the largest error over the largest magnitude, on the operands of the `fp32` run
    /// rounded to their declared types.
    pub own: f64,
    /// What its result has lost in all, in the program as declared.
    pub total: f64,
    /// Its float operands by parameter, in the `fp32` run.
    pub inputs: Vec<(String, Range)>,
    /// Its result in the `fp32` run.
    pub wide: Range,
    /// Its result in the program as declared.
    pub declared: Range,
    /// The rewrite that helps.
    pub advice: Advice,
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Overflow {
    /// Ops at fault, in the order in which they run; the first is where to begin.
    pub findings: Vec<Finding>,
    /// Ops with `fp16` operands or results, all of which were looked at.
    pub ops: usize,
    /// The allowed share.
    pub loss: f64,
}

impl Overflow {
    /// Adds what was found in a program of a pipeline.
    pub(crate) fn add(&mut self, prefix: &str, more: Overflow) {
        let named = |f: Finding| Finding { name: format!("{prefix}{}", f.name), ..f };
        self.findings.extend(more.findings.into_iter().map(named));
        self.ops += more.ops;
    }
}

/// Runs a program in a precision (as declared, or strictly in `fp16`) beside `fp32`, on inputs from files or a seed;
/// states begin as zeros. Of a pipeline, every program is run on what it takes when all run in `fp32`.
///
/// An op is at fault when it makes infinities or no numbers of finite operands, or loses more than the share `loss` of
/// its accuracy by itself: largest error over largest magnitude of its result.
///
/// # Errors
/// When the model or an input does not load, or a prediction fails.
pub fn find_overflow(
    path: &Path,
    function: Option<&str>,
    precision: Precision,
    inputs: &Inputs,
    loss: f64,
) -> Result<Overflow, Error> {
    let mut all = Overflow { findings: Vec::new(), ops: 0, loss };
    for subject in subjects(path, function, inputs).map_err(|e| e.at(path))? {
        let (found, _) = search(&subject, precision, loss, None).map_err(|e| e.at(path))?;
        all.add(&subject.prefix, found);
    }
    Ok(all)
}

/// As [`find_overflow`] on one program; with `emulate`, declared means as a Neural Engine computes it.
pub(crate) fn search(
    subject: &Subject<'_>,
    precision: Precision,
    loss: f64,
    emulate: Option<&Emulate>,
) -> Result<(Overflow, Vec<EmulatedOp>), Error> {
    let verified = || open::verified(&subject.program, subject.function.as_deref());
    let mut declared = verified()?.function().clone();
    precision.apply(&mut declared);
    let program = with_function(&subject.program, &declared);
    let mut emulation = match emulate {
        Some(emulate) => Some(emulate.emulation(verified()?, true)),
        None => None,
    };
    let mut session = load(&program, &declared.name, emulation.as_ref())?;
    let interface = program.interface.function(&declared.name).cloned().unwrap_or_default();
    let given = subject.inputs(&interface, session.inputs())?;
    let mut search = Search::new(&declared, loss, &given);
    observe(&mut session, &given, &mut |n, t| search.see_declared(n, t))?;
    let emulated = session.emulated();
    // Its weights are not needed any more, and the twins have their own.
    drop(session);
    let Twins { function, of } = twins(&declared);
    if let Some(emulation) = &mut emulation {
        let twins = of.iter().filter(|(_, of)| emulation.ops.contains(*of)).map(|(twin, _)| twin.clone());
        (emulation.ops, emulation.measure) = (twins.collect(), false);
    }
    search.pair(&function, of);
    let program = with_function(&subject.program, &function);
    let mut session = load(&program, &declared.name, emulation.as_ref())?;
    observe(&mut session, &given, &mut |n, t| search.see_wide(n, t))?;
    Ok((search.finish(), emulated))
}

fn with_function(program: &Program, function: &Function) -> Program {
    let mut program = program.clone();
    let slot = program.functions.iter_mut().find(|f| f.name == function.name);
    slot.into_iter().for_each(|slot| slot.clone_from(function));
    program
}

fn load(program: &Program, name: &str, emulation: Option<&Emulation>) -> Result<Session, Error> {
    let faults = |e| Error::new(format!("cannot be computed in another precision:\n{e}"));
    let verified = verify(program, Level::Imported).map_err(faults)?;
    let function = verified.function(Some(name)).ok_or_else(|| Error::new("has no function"))?;
    Ok(match emulation {
        Some(emulation) => Session::emulating(function, &engine_options(), emulation)?,
        None => Session::new(function, &engine_options())?,
    })
}

fn observe(
    session: &mut Session,
    inputs: &Features,
    see: &mut dyn FnMut(&str, &Tensor),
) -> Result<(), Error> {
    Ok(session.predict_observed(inputs, see).map(drop)?)
}

/// What is known of a result in the `fp32` run until its twin has been seen.
struct Seen {
    wide: Tensor,
    declared: Option<Tensor>,
    /// True when every operand that is finite in `fp32` is so as declared, in this run and when rounded.
    sound: bool,
}

struct Search<'f> {
    function: &'f Function,
    loss: f64,
    /// The op of each result that may be looked at.
    makers: HashMap<String, OpId>,
    /// Results of the program as declared, those of loops one after the other.
    declared: HashMap<String, VecDeque<Tensor>>,
    /// Names in the `fp32` run to declared ones: results, and twins.
    wide_names: HashMap<String, String>,
    twin_names: HashMap<String, String>,
    waiting: HashMap<String, Seen>,
    wide_ranges: Ranges,
    declared_ranges: Ranges,
    findings: Vec<(OpId, Finding)>,
}

impl<'f> Search<'f> {
    fn new(function: &'f Function, loss: f64, given: &Features) -> Search<'f> {
        let mut makers = HashMap::new();
        for (_, id) in function.walk() {
            let op = function.op(id);
            let pure = op.kind.def().is_some_and(|d| d.effect == Effect::Pure) && op.blocks.is_empty();
            for &v in op.outputs.iter().filter(|_| pure) {
                makers.insert(function.value(v).name.to_string(), id);
            }
        }
        let mut inputs = Ranges::default();
        for (name, tensor) in given.iter().filter_map(|(n, f)| Some((n, f.tensor()?))) {
            inputs.add(name, tensor);
        }
        Search {
            function,
            loss,
            makers,
            declared: HashMap::new(),
            wide_names: HashMap::new(),
            twin_names: HashMap::new(),
            waiting: HashMap::new(),
            declared_ranges: inputs.clone(),
            wide_ranges: inputs,
            findings: Vec::new(),
        }
    }

    fn see_declared(&mut self, name: &str, tensor: &Tensor) {
        if tensor.dtype().is_float() {
            self.declared_ranges.add(name, tensor);
            if self.makers.contains_key(name) {
                self.declared.entry(name.to_owned()).or_default().push_back(tensor.clone());
            }
        }
    }

    /// Takes the names of the function with twins.
    fn pair(&mut self, twins: &Function, of: HashMap<String, String>) {
        for (v, value) in self.function.values() {
            self.wide_names.insert(twins.value(v).name.to_string(), value.name.to_string());
        }
        self.twin_names = of;
    }

    fn see_wide(&mut self, name: &str, tensor: &Tensor) {
        if !tensor.dtype().is_float() {
            return;
        }
        if let Some(of) = self.twin_names.get(name).cloned() {
            if let Some(seen) = self.waiting.remove(&of) {
                self.judge(&of, &seen, tensor);
            }
        } else if let Some(of) = self.wide_names.get(name).cloned() {
            self.wide_ranges.add(&of, tensor);
            let Some(&op) = self.makers.get(&of) else { return };
            let declared = self.declared.get_mut(&of).and_then(VecDeque::pop_front);
            let seen = Seen { wide: tensor.clone(), declared, sound: self.sound(op) };
            self.waiting.insert(of, seen);
        }
    }

    /// True when no operand has been lost before.
    fn sound(&self, op: OpId) -> bool {
        self.function.op(op).operands().all(|v| {
            let value = self.function.value(v);
            let Some(ty) = value.ty.tensor().filter(|t| t.dtype.is_float()) else { return true };
            let (wide, declared) = (self.wide_ranges.of(&value.name), self.declared_ranges.of(&value.name));
            let fits = |r: &Range| {
                r.not_finite > 0 || Tensor::scalar_f64(ty.dtype, r.largest()).f64_at(0).is_finite()
            };
            wide.is_none_or(|w| fits(w) && declared.is_none_or(|d| d.not_finite <= w.not_finite))
        })
    }

    fn judge(&mut self, name: &str, seen: &Seen, own: &Tensor) {
        let Some(&op) = self.makers.get(name) else { return };
        if self.findings.iter().any(|(found, _)| *found == op) {
            return;
        }
        let own_loss = Lost::of(own, &seen.wide);
        let total = seen.declared.as_ref().map_or(own_loss, |d| Lost::of(d, &seen.wide));
        let fault = if seen.sound { self.fault(op, seen, own_loss, total) } else { None };
        if let Some(fault) = fault {
            let declared = seen.declared.as_ref().unwrap_or(own);
            let finding = self.finding(op, name, fault, (own_loss, total), (&seen.wide, declared));
            self.findings.push((op, finding));
        }
    }

    fn fault(&self, op: OpId, seen: &Seen, own: Lost, total: Lost) -> Option<Fault> {
        if own.no_number + total.no_number > 0 {
            return Some(Fault::NotANumber);
        }
        if own.infinite + total.infinite > 0 {
            return Some(Fault::Infinite);
        }
        let made = Range::of(&seen.wide).not_finite > 0;
        if made && self.operands_finite(op) {
            return Some(Fault::Model);
        }
        (own.share > self.loss).then_some(Fault::Loss)
    }

    fn operands_finite(&self, op: OpId) -> bool {
        self.function.op(op).operands().all(|v| self.range(v).is_none_or(|r| r.not_finite == 0))
    }

    /// The range of an operand in the `fp32` run.
    fn range(&self, v: ValueId) -> Option<Range> {
        let value = self.function.value(v);
        value.ty.tensor().filter(|t| t.dtype.is_float())?;
        match value.as_const() {
            Some(c) => c.literal().ok()?.as_tensor().map(Range::of),
            None => self.wide_ranges.of(&value.name).copied(),
        }
    }

    fn finding(
        &self,
        id: OpId,
        name: &str,
        fault: Fault,
        lost: (Lost, Lost),
        results: (&Tensor, &Tensor),
    ) -> Finding {
        let op = self.function.op(id);
        let mut inputs = Vec::new();
        for arg in &op.args {
            for (i, &v) in arg.values.iter().enumerate() {
                let label =
                    if arg.values.len() > 1 { format!("{}[{i}]", arg.param) } else { arg.param.to_string() };
                inputs.extend(self.range(v).map(|r| (label, r)));
            }
        }
        let (kind, wide) = (op.kind.name(), Range::of(results.0));
        Finding {
            kind: kind.to_owned(),
            name: name.to_owned(),
            source: op.origin.source.as_ref().map(ToString::to_string),
            fault,
            own: lost.0.share,
            total: lost.1.share,
            inputs,
            wide,
            declared: Range::of(results.1),
            advice: advice::advice(kind, fault, wide.largest()),
        }
    }

    fn finish(self) -> Overflow {
        let ops: HashSet<OpId> =
            self.twin_names.values().filter_map(|n| self.makers.get(n).copied()).collect();
        let findings = self.findings.into_iter().map(|(_, f)| f).collect();
        Overflow { findings, ops: ops.len(), loss: self.loss }
    }
}

/// How far a result is from that of the `fp32` run.
#[derive(Clone, Copy, Debug, Default)]
struct Lost {
    /// Largest difference over the largest magnitude, where both are finite.
    share: f64,
    /// Elements that are infinite, but not in the `fp32` run.
    infinite: usize,
    /// Elements that are no number, but one in the `fp32` run.
    no_number: usize,
}

impl Lost {
    fn of(actual: &Tensor, wide: &Tensor) -> Lost {
        let mut lost = Lost::default();
        if actual.shape() != wide.shape() {
            return lost;
        }
        let (mut error, mut largest) = (0f64, 0f64);
        for (a, w) in actual.to_f64s().into_iter().zip(wide.to_f64s()) {
            if !w.is_finite() {
                continue;
            }
            largest = largest.max(w.abs());
            if a.is_nan() {
                lost.no_number += 1;
            } else if a.is_infinite() {
                lost.infinite += 1;
            } else {
                error = error.max((a - w).abs());
            }
        }
        lost.share = if largest > 0.0 { error / largest } else { error };
        lost
    }
}
