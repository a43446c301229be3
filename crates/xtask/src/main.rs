//! Room `xtask` of Anemone: generators, measurements and the entry of CI.

mod fidelity;
mod onnx_backend;

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let done = match args.first().map(String::as_str) {
        Some("fidelity") => fidelity::run(&args[1..]),
        Some("onnx-backend") => onnx_backend::run(&args[1..]),
        other => {
            Err(format!("unknown task `{}`; tasks are: fidelity, onnx-backend", other.unwrap_or_default()))
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::from(2)
        }
    }
}
