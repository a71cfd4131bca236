//! `weir sigs`: files of rules checked and rules explained, as people and scripts see it.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

const RULES: &str = r#"# Words.
alert http $HOME_NET any -> any any (msg:"one"; flow:established,to_server; \
    http.uri; content:"/one"; nocase; pcre:"/one\d+/R"; sid:1; rev:1;)
alert tcp any any -> $NOWHERE any (msg:"two"; content:"two"; sid:2;)
alert tcp any any -> any any (msg:"three"; \
    lua:three.lua; sid:3;)
drop tcp any any -> any any (msg:"four"; content:"a|4"; sid:4;)
alert tcp any any -> any any (msg:"one again"; content:"one"; sid:1; rev:2;)
#alert udp any any -> any 53 (msg:"five"; content:"five"; sid:5;)
"#;

fn weir(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.args(arguments).current_dir(directory);
    command.env_clear().stdin(Stdio::null()).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn site() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("a.rules"), RULES).unwrap();
    directory
}

#[test]
fn each_rule_is_loaded_or_refused_with_the_place() {
    let site = site();
    let output = weir(site.path(), &["sigs", "test", "."]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let report = text(&output);
    for line in [
        "REFUSED  ./a.rules:4:22: 2: the variable $NOWHERE has no value",
        "REFUSED  ./a.rules:6:5: 3: lua is not supported",
        "REFUSED  ./a.rules:7:52: 4: the | is not closed",
        "REFUSED  ./a.rules:2:1: 1: ./a.rules:8 has this number too",
        "loaded   ./a.rules:8: 1 one again",
        "refused: 1 keyword lua",
        "refused: 1 variable NOWHERE",
        "1 rule whose number another has",
    ] {
        assert!(report.contains(line), "{line}\n{report}");
    }
    let mut last = report.lines().rev();
    assert_eq!(last.next(), Some("1 loaded, 3 refused: 25.00 % loaded"));
    assert!(last.next().unwrap().starts_with("compiled in "), "{report}");
}

#[test]
fn variables_and_commented_rules_and_strictness() {
    let site = site();
    let test = |more: &[&str]| {
        weir(
            site.path(),
            &[&["sigs", "test", "a.rules", "--syntax"], more].concat(),
        )
    };
    let set = test(&["--variable", "NOWHERE=10.0.0.0/8", "--commented"]);
    assert!(
        text(&set).ends_with("3 loaded, 2 refused: 60.00 % loaded\n"),
        "{set:?}"
    );
    assert!(!text(&set).contains("compiled"), "{set:?}");
    assert_eq!(test(&["--strict"]).status.code(), Some(1));
    let wrong = test(&["--variable", "NOWHERE=10.0.0.0/80"]);
    assert_eq!(wrong.status.code(), Some(2), "{wrong:?}");
    let missing = weir(site.path(), &["sigs", "test", "none.rules"]);
    assert_eq!(missing.status.code(), Some(1), "{missing:?}");
    let json = test(&["-o", "json"]);
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["loaded"], 1);
    assert_eq!(json["superseded"], 1);
    assert_eq!(json["refused_by_reason"]["keyword lua"], 1);
    let lua = json["rules"]
        .as_array()
        .unwrap()
        .iter()
        .find(|rule| rule["sid"] == 3);
    assert_eq!(
        (&lua.unwrap()["line"], &lua.unwrap()["column"]),
        (&6.into(), &5.into())
    );
}

#[test]
fn a_rule_is_explained() {
    let site = site();
    let output = weir(site.path(), &["sigs", "why", "1", "a.rules"]);
    let report = text(&output);
    for words in [
        "one again",
        "payload: \"one\"",
        "contains \"one\"",
        "it is told",
    ] {
        assert!(report.contains(words), "{words}\n{report}");
    }
    let refused = weir(site.path(), &["sigs", "why", "3", "a.rules"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("lua is not supported"));
    let unknown = weir(site.path(), &["sigs", "why", "99", "a.rules"]);
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("no rule has the number 99"));
}
