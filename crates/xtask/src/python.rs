//! A Python with the packages that judges and recorders need, in a virtual environment of its own.

use crate::place::{repository, run, target};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

const REQUIREMENTS: &str = "crates/xtask/python/requirements.txt";

/// Environment variable that names a Python to use as it is, with the packages installed already.
const OVERRIDE: &str = "XTASK_PYTHON";

/// The Python of the virtual environment, which is made when it is missing or when the requirements changed.
///
/// # Errors
/// When there is no Python 3, or the packages cannot be installed.
pub fn interpreter() -> Result<PathBuf, String> {
    if let Some(python) = std::env::var_os(OVERRIDE) {
        return Ok(python.into());
    }
    let wanted = repository().join(REQUIREMENTS);
    let wanted = fs::read_to_string(&wanted).map_err(|e| format!("cannot read {}: {e}", wanted.display()))?;
    let folder = target().join("oracle-venv");
    let (python, stamp) = (folder.join("bin/python"), folder.join("installed.txt"));
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(python);
    }
    eprintln!("making a Python environment with coremltools in {}", folder.display());
    make(&folder, &python).map_err(|e| {
        format!(
            "no Python environment with coremltools, so this judge cannot run: {e}\n\
             It needs python3 (3.11 to 3.13) with venv (Debian: apt-get install python3-venv) and PyPI; \
             {OVERRIDE} names a Python that has the packages of {REQUIREMENTS}"
        )
    })?;
    fs::write(&stamp, wanted).map_err(|e| format!("cannot write {}: {e}", stamp.display()))?;
    Ok(python)
}

fn make(folder: &PathBuf, python: &PathBuf) -> Result<(), String> {
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder))?;
    let mut pip = Command::new(python);
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--only-binary",
        ":all:",
        "-r",
    ]);
    run(pip.arg(repository().join(REQUIREMENTS)))
}

/// A command that runs a script of the repository.
///
/// # Errors
/// As [`interpreter`].
pub fn script(path: &str) -> Result<Command, String> {
    let mut command = Command::new(interpreter()?);
    command.arg(repository().join(path)).current_dir(repository());
    command.env("PYTHONHASHSEED", "0").env("PYTHONDONTWRITEBYTECODE", "1");
    Ok(command)
}
