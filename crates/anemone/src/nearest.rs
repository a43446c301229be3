//! The name that somebody may have meant.

/// `; did you mean ...?` where one of the known names is close to what was written, else nothing.
pub(crate) fn hint<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let limit = written.chars().count().div_ceil(3).clamp(1, 3);
    let near = known.into_iter().map(|k| (distance(written, k), k)).min();
    match near {
        Some((d, name)) if d <= limit => format!("; did you mean `{name}`?"),
        _ => String::new(),
    }
}

/// Levenshtein distance; letter case does not count.
fn distance(a: &str, b: &str) -> usize {
    /// Names longer than this are not compared: the table grows with the product of the lengths.
    const LONGEST: usize = 256;
    let letters = |s: &str| s.chars().flat_map(char::to_lowercase).collect::<Vec<char>>();
    let (a, b) = (letters(a), letters(b));
    if a.len().max(b.len()) > LONGEST {
        return LONGEST;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_close_name_is_suggested_and_a_distant_one_is_not() {
        assert_eq!(hint("imgae", ["label", "image"]), "; did you mean `image`?");
        assert_eq!(hint("Image", ["image"]), "; did you mean `image`?");
        assert_eq!(hint("x", ["tokens"]), "");
        assert_eq!(hint("x", []), "");
    }

    #[test]
    fn distances_are_those_of_the_textbook() {
        // Wagner and Fischer, 1974, and the usual examples.
        assert_eq!(
            (distance("kitten", "sitting"), distance("saturday", "sunday"), distance("", "abc")),
            (3, 3, 3)
        );
    }
}
