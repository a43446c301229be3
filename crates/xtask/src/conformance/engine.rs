//! Cases through the library, as a user meets it: features in, features out, states, functions, limits.

use super::case::Case;
use super::compare::{Verdict, compare};
use anemone::{Features, Model};

/// Threads of a model: more than one, so that sharing the work is judged, and the same on every machine.
const THREADS: usize = 2;

/// Runs all steps of a case on one loaded model; the worst of them counts.
///
/// # Errors
/// When the model does not load or a step fails.
pub(super) fn replay(case: &Case) -> Result<Verdict, String> {
    let options = Model::options().threads(THREADS);
    let options = match &case.function {
        Some(name) => options.function(name),
        None => options,
    };
    let mut model = options.load(case.package()).map_err(told)?;
    let mut state = model.new_state().map_err(told)?;
    let mut worst = Verdict::Strict;
    for step in 0..case.steps {
        let inputs: Features = case.inputs(step)?.into_iter().collect();
        let outputs = if case.stateful {
            model.predict_with_state(&inputs, &mut state)
        } else {
            let mut zeros = model.new_state().map_err(told)?;
            model.predict_with_state(&inputs, &mut zeros)
        };
        worst = worst.and(compare(case, step, &outputs.map_err(told)?)?);
    }
    Ok(worst)
}

/// The error with its causes, without the place of the package.
fn told(e: anemone::Error) -> String {
    let mut text = e.to_string();
    let mut cause = std::error::Error::source(&e);
    while let Some(inner) = cause {
        let words = inner.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = inner.source();
    }
    text
}
