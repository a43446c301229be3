//! Differences of texts.

/// A unified difference of two texts, with three lines around each change.
pub fn unified(old: &str, new: &str) -> String {
    let (a, b): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let lines = edits(&a, &b);
    let near = |i: usize| {
        let around = lines[i.saturating_sub(3)..(i + 4).min(lines.len())].iter();
        around.into_iter().any(|(mark, _)| *mark != ' ')
    };
    let mut out = String::new();
    let mut skipped = false;
    for (i, (mark, line)) in lines.iter().enumerate() {
        if near(i) {
            out.push_str(if skipped { "@@\n" } else { "" });
            skipped = false;
            out.push_str(&format!("{mark}{line}\n"));
        } else {
            skipped = true;
        }
    }
    out
}

/// Lines with `-`, `+` or a space, along a longest common subsequence.
fn edits<'t>(a: &[&'t str], b: &[&'t str]) -> Vec<(char, &'t str)> {
    // [a + 1, b + 1] lengths of common subsequences of the tails.
    let mut common = vec![vec![0usize; b.len() + 1]; a.len() + 1];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            common[i][j] =
                if a[i] == b[j] { common[i + 1][j + 1] + 1 } else { common[i + 1][j].max(common[i][j + 1]) };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut out = Vec::new();
    while i < a.len() || j < b.len() {
        if i < a.len() && j < b.len() && a[i] == b[j] {
            out.push((' ', a[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == b.len() || i < a.len() && common[i + 1][j] >= common[i][j + 1] {
            out.push(('-', a[i]));
            i += 1;
        } else {
            out.push(('+', b[j]));
            j += 1;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_line_is_shown_between_its_neighbours() {
        let old = "a\nb\nc\nd\ne\nf\ng\nh\ni";
        let new = "a\nb\nc\nd\ne\nf\nG\nh\ni";
        assert_eq!(unified(old, new), "@@\n d\n e\n f\n-g\n+G\n h\n i\n");
        assert_eq!(unified(old, old), "");
    }
}
