//! Device files: TOML, one device each.

use super::{Device, Estimates, Figure, FixedCosts, Limits, Seen, Strength};
use crate::cost::{Rates, Times};
use crate::os::Os;
use crate::source::Source;
use serde::Deserialize;
use std::fmt;
use std::sync::Arc;

/// A device file as it stands.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Profile {
    chip: String,
    #[serde(default)]
    based_on: Option<String>,
    #[serde(default)]
    engine: Option<String>,
    #[serde(default)]
    target: Option<String>,
    #[serde(default)]
    year: Option<u16>,
    /// The newest system that its products run.
    #[serde(default)]
    os: Option<Os>,
    #[serde(default)]
    products: Vec<String>,
    #[serde(default)]
    notes: Vec<String>,
    #[serde(default)]
    estimates: Option<Rated>,
    #[serde(default)]
    figures: Vec<Figure>,
    #[serde(default)]
    seen: Vec<Seen>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rated {
    rates: String,
    os: Os,
    strength: Strength,
    source: Source,
    #[serde(default)]
    times: Times,
}

/// What is wrong with a device file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileError(String);

impl fmt::Display for ProfileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ProfileError {}

fn wrong(what: impl Into<String>) -> ProfileError {
    ProfileError(what.into())
}

/// Longest device file that is read, in bytes.
const MOST_TEXT: usize = 1 << 22;

/// Reads a device file; `base` finds the device that it is based on.
pub(super) fn read(text: &str, base: impl Fn(&str) -> Option<Device>) -> Result<Device, ProfileError> {
    if text.len() > MOST_TEXT {
        return Err(wrong(format!(
            "a device file has at most {MOST_TEXT} bytes, but this one has {}",
            text.len()
        )));
    }
    let profile: Profile = toml::from_str(text).map_err(|e| wrong(format!("is no device file: {e}")))?;
    for figure in &profile.figures {
        check(figure)?;
    }
    profile.seen.iter().try_for_each(Seen::check).map_err(wrong)?;
    let base = match &profile.based_on {
        None => None,
        Some(name) => {
            let found = base(name)
                .ok_or_else(|| wrong(format!("`based_on` names `{name}`, which is no known chip")))?;
            Some(found)
        }
    };
    assemble(profile, base)
}

fn check(figure: &Figure) -> Result<(), ProfileError> {
    let what = &figure.what;
    if figure.quantity().is_none() {
        return Err(wrong(format!(
            "there is no figure `{what}`; `anemone devices m4 --json` shows those there are"
        )));
    }
    for value in [figure.value.least(), figure.value.most()].into_iter().flatten() {
        if !value.is_finite() || value < 0.0 {
            return Err(wrong(format!("`{what}` is {value}, but must be a finite number from 0 on")));
        }
    }
    Ok(())
}

fn assemble(profile: Profile, base: Option<Device>) -> Result<Device, ProfileError> {
    let Profile {
        chip, engine, target, year, os, products, mut notes, estimates, mut figures, mut seen, ..
    } = profile;
    if let Some(base) = &base {
        let own: Vec<String> = figures.iter().map(|f| f.what.clone()).collect();
        figures.extend(base.figures.iter().filter(|f| !own.contains(&f.what)).cloned());
        seen.extend(base.seen.values().cloned());
        notes.push(format!(
            "based on {}: figures that its file does not give are those of that chip",
            base.chip
        ));
    }
    let engine = engine.or_else(|| base.as_ref().map(|b| b.engine.clone()));
    let engine =
        engine.ok_or_else(|| wrong("has neither `engine` nor `based_on`, and one of them is needed"))?;
    let os = os.or_else(|| estimates.as_ref().map(|e| e.os)).or_else(|| base.as_ref()?.os);
    let estimates = match estimates {
        Some(rated) => Some(rates(rated)?),
        None => base.as_ref().and_then(|b| b.estimates.clone()),
    };
    Ok(Device {
        name: chip.to_ascii_lowercase().replace(' ', "-"),
        limits: limits(&figures)?,
        fixed: fixed(&figures),
        target: target.or_else(|| base.and_then(|b| b.target)),
        chip,
        engine,
        year,
        products,
        notes,
        estimates,
        os,
        figures,
        seen: Arc::new(seen.into_iter().rev().map(|s| (s.op.clone(), s)).collect()),
    })
}

fn rates(rated: Rated) -> Result<Estimates, ProfileError> {
    if rated.rates != "h16g" {
        return Err(wrong(format!("`rates` is \"{}\", but only \"h16g\" was published", rated.rates)));
    }
    rated.times.check().map_err(wrong)?;
    let rates = Rates::h16g().clone().times(rated.times);
    Ok(Estimates { rates, os: rated.os, strength: rated.strength, source: rated.source })
}

/// The best known figure: the strongest, of equally strong ones the first.
pub(super) fn best<'f>(figures: &'f [Figure], what: &str) -> Option<&'f Figure> {
    let mut found: Option<&Figure> = None;
    for figure in figures.iter().filter(|f| f.what == what) {
        if found.is_none_or(|best| best.strength < figure.strength) {
            found = Some(figure);
        }
    }
    found
}

fn limit(figures: &[Figure], what: &str) -> Result<usize, ProfileError> {
    let value = best(figures, what).and_then(|f| f.value.least());
    let value = value.ok_or_else(|| wrong(format!("needs a figure `{what}`, a number, or `based_on`")))?;
    // Limits are counts far below 2^53; a fraction is cut off.
    let whole = value.floor().min(f64::from(u32::MAX));
    format!("{whole:.0}").parse().map_err(|_| wrong(format!("`{what}` is {value}, which is no count")))
}

fn limits(figures: &[Figure]) -> Result<Limits, ProfileError> {
    Ok(Limits {
        extent: limit(figures, "limit_extent")?,
        extent_nc: limit(figures, "limit_extent_nc")?,
        rank: limit(figures, "limit_rank")?,
        conv_width: limit(figures, "limit_conv_width")?,
        conv_height: limit(figures, "limit_conv_height")?,
        conv_square: limit(figures, "limit_conv_square")?,
        max_pool_width: limit(figures, "limit_max_pool_width")?,
        max_pool_wide: limit(figures, "limit_max_pool_wide")?,
        matmul_row_bytes: limit(figures, "limit_matmul_row_bytes")?,
    })
}

fn fixed(figures: &[Figure]) -> FixedCosts {
    let ms = |what| best(figures, what).and_then(|f| f.value.least()).unwrap_or(0.125);
    FixedCosts {
        enter_ane: ms("planner_launch_ms"),
        change: ms("planner_change_ms"),
        end_on_ane: ms("planner_tail_ms"),
    }
}
