//! Regular expressions that others write, as the patterns that conditions know, and back.
//!
//! Expressions match the whole text, as Envoy's do. What cannot be said exactly is refused, never
//! approximated: the caller decides whether to leave out or to widen.

use regex_syntax::hir::{Class, Hir, HirKind};

/// More alternatives than this are not spread out.
const ALTERNATIVES_MAX: usize = 256;

/// A pattern of a condition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Pattern {
    Exact(String),
    Prefix(String),
    Suffix(String),
    Glob(String),
}

/// A part of an expression that patterns know.
#[derive(Clone, Debug, PartialEq)]
enum Part {
    Text(String),
    /// Any byte.
    One,
    /// Any run.
    Run,
}

/// The patterns of which one matches whenever the expression does, and only then.
pub(crate) fn patterns(expression: &str) -> Option<Vec<Pattern>> {
    let hir = regex_syntax::parse(expression).ok()?;
    let mut patterns = Vec::new();
    for parts in alternatives(&hir)? {
        patterns.push(pattern(&parts)?);
    }
    patterns.sort();
    patterns.dedup();
    Some(patterns)
}

/// The expression of a pattern.
pub(crate) fn expression(pattern: &Pattern) -> String {
    let literal = |text: &str| regex_syntax::escape(text);
    match pattern {
        Pattern::Exact(text) => literal(text),
        Pattern::Prefix(text) => format!("{}.*", literal(text)),
        Pattern::Suffix(text) => format!(".*{}", literal(text)),
        Pattern::Glob(glob) => glob
            .split_inclusive(['*', '?'])
            .map(|piece| match piece.strip_suffix('*') {
                Some(text) => format!("{}.*", literal(text)),
                None => match piece.strip_suffix('?') {
                    Some(text) => format!("{}.", literal(text)),
                    None => literal(piece),
                },
            })
            .collect(),
    }
}

fn pattern(parts: &[Part]) -> Option<Pattern> {
    let wild = |text: &str| text.contains(['*', '?']);
    match parts {
        [] => Some(Pattern::Exact(String::new())),
        [Part::Text(text)] => Some(Pattern::Exact(text.clone())),
        [Part::Text(text), Part::Run] => Some(Pattern::Prefix(text.clone())),
        [Part::Run, Part::Text(text)] => Some(Pattern::Suffix(text.clone())),
        parts => {
            let mut glob = String::new();
            for part in parts {
                match part {
                    // A glob has no way to say these two themselves.
                    Part::Text(text) if wild(text) => return None,
                    Part::Text(text) => glob.push_str(text),
                    Part::One => glob.push('?'),
                    Part::Run => glob.push('*'),
                }
            }
            Some(Pattern::Glob(glob))
        }
    }
}

/// The ways to match, each as a sequence of parts.
fn alternatives(hir: &Hir) -> Option<Vec<Vec<Part>>> {
    match hir.kind() {
        HirKind::Empty => Some(vec![Vec::new()]),
        // The whole text is matched anyway.
        HirKind::Look(regex_syntax::hir::Look::Start | regex_syntax::hir::Look::End) => {
            Some(vec![Vec::new()])
        }
        HirKind::Literal(literal) => {
            let text = std::str::from_utf8(&literal.0).ok()?;
            Some(vec![vec![Part::Text(text.to_owned())]])
        }
        HirKind::Class(class) if is_any(class) => Some(vec![vec![Part::One]]),
        HirKind::Class(class) => few(class),
        HirKind::Repetition(repetition) => {
            let HirKind::Class(class) = repetition.sub.kind() else {
                return optional(repetition);
            };
            match (repetition.min, repetition.max) {
                (least, None) if is_any(class) && least <= 8 => {
                    let mut parts = vec![Part::One; least as usize];
                    parts.push(Part::Run);
                    Some(vec![parts])
                }
                _ => optional(repetition),
            }
        }
        HirKind::Capture(capture) => alternatives(&capture.sub),
        HirKind::Concat(subs) => {
            let mut all = vec![Vec::new()];
            for sub in subs {
                let next = alternatives(sub)?;
                if all.len() * next.len() > ALTERNATIVES_MAX {
                    return None;
                }
                all = all
                    .iter()
                    .flat_map(|before| next.iter().map(move |after| joined(before, after)))
                    .collect();
            }
            Some(all)
        }
        HirKind::Alternation(subs) => {
            let mut all = Vec::new();
            for sub in subs {
                all.extend(alternatives(sub)?);
                if all.len() > ALTERNATIVES_MAX {
                    return None;
                }
            }
            Some(all)
        }
        HirKind::Look(_) => None,
    }
}

/// `x?`
fn optional(repetition: &regex_syntax::hir::Repetition) -> Option<Vec<Vec<Part>>> {
    if (repetition.min, repetition.max) != (0, Some(1)) {
        return None;
    }
    let mut all = alternatives(&repetition.sub)?;
    all.push(Vec::new());
    Some(all)
}

fn joined(before: &[Part], after: &[Part]) -> Vec<Part> {
    let mut parts = before.to_vec();
    for part in after {
        match (parts.last_mut(), part) {
            (Some(Part::Text(text)), Part::Text(more)) => text.push_str(more),
            (Some(Part::Run), Part::Run) => {}
            _ => parts.push(part.clone()),
        }
    }
    parts
}

/// `.`: everything but a line's end, which no field of a request contains.
fn is_any(class: &Class) -> bool {
    let Class::Unicode(class) = class else {
        return false;
    };
    let mut outside = class.clone();
    outside.negate();
    outside
        .iter()
        .all(|range| matches!((range.start(), range.end()), ('\n' | '\r', '\n' | '\r')))
}

/// `[ab]`, spread out.
fn few(class: &Class) -> Option<Vec<Vec<Part>>> {
    let Class::Unicode(class) = class else {
        return None;
    };
    let mut all = Vec::new();
    for range in class.iter() {
        for letter in range.start()..=range.end() {
            all.push(vec![Part::Text(letter.to_string())]);
            if all.len() > 16 {
                return None;
            }
        }
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_become_patterns_only_where_these_say_the_same() {
        let exact = |text: &str| Pattern::Exact(text.into());
        for (expression, wanted) in [
            ("GET", vec![exact("GET")]),
            ("^GET$", vec![exact("GET")]),
            ("GET|PUT", vec![exact("GET"), exact("PUT")]),
            (
                "(GET|PUT)S?",
                vec![exact("GET"), exact("GETS"), exact("PUT"), exact("PUTS")],
            ),
            ("/api/.*", vec![Pattern::Prefix("/api/".into())]),
            (".*\\.js", vec![Pattern::Suffix(".js".into())]),
            ("/a/.*/b", vec![Pattern::Glob("/a/*/b".into())]),
            ("/a/.+", vec![Pattern::Glob("/a/?*".into())]),
            ("/v[12]/x", vec![exact("/v1/x"), exact("/v2/x")]),
        ] {
            assert_eq!(patterns(expression), Some(wanted), "{expression}");
        }
        for expression in [
            "/[0-9]+",
            "/[^/]*",
            "(?i)authorization",
            "a{3}",
            "a*",
            "\\bx",
            "(",
            "/a\\*.*b.*",
        ] {
            assert_eq!(patterns(expression), None, "{expression}");
        }
    }

    #[test]
    fn patterns_become_expressions_that_become_them_again() {
        for pattern in [
            Pattern::Exact("/a.b".into()),
            Pattern::Prefix("/api/".into()),
            Pattern::Suffix(".js".into()),
            Pattern::Glob("/a?/*/b*".into()),
        ] {
            assert_eq!(patterns(&expression(&pattern)), Some(vec![pattern]));
        }
    }
}
