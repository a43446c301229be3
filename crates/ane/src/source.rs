//! Who says something: `key: where`, the key standing for an entry of `data/sources.toml`.

use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::LazyLock;

static NAMES: LazyLock<BTreeMap<String, String>> = LazyLock::new(|| {
    toml::from_str(include_str!("../data/sources.toml")).expect("a table of names, which a test reads")
});

/// A source and the place in it.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(from = "String")]
pub struct Source {
    /// Name of the source; what stands before the first colon when that is no known key.
    pub name: String,
    /// File, page, issue or record there; empty when the whole is meant.
    pub place: String,
}

impl From<String> for Source {
    fn from(text: String) -> Source {
        let (key, place) = text.split_once(':').unwrap_or((&text, ""));
        let name = NAMES.get(key.trim()).map_or(key.trim(), String::as_str);
        Source { name: name.to_owned(), place: place.trim().to_owned() }
    }
}

impl Source {
    /// True when the source stands in the table of sources.
    pub fn is_listed(&self) -> bool {
        NAMES.values().any(|n| *n == self.name)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if self.place.is_empty() { Ok(()) } else { write!(f, ": {}", self.place) }
    }
}
