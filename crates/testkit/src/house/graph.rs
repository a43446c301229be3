//! What `cargo metadata` says about the workspace.

use crate::house::repository;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// Dependencies of each package of the workspace by name, those of tests and benchmarks left out.
pub type Dependencies = BTreeMap<String, BTreeSet<String>>;

/// Asks cargo for the dependencies of every package of the workspace.
///
/// # Errors
/// When cargo cannot be run or its answer has another form than documented.
pub fn dependencies() -> Result<Dependencies, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let run = Command::new(cargo)
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(repository())
        .output();
    let output = run.map_err(|e| format!("cannot run cargo metadata: {e}"))?;
    if !output.status.success() {
        return Err(format!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr)));
    }
    let metadata: Value =
        serde_json::from_slice(&output.stdout).map_err(|e| format!("cargo metadata: {e}"))?;
    let packages = metadata["packages"].as_array().ok_or("cargo metadata names no packages")?;
    packages.iter().map(package).collect()
}

fn package(package: &Value) -> Result<(String, BTreeSet<String>), String> {
    let name = package["name"].as_str().ok_or("a package without a name")?;
    let listed = package["dependencies"].as_array().ok_or_else(|| format!("{name} lists no dependencies"))?;
    let built = listed.iter().filter(|d| d["kind"] != "dev");
    let names = built.filter_map(|d| d["name"].as_str()).map(str::to_string).collect();
    Ok((name.to_string(), names))
}
