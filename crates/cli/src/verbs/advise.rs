//! `advise`.

use super::{print, print_json};
use crate::args::AdviseArgs;
use crate::table::wrap;
use crate::{Outcome, json, style};
use anemone::{Advised, Error};

pub(super) fn run(args: &AdviseArgs) -> Result<Outcome, Error> {
    let device = anemone::target(&args.device, args.os)?;
    let advised = anemone::advise(&args.model, args.function.as_deref(), &device)?;
    super::tell_of_rest(&args.model);
    if args.json {
        print_json(&json::Advise::of(&args.model, &advised))?;
    } else {
        print(&report(&advised))?;
    }
    Ok(Outcome::Clean)
}

fn report(advised: &Advised) -> String {
    let heading = format!("{} on {}", advised.function, advised.plan.device.chip);
    let mut out = format!("{}\n", style::heading(&heading));
    for (i, c) in advised.counsel.iter().enumerate() {
        let facts: Vec<&str> = c.facts.iter().take(3).map(|f| f.id.as_str()).collect();
        let facts = if facts.is_empty() { String::new() } else { format!(" ({})", facts.join(", ")) };
        let line = format!("{:>2}. {}: {}. Because {}{facts}.", i + 1, c.about.name(), c.say, c.why);
        out.push_str(&wrap(&line, "  ", "      "));
    }
    out
}
