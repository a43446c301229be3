//! How a model is loaded.

use super::Model;
use crate::open::{Loadable, open_loadable};
use crate::{Emulate, Error, Opened};
use anemone_exec::{DEFAULT_MAX_STEPS, DEFAULT_MEMORY_LIMIT, DEFAULT_PLANS, Precision};
use std::path::Path;

/// How to load and run a model: `Model::options().threads(2).load("a.mlpackage")`.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    pub(super) function: Option<String>,
    pub(super) threads: usize,
    pub(super) precision: Precision,
    pub(super) max_steps: u64,
    pub(super) max_bytes: u64,
    pub(super) plans: usize,
    pub(super) emulate: Option<Emulate>,
}

impl Default for LoadOptions {
    fn default() -> LoadOptions {
        LoadOptions {
            function: None,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            precision: Precision::Declared,
            max_steps: DEFAULT_MAX_STEPS,
            max_bytes: DEFAULT_MEMORY_LIMIT,
            plans: DEFAULT_PLANS,
            emulate: None,
        }
    }
}

impl LoadOptions {
    /// The function to run; the package's default one when nothing is said.
    #[must_use]
    pub fn function(mut self, name: impl Into<String>) -> LoadOptions {
        self.function = Some(name.into());
        self
    }

    /// Threads that share the work, at least 1; as many as the machine runs at once when nothing is said.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> LoadOptions {
        self.threads = threads.max(1);
        self
    }

    /// Which numbers it computes with; those that the program declares when nothing is said.
    #[must_use]
    pub fn precision(mut self, precision: Precision) -> LoadOptions {
        self.precision = precision;
        self
    }

    /// Computes ops as a Neural Engine does; needs the precision that the program declares.
    #[must_use]
    pub fn emulate(mut self, emulate: Emulate) -> LoadOptions {
        self.emulate = Some(emulate);
        self
    }

    /// Iterations that all loops of one prediction may make together; a million when nothing is said.
    #[must_use]
    pub fn max_steps(mut self, steps: u64) -> LoadOptions {
        self.max_steps = steps;
        self
    }

    /// Bytes that the tensors of one prediction may take, weights and inputs not counted; 16 GiB when nothing is said.
    #[must_use]
    pub fn max_bytes(mut self, bytes: u64) -> LoadOptions {
        self.max_bytes = bytes;
        self
    }

    /// Plans that are kept for models of flexible shape, one for each set of input shapes: 8 when nothing is
    /// said, at least 1. Each holds packed weights of its own; the one that was used longest ago goes first.
    #[must_use]
    pub fn plans(mut self, plans: usize) -> LoadOptions {
        self.plans = plans.max(1);
        self
    }

    /// Loads a model.
    ///
    /// # Errors
    /// When nothing that can be run is at `path`, it is faulty or has no such function.
    pub fn load(self, path: impl AsRef<Path>) -> Result<Model, Error> {
        let path = path.as_ref();
        let loadable = open_loadable(path)?;
        Model::of(loadable, self).map_err(|e| e.at(path))
    }

    /// Loads a model that is open already.
    ///
    /// # Errors
    /// When it is faulty or has no such function.
    pub fn load_opened(self, opened: Opened) -> Result<Model, Error> {
        Model::of(Loadable::Program(Box::new(opened)), self)
    }

    /// What the engine takes of it.
    pub(crate) fn engine(&self) -> anemone_exec::Options {
        anemone_exec::Options {
            threads: self.threads,
            precision: self.precision,
            max_steps: self.max_steps,
            memory_limit: self.max_bytes,
            plans: self.plans,
        }
    }
}
