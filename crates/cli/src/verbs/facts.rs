//! `facts` and `explain`.

use super::{print, print_json};
use crate::args::{ExplainArgs, FactsArgs};
use crate::table::wrap;
use crate::{Outcome, json, style};
use anemone::Error;
use anemone::ane::{Fact, Standing, Witness};

pub(super) fn list(args: &FactsArgs) -> Result<Outcome, Error> {
    let device = args.device.as_deref().map(anemone::device_named).transpose()?;
    let wanted = |f: &&Fact| {
        args.op.as_ref().is_none_or(|op| f.concerns(op))
            && device.as_ref().is_none_or(|d| f.covers(d))
            && args.os.is_none_or(|os| f.holds_on(os))
            && args.topic.as_ref().is_none_or(|t| f.topic == *t)
    };
    let facts: Vec<&Fact> = Fact::all().iter().filter(wanted).collect();
    if args.json {
        print_json(&json::Facts::of(&facts))?;
        return Ok(Outcome::Clean);
    }
    if let Some(op) = args.op.as_ref().filter(|_| facts.is_empty()) {
        let known = anemone::mil::ops::find(op).is_some();
        let what = if known { "is in the op table, and no fact is about it alone" } else { "is no MIL op" };
        return Err(Error::new(format!("no fact: `{op}` {what}; `anemone facts` lists all")));
    }
    let lines: String = facts.iter().map(|f| line(f)).collect();
    let count =
        format!("  {} of {} facts; `anemone explain F017` shows one\n", facts.len(), Fact::all().len());
    print(&(lines + &count))?;
    Ok(Outcome::Clean)
}

fn line(fact: &Fact) -> String {
    let known = match fact.standing {
        Standing::Holds => fact.strength().to_string(),
        standing => format!("{}, {standing}", fact.strength()),
    };
    wrap(&format!("{} {} ({known})", fact.id, fact.claim), "  ", "       ")
}

pub(super) fn explain(args: &ExplainArgs) -> Result<Outcome, Error> {
    if let Some(rule) = anemone::rules::rules::named(&args.name) {
        let facts: Vec<&Fact> = rule.facts.iter().filter_map(|k| Fact::named(k)).collect();
        if args.json {
            print_json(&json::Facts::of(&facts))?
        } else {
            print(rule.page)?
        }
        return Ok(Outcome::Clean);
    }
    let fact = Fact::named(&args.name).ok_or_else(|| {
        let lists = "`anemone facts` and `anemone check --list` list those there are";
        Error::new(format!("there is no fact or rule `{}`; {lists}", args.name))
    })?;
    if args.json {
        print_json(&json::Facts::of(&[fact]))?;
    } else {
        print(&page(fact))?;
    }
    Ok(Outcome::Clean)
}

fn page(fact: &Fact) -> String {
    let mut out = format!("{}\n", style::heading(&format!("{} {}", fact.id, fact.key)));
    out += &wrap(&fact.claim, "  ", "  ");
    let mut row = |name: &str, text: &str| {
        if !text.is_empty() {
            out += &wrap(&format!("{name:<9} {text}"), "  ", "            ");
        }
    };
    row(
        "about",
        &if fact.ops.is_empty() {
            fact.topic.clone()
        } else {
            format!("{} of {}", fact.topic, fact.ops.join(", "))
        },
    );
    row("seen on", &fact.scope());
    row("standing", &fact.standing.to_string());
    fact.evidence.iter().for_each(|w| row("for", &witness(w)));
    fact.against.iter().for_each(|w| row("against", &witness(w)));
    for other in fact.conflicts.iter().filter_map(|id| Fact::named(id)) {
        row("conflict", &format!("{} {}", other.id, other.claim));
    }
    row("verdict", &fact.verdict);
    let covers = fact.seeds.iter().chain(&fact.rules).map(String::as_str).collect::<Vec<_>>();
    row("covers", &covers.join(", "));
    out
}

fn witness(w: &Witness) -> String {
    let says = if w.says.is_empty() { String::new() } else { format!(" ({})", w.says) };
    format!("{}: {}{says}", w.strength, w.source)
}
