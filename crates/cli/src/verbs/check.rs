//! `check`.

use super::{note, print, print_json};
use crate::args::{CheckArgs, CheckFormat};
use crate::table::{Table, fit, wrap};
use crate::{Outcome, json, style};
use anemone::lint::{CheckOptions, Checked, Line, Located, Settings};
use anemone::rules::fix::Choices;
use anemone::rules::{self, Gate, MendOptions, Severity};
use anemone::{Error, FixOptions};
use std::path::{Path, PathBuf};

/// The settings file that is looked for where the command runs.
const SETTINGS: &str = "anemone.toml";

pub(super) fn run(args: &CheckArgs) -> Result<Outcome, Error> {
    if args.list {
        print(&list())?;
        return Ok(Outcome::Clean);
    }
    let options = options(args)?;
    let mut checked = Vec::new();
    for path in models(args, &options)? {
        let found = anemone::lint::check(&path, &options)?;
        super::tell_of_rest(&path);
        checked.push((path, found));
    }
    match args.format() {
        CheckFormat::Json => print_json(&json::Check::of(&checked, &options))?,
        CheckFormat::Sarif => print_json(&json::Sarif::of(&checked))?,
        CheckFormat::Github => print(&checked.iter().map(|(p, c)| annotations(p, c)).collect::<String>())?,
        CheckFormat::Text => print(&text(&checked, args.notes))?,
    }
    let fails = checked.iter().any(|(_, c)| c.fails());
    Ok(if fails { Outcome::Findings } else { Outcome::Clean })
}

/// The models to check: those that were given, or what the fixes make of the one.
fn models(args: &CheckArgs, options: &CheckOptions) -> Result<Vec<PathBuf>, Error> {
    let Some(output) = args.output.as_ref().filter(|_| args.fix) else { return Ok(args.models.clone()) };
    let [model] = args.models.as_slice() else {
        return Err(Error::new(format!("--fix takes one model, and {} are given", args.models.len())));
    };
    let off = options.severities.iter().filter(|(_, s)| s.is_none()).map(|(name, _)| name.clone());
    let fixed = anemone::fix(
        model,
        &FixOptions {
            output: Some(output.clone()),
            mend: MendOptions {
                device: options.device.clone(),
                units: options.units,
                rounding: args.rounding,
                rules: Vec::new(),
                off: off.collect(),
                keep_worse: false,
                choices: Choices::default(),
            },
            check: true,
        },
    )?;
    if args.format() == CheckFormat::Text {
        print(&super::fix::report(&fixed))?;
    }
    Ok(vec![fixed.output.unwrap_or_else(|| model.clone())])
}

fn options(args: &CheckArgs) -> Result<CheckOptions, Error> {
    let settings = match &args.config {
        Some(path) => Settings::read(path)?,
        None if Path::new(SETTINGS).is_file() => {
            let settings = Settings::read(Path::new(SETTINGS))?;
            note(&format!("settings of {SETTINGS}"));
            settings
        }
        None => Settings::default(),
    };
    let name = args.device.as_deref().or(settings.device.as_deref()).unwrap_or("m4");
    let texts = settings.gates.iter().chain(&args.gates);
    let gates: Result<Vec<Gate>, _> = texts.map(|t| t.parse::<Gate>().map_err(Error::from_cause)).collect();
    let mut severities = settings.severities;
    for (rule, severity) in &args.rules {
        severities.insert(rule.clone(), *severity);
    }
    Ok(CheckOptions {
        device: anemone::target(name, args.os.or(settings.os))?,
        units: args.units.or(settings.units).unwrap_or(anemone::ane::Units::CpuAndNe),
        severities,
        gates: gates?,
    })
}

fn list() -> String {
    let mut table = Table::new(&["rule", "counts as", "fix", "do instead"]);
    for rule in rules::rules::ALL {
        table.row(vec![
            rule.name.to_owned(),
            rule.severity.to_string(),
            rule.fix.to_string(),
            rule.help.to_owned(),
        ]);
    }
    table.render()
        + "  `anemone explain RULE` shows the page of one\n"
        + "  `anemone fix` applies fixes, those that round with --rounding\n"
}

fn text(checked: &[(PathBuf, Checked)], notes: bool) -> String {
    let mut out = String::new();
    for (path, checked) in checked {
        let shown = checked.findings.iter().filter(|f| notes || f.finding.severity > Severity::Note);
        shown.for_each(|f| out += &finding(path, f));
        for (function, gate) in &checked.gates {
            let word = if gate.passed { style::good("met") } else { style::warn("not met") };
            out += &format!("gate {} {word}: {} ({function})\n", gate.gate, gate.found);
        }
        out += &counts(path, checked, notes);
    }
    out
}

fn counts(path: &Path, checked: &Checked, notes: bool) -> String {
    let count = |s| checked.findings.iter().filter(|f| f.finding.severity == s).count();
    let said = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let (errors, warnings) =
        (said(count(Severity::Error), "error"), said(count(Severity::Warning), "warning"));
    let hidden = if notes || count(Severity::Note) == 0 { "" } else { " (--notes shows them)" };
    let file = path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
    format!("{file}: {errors}, {warnings}, {}{hidden}\n", said(count(Severity::Note), "note"))
}

/// One finding, as compilers show them.
fn finding(path: &Path, located: &Located) -> String {
    let f = &located.finding;
    let head = format!("{}[{}]", f.severity, f.rule.name);
    let head = if f.severity == Severity::Note { style::dim(&head) } else { style::warn(&head) };
    let mut out = wrap(&format!("{head}: {}", f.message), "", "    ");
    let at = located.line.as_ref().map_or_else(String::new, |l| format!(":{}", l.number));
    let op = if f.kind.is_empty() { String::new() } else { format!(", {} \"{}\"", f.kind, f.value) };
    let gutter = located.line.as_ref().map_or(2, |l| l.number.to_string().len() + 1);
    let pad = " ".repeat(gutter);
    out += &fit(&format!("{pad}--> {}{at} in {}{op}", path.display(), f.function), 100);
    out.push('\n');
    if let Some(line) = &located.line {
        out += &shown(line, &f.kind, gutter);
    }
    out += &wrap(&format!("{pad}= help: {}", f.rule.help), "", &format!("{pad}        "));
    let facts = f.rule.facts.iter().filter_map(|k| anemone::ane::Fact::named(k)).map(|k| &*k.id);
    out += &format!(
        "{pad}= facts: {}; `anemone explain {}`\n\n",
        facts.collect::<Vec<_>>().join(", "),
        f.rule.name
    );
    out
}

/// The op's line, cut around its kind, with the kind underlined.
fn shown(line: &Line, kind: &str, gutter: usize) -> String {
    let room = 100 - gutter - 3;
    let call = format!(" = {kind}(");
    let at = line.text.find(&call).map_or(0, |i| line.text[..i].chars().count() + 3);
    // The call must be seen: of long types before it, the end is shown.
    let skip = if at + kind.chars().count() + 20 > room { at.saturating_sub(room / 2) } else { 0 };
    let tail: String = line.text.chars().skip(skip).collect();
    let tail = if skip > 0 { format!("…{}", tail.chars().skip(1).collect::<String>()) } else { tail };
    let (pad, marks) = (" ".repeat(gutter), "^".repeat(kind.chars().count()));
    format!(
        "{pad}|\n{:>width$} | {}\n{pad}| {}{marks}\n",
        line.number,
        fit(&tail, room),
        " ".repeat(at - skip),
        width = gutter - 1
    )
}

/// Workflow commands of GitHub, one a line.
fn annotations(path: &Path, checked: &Checked) -> String {
    let escape = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let property = |text: &str| escape(text).replace(':', "%3A").replace(',', "%2C");
    let file = property(&path.display().to_string());
    let mut out = String::new();
    for located in &checked.findings {
        let f = &located.finding;
        let level = if f.severity == Severity::Note { "notice".to_owned() } else { f.severity.to_string() };
        let line = located.line.as_ref().filter(|_| checked.is_text);
        let line = line.map_or_else(String::new, |l| format!(",line={}", l.number));
        let place =
            if f.value.is_empty() { String::new() } else { format!(" (op `{}` of {})", f.value, f.function) };
        let message = escape(&format!("{}{place}; {}", f.message, f.rule.help));
        out += &format!("::{level} file={file}{line},title={}::{message}\n", property(f.rule.name));
    }
    for (function, gate) in checked.gates.iter().filter(|(_, g)| !g.passed) {
        let message = escape(&format!("gate {} of {function} is not met: {}", gate.gate, gate.found));
        out += &format!("::error file={file},title=gate::{message}\n");
    }
    out
}
