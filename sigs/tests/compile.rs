//! Compiling: databases come back from disk as they went, and what does not fit is refused with numbers.

mod support;

use std::sync::Arc;

use support::{Wire, rules};
use weir_sigs::rule::Cause;
use weir_sigs::{CompileError, Options, RuleSet};
use weir_wire::Direction::ToServer;

const RULES: &str = r#"
alert tcp any any -> any any (content:"needle"; pcre:"/x[0-9]+$/"; sid:1;)
alert udp any any -> any any (content:"a"; sid:2;)
"#;

#[test]
fn databases_come_back_from_disk() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        cache: Some(folder.path()),
        threads: 2,
        ..Options::default()
    };
    let compile = |text: &str| RuleSet::compile(rules(text), &options).unwrap().0;
    let fires = |set: RuleSet| {
        let mut wire = Wire::with(Arc::new(set));
        wire.stream(ToServer, b"needle x12").close().sids()
    };
    let first = compile(RULES);
    assert!(!first.report().cached);
    assert_eq!(fires(first), [1]);
    let second = compile(RULES);
    assert!(second.report().cached);
    assert_eq!(fires(second), [1]);
    assert!(!compile(&RULES.replace("needle", "noodle")).report().cached);
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x40;
        std::fs::write(&path, bytes).unwrap();
    }
    let third = compile(RULES);
    assert!(!third.report().cached, "what is damaged is built anew");
    assert_eq!(fires(third), [1]);
    assert!(compile(RULES).report().cached);
}

#[test]
fn what_does_not_fit_is_refused_with_the_numbers() {
    let options = Options {
        memory_max_bytes: 100,
        ..Options::default()
    };
    let error = RuleSet::compile(rules(RULES), &options).unwrap_err();
    let CompileError::TooLarge { rules, bytes, .. } = error else {
        panic!("{error}");
    };
    assert!(rules == 2 && bytes > 100);
}

#[test]
fn a_rule_that_no_engine_takes_is_left_out_and_named() {
    let text = r#"
alert dns any any -> any any (dns.query; dataset:isset,names,type string,load /nowhere/names.lst; sid:1;)
alert tcp any any -> any any (content:"b"; sid:2;)
"#;
    let (set, refused) = RuleSet::compile(rules(text), &Options::default()).unwrap();
    assert_eq!((set.len(), refused.len()), (1, 1));
    assert_eq!((refused[0].sid, &refused[0].cause), (Some(1), &Cause::File));
    assert!(
        refused[0].why.contains("/nowhere/names.lst"),
        "{}",
        refused[0].why
    );
}
