//! `show`.

use super::{print, print_json};
use crate::Outcome;
use crate::args::ShowArgs;
use anemone::Error;

pub(super) fn run(args: &ShowArgs) -> Result<Outcome, Error> {
    let text = anemone::show(&args.model, args.function.as_deref(), args.compact)?;
    super::tell_of_rest(&args.model);
    if args.json {
        print_json(&crate::json::Show::of(&text))?
    } else {
        print(&text)?
    }
    Ok(Outcome::Clean)
}
