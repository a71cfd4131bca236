//! Literals of an expression of which one must be there: what is looked for on its behalf.
//!
//! Only of expressions that mean the same to the crate `regex-syntax` and to PCRE without doubt, and only
//! where what matches cannot be longer than what a stream is asked around a literal.

use regex_syntax::ParserBuilder;
use regex_syntax::hir::literal::Extractor;

use crate::rule::Pcre;

/// Shorter literals are found too often to be worth it.
const SHORTEST: usize = 4;
/// More of them take more memory than one expression is worth.
const MOST: usize = 64;
/// What matches may be as long: a span of a stream (see `scan::lane`).
const LONGEST_MATCH: usize = 1_024;

/// The beginnings of everything that the expression matches; letters in the case in which they are
/// written, also where it does not count. None where there is no small set of telling ones.
pub(crate) fn beginnings(pcre: &Pcre) -> Option<Vec<Vec<u8>>> {
    if pcre.negated || pcre.relative || pcre.extended || !is_plain(&pcre.expression) {
        return None;
    }
    // That the case does not count makes the beginnings no others but in their case.
    let hir = ParserBuilder::new()
        .unicode(false)
        .utf8(false)
        .dot_matches_new_line(pcre.dot_all)
        .build()
        .parse(&pcre.expression)
        .ok()?;
    hir.properties()
        .maximum_len()
        .filter(|&longest| longest <= LONGEST_MATCH)?;
    let found = Extractor::new().extract(&hir);
    let literals = found.literals()?;
    let fits = !literals.is_empty()
        && literals.len() <= MOST
        && literals.iter().all(|literal| literal.len() >= SHORTEST);
    fits.then(|| {
        literals
            .iter()
            .map(|literal| literal.as_bytes().to_vec())
            .collect()
    })
}

/// Whether nothing in it means something else to one of the two: no flags within, no looking around, no
/// classes within classes, no escapes but the commonest.
fn is_plain(text: &str) -> bool {
    let mut rest = text.as_bytes();
    let mut in_class = false;
    while let [first, behind @ ..] = rest {
        rest = behind;
        let plain = match (first, behind) {
            (b'\\', [b'x', high, low, after @ ..]) => {
                rest = after;
                high.is_ascii_hexdigit() && low.is_ascii_hexdigit()
            }
            (b'\\', [escaped, after @ ..]) => {
                rest = after;
                b"sdwrnt./\\-()[]{}?+*|^$".contains(escaped)
            }
            (b'[', [next, ..]) => {
                // A bracket that is the first of a class, and `[:`.
                let opens = !in_class && !b"]:".contains(next) && !behind.starts_with(b"^]");
                in_class = true;
                opens
            }
            (b']', _) => std::mem::replace(&mut in_class, false),
            (b'(', [b'?', kind, ..]) => !in_class && *kind == b':',
            (b'(', [b'*', ..]) => false,
            (b'{', _) => in_class || is_count(behind),
            (b'&' | b'~', _) => !in_class,
            (b'-', [b'-', ..]) => !in_class,
            (other, _) => other.is_ascii_graphic() && !b"\\[".contains(other) || *other == b' ',
        };
        if !plain {
            return false;
        }
    }
    !in_class
}

/// Whether what follows a brace is a count to both.
fn is_count(behind: &[u8]) -> bool {
    let count = behind.split(|&byte| byte == b'}').next();
    behind.first().is_some_and(u8::is_ascii_digit)
        && behind.contains(&b'}')
        && count.is_some_and(|count| {
            count
                .iter()
                .all(|byte| byte.is_ascii_digit() || *byte == b',')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(expression: &str) -> Option<Vec<String>> {
        let rule = format!("alert tcp any any -> any any (pcre:\"/{expression}/i\"; sid:1;)");
        let rule = crate::rule::parse_rule(&rule, &crate::rule::Options::default()).unwrap();
        let crate::rule::Matcher::Pcre(pcre) = &rule.groups[0].matchers[0] else {
            panic!("no expression")
        };
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        beginnings(pcre).map(|all| all.into_iter().map(text).collect())
    }

    #[test]
    fn one_of_them_is_there() {
        assert_eq!(
            of("abc(d|ef[12])-x+?|wxyz").unwrap_or_default(),
            Vec::<String>::new(),
            "what may be of any length is left alone"
        );
        assert_eq!(
            of("abc(d|ef[12])-x?|wxyz").unwrap(),
            [
                "abcd-x", "abcd-", "abcef1-x", "abcef1-", "abcef2-x", "abcef2-", "wxyz"
            ]
        );
        assert_eq!(of("AB\\x2dC[^a]").unwrap(), ["AB-C"]);
    }

    #[test]
    fn what_could_mean_something_else_is_left_alone() {
        for text in [
            "abc",
            "abcd|x",
            "(a|b)?abc|",
            "abcd\\>e",
            "abcd{,3}e",
            "abcd{ 2}e",
            "(?i)abcde",
            "abcde(?=f)",
            "abcd[a[b]]",
            "abcd[a&&b]e",
            "(abcd)\\1",
            "abcd\\Ke",
            "abcd[[:alpha:]]",
            ".*abcd",
        ] {
            assert_eq!(of(text), None, "{text}");
        }
    }
}
