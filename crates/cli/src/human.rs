//! Numbers for people.

/// `12.3 MB`: decimal units, three digits.
pub(crate) fn bytes(n: u64) -> String {
    scaled(n as f64, &["B", "kB", "MB", "GB", "TB"])
}

/// `4.7 M`: counts of parameters and the like.
pub(crate) fn count(n: u64) -> String {
    if n < 10_000 { n.to_string() } else { scaled(n as f64, &["", "k", "M", "G", "T"]) }
}

fn scaled(mut v: f64, units: &[&str]) -> String {
    let mut unit = 0;
    while v >= 1000.0 && unit + 1 < units.len() {
        v /= 1000.0;
        unit += 1;
    }
    let digits = if unit == 0 || v >= 100.0 { 0 } else { 1 };
    format!("{v:.digits$} {}", units[unit]).trim_end().to_owned()
}

/// `4.7 µs`, from milliseconds.
pub(crate) fn milliseconds(ms: f64) -> String {
    let (v, unit) = match ms {
        ms if ms <= 0.0 => return "0".into(),
        ms if ms < 1e-3 => (ms * 1e6, "ns"),
        ms if ms < 1.0 => (ms * 1e3, "µs"),
        ms if ms < 1e3 => (ms, "ms"),
        ms => (ms / 1e3, "s"),
    };
    let digits = if v >= 100.0 { 0 } else { 1 };
    format!("{v:.digits$} {unit}")
}

/// `93 %`, from a share of 1.
pub(crate) fn percent(share: f64) -> String {
    let share = share.clamp(0.0, 1.0) * 100.0 + 0.0;
    if share > 0.0 && share < 1.0 { format!("{share:.1} %") } else { format!("{share:.0} %") }
}

/// `81.3`: how many of something a second.
pub(crate) fn rate(v: f64) -> String {
    if v >= 100.0 { format!("{v:.0}") } else { format!("{v:.1}") }
}

/// A number with four significant digits.
pub(crate) fn number(v: f64) -> String {
    if v == 0.0 || (1e-3..1e6).contains(&v.abs()) {
        let digits = if v.abs() >= 1000.0 { 0 } else { 4 };
        format!("{v:.digits$}")
    } else {
        format!("{v:.2e}")
    }
}

/// `1 x 3 x 224 x 224`.
pub(crate) fn shape(dims: &[i64]) -> String {
    dims.iter().map(i64::to_string).collect::<Vec<_>>().join(" x ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_people_write_them() {
        assert_eq!([bytes(12), bytes(12_345_678), bytes(999)], ["12 B", "12.3 MB", "999 B"]);
        assert_eq!(
            [milliseconds(0.0047), milliseconds(12.0), milliseconds(2500.0)],
            ["4.7 µs", "12.0 ms", "2.5 s"]
        );
        assert_eq!([percent(0.93), percent(-0.0), percent(0.004)], ["93 %", "0 %", "0.4 %"]);
    }
}
