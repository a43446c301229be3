//! What a shell sees: closed pipes, help, exit status.

use crate::command::{anemone, corpus, ran};
use std::process::Command;

/// `script` with the command in `$A`.
fn shell(script: &str) -> crate::command::Ran {
    let mut command = Command::new("sh");
    command.args(["-c", script]).env("A", env!("CARGO_BIN_EXE_anemone")).current_dir(corpus(""));
    ran(command)
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let script = r#"{ "$A" show mlmodelc/silero-int8.mlmodelc; echo "status $?" >&2; } | head -1"#;
    let run = shell(script);
    assert_eq!((run.status, run.out.lines().count()), (Some(0), 1), "{run:?}");
    assert_eq!(run.err.trim(), "status 0");
    let run = shell(r#"{ "$A" show mil/silero-vad.mil; echo "status $?" >&2; } | true"#);
    assert_eq!(run.err.trim(), "status 0", "{run:?}");
}

#[test]
#[cfg(target_os = "linux")]
fn full_devices_behind_stdout_and_stderr_are_told_by_status() {
    let run = shell(r#""$A" show packages/conv.mlpackage >/dev/full"#);
    assert_eq!(run.status, Some(2), "{run:?}");
    assert!(run.err.starts_with("error: stdout: "), "{run:?}");
    let run = shell(r#""$A" show nowhere.mlpackage 2>/dev/full"#);
    assert_eq!(run.status, Some(2), "{run:?}");
    assert_eq!(shell(r#""$A" plan packages/conv.mlpackage 2>/dev/full"#).status, Some(0));
}

/// `NO_COLOR` (no-color.org) is heard before `CLICOLOR_FORCE` (bixense.com/clicolors).
#[test]
fn colour_in_a_pipe_must_be_asked_for_and_may_be_forbidden() {
    let plain = anemone(["inspect", "packages/conv.mlpackage"]).report();
    for setting in ["NO_COLOR=1", "NO_COLOR=", "CLICOLOR_FORCE=0", "NO_COLOR=1 CLICOLOR_FORCE=1"] {
        let run = shell(&format!(r#"{setting} "$A" inspect packages/conv.mlpackage"#));
        assert_eq!(run.report(), plain, "{setting}");
    }
    let forced = shell(r#"CLICOLOR_FORCE=1 "$A" inspect packages/conv.mlpackage"#);
    assert!(forced.out.contains('\u{1b}'), "{forced:?}");
}

#[test]
fn help_fits_the_width_and_lists_every_verb() {
    let help = anemone(["--help"]).report();
    for verb in ["convert", "show", "inspect", "run", "verify", "plan", "bench"] {
        assert!(help.contains(&format!("  {verb}")), "{help}");
        let own = anemone([verb, "--help"]).report();
        assert!(own.contains("--json") && own.contains("Examples:"), "{own}");
    }
    assert!(anemone(["--version"]).report().starts_with("anemone "));
}
