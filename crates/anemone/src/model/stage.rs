//! One program of a model, loaded into the engine.

use super::LoadOptions;
use crate::open::verified;
use crate::{Error, ErrorKind, features};
use anemone_exec::Session;
use anemone_mil::interface::FunctionInterface;
use anemone_mil::{Function, Program};
use anemone_model::{Port, Predict};

/// One function of a program: the whole model, or one step of a pipeline.
#[derive(Debug)]
pub(super) struct Stage {
    pub interface: FunctionInterface,
    pub session: Session,
}

impl Stage {
    pub fn load(program: &Program, function: Option<&str>, options: &LoadOptions) -> Result<Stage, Error> {
        let verified = verified(program, function)?;
        let function = verified.function();
        check_known(function)?;
        let interface = program.interface.function(&function.name).cloned().unwrap_or_default();
        features::check_inputs("an ML program", &interface)?;
        let session = match &options.emulate {
            Some(emulate) => {
                Session::emulating(verified, &options.engine(), &emulate.emulation(verified, false))?
            }
            None => Session::new(verified, &options.engine())?,
        };
        Ok(Stage { interface, session })
    }

    pub fn ports(&self) -> &[Port] {
        self.session.inputs()
    }
}

/// Every op must be one that the op table has.
fn check_known(function: &Function) -> Result<(), Error> {
    let mut foreign: Vec<&str> = Vec::new();
    for (_, id) in function.walk() {
        let kind = &function.op(id).kind;
        if kind.def().is_none() && !foreign.contains(&kind.name()) {
            foreign.push(kind.name());
        }
    }
    if foreign.is_empty() {
        return Ok(());
    }
    let what = format!("ops {foreign:?} are not in the op table and cannot be executed");
    Err(Error::new(what).of_kind(ErrorKind::Unsupported))
}
