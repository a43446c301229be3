//! The interpreter: one op after the other, over whole functions.

use super::lifetime::Lifetimes;
use super::{EvalError, EvalSite};
use crate::ops::{Fault, Site};
use crate::{BlockId, Def, Function, Literal, Name, Op, OpId, Tensor, Type, ValueId};
use std::collections::BTreeMap;
use std::fmt;

/// Iterations over all loops that [`Options`] allow when nothing else is said.
pub const DEFAULT_MAX_STEPS: u64 = 1_000_000;

/// Sees the results of ops.
pub type Observer<'a> = dyn FnMut(ValueId, &Literal) + 'a;

/// How to run.
pub struct Options<'a> {
    /// Iterations allowed over all loops.
    pub max_steps: u64,
    /// Sees every result of every op, in the order in which they are made; values in loops come again and again.
    pub observer: Option<&'a mut Observer<'a>>,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Options { max_steps: DEFAULT_MAX_STEPS, observer: None }
    }
}

impl fmt::Debug for Options<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let observer = self.observer.is_some();
        f.debug_struct("Options").field("max_steps", &self.max_steps).field("observer", &observer).finish()
    }
}

/// Runs a function of a verified program: inputs by name to outputs by name.
///
/// States are read and written in `states`; one that is not there starts as zeros. Where the types of a function
/// leave dims open, the operands at hand decide: an op is inferred again with what it really gets, so that its
/// evaluation sees fixed result types.
///
/// # Errors
/// When an input is missing or has another type, a weight's bytes are missing, an op is foreign or refuses its
/// operands, or loops exceed [`Options::max_steps`].
pub fn run(
    function: &Function,
    inputs: &BTreeMap<Name, Literal>,
    states: &mut BTreeMap<Name, Literal>,
    options: &mut Options<'_>,
) -> Result<BTreeMap<Name, Literal>, EvalError> {
    let lifetimes = Lifetimes::of(function);
    let values = vec![None; function.value_count()];
    let mut run = Run { function, lifetimes, values, states, options, steps: 0 };
    run.bind_inputs(inputs)?;
    run.block(function.body())?;
    let mut outputs = BTreeMap::new();
    for &id in function.outputs() {
        let value = run.value(id).map_err(|fault| no_output(function, id, fault))?;
        outputs.insert(function.value(id).name.clone(), value);
    }
    Ok(outputs)
}

fn no_output(function: &Function, id: ValueId, fault: Fault) -> EvalError {
    let name = function.value(id).name.clone();
    EvalError::Op { kind: "output".into(), name, source: None, fault }
}

struct Run<'a, 's, 'o> {
    function: &'a Function,
    lifetimes: Lifetimes,
    /// Values made so far, by id.
    values: Vec<Option<Literal>>,
    states: &'s mut BTreeMap<Name, Literal>,
    options: &'s mut Options<'o>,
    steps: u64,
}

impl Run<'_, '_, '_> {
    fn bind_inputs(&mut self, inputs: &BTreeMap<Name, Literal>) -> Result<(), EvalError> {
        for &id in &self.function.inputs {
            let value = self.function.value(id);
            let name = value.name.clone();
            if let Type::State(ty) = &value.ty {
                let zeros = || ty.known_shape().and_then(|s| Tensor::zeros(ty.dtype, s).ok());
                let given = self.states.get(&name).cloned().or_else(|| zeros().map(Literal::Tensor));
                let state = bound(&name, given, &Type::Tensor(ty.clone()))?;
                self.states.insert(name, state);
            } else {
                self.values[id.index()] = Some(bound(&name, inputs.get(&name).cloned(), &value.ty)?);
            }
        }
        Ok(())
    }

    fn block(&mut self, id: BlockId) -> Result<(), EvalError> {
        let function = self.function;
        for (i, &op) in function.block(id).ops.iter().enumerate() {
            self.op(op)?;
            for dead in self.lifetimes.dead_after(id, i) {
                self.values[dead.index()] = None;
            }
        }
        Ok(())
    }

    fn op(&mut self, id: OpId) -> Result<(), EvalError> {
        let op = self.function.op(id);
        let fail = |fault| EvalError::op(op, fault);
        let results = match op.kind.name() {
            "cond" => self.cond(op)?,
            "while_loop" => self.while_loop(op)?,
            "read_state" => vec![self.read_state(op).map_err(fail)?],
            "write_state" => self.write_state(op).map_err(fail)?,
            _ => self.compute(&Site::new(self.function, op).map_err(fail)?).map_err(fail)?,
        };
        if results.len() != op.outputs.len() {
            let message = format!("made {} results, but {} are declared", results.len(), op.outputs.len());
            return Err(fail(Fault::new(message)));
        }
        for (&output, result) in op.outputs.iter().zip(results) {
            let declared = &self.function.value(output).ty;
            if !fits(declared, &result.ty()) {
                let message = format!("made {}, but its result is declared {declared}", result.ty());
                return Err(fail(Fault::new(message)));
            }
            if let Some(observer) = &mut self.options.observer {
                observer(output, &result);
            }
            self.values[output.index()] = Some(result);
        }
        Ok(())
    }

    /// Evaluates an op without effects.
    fn compute(&mut self, site: &Site<'_>) -> Result<Vec<Literal>, Fault> {
        let mut values = Vec::with_capacity(site.op.args.len());
        for arg in &site.op.args {
            values.push(arg.values.iter().map(|&v| self.value(v)).collect::<Result<Vec<_>, Fault>>()?);
        }
        evaluate(site.function, site.op, &values)
    }

    fn cond(&mut self, op: &Op) -> Result<Vec<Literal>, EvalError> {
        let fail = |fault| EvalError::op(op, fault);
        let &[yes, no] = op.blocks.as_slice() else { return Err(fail(blocks_missing(op))) };
        let pred = op.value("pred").ok_or_else(|| Fault::arg("pred", "missing", "a bool")).map_err(fail)?;
        let taken = if self.truth(pred).map_err(fail)? { yes } else { no };
        self.block(taken)?;
        self.outputs(taken).map_err(fail)
    }

    /// Blocks: condition and body; both take the loop variables, the body hands out their next values.
    fn while_loop(&mut self, op: &Op) -> Result<Vec<Literal>, EvalError> {
        let fail = |fault| EvalError::op(op, fault);
        let &[cond, body] = op.blocks.as_slice() else { return Err(fail(blocks_missing(op))) };
        let start: Result<Vec<Literal>, Fault> =
            op.values("loop_vars").iter().map(|&v| self.value(v)).collect();
        let mut vars = start.map_err(fail)?;
        loop {
            self.bind_block(cond, &vars);
            self.block(cond)?;
            let go_on = self.function.block(cond).outputs.first().copied();
            let go_on = go_on.ok_or_else(|| fail(Fault::new("the condition block hands out nothing")))?;
            if !self.truth(go_on).map_err(fail)? {
                return Ok(vars);
            }
            self.steps += 1;
            if self.steps > self.options.max_steps {
                return Err(EvalError::StepLimit { name: op.name.clone(), limit: self.options.max_steps });
            }
            self.bind_block(body, &vars);
            self.block(body)?;
            vars = self.outputs(body).map_err(fail)?;
        }
    }

    fn bind_block(&mut self, block: BlockId, vars: &[Literal]) {
        for (&input, value) in self.function.block(block).inputs.iter().zip(vars) {
            self.values[input.index()] = Some(value.clone());
        }
    }

    fn outputs(&mut self, block: BlockId) -> Result<Vec<Literal>, Fault> {
        let function = self.function;
        function.block(block).outputs.iter().map(|&v| self.value(v)).collect()
    }

    fn truth(&mut self, id: ValueId) -> Result<bool, Fault> {
        let value = self.value(id)?;
        let scalar = value.as_tensor().filter(|t| t.len() == 1).map(|t| t.i64_at(0) != 0);
        scalar.ok_or_else(|| Fault::new(format!("the condition is {}, but must be one bool", value.ty())))
    }

    fn read_state(&mut self, op: &Op) -> Result<Literal, Fault> {
        let name = self.state_name(op)?;
        self.states
            .get(&name)
            .cloned()
            .ok_or_else(|| Fault::arg("input", format!("`{name}`"), "a state that exists"))
    }

    fn write_state(&mut self, op: &Op) -> Result<Vec<Literal>, Fault> {
        let name = self.state_name(op)?;
        let data = op.value("data").ok_or_else(|| Fault::arg("data", "missing", "a tensor"))?;
        let data = self.value(data)?;
        let held = self.states.get(&name).map(Literal::ty);
        if held.as_ref() != Some(&data.ty()) {
            let held = held.map_or("a state that exists".into(), |t| t.to_string());
            return Err(Fault::arg("data", data.ty(), held));
        }
        self.states.insert(name, data);
        Ok(Vec::new())
    }

    fn state_name(&self, op: &Op) -> Result<Name, Fault> {
        let state = op.value("input").map(|v| self.function.value(v));
        let state = state.filter(|v| matches!(v.ty, Type::State(_)));
        state.map(|v| v.name.clone()).ok_or_else(|| Fault::arg("input", "missing or no state", "a state"))
    }

    /// A value that has been made; constants are made when they are first asked for.
    fn value(&mut self, id: ValueId) -> Result<Literal, Fault> {
        if let Some(value) = &self.values[id.index()] {
            return Ok(value.clone());
        }
        let value = self.function.value(id);
        let Def::Const(constant) = &value.def else {
            return Err(Fault::new(format!("value `{}` has not been computed", value.name)));
        };
        let no_bytes = |e| Fault::new(format!("the bytes of constant `{}` are not at hand: {e}", value.name));
        let literal = constant.literal().map_err(no_bytes)?;
        self.values[id.index()] = Some(literal.clone());
        Ok(literal)
    }
}

fn bound(name: &Name, given: Option<Literal>, ty: &Type) -> Result<Literal, EvalError> {
    let fail = |message: String| EvalError::Input { name: name.clone(), message };
    let given = given.ok_or_else(|| fail(format!("is not given; it is {ty}")))?;
    let actual = given.ty();
    if ty.compatible(&actual) { Ok(given) } else { Err(fail(format!("is {actual}, but must be {ty}"))) }
}

/// True when a result may have its declared type: a list grows, its declared length is that at first.
fn fits(declared: &Type, actual: &Type) -> bool {
    match (declared, actual) {
        (Type::List { elem: a, .. }, Type::List { elem: b, .. }) => fits(a, b),
        _ => declared.compatible(actual),
    }
}

fn blocks_missing(op: &Op) -> Fault {
    Fault::new(format!("has {} nested blocks, but must have 2", op.blocks.len()))
}

/// Evaluates one op without effects and without nested blocks on the given operands, in the order of its arguments.
///
/// Where types of the function leave dims open, the op is inferred again with the operands at hand.
///
/// # Errors
/// When the op is foreign, needs the function around it, or refuses its operands.
pub fn evaluate(function: &Function, op: &Op, values: &[Vec<Literal>]) -> Result<Vec<Literal>, Fault> {
    if is_fixed(function, op) {
        let site = Site::new(function, op)?;
        return site.def.evaluate(&EvalSite { site, values });
    }
    let (function, id) = refined(function, op, values)?;
    let site = Site::new(&function, function.op(id))?;
    site.def.evaluate(&EvalSite { site, values })
}

/// True when the types of all operands and results are fixed.
fn is_fixed(function: &Function, op: &Op) -> bool {
    let known = |v: ValueId| match &function.value(v).ty {
        Type::Tensor(t) => t.known_shape().is_some(),
        _ => false,
    };
    op.operands().all(known) && op.outputs.iter().copied().all(known)
}

/// The op alone in a function of its own, its operands constants of the values at hand, its results inferred anew.
fn refined(function: &Function, op: &Op, values: &[Vec<Literal>]) -> Result<(Function, OpId), Fault> {
    let mut alone = Function::new(function.name.clone(), function.opset);
    let mut copy = op.clone();
    for (arg, literals) in copy.args.iter_mut().zip(values) {
        for (slot, literal) in arg.values.iter_mut().zip(literals) {
            *slot = alone.add_const(function.value(*slot).name.clone(), literal.clone());
        }
    }
    let declared = op.outputs.iter().map(|&v| function.value(v).ty.clone());
    let types = match Site::new(&alone, &copy)?.infer() {
        Ok(types) if types.len() == op.outputs.len() => types,
        _ => declared.collect(),
    };
    let names = op.outputs.iter().map(|&v| function.value(v).name.clone());
    let id = alone.append(alone.body(), copy, names.zip(types).collect());
    Ok((alone, id))
}
