//! Systems: macOS and iOS versions, comparable with each other.

use serde::Deserialize;
use std::fmt;
use std::str::FromStr;

/// A version of macOS or iOS (iPadOS counts as iOS).
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Hash)]
#[serde(try_from = "String")]
pub struct Os {
    mac: bool,
    version: [u16; 3],
}

impl Os {
    /// The iOS release of the same year: macOS 15 goes with iOS 18; from 26 on both have the same number.
    pub const fn generation(self) -> u16 {
        let major = self.version[0];
        if self.mac && major < 26 { major + 3 } else { major }
    }

    /// True for macOS.
    pub const fn is_mac(self) -> bool {
        self.mac
    }
}

/// A text that names no system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownOs(String);

impl fmt::Display for UnknownOs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown system `{}`; write it as `macOS 15`, `ios18` or `macos 27.0.1`", self.0)
    }
}

impl std::error::Error for UnknownOs {}

impl FromStr for Os {
    type Err = UnknownOs;

    fn from_str(text: &str) -> Result<Os, UnknownOs> {
        let wrong = || UnknownOs(text.to_owned());
        let plain: String = text.to_ascii_lowercase().split_whitespace().collect();
        let (mac, numbers) = [("macos", true), ("ipados", false), ("ios", false)]
            .iter()
            .find_map(|&(name, mac)| plain.strip_prefix(name).map(|rest| (mac, rest)))
            .ok_or_else(wrong)?;
        let mut version = [0; 3];
        let mut parts = numbers.split('.');
        for (slot, part) in version.iter_mut().zip(&mut parts) {
            *slot = part.parse().map_err(|_| wrong())?;
        }
        let plausible = (11..=99).contains(&version[0]) && parts.next().is_none();
        if plausible { Ok(Os { mac, version }) } else { Err(wrong()) }
    }
}

impl TryFrom<String> for Os {
    type Error = UnknownOs;

    fn try_from(text: String) -> Result<Os, UnknownOs> {
        text.parse()
    }
}

impl fmt::Display for Os {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.version;
        write!(f, "{} {major}", if self.mac { "macOS" } else { "iOS" })?;
        match (minor, patch) {
            (0, 0) => Ok(()),
            (_, 0) => write!(f, ".{minor}"),
            _ => write!(f, ".{minor}.{patch}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Os;

    #[test]
    fn systems_of_one_year_are_one_generation() {
        let generation = |text: &str| text.parse::<Os>().map(Os::generation).ok();
        assert_eq!([generation("macOS 15"), generation("ios18.2")], [Some(18); 2]);
        assert_eq!([generation("macos 27.0.1"), generation("iPadOS 27")], [Some(27); 2]);
        assert_eq!("macos27.0.1".parse::<Os>().expect("a version").to_string(), "macOS 27.0.1");
    }

    #[test]
    fn other_texts_are_no_system() {
        for text in ["", "windows 11", "ios", "ios x", "macos 1.2.3.4", "ios 18.1.2.3"] {
            assert!(text.parse::<Os>().is_err(), "{text}");
        }
    }
}
