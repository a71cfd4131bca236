//! "Did you mean": the known word that is nearest to an unknown one.

/// The candidate nearest to `word`, if one is near enough to be a slip of the hand.
pub fn did_you_mean<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    // Comparing takes time in the product of the lengths; no name is longer than this.
    const WORD_CHARS_MAX: usize = 256;
    if word.chars().count() > WORD_CHARS_MAX {
        return None;
    }
    let lower = word.to_lowercase();
    let allowed = (word.chars().count() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .filter(|candidate| *candidate != word)
        .map(|candidate| {
            (
                strsim::damerau_levenshtein(&lower, &candidate.to_lowercase()),
                candidate,
            )
        })
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::did_you_mean;

    #[test]
    fn finds_slips_and_leaves_other_words_alone() {
        let applications = ["http", "mysql", "postgresql", "redis"];
        assert_eq!(did_you_mean("mysqll", applications), Some("mysql"));
        assert_eq!(did_you_mean("MySQL", applications), Some("mysql"));
        assert_eq!(did_you_mean("postgresq", applications), Some("postgresql"));
        assert_eq!(did_you_mean("kafka", applications), None);
        assert_eq!(did_you_mean(&"m".repeat(1 << 20), applications), None);
    }
}
