//! Interfaces to description messages.

use super::{feature, read};
use crate::{Error, ErrorKind};
use anemone_formats::coreml;
use anemone_mil::Interface;
use anemone_mil::interface::{Feature, FunctionInterface, Metadata};

/// The description of `interface`, with what `old` says beyond it.
///
/// # Errors
/// When an interface without functions of their own describes more than one.
pub(crate) fn description(
    interface: &Interface,
    old: &coreml::ModelDescription,
) -> Result<coreml::ModelDescription, Error> {
    let mut new = old.clone();
    if interface.metadata != old.metadata.as_ref().map(read::metadata).unwrap_or_default() {
        new.metadata = Some(metadata(&interface.metadata, old.metadata.as_ref()));
    }
    if interface.multi_function {
        several(interface, old, &mut new);
        return Ok(new);
    }
    let only = match interface.functions.as_slice() {
        [only] => only,
        many => {
            let message = format!(
                "the interface describes {} functions, but is not marked as multi-function; \
                 describe one, or mark it",
                many.len()
            );
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
    };
    new.functions.clear();
    if old.default_function_name != interface.default_function {
        new.default_function_name.clear();
    }
    new.input = features(&only.inputs, &old.input);
    new.output = features(&only.outputs, &old.output);
    new.state = features(&only.states, &old.state);
    new.training_input = features(&only.training_inputs, &old.training_input);
    new.predicted_feature_name = only.predicted_feature.clone();
    new.predicted_probabilities_name = only.predicted_probabilities.clone();
    Ok(new)
}

/// Functions of their own; features at the top level must be absent then (`Model.proto`).
fn several(interface: &Interface, old: &coreml::ModelDescription, new: &mut coreml::ModelDescription) {
    let one = |f: &FunctionInterface| function(f, old.functions.iter().find(|o| o.name == f.name));
    new.functions = interface.functions.iter().map(one).collect();
    new.default_function_name = interface.default_function.clone();
    new.input.clear();
    new.output.clear();
    new.state.clear();
    new.training_input.clear();
    new.predicted_feature_name.clear();
    new.predicted_probabilities_name.clear();
}

fn function(f: &FunctionInterface, old: Option<&coreml::FunctionDescription>) -> coreml::FunctionDescription {
    let old = old.cloned().unwrap_or_default();
    coreml::FunctionDescription {
        name: f.name.clone(),
        input: features(&f.inputs, &old.input),
        output: features(&f.outputs, &old.output),
        state: features(&f.states, &old.state),
        predicted_feature_name: f.predicted_feature.clone(),
        predicted_probabilities_name: f.predicted_probabilities.clone(),
        unknown: old.unknown,
    }
}

fn features(wanted: &[Feature], old: &[coreml::FeatureDescription]) -> Vec<coreml::FeatureDescription> {
    let one = |f: &Feature| feature::write(f, old.iter().find(|o| o.name == f.name));
    wanted.iter().map(one).collect()
}

fn metadata(m: &Metadata, old: Option<&coreml::Metadata>) -> coreml::Metadata {
    coreml::Metadata {
        short_description: m.description.clone(),
        version_string: m.version.clone(),
        author: m.author.clone(),
        license: m.license.clone(),
        user_defined: m.user.iter().cloned().collect(),
        unknown: old.map(|o| o.unknown.clone()).unwrap_or_default(),
    }
}
