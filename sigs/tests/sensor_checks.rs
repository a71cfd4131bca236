//! Every check against numbers that were given out as examples, and against each of them with one
//! character exchanged.

use weir_l7::{Buffer, Content};
use weir_policy::spec::{
    Combination, SensorAction, SensorDirection, SensorPatternSpec, SensorSpec, SensorWhat,
};
use weir_sigs::sensor::{SensorScanner, SensorSet, checks};
use weir_wire::Direction;

/// Name of the check, and values that pass it.
const VALID: &[(&str, &[&str])] = &[
    ("luhn", &["79927398713"]),
    ("verhoeff", &["2363", "123451"]),
    ("mod97", &["370400440532013000DE89"]),
    ("mod11-10", &["794623"]),
    (
        "payment-card",
        &[
            "4000 0012 3456 7899",
            "5555-5555-5555-4444",
            "2223000048400011",
            "378282246310005",
            "6011111111111117",
            "3530111333300000",
            "30569309025904",
            "6200000000000005",
        ],
    ),
    (
        "iban",
        &[
            "DE89 3704 0044 0532 0130 00",
            "NL91ABNA0417164300",
            "MT84MALT011000012345MTLCAST001S",
        ],
    ),
    ("no-placeholder", &["AKIAQ3EGRZ7TKLM2V5WD"]),
    ("us-ssn", &["536-22-8726"]),
    ("cn-id", &["11010519491231002X"]),
    ("br-cpf", &["390.533.447-05"]),
    ("br-cnpj", &["16.727.230/0001-97"]),
    ("in-aadhaar", &["2341 2341 2346"]),
    ("in-pan", &["ACUPA7085R"]),
    ("at-svnr", &["1237 010180"]),
    ("be-national", &["85.07.30-033.28", "17.07.30-033.84"]),
    ("bg-egn", &["7523169263", "8032056031"]),
    ("cy-tic", &["10259033P"]),
    ("cz-sk-rc", &["710319/2745", "9912315127"]),
    ("de-tax-id", &["36 574 261 809", "47036892816"]),
    ("dk-cpr", &["211062-5629"]),
    ("ee-lt-id", &["36805280109", "33309240064", "38703181745"]),
    ("es-dni", &["12345678Z", "X2482300W"]),
    ("fi-hetu", &["131052-308T"]),
    ("fr-nir", &["2 95 10 99 126 111 93"]),
    ("gr-amka", &["01013099997"]),
    ("gr-afm", &["094259216"]),
    ("hr-oib", &["33392005961"]),
    ("hu-taj", &["111 111 110"]),
    ("hu-tax", &["8071592153"]),
    ("ie-pps", &["6433435F", "6433435OA"]),
    (
        "it-codice-fiscale",
        &["RCCMNL83S18D969H", "MRTMTT25D09F205Z"],
    ),
    ("lu-national", &["1893120105732"]),
    ("lv-pk", &["161175-19997"]),
    ("nl-bsn", &["1112.22.333", "123456782"]),
    ("pl-pesel", &["44051401359"]),
    ("pt-nif", &["501964843", "123456789"]),
    ("ro-cnp", &["1630615123457"]),
    ("se-personnummer", &["880320-0016", "198803200016"]),
    ("si-emso", &["0101006500006"]),
];

/// A scanner for whole values of anything that pass the check.
fn passes(check: &str) -> impl FnMut(&str) -> bool {
    let sensor = SensorSpec {
        id: 1,
        name: check.to_owned(),
        action: SensorAction::Alert,
        direction: SensorDirection::Both,
        targets: vec![],
        patterns: vec![SensorPatternSpec {
            name: "value".to_owned(),
            places: vec!["form".to_owned()],
            what: SensorWhat::Expression(r"\A[ -~]{1,60}\z".to_owned()),
            checks: vec![check.to_owned()],
            ..SensorPatternSpec::default()
        }],
        combination: Combination::Pattern(0),
        flow_matches: None,
        source: None,
    };
    let set = SensorSet::compile(&[sensor]).expect("compiles");
    let mut scanner = SensorScanner::new(set.into(), 1, 0, 0).expect("memory");
    move |value: &str| {
        let flow = scanner.open((0, 0), (0, 0)).expect("a free flow");
        let mut hits = 0;
        let content = Content::whole(Buffer::Form, 0, value.as_bytes());
        scanner.content(flow, Direction::ToServer, &content, 0, &mut |_| hits += 1);
        scanner.close(flow, 0, &mut |_| {});
        hits > 0
    }
}

#[test]
fn every_check_passes_what_was_given_out() {
    for check in checks() {
        assert!(
            VALID.iter().any(|(name, _)| *name == check.name),
            "{} has no example",
            check.name
        );
    }
    let mut failed: Vec<&str> = Vec::new();
    for (check, values) in VALID {
        let mut passes = passes(check);
        failed.extend(values.iter().copied().filter(|value| !passes(value)));
    }
    assert!(failed.is_empty(), "{failed:?}");
}

#[test]
fn most_changes_of_one_digit_are_found() {
    for (check, values) in VALID {
        // Neither has a check digit.
        if ["no-placeholder", "us-ssn", "in-pan"].contains(check) {
            continue;
        }
        let mut passes = passes(check);
        let (mut changed, mut passed) = (0, 0);
        for value in *values {
            for (index, byte) in value
                .bytes()
                .enumerate()
                .filter(|(_, byte)| byte.is_ascii_digit())
            {
                for add in 1..10 {
                    let mut other = value.as_bytes().to_vec();
                    other[index] = b'0' + (byte - b'0' + add) % 10;
                    changed += 1;
                    passed += usize::from(passes(&String::from_utf8(other).expect("ASCII")));
                }
            }
        }
        assert!(
            passed * 20 <= changed,
            "{check}: {passed} of {changed} pass"
        );
    }
}
