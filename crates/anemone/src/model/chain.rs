//! Pipelines: models that run one after the other, joined by the names of their features.

use super::LoadOptions;
use super::step::{Runner, Step};
use crate::open::no_function;
use crate::{Error, ErrorKind, features};
use anemone_mil::interface::{Feature as Described, FeatureKind, FunctionInterface};
use anemone_model::{Features, Port};
use anemone_package::Pipeline;
use anemone_tensor::Tensor;
use std::collections::HashMap;

/// A pipeline that is loaded.
#[derive(Debug)]
pub(super) struct Chain {
    /// What the whole takes and gives.
    pub interface: FunctionInterface,
    /// The tensors that its inputs are.
    pub ports: Vec<Port>,
    /// Its stages with their names, in order.
    pub steps: Vec<(String, Step)>,
}

impl Chain {
    pub fn load(pipeline: &Pipeline, function: Option<&str>, options: &LoadOptions) -> Result<Chain, Error> {
        let described = &pipeline.interface.functions;
        let found = described.iter().find(|f| function.is_none_or(|name| f.name == name));
        let names = described.iter().map(|f| f.name.as_str());
        let mut interface = found.ok_or_else(|| no_function(function, names))?.clone();
        features::check_inputs("a pipeline of ML programs", &interface)?;
        let mut steps = Vec::with_capacity(pipeline.stages.len());
        for (at, stage) in pipeline.stages.iter().enumerate() {
            let step = Step::load(&stage.model, options);
            steps.push((stage.name.clone(), step.map_err(|e| e.within(&place(at, &stage.name)))?));
        }
        check(&interface, &steps)?;
        let ports = ports(&interface, &steps);
        for input in &mut interface.inputs {
            let mut takers = takers(&steps, &input.name).peekable();
            let lacks = takers.peek().is_some() && takers.all(|s| s.may_lack(&input.name));
            input.optional |= lacks;
        }
        Ok(Chain { interface, ports, steps })
    }

    /// As [`Step::may_lack`].
    pub fn may_lack(&self, input: &str) -> bool {
        let mut takers = takers(&self.steps, input).peekable();
        takers.peek().is_some() && takers.all(|s| s.may_lack(input))
    }

    /// One prediction on features as the interface describes them.
    pub fn predict(&mut self, inputs: &Features, runner: &mut dyn Runner) -> Result<Features, Error> {
        features::check_names(&self.interface, &self.ports, inputs)?;
        let mut at_hand = inputs.clone();
        for port in self.ports.iter().filter(|p| inputs.find(&p.name).is_none()) {
            if let Some(default) = self.default_of(port)? {
                at_hand.insert(port.name.as_str(), default);
            }
        }
        for (at, (name, step)) in self.steps.iter_mut().enumerate() {
            let takes = |name: &str| step.ports().iter().any(|p| p.name == name);
            let taken = at_hand.iter().filter(|(n, _)| takes(n)).map(|(n, f)| (n, f.clone())).collect();
            let made = step.predict(&taken, runner).map_err(|e| e.within(&place(at, name)))?;
            made.iter().for_each(|(n, f)| at_hand.insert(n, f.clone()));
        }
        let one = |name: &str| at_hand.find(name).map(|f| (name.to_owned(), f.clone()));
        Ok(self.interface.outputs.iter().filter_map(|o| one(&o.name)).collect())
    }

    /// The value of an input that is left out, where stages do not have one of their own for it.
    fn default_of(&self, port: &Port) -> Result<Option<Tensor>, Error> {
        let Some(described) = self.interface.inputs.iter().find(|f| f.name == port.name) else {
            return Ok(None);
        };
        let optional = |s: &Step| s.interface().inputs.iter().any(|f| f.name == port.name && f.optional);
        let own = matches!(&described.kind, FeatureKind::MultiArray(a) if a.default.is_some());
        if !own && takers(&self.steps, &port.name).all(optional) {
            return Ok(None);
        }
        features::left_out(described, port)
    }
}

/// Name of a stage in errors.
fn place(at: usize, name: &str) -> String {
    if name.is_empty() {
        format!("stage {at} of the pipeline")
    } else {
        format!("stage {at} \"{name}\" of the pipeline")
    }
}

/// The steps that take a feature of that name from the outside.
fn takers<'a>(steps: &'a [(String, Step)], input: &'a str) -> impl Iterator<Item = &'a Step> {
    steps.iter().map(|(_, s)| s).filter(move |s| s.ports().iter().any(|p| p.name == input))
}

/// Checks that every feature that a stage or the caller needs is made before, and is of a kind that the stage takes.
///
/// # Errors
/// When one is not, with its name.
fn check(interface: &FunctionInterface, steps: &[(String, Step)]) -> Result<(), Error> {
    let fail = |kind: ErrorKind, what: String| Err(Error::new(what).of_kind(kind));
    let mut made: HashMap<&str, &Described> = interface.inputs.iter().map(|f| (f.name.as_str(), f)).collect();
    for (at, (name, step)) in steps.iter().enumerate() {
        let place = place(at, name);
        for input in &step.interface().inputs {
            match made.get(input.name.as_str()).map(|f| (*f, features::no_tensor(&f.kind))) {
                Some((_, None)) => {}
                Some((_, Some(kind))) => {
                    let what = format!(
                        "{place} takes `{}`, which is {kind}, but stages take tensors, pictures and numbers only; give \
                         it the tensor that this was made of",
                        input.name
                    );
                    return fail(ErrorKind::Unsupported, what);
                }
                None if input.optional || step.may_lack(&input.name) => {}
                None => {
                    let name = &input.name;
                    let what = format!("{place} needs `{name}`, which no stage before it and no input gives");
                    return fail(ErrorKind::Malformed, what);
                }
            }
        }
        made.extend(step.interface().outputs.iter().map(|f| (f.name.as_str(), f)));
    }
    match interface.outputs.iter().find(|o| !made.contains_key(o.name.as_str())) {
        Some(missing) => {
            let what = format!("the pipeline has output `{}`, which none of its stages makes", missing.name);
            fail(ErrorKind::Malformed, what)
        }
        None => Ok(()),
    }
}

/// The tensors that the inputs of the whole become where they are first taken.
fn ports(interface: &FunctionInterface, steps: &[(String, Step)]) -> Vec<Port> {
    let taken = |name: &str| steps.iter().flat_map(|(_, s)| s.ports()).find(|p| p.name == name).cloned();
    interface.inputs.iter().filter_map(|f| taken(&f.name).or_else(|| features::untaken(f))).collect()
}
