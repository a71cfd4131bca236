//! The forms in which the kernel writes things. Every function takes any text and answers without
//! panicking; what does not fit is left out or is None.

use std::collections::{BTreeMap, BTreeSet};

/// The highest number of a core that is believed.
const CORE_MAX: u32 = 16_383;

/// `0-3,8`: a list of cores or memory nodes. Empty text is an empty list.
pub fn list(text: &str) -> Option<BTreeSet<u32>> {
    let mut numbers = BTreeSet::new();
    for part in text.trim().split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        if first > last || last > CORE_MAX {
            return None;
        }
        numbers.extend(first..=last);
    }
    Some(numbers)
}

/// The other way round: `0-3,8`.
pub fn list_text(numbers: &BTreeSet<u32>) -> String {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == *number => *last = *number,
            _ => ranges.push((*number, *number)),
        }
    }
    let range = |(first, last): &(u32, u32)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    let ranges: Vec<String> = ranges.iter().map(range).collect();
    ranges.join(",")
}

/// `NAME: VALUE` lines; the first of a name counts.
pub fn fields(text: &str) -> BTreeMap<&str, &str> {
    let mut fields = BTreeMap::new();
    for line in text.lines() {
        if let Some((name, value)) = line.split_once(':') {
            fields.entry(name.trim()).or_insert(value.trim());
        }
    }
    fields
}

/// The parameters of the kernel's command line, by name; the last of a name counts, flags have no value.
/// What follows `--` is for init.
pub fn parameters(text: &str) -> BTreeMap<String, String> {
    let words = words(text).into_iter().take_while(|word| word != "--");
    let pair = |word: String| match word.split_once('=') {
        // The kernel takes - for _.
        Some((name, value)) => (name.replace('-', "_"), value.trim_matches('"').to_owned()),
        None => (word.replace('-', "_"), String::new()),
    };
    words.map(pair).collect()
}

/// Words between spaces that are not in quotes.
fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for letter in text.trim().chars() {
        quoted ^= letter == '"';
        match letter.is_whitespace() && !quoted {
            true => words.push(String::new()),
            false => words.last_mut().into_iter().for_each(|it| it.push(letter)),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// The soft and hard limit of a line of `/proc/PID/limits`; None means unlimited.
pub fn limit(text: &str, name: &str) -> Option<(Option<u64>, Option<u64>)> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    let mut values = rest.split_whitespace();
    let mut next = || -> Option<Option<u64>> {
        match values.next()? {
            "unlimited" => Some(None),
            number => number.parse().ok().map(Some),
        }
    };
    Some((next()?, next()?))
}

/// The release of the kernel as numbers: `6.1.0-28-amd64` is 6, 1.
pub fn release(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(|letter: char| !letter.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lists() {
        let numbers = |text| list(text).map(|list| list.into_iter().collect::<Vec<_>>());
        assert_eq!(numbers("0-2,8\n"), Some(vec![0, 1, 2, 8]));
        assert_eq!(numbers("\n"), Some(vec![]));
        for wrong in ["3-1", "a", "0-4000000000", "1-2-3", "-1"] {
            assert_eq!(numbers(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_command_line() {
        let text = "BOOT_IMAGE=/vmlinuz quiet intel_iommu=on,sm_on dyndbg=\"file a +p\" isolcpus=1 \
                    isolcpus=2-3 rcu-nocbs=2 -- iommu=off\n";
        let parameters = parameters(text);
        assert_eq!(parameters["intel_iommu"], "on,sm_on");
        assert_eq!(parameters["dyndbg"], "file a +p");
        assert_eq!(parameters["isolcpus"], "2-3");
        assert_eq!(parameters["rcu_nocbs"], "2");
        assert_eq!(parameters["quiet"], "");
        assert!(!parameters.contains_key("iommu"));
    }

    #[test]
    fn limits_and_releases() {
        let text = "Limit                     Soft Limit           Hard Limit           Units     \n\
                    Max locked memory         8388608              unlimited            bytes     \n";
        assert_eq!(
            limit(text, "Max locked memory"),
            Some((Some(8_388_608), None))
        );
        assert_eq!(limit(text, "Max open files"), None);
        assert_eq!(release("6.1.0-28-amd64"), Some((6, 1)));
        assert_eq!(release("six"), None);
    }

    proptest! {
        #[test]
        fn lists_come_back(numbers in proptest::collection::btree_set(0u32..300, 0..40)) {
            prop_assert_eq!(list(&list_text(&numbers)), Some(numbers));
        }

        #[test]
        fn nothing_panics(text in any::<String>()) {
            let _ = (list(&text), fields(&text), parameters(&text), limit(&text, "Max"), release(&text));
        }
    }
}
