//! `serve`: loads models and predicts for another program, a line of JSON at a time.
//!
//! `docs/serve.md` is the protocol.

mod failure;
mod request;
mod server;

use crate::Outcome;
use crate::args::ServeArgs;
use crate::json::ServeLine;
use anemone::Error;
use failure::Failure;
use server::Server;
use std::io::{self, BufRead, Read, Write};
use std::time::Instant;

/// Longest line that is read: paths and names need far less.
const LONGEST: u64 = 1 << 20;

pub(super) fn run(args: &ServeArgs) -> Result<Outcome, Error> {
    let mut server = Server::new(args.threads);
    let (input, mut output) = (io::stdin(), io::stdout());
    let mut input = input.lock();
    while let Some(line) = line(&mut input).map_err(|e| Error::new(format!("stdin: {e}")))? {
        let start = Instant::now();
        let (id, request) = match &line {
            Line::Whole(bytes) if bytes.iter().all(u8::is_ascii_whitespace) => continue,
            Line::Whole(bytes) => request::parse(bytes),
            Line::TooLong => {
                let why = format!("the line is longer than {LONGEST} bytes");
                (None, Err(Failure::invalid(why)))
            }
        };
        let answer = request.and_then(|r| server.answer(r));
        let text = match &answer {
            Ok(answer) => serde_json::to_string(&ServeLine::done(id.as_ref(), answer)),
            Err(f) => serde_json::to_string(&ServeLine::failed(id.as_ref(), f.kind.name(), &f.error)),
        };
        let text = text.map_err(Error::from_cause)? + "\n";
        match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
            // Nobody listens any more.
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => break,
            written => written.map_err(|e| Error::new(format!("stdout: {e}")))?,
        }
        if args.log {
            log(&line, &answer.err(), start);
        }
    }
    Ok(Outcome::Clean)
}

/// Tells of a request on stderr.
fn log(line: &Line, failure: &Option<Failure>, start: Instant) {
    /// Bytes of a request that are shown.
    const SHOWN: usize = 160;
    let ms = crate::human::milliseconds(start.elapsed().as_secs_f64() * 1e3);
    let what = match line {
        Line::Whole(bytes) => String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN)]).trim_end().to_owned(),
        Line::TooLong => "a line that is too long".to_owned(),
    };
    let how = failure.as_ref().map_or("ok".to_owned(), |f| format!("{}: {}", f.kind.name(), f.error));
    super::note(&format!("{ms} {what}: {how}"));
}

/// What was read up to the end of a line.
enum Line {
    Whole(Vec<u8>),
    TooLong,
}

/// The next line without holding more than [`LONGEST`] bytes of it; `None` at the end.
fn line(input: &mut impl BufRead) -> io::Result<Option<Line>> {
    let mut bytes = Vec::new();
    input.by_ref().take(LONGEST + 1).read_until(b'\n', &mut bytes)?;
    if bytes.is_empty() {
        return Ok(None);
    }
    if bytes.ends_with(b"\n") || u64::try_from(bytes.len()).is_ok_and(|n| n <= LONGEST) {
        return Ok(Some(Line::Whole(bytes)));
    }
    skip_line(input)?;
    Ok(Some(Line::TooLong))
}

/// Reads on to the end of the line and forgets it.
fn skip_line(input: &mut impl BufRead) -> io::Result<()> {
    loop {
        let held = input.fill_buf()?;
        let (used, done) = match held.iter().position(|&b| b == b'\n') {
            Some(at) => (at + 1, true),
            None => (held.len(), held.is_empty()),
        };
        input.consume(used);
        if done {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_too_long_is_skipped_and_the_next_one_is_read() {
        let long = "x".repeat(3 << 20);
        let text = format!("a\n{long}\nb\n\nc");
        let mut input = io::BufReader::with_capacity(1000, text.as_bytes());
        let mut read = Vec::new();
        while let Some(l) = line(&mut input).unwrap() {
            read.push(match l {
                Line::Whole(bytes) => String::from_utf8(bytes).unwrap(),
                Line::TooLong => "too long".into(),
            });
        }
        assert_eq!(read, ["a\n", "too long", "b\n", "\n", "c"]);
    }

    #[test]
    fn a_line_that_just_fits_is_read() {
        let fits = format!("{}\n", "x".repeat(LONGEST as usize));
        assert!(matches!(line(&mut fits.as_bytes()), Ok(Some(Line::Whole(l))) if l.len() == fits.len()));
        let open = "x".repeat(LONGEST as usize + 1);
        assert!(matches!(line(&mut open.as_bytes()), Ok(Some(Line::TooLong))));
    }
}
