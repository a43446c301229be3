//! Memory of this process, where the system tells (proc(5)).

use std::fs;

/// Highest resident memory since the start or the last reset, in bytes.
pub(super) fn peak() -> Option<u64> {
    status("VmHWM:")
}

/// Resident memory now, in bytes.
pub(super) fn resident() -> Option<u64> {
    status("VmRSS:")
}

/// Lets the peak begin anew; where that is not possible, it counts from the start of the process.
pub(super) fn reset_peak() {
    if cfg!(target_os = "linux") {
        // "5" resets the high-water mark of resident memory; not every system permits it.
        let _ = fs::write("/proc/self/clear_refs", "5");
    }
}

fn status(field: &str) -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix(field))?;
    line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    #[test]
    #[cfg(target_os = "linux")]
    fn memory_that_is_touched_shows() {
        let before = super::resident().expect("procfs");
        let block = std::hint::black_box(vec![1u8; 64 << 20]);
        let peak = super::peak().expect("procfs");
        assert!(peak >= before && peak >= 64 << 20, "{before} {peak}");
        drop(block);
    }
}
