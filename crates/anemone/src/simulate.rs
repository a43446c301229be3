//! `simulate`: how long a function would take on a device, and what it would wait for.

use crate::Error;
use crate::extents::{with_batch, with_extents};
use crate::open::{open_to_look, verified};
use anemone_ane::simulate::{Load, Timeline};
use anemone_ane::{Device, Plan, Units};
use anemone_mil::{Function, Program};
use std::path::Path;
use std::sync::Arc;

/// What to simulate.
#[derive(Clone, Debug)]
pub struct SimulateOptions {
    /// The device, with the system to plan for.
    pub device: Arc<Device>,
    /// The compute units.
    pub units: Units,
    /// The function; `None` is the package's default one.
    pub function: Option<String>,
    /// How many items and calls, warm or cold.
    pub load: Load,
}

impl SimulateOptions {
    /// One warm call on a device.
    pub fn new(device: Arc<Device>, units: Units) -> SimulateOptions {
        SimulateOptions { device, units, function: None, load: Load::default() }
    }
}

/// A plan and what it would do.
#[derive(Clone, Debug)]
pub struct Simulated {
    /// Name of the function.
    pub function: String,
    /// Where each op would go; free dims have their usual extents.
    pub plan: Plan,
    /// When, and what it waits for.
    pub timeline: Timeline,
    /// Bytes of the program's weights, as stored.
    pub weight_bytes: u64,
    /// Bytes of the function's states.
    pub state_bytes: u64,
}

/// Simulates a function of a package on a device.
///
/// Free dims have their usual extents. With a batch above 1, axis 0 of every input is that many times as long.
///
/// # Errors
/// When the package does not open or has no such function, or an op cannot take the batch.
pub fn simulate(path: &Path, options: &SimulateOptions) -> Result<Simulated, Error> {
    let opened = open_to_look(path)?;
    let function = opened.function(options.function.as_deref()).map_err(|e| e.at(path))?;
    simulated(&opened.program, function, options).map_err(|e| e.at(path))
}

/// Simulates a function of a program that is open.
///
/// # Errors
/// As [`simulate`].
pub fn simulated(
    program: &Program,
    function: &Function,
    options: &SimulateOptions,
) -> Result<Simulated, Error> {
    verified(program, Some(&function.name))?;
    let fixed = match options.load.batch {
        0 | 1 => with_extents(program, function, &[])?,
        batch => with_batch(program, function, batch)?,
    };
    priced(program, &fixed, options)
}

/// Plans and simulates the one function of a program whose extents are fixed.
pub(crate) fn priced(
    whole: &Program,
    fixed: &Program,
    options: &SimulateOptions,
) -> Result<Simulated, Error> {
    let ticket = verified(fixed, None)?;
    let function = ticket.function();
    let plan = anemone_ane::plan(ticket, &options.device, options.units);
    let timeline = anemone_ane::simulate::simulate(ticket, &plan, &options.load);
    Ok(Simulated {
        function: function.name.to_string(),
        weight_bytes: anemone_lint::weight_bytes(whole),
        state_bytes: crate::extents::fed_bytes(function).1,
        plan,
        timeline,
    })
}
