//! `plan`: where each op would run.

use crate::Error;
use crate::open::open_to_look;
use anemone_ane::{Device, Os, Plan, Units};
use std::path::Path;
use std::sync::Arc;

/// Plans a function of a package for a device.
///
/// # Errors
/// When the package does not open, or has no such function.
pub fn plan(path: &Path, function: Option<&str>, device: &Arc<Device>, units: Units) -> Result<Plan, Error> {
    let opened = open_to_look(path)?;
    let function = opened.verified(function).map_err(|e| e.at(path))?;
    Ok(anemone_ane::plan(function, device, units))
}

/// The device of that name ([`device_named`]) with the system to plan for; by default that of the device.
///
/// # Errors
/// As [`device_named`].
pub fn target(name: &str, os: Option<Os>) -> Result<Arc<Device>, Error> {
    let device = device_named(name)?;
    Ok(os.map_or_else(|| Arc::clone(&device), |os| Arc::new(device.on(os))))
}

/// The device of that name: a chip, a product, or a device file, which ends in `.toml`.
///
/// # Errors
/// When it is unknown, with the nearest names; or the file cannot be read or describes no device.
pub fn device_named(name: &str) -> Result<Arc<Device>, Error> {
    let path = Path::new(name);
    if path.extension().is_none_or(|e| e != "toml") {
        return Device::named(name).map_err(Error::from_cause);
    }
    let bytes = crate::files::map(path)?;
    let text = std::str::from_utf8(&bytes).map_err(|e| {
        Error::new(format!("is no device file: byte {} is not UTF-8", e.valid_up_to())).at(path)
    })?;
    Ok(Arc::new(Device::read(text).map_err(|e| Error::from_cause(e).at(path))?))
}
