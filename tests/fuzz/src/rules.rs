//! The rule language: no text makes its reader panic, each refusal lies within the text, and what is
//! read means the same when it is written and read again.

use bolero::{TypeGenerator, check};
use weir_sigs::rule::{Options, Rule, RuleReader, parse_rule};

use crate::{ITERATIONS, TEST_TIME};

/// Words of the language, right and wrong.
const WORDS: &[&str] = &[
    "alert ",
    "drop ",
    "tcp ",
    "http ",
    "any ",
    "$HOME_NET ",
    "[10.0.0.0/8,!$X] ",
    "80: ",
    "-> ",
    "<> ",
    "(",
    ")",
    ";",
    ":",
    ",",
    "\"",
    "!",
    "\\",
    "|",
    "|0d 0a|",
    "\n",
    "\\\n",
    "#",
    "content:",
    "nocase;",
    "depth:4;",
    "distance:-1;",
    "within:9;",
    "http.uri;",
    "http_uri;",
    "dns.query;",
    "pkt_data;",
    "to_md5;",
    "xor:\"00\";",
    "pcre:\"/a/U\";",
    "byte_test:2,>,x,0;",
    "byte_extract:1,0,x;",
    "base64_decode;",
    "base64_data;",
    "urilen:3<>5;",
    "flow:to_server;",
    "flags:S,12;",
    "sid:1;",
    "threshold:type limit,",
    "track by_src,",
    "count 1,",
    "seconds 1;",
    "flowbits:set,a;",
    "9",
    "0x",
    "iprep:src,a,>,1;",
    "dataset:isset,a,type string;",
    "\u{e9}",
    "fast_pattern:1,2;",
    "endswith;",
];

/// A rule made of words, with some bytes of any kind.
#[derive(Clone, Debug, TypeGenerator)]
struct Text {
    framed: bool,
    #[generator(bolero::generator::produce_with::<Vec<u8>>().len(0usize..40))]
    words: Vec<u8>,
    damage: Option<(u16, u8)>,
}

impl Text {
    fn bytes(&self) -> Vec<u8> {
        let words = self
            .words
            .iter()
            .map(|&index| WORDS[usize::from(index) % WORDS.len()]);
        let words: String = words.collect();
        let text = match self.framed {
            true => format!("alert tcp any any -> any any (content:\"ab\"; {words} sid:7;)"),
            false => words,
        };
        let mut bytes = text.into_bytes();
        if let Some((at, byte)) = self.damage
            && !bytes.is_empty()
        {
            let at = usize::from(at) % bytes.len();
            bytes[at] = byte;
        }
        bytes
    }
}

fn read(bytes: &[u8]) {
    let options = Options {
        commented: true,
        ..Options::default()
    };
    let mut reader = RuleReader::new(options);
    reader.read("fuzz", bytes);
    let (rules, refused) = reader.finish();
    let lines = bytes.split(|&byte| byte == b'\n').count();
    for refusal in refused {
        assert!(usize::try_from(refusal.line).unwrap() <= lines, "{refusal}");
        assert!(
            usize::try_from(refusal.column).unwrap() <= bytes.len() + 1,
            "{refusal}"
        );
    }
    for rule in rules {
        assert!(!rule.explain().is_empty());
        write_and_read(rule);
    }
}

fn write_and_read(mut rule: Rule) {
    let text = rule.to_string();
    match parse_rule(&text, &Options::default()) {
        Ok(mut again) => {
            again.origin = rule.origin.clone();
            again.notes.clear();
            rule.notes.clear();
            assert_eq!(again, rule, "{text}");
        }
        Err(refusal) => panic!("{refusal}\n{text}"),
    }
}

#[test]
fn rule_words() {
    check!()
        .with_type::<Text>()
        .with_test_time(TEST_TIME)
        .with_iterations(ITERATIONS)
        .for_each(|text| read(&text.bytes()));
}

#[test]
fn rule_bytes() {
    check!()
        .with_test_time(TEST_TIME)
        .with_iterations(ITERATIONS)
        .for_each(|bytes: &[u8]| read(bytes));
}
