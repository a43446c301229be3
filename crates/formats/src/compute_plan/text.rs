//! Plans in lines of text: tables, logs and listings.

use super::json::MAX_PLANS;
use super::{
    ComputePlan, ComputePlans, FORMAT, Layout, PlannedOp, Processor, bare, is_data, is_nothing, wrong,
};
use crate::{Error, ErrorKind};

/// Lines that are looked at to tell the layout.
const LOOKED_AT: usize = 200;

pub(super) fn read(bytes: &[u8]) -> Result<ComputePlans, Error> {
    let text = std::str::from_utf8(bytes)
        .map_err(|e| wrong(ErrorKind::NotUtf8, "is neither JSON nor UTF-8 text").at(e.valid_up_to()))?;
    let layout = text.lines().take(LOOKED_AT).find_map(layout).ok_or_else(foreign)?;
    let mut plans = Plans::default();
    let mut columns = Columns::default();
    for (i, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
        let read = match layout {
            Layout::Tabs => tabs(line, &mut plans),
            Layout::Commas => columns.row(line, &mut plans),
            Layout::Log => log(line, &mut plans),
            _ => listing(line, &mut plans),
        };
        read.map_err(|e| e.within(&format!("line {}", i + 1)).format(FORMAT))?;
    }
    plans.finish(layout)
}

fn foreign() -> Error {
    wrong(
        ErrorKind::Unsupported,
        "is no layout that is known; expected JSON, a table that begins with DebugName, a table with seven columns and \
         tabs, lines `operation …, device <…>, cost …%`, or a listing of CoreMLInspect",
    )
}

fn layout(line: &str) -> Option<Layout> {
    if line.starts_with("DebugName") {
        return Some(Layout::Commas);
    }
    if line.split('\t').count() == 7 {
        return Some(Layout::Tabs);
    }
    if logged(line).is_some() {
        return Some(Layout::Log);
    }
    listed(line).map(|_| Layout::Listing)
}

#[derive(Default)]
struct Plans {
    plans: Vec<ComputePlan>,
    skipped: Vec<String>,
    data: usize,
}

impl Plans {
    /// The plan of that name, which is the last one or a new one.
    fn named(&mut self, name: &str) -> &mut ComputePlan {
        if self.plans.last().is_none_or(|p| p.name != name) {
            self.plans.push(ComputePlan { name: name.to_owned(), ..ComputePlan::default() });
        }
        let last = self.plans.len() - 1;
        &mut self.plans[last]
    }

    fn push(&mut self, name: &str, op: PlannedOp) {
        if is_data(&op.kind) {
            self.data += 1;
        } else {
            self.named(name).ops.push(op);
        }
    }

    fn finish(mut self, layout: Layout) -> Result<ComputePlans, Error> {
        self.plans.retain(|p| !p.ops.is_empty());
        if self.plans.len() > MAX_PLANS {
            let cause = format!("{} plans, of at most {MAX_PLANS}", self.plans.len());
            return Err(wrong(ErrorKind::TooLarge, cause));
        }
        if self.plans.is_empty() {
            return Err(wrong(ErrorKind::Missing, "has a header, but no op"));
        }
        let mut notes = Vec::new();
        if self.data > 0 {
            notes.push(format!("{} constants are left out.", self.data));
        }
        const SHOWN: usize = 3;
        if !self.skipped.is_empty() {
            let shown = self.skipped.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("; ");
            notes.push(format!("{} rows tell of failures and hold no op: {shown}.", self.skipped.len()));
        }
        Ok(ComputePlans { layout, plans: self.plans, notes })
    }
}

fn unit(text: &str, place: &str) -> Result<Option<Processor>, Error> {
    let text = text.trim().trim_matches('"');
    if is_nothing(text) || text == "unsupported" {
        return Ok(None);
    }
    let wrong =
        || wrong(ErrorKind::Malformed, format!("is {text:?}, but must be the name of a unit")).within(place);
    Processor::named(text).map(Some).ok_or_else(wrong)
}

fn number(text: &str, place: &str) -> Result<Option<f64>, Error> {
    let text = text.trim();
    if is_nothing(text) {
        return Ok(None);
    }
    let value = text.parse::<f64>().ok().filter(|v| v.is_finite() && *v >= 0.0);
    let wrong =
        || wrong(ErrorKind::Malformed, format!("is {text:?}, but must be a number from 0 on")).within(place);
    value.map(Some).ok_or_else(wrong)
}

/// A part of a whole, from a share of 1 or of 100.
fn part(text: &str, whole: f64, place: &str) -> Result<Option<f64>, Error> {
    let share = number(text, place)?.map(|v| v / whole);
    match share {
        Some(v) if v > 1.0 + 1e-9 => Err(wrong(
            ErrorKind::Malformed,
            format!("is {text}, but must be a part of the whole, at most {whole}"),
        )
        .within(place)),
        share => Ok(share),
    }
}

/// graph, index, operator, output, preferred, supported, cost
fn tabs(line: &str, plans: &mut Plans) -> Result<(), Error> {
    let cells: Vec<&str> = line.split('\t').collect();
    let [graph, index, kind, output, preferred, supported, cost] = cells[..] else {
        let cause = format!("has {} columns, but the others have 7; is the file cut off?", cells.len());
        return Err(wrong(ErrorKind::Truncated, cause));
    };
    if index == "-" {
        let what: String = kind.chars().take(60).collect();
        plans.skipped.push(format!("{graph}: {what}"));
        return Ok(());
    }
    if index.parse::<u32>().is_err() {
        return if plans.plans.is_empty() {
            Ok(()) // a header
        } else {
            Err(wrong(ErrorKind::Malformed, format!("is {index:?}, but must be the number of the op"))
                .within("column 2"))
        };
    }
    let mut op = PlannedOp { kind: bare(kind), name: output.to_owned(), ..PlannedOp::default() };
    op.preferred = unit(preferred, "column 5")?;
    for name in supported.split(',') {
        op.supported.extend(unit(name, "column 6")?);
    }
    op.share = part(cost, 1.0, "column 7")?;
    plans.push(graph, op);
    Ok(())
}

/// Places of the columns that matter in a table of the compiler's estimates.
#[derive(Default)]
struct Columns {
    names: Vec<String>,
}

impl Columns {
    fn row(&mut self, line: &str, plans: &mut Plans) -> Result<(), Error> {
        let cells: Vec<&str> = line.split(',').map(str::trim).collect();
        if self.names.is_empty() {
            self.names = cells.iter().map(|c| (*c).to_owned()).collect();
            let has = |name: &str| self.names.iter().any(|n| n == name);
            let lacks =
                ["OpType", "SelectedBackend", "backend_0", "est_time_0"].into_iter().find(|n| !has(n));
            return match lacks {
                Some(name) => Err(wrong(ErrorKind::Missing, format!("has no column {name}"))),
                None => Ok(()),
            };
        }
        if cells.len() < self.names.len() {
            let cause = format!(
                "has {} columns, but the header has {}; is the file cut off?",
                cells.len(),
                self.names.len()
            );
            return Err(wrong(ErrorKind::Truncated, cause));
        }
        let cell = |name: &str| self.names.iter().position(|n| n == name).and_then(|i| cells.get(i)).copied();
        let text = |name: &str| cell(name).unwrap_or_default().trim_matches('"');
        let mut op = PlannedOp { kind: bare(text("OpType")), ..PlannedOp::default() };
        op.preferred = unit(text("SelectedBackend"), "SelectedBackend")?;
        for slot in 0..8 {
            let Some(backend) = cell(&format!("backend_{slot}")).map(|b| b.trim_matches('"')) else { break };
            let time = format!("est_time_{slot}");
            let ms = number(text(&time), &time)?;
            if !is_nothing(backend) {
                let processor = unit(backend, &format!("backend_{slot}"))?;
                op.supported.extend(processor.filter(|p| !op.supported.contains(p)));
                op.estimates.extend(ms.map(|ms| (backend.to_owned(), ms)));
            }
            let why = text(&format!("invalid_{slot}"));
            if !why.is_empty() {
                // The slot of a backend that refuses has no name; the first is the Neural Engine's.
                let who = if slot == 0 { "ane" } else { "" };
                op.messages.push((who.to_owned(), why.to_owned()));
            }
        }
        plans.push("", op);
        Ok(())
    }
}

/// `… operation KIND, device <CLASS: 0x…>, cost N%`
fn logged(line: &str) -> Option<(&str, &str, &str)> {
    let (_, rest) = line.split_once("operation ")?;
    let (kind, rest) = rest.split_once(", device ")?;
    let (device, cost) = rest.split_once(", cost ")?;
    Some((kind, device, cost.trim().strip_suffix('%')?))
}

fn log(line: &str, plans: &mut Plans) -> Result<(), Error> {
    let Some((kind, device, cost)) = logged(line) else {
        let cut = line.contains("operation ") && line.contains(", device ");
        return if cut {
            Err(wrong(ErrorKind::Truncated, "has no cost; is the file cut off?"))
        } else {
            Ok(())
        };
    };
    let device = if device.starts_with("(null)") { "" } else { device };
    let mut op = PlannedOp { kind: bare(kind), preferred: unit(device, "device")?, ..PlannedOp::default() };
    op.share = part(cost, 100.0, "cost")?;
    plans.push("", op);
    Ok(())
}

/// `0.68% G|C  name = ios16.gather(…)`
fn listed(line: &str) -> Option<(&str, &str, &str, &str)> {
    let (cost, rest) = line.trim_start().split_once('%')?;
    let (units, rest) = rest.trim_start().split_once(' ')?;
    let (names, call) = rest.split_once('=')?;
    let (kind, _) = call.split_once('(')?;
    let plain = units.contains('|') && units.chars().all(|c| matches!(c, 'C' | 'G' | 'N' | '|'));
    (plain && cost.parse::<f64>().is_ok()).then_some((cost, units, names.trim(), kind.trim()))
}

fn listing(line: &str, plans: &mut Plans) -> Result<(), Error> {
    let Some((cost, units, names, kind)) = listed(line) else {
        plans.data += usize::from(line.contains("= const("));
        return Ok(());
    };
    let name = names.split(',').next().unwrap_or_default().trim();
    let mut op = PlannedOp { kind: bare(kind), name: name.to_owned(), ..PlannedOp::default() };
    for (i, letter) in units.chars().filter(|c| *c != '|').enumerate() {
        let found = unit(&letter.to_string(), "units")?;
        op.preferred = if i == 0 { found } else { op.preferred };
        op.supported.extend(found.filter(|u| !op.supported.contains(u)));
    }
    op.share = part(cost, 100.0, "cost")?;
    plans.push("", op);
    Ok(())
}
