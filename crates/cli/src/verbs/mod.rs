//! One file per verb: call the library, print what it says.

mod advise;
mod bench;
mod check;
mod compress;
mod convert;
mod devices;
mod emulate;
mod facts;
mod fix;
mod front;
mod inspect;
mod overflow;
mod plan;
mod report;
mod run;
mod serve;
mod show;
mod simulate;
mod size;
mod sweep;
mod trace;
mod verify;

use crate::Outcome;
use crate::args::{Args, InputArgs, Verb};
use anemone::Error;
use anemone::data::Inputs;
use serde::Serialize;
use std::io::Write;
use std::path::Path;

/// Runs the verb that the arguments name.
pub(crate) fn run(args: Args) -> Result<Outcome, Error> {
    match args.verb {
        Verb::Convert(args) => convert::run(args),
        Verb::Show(args) => show::run(&args),
        Verb::Inspect(args) => inspect::run(&args),
        Verb::Run(args) => run::run(args),
        Verb::Verify(args) => verify::run(args),
        Verb::Plan(args) => plan::run(&args),
        Verb::Simulate(args) => simulate::run(&args),
        Verb::Advise(args) => advise::run(&args),
        Verb::Bench(args) => bench::run(args),
        Verb::Trace(args) => trace::run(args),
        Verb::Serve(args) => serve::run(&args),
        Verb::Check(args) => check::run(&args),
        Verb::Fix(args) => fix::run(args),
        Verb::Devices(args) => devices::run(&args),
        Verb::Facts(args) => facts::list(&args),
        Verb::Explain(args) => facts::explain(&args),
        Verb::Compress(args) => compress::run(&args),
        Verb::Decompress(args) => compress::undo(&args),
        Verb::Report(args) => report::run(&args),
        Verb::Size(args) => size::run(&args),
    }
}

/// Writes to stdout; a reader that has gone away is no failure.
fn print(text: &str) -> Result<(), Error> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(Error::new(format!("stdout: {e}"))),
        _ => Ok(()),
    }
}

/// Writes a report as JSON.
fn print_json(report: &impl Serialize) -> Result<(), Error> {
    let text = serde_json::to_string_pretty(report).map_err(Error::from_cause)?;
    print(&(text + "\n"))
}

/// Tells something on stderr.
pub(crate) fn note(text: &str) {
    // Nobody to tell is no failure.
    let _ = writeln!(std::io::stderr(), "{} {text}", crate::style::dim("note:"));
}

/// Says on stderr what of a pipeline a verb that only looks has left out.
fn tell_of_rest(model: &Path) {
    anemone::left_out(model).iter().for_each(|text| note(text));
}

impl From<InputArgs> for Inputs {
    fn from(args: InputArgs) -> Inputs {
        Inputs {
            files: args.inputs,
            tensors: args.input,
            images: args.image,
            values: args.value,
            random: args.random,
            shapes: args.shape,
            steps: args.steps,
        }
    }
}

pub(crate) use inspect::{
    container as container_name, encoding as encoding_name, feature_type as feature_text,
};
