//! What a model is made of: a program, non-maximum suppression, or a pipeline of such.

use super::chain::Chain;
use super::suppress::Suppress;
use super::{LoadOptions, Stage};
use crate::{Error, features};
use anemone_exec::{Session, State, StepInfo};
use anemone_mil::interface::FunctionInterface;
use anemone_model::{Features, Port};
use anemone_package::StageModel;

/// A model, or one stage of a pipeline.
#[derive(Debug)]
pub(super) enum Step {
    Program(Box<Stage>),
    Suppress(Box<Suppress>),
    Chain(Box<Chain>),
}

/// How programs are run: on which states, and who is told.
pub(super) trait Runner {
    /// Runs the next program.
    fn program(&mut self, session: &mut Session, inputs: &Features) -> Result<Features, Error>;

    /// Does what no program does, as one step.
    fn other(
        &mut self,
        work: &mut dyn FnMut() -> Result<Features, Error>,
        describe: &dyn Fn() -> StepInfo,
    ) -> Result<Features, Error>;
}

/// Runs programs on states, one for each of them in order.
pub(super) struct OnStates<'a>(pub std::slice::IterMut<'a, State>);

impl Runner for OnStates<'_> {
    fn program(&mut self, session: &mut Session, inputs: &Features) -> Result<Features, Error> {
        Ok(session.run(inputs, self.0.next())?)
    }

    fn other(
        &mut self,
        work: &mut dyn FnMut() -> Result<Features, Error>,
        _: &dyn Fn() -> StepInfo,
    ) -> Result<Features, Error> {
        work()
    }
}

impl Step {
    pub fn load(model: &StageModel, options: &LoadOptions) -> Result<Step, Error> {
        Ok(match model {
            StageModel::Program(program) => Step::Program(Box::new(Stage::load(program, None, options)?)),
            StageModel::Pipeline(pipeline) => Step::Chain(Box::new(Chain::load(pipeline, None, options)?)),
            StageModel::Suppression(suppression) => {
                Step::Suppress(Box::new(Suppress::new(suppression, options.max_bytes)))
            }
        })
    }

    /// What it takes and gives, as its package describes it.
    pub fn interface(&self) -> &FunctionInterface {
        match self {
            Step::Program(stage) => &stage.interface,
            Step::Suppress(suppress) => suppress.interface(),
            Step::Chain(chain) => &chain.interface,
        }
    }

    /// The tensors that it takes.
    pub fn ports(&self) -> &[Port] {
        match self {
            Step::Program(stage) => stage.ports(),
            Step::Suppress(suppress) => suppress.ports(),
            Step::Chain(chain) => &chain.ports,
        }
    }

    /// True when an input may be left out, whatever the description says: it has a default inside.
    pub fn may_lack(&self, input: &str) -> bool {
        match self {
            Step::Program(_) => false,
            Step::Suppress(suppress) => suppress.is_threshold(input),
            Step::Chain(chain) => chain.may_lack(input),
        }
    }

    /// The last suppression in it.
    pub fn suppression(&self) -> Option<&Suppress> {
        match self {
            Step::Program(_) => None,
            Step::Suppress(suppress) => Some(suppress),
            Step::Chain(chain) => chain.steps.iter().rev().find_map(|(_, s)| s.suppression()),
        }
    }

    /// The programs in it, in order.
    pub fn programs(&self) -> Vec<&Stage> {
        match self {
            Step::Program(stage) => vec![stage],
            Step::Suppress(_) => Vec::new(),
            Step::Chain(chain) => chain.steps.iter().flat_map(|(_, s)| s.programs()).collect(),
        }
    }

    /// As [`Step::programs`], to change.
    pub fn programs_mut(&mut self) -> Vec<&mut Stage> {
        match self {
            Step::Program(stage) => vec![stage],
            Step::Suppress(_) => Vec::new(),
            Step::Chain(chain) => chain.steps.iter_mut().flat_map(|(_, s)| s.programs_mut()).collect(),
        }
    }

    /// One prediction on features as the interface describes them.
    pub fn predict(&mut self, inputs: &Features, runner: &mut dyn Runner) -> Result<Features, Error> {
        match self {
            Step::Program(stage) => {
                let taken = features::take(&stage.interface, stage.ports(), inputs)?;
                let computed = runner.program(&mut stage.session, &taken)?;
                Ok(features::give(&stage.interface, computed))
            }
            Step::Suppress(suppress) => {
                let absent = |p: &&Port| suppress.is_threshold(&p.name) && inputs.find(&p.name).is_none();
                let ports: Vec<Port> = suppress.ports().iter().filter(|p| !absent(p)).cloned().collect();
                let given = features::take(suppress.interface(), &ports, inputs)?;
                runner.other(&mut || suppress.predict(&given), &|| suppress.describe())
            }
            Step::Chain(chain) => chain.predict(inputs, runner),
        }
    }
}
