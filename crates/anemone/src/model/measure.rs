//! Predictions that are measured step by step.

use super::{LoadOptions, Model, chain};
use crate::open::open_loadable;
use crate::{Error, features};
use anemone_exec::{Profiler, Session, StepInfo};
use anemone_model::Features;
use std::path::Path;
use std::time::{Duration, Instant};

/// Steps of one program of a pipeline; the numbers of the next one begin after them.
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
        self.stages.iter_mut().map(|(_, stage)| &mut stage.session)
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
        let single = self.stages.len() == 1;
        let mut at_hand = inputs.clone();
        for (at, (_, stage)) in self.stages.iter_mut().enumerate() {
            let given = if single { inputs.clone() } else { chain::wanted(stage, &at_hand) };
            let taken = features::take(&stage.interface, stage.ports(), &given)?;
            let computed = stage.session.predict_profiled(&taken, &mut Numbered { profiler, stage: at })?;
            let made = features::give(&stage.interface, computed);
            if single {
                return Ok(made);
            }
            made.iter().for_each(|(n, f)| at_hand.insert(n, f.clone()));
        }
        Ok(chain::handed_out(&self.interface, &at_hand))
    }
}
