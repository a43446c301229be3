//! Arguments of computing as the Neural Engine does.

use anemone::{Emulate, Error, Precision, Scope, device_named};
use clap::{Args as ClapArgs, ValueEnum};

/// What is computed as the Neural Engine does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Emulated {
    /// The ops that the plan puts on the Neural Engine
    Ane,
    /// All ops that the Neural Engine would take
    AneEligible,
}

/// Arguments of `--emulate`.
#[derive(Debug, ClapArgs)]
pub(crate) struct EmulateArgs {
    /// Compute as the Neural Engine does: sums in fixed point that end at 32768, rounding away from zero, tables of
    /// activations
    #[arg(long, value_name = "WHAT")]
    pub emulate: Option<Emulated>,
    /// Device to plan for, and whose arithmetic is used [default: m4]
    #[arg(long, requires = "emulate")]
    pub device: Option<String>,
    /// Use the arithmetic of this chip instead: m6, of which all was measured, or m4
    #[arg(long, value_name = "CHIP", requires = "emulate")]
    pub assume: Option<String>,
}

impl EmulateArgs {
    /// What was asked for; `None` when nothing is emulated.
    pub(crate) fn read(&self, precision: Precision) -> Result<Option<Emulate>, Error> {
        let Some(what) = self.emulate else { return Ok(None) };
        if precision != Precision::Declared {
            let name = precision.name();
            let what = format!(
                "--emulate takes the numbers that the program declares; leave --precision {name} out"
            );
            return Err(Error::new(what));
        }
        let device = device_named(self.device.as_deref().unwrap_or("m4"))?;
        let assume = self.assume.as_deref().map(device_named).transpose()?;
        let scope = match what {
            Emulated::Ane => Scope::Planned,
            Emulated::AneEligible => Scope::Eligible,
        };
        Ok(Some(Emulate::new(device, assume)?.scope(scope)))
    }
}
