//! Domain names that stand for an identity: "api.example.com", "*.example.com".
//!
//! The name asked for comes from DNS answers and is hostile: it is bounded by what DNS allows and
//! compared without regard to case. An exact pattern wins over a wildcard, a longer wildcard over a
//! shorter one.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use crate::spec::NameSpec;

/// RFC 1035, 2.3.4, as text without the final dot.
const NAME_BYTES_MAX: usize = 253;

#[derive(Debug, Default)]
pub(crate) struct NameTable {
    exact: HashMap<Box<[u8]>, u32, FixedState>,
    /// What follows "*.".
    below: HashMap<Box<[u8]>, u32, FixedState>,
}

impl NameTable {
    pub(crate) fn new(names: &[NameSpec]) -> Self {
        let mut table = Self::default();
        for name in names {
            match name.pattern.strip_prefix("*.") {
                Some(parent) => table.below.insert(parent.as_bytes().into(), name.identity),
                None => table
                    .exact
                    .insert(name.pattern.as_bytes().into(), name.identity),
            };
        }
        table
    }

    pub(crate) fn find(&self, domain: &[u8]) -> Option<u32> {
        let domain = domain.strip_suffix(b".").unwrap_or(domain);
        let mut lower = [0; NAME_BYTES_MAX];
        let lower = lower.get_mut(..domain.len())?;
        lower.copy_from_slice(domain);
        lower.make_ascii_lowercase();
        let lower = &*lower;
        if let Some(&identity) = self.exact.get(lower) {
            return Some(identity);
        }
        if self.below.is_empty() {
            return None;
        }
        let parents = lower
            .iter()
            .enumerate()
            .skip(1)
            .filter(|&(_, &byte)| byte == b'.')
            .map(|(dot, _)| dot + 1);
        parents
            .filter_map(|start| lower.get(start..))
            .find_map(|parent| self.below.get(parent))
            .copied()
    }
}

/// What is wrong with a pattern, if anything.
pub(crate) fn problem(pattern: &str) -> Option<&'static str> {
    let name = pattern.strip_prefix("*.").unwrap_or(pattern);
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Some("is empty or longer than 253 bytes");
    }
    if name.contains('*') {
        return Some("may have `*` only as its whole first label");
    }
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Some("is not in lower case");
    }
    if name
        .split('.')
        .any(|label| label.is_empty() || label.len() > 63)
    {
        return Some("has an empty label, one longer than 63 bytes, or a final dot");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(patterns: &[&str]) -> NameTable {
        let names: Vec<NameSpec> = patterns
            .iter()
            .zip(1..)
            .map(|(&pattern, identity)| NameSpec {
                pattern: pattern.into(),
                identity,
            })
            .collect();
        NameTable::new(&names)
    }

    #[test]
    fn exact_then_the_longest_wildcard() {
        let table = table(&["api.example.com", "*.example.com", "*.eu.example.com"]);
        assert_eq!(table.find(b"API.example.com."), Some(1));
        assert_eq!(table.find(b"www.example.com"), Some(2));
        assert_eq!(table.find(b"a.b.example.com"), Some(2));
        assert_eq!(table.find(b"a.eu.example.com"), Some(3));
        assert_eq!(table.find(b"eu.example.com"), Some(2));
        assert_eq!(table.find(b"example.com"), None, "a wildcard wants a label");
        assert_eq!(table.find(b".example.com"), None);
        assert_eq!(table.find(b"badexample.com"), None);
        assert_eq!(table.find(b"www.example.com.evil.net"), None);
        assert_eq!(table.find(b""), None);
        assert_eq!(table.find(&[b'a'; 300]), None);
    }

    #[test]
    fn patterns_that_could_never_match_are_told() {
        for good in ["a", "a.b", "*.b", "*.b.c", "_dmarc.b"] {
            assert_eq!(problem(good), None, "{good}");
        }
        for bad in ["", "*", "*.", "a.*", "*a.b", "A.b", "a.b.", "a..b", ".a"] {
            assert!(problem(bad).is_some(), "{bad}");
        }
    }
}
