//! Pipelines: programs that run one after the other, joined by the names of their features.

use super::Stage;
use crate::{Error, ErrorKind};
use anemone_mil::interface::FunctionInterface;
use anemone_model::{Features, Port};
use std::collections::HashSet;

/// Name of a stage in errors.
pub(super) fn place(at: usize, name: &str) -> String {
    if name.is_empty() {
        format!("stage {at} of the pipeline")
    } else {
        format!("stage {at} \"{name}\" of the pipeline")
    }
}

/// Checks that every feature that a stage or the caller needs is made before.
///
/// # Errors
/// When one is not, with its name.
pub(super) fn check(interface: &FunctionInterface, stages: &[(String, Stage)]) -> Result<(), Error> {
    let mut made: HashSet<&str> = interface.inputs.iter().map(|f| f.name.as_str()).collect();
    let fail = |what: String| Err(Error::new(what).of_kind(ErrorKind::Malformed));
    for (at, (name, stage)) in stages.iter().enumerate() {
        for input in stage.interface.inputs.iter().filter(|i| !i.optional) {
            if !made.contains(input.name.as_str()) {
                let place = place(at, name);
                return fail(format!(
                    "{place} needs `{}`, which no stage before it and no input gives",
                    input.name
                ));
            }
        }
        made.extend(stage.interface.outputs.iter().map(|f| f.name.as_str()));
    }
    match interface.outputs.iter().find(|o| !made.contains(o.name.as_str())) {
        Some(missing) => {
            fail(format!("the pipeline has output `{}`, which none of its stages makes", missing.name))
        }
        None => Ok(()),
    }
}

/// The tensors that the inputs of the whole become where they are first taken.
pub(super) fn ports(interface: &FunctionInterface, stages: &[(String, Stage)]) -> Vec<Port> {
    let port = |name: &str| stages.iter().flat_map(|(_, s)| s.ports()).find(|p| p.name == name).cloned();
    interface.inputs.iter().filter_map(|f| port(&f.name)).collect()
}

/// The features at hand that a stage takes.
pub(super) fn wanted(stage: &Stage, at_hand: &Features) -> Features {
    let takes = |name: &str| stage.ports().iter().any(|p| p.name == name);
    at_hand.iter().filter(|(n, _)| takes(n)).map(|(n, f)| (n, f.clone())).collect()
}

/// The outputs of the whole, in the order of its interface.
pub(super) fn handed_out(interface: &FunctionInterface, at_hand: &Features) -> Features {
    let one = |name: &str| at_hand.find(name).map(|f| (name.to_owned(), f.clone()));
    interface.outputs.iter().filter_map(|o| one(&o.name)).collect()
}
