//! The comparison of a written package with the graph that it came from.

use crate::compare::{Difference, Tolerance, compare, tensors};
use crate::run::engine_options;
use crate::{Error, Opened, data};
use anemone_exec::Session;
use anemone_mil::{Function, Level, Program, VerifiedFunction};
use anemone_model::{Features, Predict};
use anemone_tensor::Tensor;
use std::collections::HashMap;

/// The comparison of the written package with the source graph in `fp32`.
#[derive(Clone, Debug)]
pub enum Check {
    /// Both were run on the same random inputs.
    Done {
        /// Per output.
        outputs: Vec<Difference>,
        /// Where the error grows first.
        growth: Option<Growth>,
    },
    /// It could not be done, or was not asked for.
    Skipped(String),
}

/// The first op after which the error is a stated share of the values.
#[derive(Clone, Debug, PartialEq)]
pub struct Growth {
    /// Kind of the op.
    pub kind: String,
    /// Name of the op.
    pub name: String,
    /// Node of the source model.
    pub source: Option<String>,
    /// Largest error over the largest magnitude there.
    pub relative: f64,
}

/// Errors smaller than this share of the largest magnitude are the rounding of `fp16` (2^-11 per operation) and do
/// not count as growth.
pub const GROWTH_LIMIT: f64 = 1.0 / 512.0;

/// Seed of the check's random inputs.
const CHECK_SEED: u64 = 1;

/// Every difference counts.
const EXACT: Tolerance = Tolerance { atol: 0.0, rtol: 0.0 };

/// Which op makes each value, and which node of the source that op comes from; a package does not keep the latter.
pub(crate) struct Origins(HashMap<String, (String, Option<String>)>);

impl Origins {
    pub(crate) fn of(function: &Function) -> Origins {
        let mut made = HashMap::new();
        for (_, id) in function.walk() {
            let op = function.op(id);
            let source = op.origin.source.as_ref().map(ToString::to_string);
            for &v in &op.outputs {
                made.insert(function.value(v).name.to_string(), (op.kind.name().to_owned(), source.clone()));
            }
        }
        Origins(made)
    }
}

/// Runs both on the same random inputs, one after the other, and compares every tensor that has the same name in both.
///
/// The source is given away: its memory is free again when the package is loaded.
pub(crate) fn check(source: Program, package: &Opened, origins: &Origins) -> Check {
    let compared = reference(source, origins).and_then(|r| against(package, &r, origins));
    match compared {
        Ok((outputs, growth)) => Check::Done { outputs, growth },
        Err(e) => Check::Skipped(e.to_string()),
    }
}

/// What the source computes.
struct Reference {
    inputs: Features,
    outputs: Features,
    /// Tensors in between that the package has, too.
    inner: HashMap<String, Tensor>,
}

fn load(function: VerifiedFunction<'_>) -> Result<Session, Error> {
    Session::new(function, &engine_options()).map_err(Error::from_cause)
}

fn reference(source: Program, origins: &Origins) -> Result<Reference, Error> {
    let verified = anemone_mil::verify(&source, Level::Imported).map_err(Error::from_cause)?;
    let function = verified.function(None).ok_or_else(|| Error::new("the source has no function"))?;
    let mut session = load(function)?;
    let random = |p: &anemone_model::Port| (p.name.clone(), data::random(p, CHECK_SEED));
    let inputs: Features = session.inputs().iter().map(random).collect();
    let mut inner = HashMap::new();
    let outputs = session.predict_observed(&inputs, &mut |name, t| {
        if origins.0.contains_key(name) {
            inner.insert(name.to_owned(), t.clone());
        }
    });
    Ok(Reference { outputs: outputs.map_err(Error::from_cause)?, inputs, inner })
}

fn against(
    package: &Opened,
    reference: &Reference,
    origins: &Origins,
) -> Result<(Vec<Difference>, Option<Growth>), Error> {
    let mut growth = None;
    let found = load(package.verified(None)?)?.predict_observed(&reference.inputs, &mut |name, t| {
        let Some(wanted) = reference.inner.get(name).filter(|_| growth.is_none()) else { return };
        let d = tensors(name, t, wanted, EXACT);
        if d.mismatch.is_none() && d.relative > GROWTH_LIMIT {
            let (kind, source) = origins.0.get(name).cloned().unwrap_or_default();
            growth = Some(Growth { kind, name: name.to_owned(), source, relative: d.relative });
        }
    });
    Ok((compare(&found.map_err(Error::from_cause)?, &reference.outputs, EXACT), growth))
}
