//! Runs the tests of the CPU engine as a 64-bit ARM machine does, under an emulator, so that the NEON kernels are run on
//! any machine.
//!
//! It installs nothing; what is missing is named all at once.

use crate::Outcome;
use crate::place::{cargo, run};
use std::path::Path;
use std::process::Command;

const TARGET: &str = "aarch64-unknown-linux-gnu";

const LINKER: &str = "aarch64-linux-gnu-gcc";

/// Where the cross compiler's package puts the C library.
const LIBRARIES: &str = "/usr/aarch64-linux-gnu";

/// `[--all] [FILTER]`: the unit tests of `anemone-exec`, which run every kernel; with `--all` its other tests, too.
///
/// # Errors
/// When the emulator, the linker or the standard library is missing, or a test fails.
pub fn run_task(args: &[String]) -> Result<Outcome, String> {
    let mut command = cargo();
    command.args(["test", "--package", "anemone-exec"]);
    if cfg!(not(all(target_arch = "aarch64", target_os = "linux"))) {
        let emulator = tools()?;
        command.args(["--target", TARGET]);
        command.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", LINKER);
        let runner = format!("{emulator} -L {LIBRARIES}");
        command.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER", runner);
    }
    let (all, filters): (Vec<&String>, Vec<&String>) = args.iter().partition(|a| *a == "--all");
    if all.is_empty() {
        command.arg("--lib");
    }
    run(command.arg("--").args(filters))?;
    Ok(Outcome::Clean)
}

/// The emulator, when everything is there.
fn tools() -> Result<&'static str, String> {
    let emulators = ["qemu-aarch64-static", "qemu-aarch64"];
    let emulator = emulators.into_iter().find(|e| answers(e));
    let mut missing = Vec::new();
    if emulator.is_none() {
        missing
            .push("an emulator, qemu-aarch64-static (Debian: apt-get install qemu-user-static)".to_owned());
    }
    if !answers(LINKER) || !Path::new(LIBRARIES).is_dir() {
        missing.push(format!("a linker, {LINKER}, with {LIBRARIES} (Debian: apt-get install {PACKAGES})"));
    }
    if !has_std() {
        missing.push(format!("Rust's standard library for ARM (rustup target add {TARGET})"));
    }
    match emulator {
        Some(emulator) if missing.is_empty() => Ok(emulator),
        _ => Err(format!("the NEON kernels cannot be run here; missing are:\n  {}", missing.join("\n  "))),
    }
}

const PACKAGES: &str = "gcc-aarch64-linux-gnu libc6-dev-arm64-cross";

fn answers(tool: &str) -> bool {
    Command::new(tool).arg("--version").output().is_ok_and(|o| o.status.success())
}

fn has_std() -> bool {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let asked = Command::new(rustc).args(["--print", "target-libdir", "--target", TARGET]).output();
    asked.is_ok_and(|o| {
        let folder = String::from_utf8_lossy(&o.stdout).trim().to_owned();
        o.status.success() && Path::new(&folder).is_dir()
    })
}
