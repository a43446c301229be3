//! `plan`: where each op would run.

use crate::{Error, open};
use anemone_ane::{Device, Plan, Units};
use std::path::Path;

/// Plans a function of a package for a device.
///
/// # Errors
/// When the package does not open, or device or function are unknown.
pub fn plan(path: &Path, function: Option<&str>, device: &str, units: Units) -> Result<Plan, Error> {
    let device = device_named(device)?;
    let opened = open(path)?;
    let function = opened.verified(function).map_err(|e| e.at(path))?;
    Ok(anemone_ane::plan(function, device, units))
}

/// The device of that name.
///
/// # Errors
/// When it is unknown; the error lists the known ones.
pub fn device_named(name: &str) -> Result<&'static Device, Error> {
    Device::named(name).map_err(Error::from_cause)
}
