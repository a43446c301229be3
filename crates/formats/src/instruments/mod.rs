//! Tables that `xctrace export` writes as XML: when the Neural Engine and the GPU worked, and what Core ML did.
//!
//! `<trace-query-result>` holds one `<node>` for each table: a `<schema name="…">` with a `<col><mnemonic>…` for each
//! column, then a `<row>` for each event, whose elements stand in the order of the columns and are named after their
//! types. A value that was told before is a `ref` to the `id` of an element anywhere above it; `fmt` is its text for
//! people. Times are nanoseconds since the start of the recording. A second node may leave its schema out and means that
//! of the node before. Columns as seen in public parsers and their fixtures: `start-time`, `duration`,
//! `formatted-label`, `gpu-state`, `gpu-channel-name`, `ane-event-name`, `metal-nesting-level`, `process`,
//! `coreml-model-name`, `coreml-model-event`.
//!
//! The reader goes through the text once; what it keeps is the intervals and the values that have an `id`.

mod xml;

use crate::{Error, ErrorKind};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use xml::{Event, Xml};

/// Largest file that is read, in bytes.
pub const MAX_BYTES: usize = 1 << 28;
/// Most tables of different names.
const MAX_TABLES: usize = 1024;
/// Most values of a row.
const MAX_CELLS: usize = 256;
/// Longest text of a value that is kept, in bytes.
const MAX_TEXT: usize = 256;
const FORMAT: &str = "xctrace export";

/// Where an interval was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lane {
    /// Core ML's own account: predictions and loads.
    CoreMl,
    /// The Neural Engine.
    NeuralEngine,
    /// The GPU.
    Gpu,
    /// The CPU, as far as Core ML tells of it.
    Cpu,
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Activity {
    /// A prediction, or a part of one.
    Prediction,
    /// A model was loaded.
    Load,
    /// A model was compiled.
    Compile,
    /// Anything else, such as moving data.
    Other,
}

/// One interval.
#[derive(Clone, Debug, PartialEq)]
pub struct Interval {
    /// Table that it is from.
    pub schema: &'static str,
    /// Where.
    pub lane: Lane,
    /// What.
    pub activity: Activity,
    /// Nanoseconds since the recording began.
    pub start: u64,
    /// Nanoseconds; above 0.
    pub duration: u64,
    /// Text for people; empty when not told.
    pub label: Arc<str>,
    /// Model; empty when not told.
    pub model: Arc<str>,
    /// Process; empty when not told.
    pub process: Arc<str>,
}

/// What a file holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recording {
    /// Intervals of the tables that are known, by start.
    pub intervals: Vec<Interval>,
    /// Names and rows of the tables that are known.
    pub tables: Vec<(String, usize)>,
    /// Names and rows of the others.
    pub others: Vec<(String, usize)>,
    /// Rows of known tables that are no interval: idle, nested in another row, or without a length.
    pub skipped: usize,
}

/// Tables that are known: schema and lane; of Core ML's own account the event tells the lane.
pub const SCHEMAS: &[(&str, Lane)] = &[
    ("ane-hw-intervals", Lane::NeuralEngine),
    ("ane-hw-intervals-internal", Lane::NeuralEngine),
    ("metal-gpu-intervals", Lane::Gpu),
    ("mps-hw-intervals", Lane::Gpu),
    ("coreml-os-signpost", Lane::CoreMl),
    ("ModelInferenceTable", Lane::CoreMl),
];

/// True when the bytes look like XML.
pub fn is_xml(bytes: &[u8]) -> bool {
    bytes.trim_ascii_start().starts_with(b"<") || bytes.starts_with(b"\xef\xbb\xbf<")
}

/// Reads what `xctrace export` wrote.
///
/// # Errors
/// When the XML is malformed or cut off, a reference leads nowhere, a time is no number, or no table is known.
pub fn read(bytes: &[u8]) -> Result<Recording, Error> {
    if bytes.len() > MAX_BYTES {
        let why = format!("{} bytes, of at most {MAX_BYTES}", bytes.len());
        return Err(Error::new(ErrorKind::TooLarge, why).format(FORMAT));
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|e| Error::new(ErrorKind::NotUtf8, "is not UTF-8").at(e.valid_up_to()).format(FORMAT))?;
    let mut reader =
        Reader { xml: Xml::new(text), known: HashMap::new(), table: None, found: Recording::default() };
    reader.file().map_err(|e| e.format(FORMAT))?;
    let mut found = reader.found;
    found.intervals.sort_by_key(|i| (i.start, i.lane));
    Ok(found)
}

/// A value of a row.
#[derive(Clone, Debug, Default)]
struct Value {
    /// Text of the element.
    text: Arc<str>,
    /// Text for people.
    shown: Arc<str>,
}

impl Value {
    fn words(&self) -> &Arc<str> {
        if self.shown.is_empty() { &self.text } else { &self.shown }
    }
}

/// The table of the current node.
#[derive(Clone, Debug)]
struct Table {
    name: String,
    known: Option<(&'static str, Lane)>,
    columns: Vec<String>,
    rows: usize,
}

struct Reader<'a> {
    xml: Xml<'a>,
    known: HashMap<&'a str, Value>,
    table: Option<Table>,
    found: Recording,
}

/// An element below a row that is still open.
struct Cell<'a> {
    name: &'a str,
    id: Option<&'a str>,
    value: Option<Value>,
}

/// Cells of a row: name of the element, and its value; `None` where the value is missing.
type Cells<'a> = Vec<(&'a str, Option<Value>)>;

impl<'a> Reader<'a> {
    fn file(&mut self) -> Result<(), Error> {
        let mut toc = false;
        let mut root = false;
        loop {
            match self.xml.next()? {
                Event::End => break,
                Event::Open { name, .. } => {
                    toc |= name == "trace-toc";
                    root |= name == "trace-query-result";
                    match name {
                        "schema" => self.schema()?,
                        "row" => self.row()?,
                        _ => {}
                    }
                }
                Event::Close { name: "node" } => self.close_table(),
                _ => {}
            }
        }
        self.close_table();
        if self.found.tables.is_empty() {
            return Err(self.nothing(toc, root));
        }
        Ok(())
    }

    fn nothing(&self, toc: bool, root: bool) -> Error {
        let names = SCHEMAS.iter().map(|(n, _)| *n).collect::<Vec<_>>().join(", ");
        if toc {
            let cause = format!(
                "is a table of contents, which has no times; export a table with --xpath '…/table[@schema=\"ane-hw-intervals\"]' \
                 (known are {names})"
            );
            return Error::new(ErrorKind::Unsupported, cause);
        }
        if !root && self.found.others.is_empty() {
            return Error::new(
                ErrorKind::Unsupported,
                "is XML, but not of `xctrace export`; expected <trace-query-result>",
            );
        }
        let has: Vec<&str> = self.found.others.iter().map(|(n, _)| &**n).collect();
        let has =
            if has.is_empty() { "no table".to_owned() } else { format!("the tables {}", has.join(", ")) };
        Error::new(ErrorKind::Missing, format!("has {has}, none of which is known; known are {names}"))
    }

    fn close_table(&mut self) {
        let Some(table) = &mut self.table else { return };
        let rows = std::mem::take(&mut table.rows);
        let list = if table.known.is_some() { &mut self.found.tables } else { &mut self.found.others };
        match list.iter_mut().find(|(name, _)| *name == table.name) {
            Some((_, all)) => *all += rows,
            None => list.push((table.name.clone(), rows)),
        }
    }

    fn schema(&mut self) -> Result<(), Error> {
        if self.found.tables.len() + self.found.others.len() > MAX_TABLES {
            return Err(self
                .xml
                .wrong(ErrorKind::TooLarge, format!("has more than {MAX_TABLES} different tables")));
        }
        let name = self.xml.attribute("name").unwrap_or_default();
        let known = SCHEMAS.iter().find(|(n, _)| *n == name).copied();
        let mut table = Table { name, known, columns: Vec::new(), rows: 0 };
        let depth = self.xml.depth();
        let mut mnemonic = false;
        while self.xml.depth() >= depth {
            match self.xml.next()? {
                Event::Open { name, .. } => mnemonic = name == "mnemonic",
                Event::Text(text) if mnemonic => table.columns.push(text.trim().to_owned()),
                Event::Close { .. } => mnemonic = false,
                Event::Text(_) => {}
                Event::End => return Err(self.xml.cut("the schema")),
            }
        }
        self.table = Some(table);
        Ok(())
    }

    fn row(&mut self) -> Result<(), Error> {
        let Some(number) = self.table.as_ref().map(|t| t.rows + 1) else {
            return Err(self.xml.wrong(ErrorKind::Missing, "a row stands before any schema"));
        };
        let at = |e: Error, table: &Option<Table>| {
            let name = table.as_ref().map_or("", |t| &t.name);
            e.within(&format!("row {number} of {name}"))
        };
        let cells = self.cells().map_err(|e| at(e, &self.table))?;
        if let Some(table) = &mut self.table {
            table.rows = number;
        }
        let interval = self.interval(&cells).map_err(|e| at(e, &self.table))?;
        match interval {
            Some(interval) => self.found.intervals.push(interval),
            None if self.table.as_ref().is_some_and(|t| t.known.is_some()) => self.found.skipped += 1,
            None => {}
        }
        Ok(())
    }

    /// Values of a row; those with an `id` are kept for later rows.
    fn cells(&mut self) -> Result<Cells<'a>, Error> {
        let (depth, mut cells) = (self.xml.depth(), Cells::new());
        let mut open: Vec<Cell<'a>> = Vec::new();
        loop {
            match self.xml.next()? {
                Event::Open { name } => open.push(self.cell(name)?),
                Event::Text(text) => {
                    if let Some(Cell { value: Some(value), .. }) = open.last_mut() {
                        value.text = xml::clipped(text.trim(), MAX_TEXT).into();
                    }
                }
                Event::Close { .. } if self.xml.depth() < depth => return Ok(cells),
                Event::Close { .. } => {
                    let Some(Cell { name, id, value }) = open.pop() else { continue };
                    if let (Some(id), Some(value)) = (id, &value) {
                        self.known.insert(id, value.clone());
                    }
                    if open.is_empty() {
                        cells.push((name, value));
                    }
                    if cells.len() > MAX_CELLS {
                        return Err(self
                            .xml
                            .wrong(ErrorKind::TooLarge, format!("has more than {MAX_CELLS} values")));
                    }
                }
                Event::End => return Err(self.xml.cut("the row")),
            }
        }
    }

    /// The element that was just opened, with what it refers to.
    fn cell(&self, name: &'a str) -> Result<Cell<'a>, Error> {
        let value = match self.xml.raw("ref") {
            Some(id) => {
                let cause = || {
                    format!("<{name}> refers to {:?}, which stands nowhere before it", xml::clipped(id, 40))
                };
                let known = self.known.get(id).cloned();
                Some(known.ok_or_else(|| self.xml.wrong(ErrorKind::OutOfBounds, cause()))?)
            }
            None if name == "sentinel" => None,
            None => {
                let shown = self.xml.attribute("fmt").unwrap_or_default();
                Some(Value { shown: xml::clipped(&shown, MAX_TEXT).into(), ..Value::default() })
            }
        };
        Ok(Cell { name, id: self.xml.raw("id"), value })
    }

    /// The interval that a row tells of.
    fn interval(&self, cells: &Cells<'a>) -> Result<Option<Interval>, Error> {
        let Some(Table { known: Some((schema, lane)), columns, .. }) = &self.table else { return Ok(None) };
        let row = Row { cells, columns };
        let (start, duration) =
            (row.time("start", "start-time", self)?, row.time("duration", "duration", self)?);
        let (Some(start), Some(duration)) = (start, duration) else {
            return Err(self.xml.wrong(ErrorKind::Missing, "has no start-time or no duration"));
        };
        let level = row.cell("nesting-level", "metal-nesting-level");
        let nested = level.and_then(|v| v.text.parse::<u32>().ok()).is_some_and(|n| n > 0);
        let state = row.words("state", "gpu-state").to_ascii_lowercase();
        if nested || duration == 0 || matches!(&*state, "idle" | "off" | "inactive") {
            return Ok(None);
        }
        let event = [
            row.words("event", "coreml-model-event"),
            row.words("label", "formatted-label"),
            row.words("event-label", "formatted-label"),
            row.words("event-name", "ane-event-name"),
            row.words("event-name", "mps-event-name"),
            row.words("channel-name", "gpu-channel-name"),
        ];
        let label = event.into_iter().find(|w| !w.is_empty()).unwrap_or_default();
        let lane = if *lane == Lane::CoreMl { lane_of(&label) } else { *lane };
        Ok(Some(Interval {
            schema,
            lane,
            activity: activity_of(&label),
            start,
            duration,
            label,
            model: row.words("model-name", "coreml-model-name"),
            process: row.words("process", "process"),
        }))
    }
}

struct Row<'r, 'a> {
    cells: &'r Cells<'a>,
    columns: &'r [String],
}

impl Row<'_, '_> {
    /// The value of a column, or of the first element of a type.
    fn cell(&self, column: &str, element: &str) -> Option<&Value> {
        let by_element = || self.cells.iter().find(|(n, v)| *n == element && v.is_some()).map(|(_, v)| v);
        let at = self.columns.iter().position(|c| c == column);
        let by_column = at.and_then(|i| self.cells.get(i)).map(|(_, v)| v);
        by_column.filter(|v| v.is_some()).or_else(by_element).and_then(Option::as_ref)
    }

    fn words(&self, column: &str, element: &str) -> Arc<str> {
        self.cell(column, element).map_or_else(Arc::default, |v| Arc::clone(v.words()))
    }

    fn time(&self, column: &str, element: &str, reader: &Reader<'_>) -> Result<Option<u64>, Error> {
        let Some(value) = self.cell(column, element) else { return Ok(None) };
        let read = value.text.parse::<u64>();
        read.map(Some).map_err(|_| {
            let cause = format!("<{element}> is {:?}, but must be a whole number of nanoseconds", value.text);
            reader.xml.wrong(ErrorKind::Malformed, cause)
        })
    }
}

/// Where Core ML says that an event happened.
fn lane_of(event: &str) -> Lane {
    let event = event.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|w| event.contains(w));
    if has(&["neural engine", "ane "]) {
        Lane::NeuralEngine
    } else if has(&["gpu", "mps", "metal"]) {
        Lane::Gpu
    } else if has(&["cpu", "bnns"]) {
        Lane::Cpu
    } else {
        Lane::CoreMl
    }
}

fn activity_of(label: &str) -> Activity {
    let label = label.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|w| label.contains(w));
    if has(&["compil"]) {
        Activity::Compile
    } else if has(&["load"]) {
        Activity::Load
    } else if has(&["prepare", "data", "copy"]) {
        Activity::Other
    } else if label.is_empty()
        || has(&["predict", "inference", "request", "cpu", "mpsgraph", "compute", "response"])
    {
        Activity::Prediction
    } else {
        Activity::Other
    }
}

impl Recording {
    /// Intervals of a lane and activity.
    pub fn of(&self, lane: Lane, activity: Activity) -> impl Iterator<Item = &Interval> {
        self.intervals.iter().filter(move |i| i.lane == lane && i.activity == activity)
    }

    /// Nanoseconds in which a lane worked, overlaps counted once, by lane.
    pub fn busy(&self, activity: Activity) -> BTreeMap<Lane, u64> {
        let mut busy: BTreeMap<Lane, (u64, u64)> = BTreeMap::new();
        for i in self.intervals.iter().filter(|i| i.activity == activity) {
            let (sum, until) = busy.entry(i.lane).or_default();
            let end = i.start.saturating_add(i.duration);
            *sum = sum.saturating_add(end.saturating_sub(i.start.max(*until)));
            *until = (*until).max(end);
        }
        busy.into_iter().map(|(lane, (sum, _))| (lane, sum)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_beyond_number_are_refused() {
        let node = |i: usize| format!("<node><schema name=\"t{i}\"/></node>");
        let nodes: String = (0..2 * MAX_TABLES).map(node).collect();
        let error = read(format!("<trace-query-result>{nodes}</trace-query-result>").as_bytes())
            .expect_err("too many");
        assert_eq!(error.kind(), ErrorKind::TooLarge);
    }
}
