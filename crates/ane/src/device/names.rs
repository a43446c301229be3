//! Finding a device by what people call it.

use super::Device;
use std::fmt;
use std::sync::Arc;

/// Nothing has that name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownDevice {
    /// The name that was asked for.
    pub name: String,
    /// Names near to it, the nearest first.
    pub near: Vec<String>,
}

impl fmt::Display for UnknownDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown device `{}`; ", self.name)?;
        match self.near.as_slice() {
            [] => {}
            [one] => write!(f, "did you mean {one}? ")?,
            [most @ .., last] => write!(f, "did you mean {} or {last}? ", most.join(", "))?,
        }
        f.write_str("`anemone devices` lists them all, and a file ending in .toml may describe one")
    }
}

impl std::error::Error for UnknownDevice {}

/// What counts of a name: letters and digits, in lower case, without the maker and the size's unit.
fn plain(name: &str) -> String {
    let kept: String = name.to_lowercase().chars().filter(|c| c.is_alphanumeric()).collect();
    let kept = kept.strip_prefix("apple").unwrap_or(&kept);
    kept.replace("inch", "").replace("generation", "").replace("gen", "")
}

/// Names of a device: chip, target, products.
fn names(device: &Device) -> impl Iterator<Item = &str> {
    let chip = std::iter::once(&*device.chip);
    chip.chain(device.target.as_deref()).chain(device.products.iter().map(String::as_str))
}

pub(super) fn find(name: &str, devices: &[Arc<Device>]) -> Result<Arc<Device>, UnknownDevice> {
    let wanted = plain(name);
    let found = devices.iter().find(|d| names(d).any(|n| plain(n) == wanted));
    found.cloned().ok_or_else(|| UnknownDevice { near: near(&wanted, devices), name: name.to_owned() })
}

/// Most names that an error suggests.
const SUGGESTED: usize = 3;
/// Longest name that is compared with others.
const COMPARED: usize = 64;

fn near(wanted: &str, devices: &[Arc<Device>]) -> Vec<String> {
    if wanted.is_empty() || wanted.len() > COMPARED {
        return Vec::new();
    }
    let mut ranked: Vec<(usize, &str)> = Vec::new();
    for device in devices {
        for name in names(device) {
            let other = plain(name);
            let inside = wanted.len() > 2 && (other.starts_with(wanted) || wanted.starts_with(&*other));
            let apart = if inside { 1 } else { distance(wanted, &other) };
            if apart <= 1 + wanted.len() / 4 {
                ranked.push((apart, name));
            }
        }
    }
    ranked.sort_by_key(|&(apart, _)| apart);
    ranked.into_iter().take(SUGGESTED).map(|(_, n)| n.to_owned()).collect()
}

/// Edits (one character added, dropped or replaced) between two words.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut before = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let kept = before + usize::from(x != *y);
            before = row[j + 1];
            row[j + 1] = kept.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::super::Device;

    #[test]
    fn chips_targets_and_products_are_found_whatever_their_spelling() {
        let cases = [
            ("M4", "M4"),
            ("h16g", "M4"),
            ("iPhone 15 Pro", "A17 Pro"),
            ("iphone15pro", "A17 Pro"),
            ("MacBook Air M3", "M3"),
            ("MacBook Air (M3)", "M3"),
            ("macbook-pro 14-inch m4 max", "M4 Max"),
            ("Apple M2 Ultra", "M2 Ultra"),
            ("iphone 17", "A19"),
        ];
        for (name, chip) in cases {
            assert_eq!(Device::named(name).map(|d| d.chip.clone()), Ok(chip.to_owned()), "{name}");
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_nearest_ones() {
        let error = Device::named("iphone 15 por").expect_err("no such phone");
        assert!(error.near.contains(&"iPhone 15 Pro".to_owned()), "{error}");
        assert!(Device::named("m9").expect_err("no such chip").to_string().contains("did you mean"));
        for name in ["", "?", &"x".repeat(100_000)] {
            assert!(Device::named(name).expect_err("no name").near.is_empty());
        }
    }
}
