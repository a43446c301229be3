//! `report`.

mod page;

use super::{note, print, print_json};
use crate::args::ReportArgs;
use crate::{Outcome, human, json};
use anemone::report::ReportOptions;
use anemone::{Error, files};
use std::path::PathBuf;

pub(super) fn run(args: &ReportArgs) -> Result<Outcome, Error> {
    let output = output(args)?;
    let options = ReportOptions {
        device: anemone::target(&args.device, args.os)?,
        units: args.units,
        function: args.function.clone(),
    };
    let report = anemone::report::report(&args.model, &options)?;
    crate::verbs::tell_of_rest(&args.model);
    let data = json::Report::of(&args.model, &report);
    if args.json {
        print_json(&data)?;
        return Ok(Outcome::Clean);
    }
    let page = page::page(&data)?;
    let mut written = files::Files::default();
    written.write(&output, |out| out.write_all(page.as_bytes()))?;
    written.finish()?;
    print(&format!(
        "{}: {} ops and {} findings in {}; open it in a browser\n",
        output.display(),
        report.plan.ops.len(),
        report.findings.len(),
        human::bytes(page.len() as u64)
    ))?;
    report.notes.iter().for_each(|n| note(n));
    Ok(Outcome::Clean)
}

fn output(args: &ReportArgs) -> Result<PathBuf, Error> {
    let output = args.output.clone().unwrap_or_else(|| args.model.with_extension("html"));
    if output.extension().is_none_or(|e| !e.eq_ignore_ascii_case("html") && !e.eq_ignore_ascii_case("htm")) {
        return Err(Error::new("must end in .html, so that a browser opens it").at(output));
    }
    Ok(output)
}
