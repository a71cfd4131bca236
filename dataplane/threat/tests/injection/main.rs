//! Attacks and what looks like them, one a line in `values/`: every family finds its own, and nothing
//! is found in what is harmless.

mod evasion;
mod pieces;
mod places;

use std::path::Path;

use weir_threat::injection::{Injection, Place};
use weir_threat::{Config, Found, Threat};

/// File, threat, place of its values.
const FAMILIES: &[(&str, Threat, Place)] = &[
    ("sql", Threat::SqlInjection, Place::Parameter),
    ("statement", Threat::SqlInjection, Place::Statement),
    ("command", Threat::CommandInjection, Place::Parameter),
    ("traversal", Threat::PathTraversal, Place::Parameter),
    ("script", Threat::CrossSiteScripting, Place::Parameter),
    ("address", Threat::MetadataForgery, Place::Parameter),
    ("log4shell", Threat::Log4Shell, Place::Parameter),
    ("struts", Threat::Struts, Place::Parameter),
];

/// The lines of a file of values.
fn values(file: &str) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/injection/values");
    let text = std::fs::read_to_string(folder.join(file)).expect("the file of values is there");
    text.lines().map(str::to_owned).collect()
}

/// Detectors that tell everything.
struct Bench {
    injection: Injection,
    config: Config,
}

impl Bench {
    fn new() -> Self {
        Self {
            injection: Injection::new(),
            config: Config::default().telling_everything(),
        }
    }

    fn look(&mut self, place: Place, name: &[u8], value: &[u8]) -> Found {
        let mut found = Found::new();
        self.injection
            .look(&self.config, place, name, value, &mut found);
        found
    }

    fn finds(&mut self, threat: Threat, place: Place, value: &[u8]) -> bool {
        has(&self.look(place, b"", value), threat)
    }
}

fn has(found: &Found, threat: Threat) -> bool {
    found.iter().any(|finding| finding.threat == threat)
}

#[test]
fn attacks_are_found() {
    let mut bench = Bench::new();
    for &(name, threat, place) in FAMILIES {
        let attacks = values(&format!("{name}-attacks.txt"));
        let missed: Vec<_> = attacks
            .iter()
            .filter(|attack| !bench.finds(threat, place, attack.as_bytes()))
            .collect();
        assert!(
            missed.len() * 50 <= attacks.len(),
            "{name}: less than 98 % of {}: {missed:#?}",
            attacks.len()
        );
    }
}

/// No family finds anything in what another family's attacks must be told from.
#[test]
fn harmless_values_raise_nothing() {
    let mut bench = Bench::new();
    let mut count = 0;
    for &(name, _, place) in FAMILIES {
        for value in values(&format!("{name}-harmless.txt")) {
            let found = bench.look(place, b"", value.as_bytes());
            let first = found.iter().next();
            assert_eq!(first, None, "{name}: {value}");
            count += 1;
        }
    }
    assert!(count > 1_000);
}

#[test]
fn there_are_enough_values() {
    assert!(values("sql-attacks.txt").len() >= 300);
    assert!(values("sql-harmless.txt").len() >= 1_000);
}

/// What is shown are the bytes that matched.
#[test]
fn evidence_shows_what_matched() {
    let mut bench = Bench::new();
    let found = bench.look(
        Place::Parameter,
        b"q",
        b"shoes%27%20union%20select%201,2--%20",
    );
    let finding = found.iter().next().expect("it is one");
    assert_eq!(finding.threat, Threat::SqlInjection);
    assert_eq!(finding.evidence.sign, "union with another query");
    assert!(finding.evidence.excerpt.starts_with(b"' union select 1,2"));
}

#[test]
fn what_is_off_is_not_told() {
    let settings = weir_threat::Settings {
        actions: [("sql-injection".to_owned(), weir_threat::Action::Off)].into(),
        ..weir_threat::Settings::default()
    };
    let mut bench = Bench::new();
    bench.config = Config::new(&settings).expect("the threat exists");
    assert!(bench.look(Place::Parameter, b"", b"1 or 1=1").is_empty());
}
