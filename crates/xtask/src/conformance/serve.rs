//! The conformance cases through one `anemone serve --stdio`, as a program in another language would run them.

use super::case::{Case, Tensors, tensors};
use super::compare::{Verdict, WORDS, compare};
use crate::Outcome;
use crate::place::{cargo, run, target};
use anemone_model::{DictKey, Feature, Features};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

/// Failures that are printed; all of them go into a file.
const SHOWN: usize = 40;

/// Replays every case in one process and prints how many pass.
///
/// # Errors
/// When the command cannot be built or does not keep to the protocol.
pub fn replay(cases: &[Case]) -> Result<Outcome, String> {
    run(cargo().args(["build", "--quiet", "-p", "anemone-cli"]))?;
    let mut client = Client::start(&target().join("debug/anemone"))?;
    let start = Instant::now();
    let (mut ranks, mut lines) = ([0; WORDS.len()], Vec::new());
    for case in cases {
        let verdict = client.case(case)?;
        ranks[verdict.rank()] += 1;
        if let Verdict::Wrong(why) | Verdict::Error(why) = &verdict {
            lines.push(format!("{} {} {}: {why}", verdict.word(), case.name, case.test).replace('\n', "; "));
        }
    }
    client.end()?;
    let seconds = start.elapsed().as_secs_f64();
    let share = |n: usize| 100.0 * n as f64 / cases.len().max(1) as f64;
    println!("\n{} cases through one `anemone serve --stdio` in {seconds:.1} s", cases.len());
    println!("within tolerance  {:>5}  {:.2} %", ranks[2] + ranks[3], share(ranks[2] + ranks[3]));
    println!("within strict     {:>5}  {:.2} %", ranks[3], share(ranks[3]));
    let file = target().join("conformance/serve.txt");
    fs::write(&file, lines.join("\n")).map_err(|e| format!("cannot write {}: {e}", file.display()))?;
    lines.iter().take(SHOWN).for_each(|line| println!("{}", line.chars().take(240).collect::<String>()));
    if lines.len() > SHOWN {
        println!("and {} more, all in {}", lines.len() - SHOWN, file.display());
    }
    Ok(Outcome::of(lines.len()))
}

/// The other end of the pipes.
struct Client {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    folder: tempfile::TempDir,
    id: u64,
}

impl Client {
    fn start(command: &Path) -> Result<Client, String> {
        let fail = |e: std::io::Error| format!("{}: {e}", command.display());
        let mut serve = Command::new(command);
        serve.args(["serve", "--stdio"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = serve.spawn().map_err(fail)?;
        let (to, from) = (child.stdin.take().ok_or("no stdin")?, child.stdout.take().ok_or("no stdout")?);
        Ok(Client {
            child,
            to,
            from: BufReader::new(from),
            folder: tempfile::tempdir().map_err(fail)?,
            id: 0,
        })
    }

    /// Sends a request; what the protocol does not allow as an answer ends the replay.
    fn ask(&mut self, mut request: Value) -> Result<Value, String> {
        self.id += 1;
        request["id"] = self.id.into();
        let mut line = String::new();
        let sent = writeln!(self.to, "{request}").and_then(|()| self.to.flush());
        sent.and_then(|()| self.from.read_line(&mut line)).map_err(|e| format!("{request}: {e}"))?;
        let answer: Value = serde_json::from_str(&line).map_err(|e| format!("{request}: {line:?}: {e}"))?;
        let known = ["unsupported", "invalid", "internal"];
        let said = |key: &str| answer[key].as_str().unwrap_or_default();
        let fine = answer["ok"] == true || known.contains(&said("kind")) && !said("error").is_empty();
        if answer["id"] == self.id && fine {
            Ok(answer)
        } else {
            Err(format!("{request} is answered {answer}"))
        }
    }

    /// A request whose failure is the verdict.
    fn done(&mut self, request: Value) -> Result<Result<Value, Verdict>, String> {
        let answer = self.ask(request)?;
        let said = |key: &str| answer[key].as_str().unwrap_or_default().to_owned();
        let failed = || Verdict::Error(format!("{}: {}", said("kind"), said("error")));
        Ok(if answer["ok"] == true { Ok(answer) } else { Err(failed()) })
    }

    fn case(&mut self, case: &Case) -> Result<Verdict, String> {
        let load = json!({"op": "load", "path": case.package(), "function": case.function});
        let model = match self.done(load)? {
            Ok(answer) => answer["model"].clone(),
            Err(verdict) => return Ok(verdict),
        };
        let verdict = self.steps(case, &model)?.unwrap_or_else(|failed| failed);
        self.ask(json!({"op": "free", "model": model}))?;
        Ok(verdict)
    }

    fn steps(&mut self, case: &Case, model: &Value) -> Result<Result<Verdict, Verdict>, String> {
        let mut state = Value::Null;
        if case.stateful {
            match self.done(json!({"op": "new_state", "model": model}))? {
                Ok(answer) => state = answer["state"].clone(),
                Err(failed) => return Ok(Err(failed)),
            }
        }
        let mut worst = Verdict::Strict;
        for step in 0..case.steps {
            let inputs = case.step_file("inputs", step);
            let inputs = if inputs.exists() { json!(inputs) } else { Value::Null };
            let outputs = self.folder.path().join("outputs");
            let request = json!({"op": "predict", "model": model, "inputs": inputs, "outputs": outputs, "state": state});
            match self.done(request)? {
                Ok(answer) => worst = worst.and(compare(case, step, &features(&answer, tensors(&outputs)?))?),
                Err(failed) => return Ok(Err(failed)),
            }
        }
        Ok(Ok(worst))
    }

    /// Closes stdin; the process must end with status 0.
    fn end(self) -> Result<(), String> {
        let Client { mut child, to, .. } = self;
        drop(to);
        let status = child.wait().map_err(|e| e.to_string())?;
        if status.success() { Ok(()) } else { Err(format!("serve ended with {status}")) }
    }
}

/// The tensors, labels and probabilities of an answer.
fn features(answer: &Value, tensors: Tensors) -> Features {
    let mut features: Features = tensors.into_iter().collect();
    for (name, label) in answer["labels"].as_object().into_iter().flatten() {
        match label {
            Value::String(text) => features.insert(name, Feature::Text(text.clone())),
            number => features.insert(name, Feature::Int(number.as_i64().unwrap_or_default())),
        }
    }
    for (name, entries) in answer["dicts"].as_object().into_iter().flatten() {
        let entry = |entry: &Value| {
            let key = match &entry[0] {
                Value::String(text) => DictKey::Text(text.clone()),
                number => DictKey::Int(number.as_i64()?),
            };
            Some((key, entry[1].as_f64()?))
        };
        let entries = entries.as_array().into_iter().flatten().filter_map(entry).collect();
        features.insert(name, Feature::Dict(entries));
    }
    features
}
