//! Paths named inside files.

use crate::{Error, ErrorKind};

/// A path that stays inside its folder: steps joined by `/`, without `.` and empty steps.
///
/// # Errors
/// When the path is empty, absolute, has a `..` step, a drive letter, a backslash or a NUL: each of them could lead out
/// of the folder on some system.
pub fn relative(path: &str) -> Result<String, Error> {
    let fault = if path.starts_with('/') {
        "is absolute"
    } else if path.contains('\\') {
        "contains a backslash"
    } else if path.contains('\0') {
        "contains a NUL"
    } else if path.contains(':') {
        "contains a colon"
    } else if path.split('/').any(|step| step == "..") {
        "leaves its folder through `..`"
    } else {
        let steps: Vec<&str> = path.split('/').filter(|step| !matches!(*step, "" | ".")).collect();
        if !steps.is_empty() {
            return Ok(steps.join("/"));
        }
        "is empty"
    };
    let cause = format!("path {path:?} {fault}; only relative paths inside the package are allowed");
    Err(Error::new(ErrorKind::Path, cause))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_inside_the_folder_pass_and_lose_idle_steps() {
        assert_eq!(relative("./a//b.c/x..y").as_deref(), Ok("a/b.c/x..y"));
    }

    #[test]
    fn every_way_out_of_the_folder_is_refused() {
        for path in ["", ".", "/etc/passwd", "..", "a/../b", "a/..", "a\\b", "..\\x", "C:/x", "C:x", "a\0b"] {
            assert_eq!(relative(path).map_err(|e| e.kind()), Err(ErrorKind::Path), "{path:?}");
        }
    }
}
