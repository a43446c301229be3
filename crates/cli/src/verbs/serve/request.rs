//! A line of JSON to a request.

use super::failure::{Failure, Kind};
use serde_json::{Map, Number, Value};
use std::path::PathBuf;

/// What the client asks for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Request {
    /// Who answers?
    Hello,
    /// Loads a function of a package.
    Load {
        /// The package.
        path: PathBuf,
        /// `None`: the default function.
        function: Option<String>,
    },
    /// One prediction.
    Predict {
        /// Number of the model.
        model: u64,
        /// File of the inputs; `None` for a function without any.
        inputs: Option<PathBuf>,
        /// File to write.
        outputs: PathBuf,
        /// Number of the state, for functions that have one.
        state: Option<u64>,
    },
    /// Makes a state of zeros.
    NewState {
        /// Number of the model.
        model: u64,
    },
    /// Writes a tensor of a state into a file.
    ReadState {
        /// Number of the state.
        state: u64,
        /// Name of the tensor.
        name: String,
        /// File to write.
        outputs: PathBuf,
    },
    /// Replaces a tensor of a state.
    WriteState {
        /// Number of the state.
        state: u64,
        /// Name of the tensor.
        name: String,
        /// File that holds it.
        inputs: PathBuf,
    },
    /// Forgets a model and its states.
    FreeModel(u64),
    /// Forgets a state.
    FreeState(u64),
}

/// Every `op` of the protocol.
const OPS: [&str; 7] = ["hello", "load", "predict", "new_state", "read_state", "write_state", "free"];

/// The id of a line, where there is one, and what it asks for.
pub(super) fn parse(line: &[u8]) -> (Option<Number>, Result<Request, Failure>) {
    let value: Value = match serde_json::from_slice(line) {
        Ok(value) => value,
        Err(e) => return (None, Err(invalid(format!("the line is not JSON: {e}")))),
    };
    let Value::Object(fields) = value else {
        return (None, Err(invalid(format!("the line must be a JSON object, but is {}", kind_of(&value)))));
    };
    let id = match fields.get("id") {
        Some(Value::Number(id)) => id.clone(),
        Some(other) => {
            return (None, Err(invalid(format!("`id` must be a number, but is {}", kind_of(other)))));
        }
        None => return (None, Err(invalid("`id` is missing; every request needs a number"))),
    };
    (Some(id), Fields(fields).request())
}

fn invalid(why: impl Into<String>) -> Failure {
    Failure { kind: Kind::Invalid, error: why.into() }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

struct Fields(Map<String, Value>);

impl Fields {
    fn request(&self) -> Result<Request, Failure> {
        let op = self.text("op")?;
        Ok(match op.as_str() {
            "hello" => Request::Hello,
            "load" => {
                Request::Load { path: self.path("path")?, function: self.maybe("function", Self::text)? }
            }
            "predict" => Request::Predict {
                model: self.number("model")?,
                inputs: self.maybe("inputs", Self::path)?,
                outputs: self.path("outputs")?,
                state: self.maybe("state", Self::number)?,
            },
            "new_state" => Request::NewState { model: self.number("model")? },
            "read_state" => Request::ReadState {
                state: self.number("state")?,
                name: self.text("name")?,
                outputs: self.path("outputs")?,
            },
            "write_state" => Request::WriteState {
                state: self.number("state")?,
                name: self.text("name")?,
                inputs: self.path("inputs")?,
            },
            "free" => self.free()?,
            other => {
                let shown: String = other.chars().take(40).collect();
                return Err(invalid(format!("there is no op {shown:?}; there are {OPS:?}")));
            }
        })
    }

    fn free(&self) -> Result<Request, Failure> {
        match (self.maybe("model", Self::number)?, self.maybe("state", Self::number)?) {
            (Some(model), None) => Ok(Request::FreeModel(model)),
            (None, Some(state)) => Ok(Request::FreeState(state)),
            (Some(_), Some(_)) => Err(invalid("free takes `model` or `state`, but both are given")),
            (None, None) => Err(invalid("free takes `model` or `state`, but neither is given")),
        }
    }

    fn field(&self, name: &str) -> Result<&Value, Failure> {
        self.0.get(name).ok_or_else(|| invalid(format!("`{name}` is missing")))
    }

    /// `None` where the field is left out or null.
    fn maybe<T>(
        &self,
        name: &str,
        read: impl Fn(&Self, &str) -> Result<T, Failure>,
    ) -> Result<Option<T>, Failure> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(_) => read(self, name).map(Some),
        }
    }

    fn text(&self, name: &str) -> Result<String, Failure> {
        match self.field(name)? {
            Value::String(text) => Ok(text.clone()),
            other => Err(invalid(format!("`{name}` must be a string, but is {}", kind_of(other)))),
        }
    }

    fn path(&self, name: &str) -> Result<PathBuf, Failure> {
        let text = self.text(name)?;
        if text.is_empty() || text.contains('\0') {
            return Err(invalid(format!("`{name}` must be a path, but is {text:?}")));
        }
        Ok(text.into())
    }

    /// A whole number; some languages write it as `1.0`.
    fn number(&self, name: &str) -> Result<u64, Failure> {
        let value = self.field(name)?;
        let whole = |v: &f64| *v >= 0.0 && v.fract() == 0.0 && *v < 2f64.powi(53);
        let number = value.as_u64().or_else(|| value.as_f64().filter(whole).map(|v| v as u64));
        number.ok_or_else(|| {
            let what = match value {
                Value::Number(n) => n.to_string(),
                other => kind_of(other).to_owned(),
            };
            invalid(format!("`{name}` must be a number that was given out before, but is {what}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(line: &str) -> (Option<Number>, String) {
        let (id, request) = parse(line.as_bytes());
        let failure = request.expect_err(line);
        assert_eq!(failure.kind, Kind::Invalid, "{line}");
        (id, failure.error)
    }

    #[test]
    fn lines_of_the_protocol_are_understood() {
        let ok = |line: &str| parse(line.as_bytes()).1.expect(line);
        assert_eq!(ok(r#"{"id":1,"op":"hello"}"#), Request::Hello);
        let load = Request::Load { path: "/a".into(), function: None };
        assert_eq!(ok(r#"{"id":1,"op":"load","path":"/a","function":null}"#), load);
        assert_eq!(ok(r#"{"path":"/a","op":"load","id":1e3,"more":[1]}"#), load);
        let predict =
            Request::Predict { model: 1, inputs: Some("i".into()), outputs: "o".into(), state: None };
        assert_eq!(
            ok(r#"{"id":2,"op":"predict","model":1,"inputs":"i","outputs":"o","state":null}"#),
            predict
        );
        assert_eq!(ok(r#"{"id":2,"op":"predict","model":1.0,"inputs":"i","outputs":"o"}"#), predict);
        assert_eq!(ok(r#"{"id":-7,"op":"free","state":3}"#), Request::FreeState(3));
    }

    #[test]
    fn lines_that_say_no_id_are_refused_without_one() {
        for (line, word) in [
            ("", "not JSON"),
            ("{\"id\":1", "not JSON"),
            ("[1]", "a list"),
            ("{\"op\":\"hello\"}", "`id` is missing"),
            ("{\"id\":\"1\",\"op\":\"hello\"}", "a string"),
        ] {
            let (id, error) = refused(line);
            assert!(id.is_none() && error.contains(word), "{line}: {error}");
        }
        let (id, request) = parse(b"\xff\xfe{}");
        assert!(id.is_none() && request.is_err());
    }

    #[test]
    fn fields_that_are_missing_or_of_another_type_are_named() {
        for (line, word) in [
            (r#"{"id":1}"#, "`op` is missing"),
            (r#"{"id":1,"op":null}"#, "`op` must be a string"),
            (r#"{"id":1,"op":"dance"}"#, "write_state"),
            (r#"{"id":1,"op":"load"}"#, "`path`"),
            (r#"{"id":1,"op":"load","path":7}"#, "a number"),
            (r#"{"id":1,"op":"load","path":""}"#, "a path"),
            (r#"{"id":1,"op":"load","path":"a\u0000b"}"#, "a path"),
            (r#"{"id":1,"op":"load","path":"a","function":1}"#, "`function`"),
            (r#"{"id":1,"op":"new_state","model":-1}"#, "-1"),
            (r#"{"id":1,"op":"new_state","model":1.5}"#, "1.5"),
            (r#"{"id":1,"op":"new_state","model":"1"}"#, "a string"),
            (r#"{"id":1,"op":"free"}"#, "neither"),
            (r#"{"id":1,"op":"free","model":1,"state":1}"#, "both"),
        ] {
            let (id, error) = refused(line);
            assert!(id == Some(1.into()) && error.contains(word), "{line}: {error}");
        }
    }
}
