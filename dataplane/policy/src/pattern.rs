//! Patterns over a field's text. Each comparison is linear in the text: an attacker chooses the
//! text, the operator the pattern, whose length is bounded when the snapshot is built.

use crate::spec::Pattern;

/// The patterns of one condition, of which any may match.
#[derive(Debug)]
pub(crate) struct PatternSet {
    /// Sorted, so that a long list of names costs a binary search.
    exact: Box<[Box<[u8]>]>,
    others: Box<[Other]>,
}

#[derive(Debug)]
enum Other {
    Prefix(Box<[u8]>),
    Suffix(Box<[u8]>),
    Glob(Box<[u8]>),
}

impl PatternSet {
    pub(crate) fn new(patterns: &[Pattern]) -> Self {
        let mut exact = Vec::new();
        let mut others = Vec::new();
        for pattern in patterns {
            match pattern {
                Pattern::Exact(text) => exact.push(text.as_bytes().into()),
                Pattern::Prefix(text) => others.push(Other::Prefix(text.as_bytes().into())),
                Pattern::Suffix(text) => others.push(Other::Suffix(text.as_bytes().into())),
                Pattern::Glob(text) => others.push(Other::Glob(text.as_bytes().into())),
            }
        }
        exact.sort_unstable();
        Self {
            exact: exact.into(),
            others: others.into(),
        }
    }

    pub(crate) fn matches(&self, text: &[u8]) -> bool {
        self.exact
            .binary_search_by(|name| name.as_ref().cmp(text))
            .is_ok()
            || self.others.iter().any(|pattern| match pattern {
                Other::Prefix(start) => text.starts_with(start),
                Other::Suffix(end) => text.ends_with(end),
                Other::Glob(glob) => glob_matches(glob, text),
            })
    }
}

/// `*` stands for any run, `?` for any one byte. Only the last `*` is ever tried again, which keeps
/// it to one pass over the text for each byte of the pattern.
fn glob_matches(glob: &[u8], text: &[u8]) -> bool {
    let (mut at, mut read) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while read < text.len() {
        match glob.get(at) {
            Some(b'*') => {
                at += 1;
                retry = Some((at, read));
            }
            Some(&byte) if byte == b'?' || byte == text[read] => {
                at += 1;
                read += 1;
            }
            _ => match retry {
                Some((after_star, from)) => {
                    at = after_star;
                    read = from + 1;
                    retry = Some((after_star, from + 1));
                }
                None => return false,
            },
        }
    }
    glob[at..].iter().all(|&byte| byte == b'*')
}

/// What a pattern is called in a sentence.
pub(crate) fn describe(patterns: &[Pattern]) -> String {
    const SHOWN: usize = 4;
    let mut words: Vec<String> = patterns
        .iter()
        .take(SHOWN)
        .map(|pattern| match pattern {
            Pattern::Exact(text) => format!("\"{text}\""),
            Pattern::Prefix(text) => format!("prefix \"{text}\""),
            Pattern::Suffix(text) => format!("suffix \"{text}\""),
            Pattern::Glob(text) => format!("glob \"{text}\""),
        })
        .collect();
    if patterns.len() > SHOWN {
        words.push(format!("{} more", patterns.len() - SHOWN));
    }
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Slow and obvious.
    fn glob_oracle(glob: &[u8], text: &[u8]) -> bool {
        match (glob.split_first(), text.split_first()) {
            (None, None) => true,
            (None, Some(_)) => false,
            (Some((b'*', rest)), _) => {
                (0..=text.len()).any(|skip| glob_oracle(rest, &text[skip..]))
            }
            (Some((b'?', rest)), Some((_, text))) => glob_oracle(rest, text),
            (Some((wanted, rest)), Some((found, text))) => {
                wanted == found && glob_oracle(rest, text)
            }
            (Some(_), None) => false,
        }
    }

    #[test]
    fn kinds() {
        let set = PatternSet::new(&[
            Pattern::Exact("SELECT".into()),
            Pattern::Prefix("/api/".into()),
            Pattern::Suffix(".png".into()),
            Pattern::Glob("*.example.*".into()),
        ]);
        for text in [
            "SELECT",
            "/api/",
            "/api/x",
            "a.png",
            ".png",
            "www.example.com",
            ".example.",
        ] {
            assert!(set.matches(text.as_bytes()), "{text}");
        }
        for text in ["", "select", "SELECT ", "/apix", "a.pngx", "example.com"] {
            assert!(!set.matches(text.as_bytes()), "{text}");
        }
        assert!(PatternSet::new(&[Pattern::Exact(String::new())]).matches(b""));
    }

    #[test]
    fn a_hostile_text_costs_one_pass_for_each_byte_of_the_pattern() {
        // Exponential or quadratic backtracking over a megabyte would not come back.
        let text = vec![b'a'; 1 << 20];
        assert!(!glob_matches(b"*a*a*a*a*a*a*a*a*a*a*a*ab", &text));
    }

    proptest! {
        #[test]
        fn glob_agrees_with_the_oracle(glob in "[ab*?]{0,8}", text in "[abc]{0,10}") {
            prop_assert_eq!(
                glob_matches(glob.as_bytes(), text.as_bytes()),
                glob_oracle(glob.as_bytes(), text.as_bytes())
            );
        }
    }
}
