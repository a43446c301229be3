//! Predictions that are measured step by step.

use super::step::{OnStates, Runner};
use super::{LoadOptions, Model};
use crate::Error;
use crate::open::open_loadable;
use anemone_exec::{Profiler, Session, StepInfo};
use anemone_model::Features;
use std::path::Path;
use std::time::{Duration, Instant};

/// Steps of one stage of a pipeline; the numbers of the next one begin after them.
const STAGE: usize = 1 << 24;

/// Counts the steps of a pipeline through.
struct Numbered<'a> {
    profiler: &'a mut dyn Profiler,
    stage: usize,
}

impl Profiler for Numbered<'_> {
    fn start(&mut self) {
        // Handing tensors on from one program to the next belongs to no step, but to the first one of all.
        if self.stage == 0 {
            self.profiler.start();
        }
    }

    fn step(&mut self, step: usize, describe: &dyn Fn() -> StepInfo) {
        self.profiler.step(self.stage * STAGE + step, describe);
    }
}

impl Runner for Numbered<'_> {
    fn program(&mut self, session: &mut Session, inputs: &Features) -> Result<Features, Error> {
        let computed = session.predict_profiled(inputs, self)?;
        self.stage += 1;
        Ok(computed)
    }

    fn other(
        &mut self,
        work: &mut dyn FnMut() -> Result<Features, Error>,
        describe: &dyn Fn() -> StepInfo,
    ) -> Result<Features, Error> {
        self.start();
        let made = work()?;
        self.step(0, describe);
        self.stage += 1;
        Ok(made)
    }
}

/// Notes what programs take.
struct Recording<'a> {
    states: OnStates<'a>,
    taken: Vec<Features>,
}

impl Runner for Recording<'_> {
    fn program(&mut self, session: &mut Session, inputs: &Features) -> Result<Features, Error> {
        self.taken.push(inputs.clone());
        self.states.program(session, inputs)
    }

    fn other(
        &mut self,
        work: &mut dyn FnMut() -> Result<Features, Error>,
        _: &dyn Fn() -> StepInfo,
    ) -> Result<Features, Error> {
        work()
    }
}

impl Model {
    /// As [`LoadOptions::load`], and says how long opening and how long loading took.
    pub(crate) fn load_timed(
        path: &Path,
        options: LoadOptions,
    ) -> Result<(Model, Duration, Duration), Error> {
        let start = Instant::now();
        let source = open_loadable(path)?;
        let opened = start.elapsed();
        let model = Model::of(source, options).map_err(|e| e.at(path))?;
        Ok((model, opened, start.elapsed() - opened))
    }

    /// The engines of its programs.
    pub(crate) fn sessions(&mut self) -> impl Iterator<Item = &mut Session> {
        self.step.programs_mut().into_iter().map(|stage| &mut stage.session)
    }

    /// What every program takes in one prediction, in order; states begin as zeros.
    ///
    /// # Errors
    /// As [`Model::predict_with_state`].
    pub(crate) fn taken_by_programs(&mut self, inputs: &Features) -> Result<Vec<Features>, Error> {
        let mut state = self.new_state()?;
        let mut recording = Recording { states: OnStates(state.stages.iter_mut()), taken: Vec::new() };
        self.step.predict(inputs, &mut recording)?;
        Ok(recording.taken)
    }

    /// One prediction that tells a profiler of every step. States are those of the engine, which last as long as the
    /// model.
    ///
    /// # Errors
    /// As [`Model::predict_with_state`].
    pub fn predict_profiled(
        &mut self,
        inputs: &Features,
        profiler: &mut dyn Profiler,
    ) -> Result<Features, Error> {
        self.step.predict(inputs, &mut Numbered { profiler, stage: 0 })
    }
}
