//! The sensors that Weir ships compile, fire on what they are for, and let near misses pass.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use weir_compile::compile;
use weir_model::{Document, Located, parse_documents};
use weir_policy::spec::SensorSpec;
use weir_sigs::sensor::{SensorScanner, SensorSet};

fn shipped() -> Vec<Located<Document>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sigs/sensors");
    let mut documents = Vec::new();
    for entry in std::fs::read_dir(directory).expect("the directory is there") {
        let path = entry.expect("readable").path();
        let text = std::fs::read_to_string(&path).expect("text");
        let (read, problems) = parse_documents(&path.display().to_string(), &text);
        assert_eq!(problems, [], "{}", path.display());
        documents.extend(read);
    }
    documents
}

/// All that Weir ships in one scanner.
struct Shipped {
    documents: Vec<Located<Document>>,
    sensors: Vec<SensorSpec>,
    scanner: SensorScanner,
}

impl Shipped {
    fn new() -> Self {
        static SET: OnceLock<Arc<SensorSet>> = OnceLock::new();
        let documents = shipped();
        let set = SET.get_or_init(|| {
            let mut all = documents.clone();
            let somebody =
                "apiVersion: weir.dev/v1alpha1\nkind: Workload\nmetadata: {name: w}\nspec: {}\n";
            all.extend(parse_documents("w.yaml", somebody).0);
            let compiled = compile(&all, None);
            assert_eq!((&compiled.problems, &compiled.warnings), (&vec![], &vec![]));
            // Texts are tried between ends that nobody knows.
            let mut sensors = compiled.spec.sensors;
            sensors.iter_mut().for_each(|one| one.targets.clear());
            let set = SensorSet::compile(&sensors);
            Arc::new(set.expect("compiles"))
        });
        let scanner = SensorScanner::new(Arc::clone(set), 1, 0, 0).expect("memory");
        Self {
            documents,
            sensors: set.sensors().to_vec(),
            scanner,
        }
    }

    /// Names of the sensors that fire, each with what it shows.
    fn fires(&mut self, text: &str) -> Vec<(String, String)> {
        let hits = self.scanner.trial(text.as_bytes());
        let told = hits.iter().map(|hit| {
            let sensor = &self.sensors[usize::from(hit.sensor)];
            let pattern = &sensor.patterns[usize::from(hit.pattern)].name;
            let name = sensor.name.trim_start_matches("sensor default/");
            (format!("{name}/{pattern}"), hit.excerpt.to_string())
        });
        told.collect()
    }
}

/// Reproducible characters of an alphabet, as a random secret has them.
fn random(alphabet: &str, count: usize) -> String {
    let alphabet: Vec<char> = alphabet.chars().collect();
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let character = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        alphabet[(state >> 33) as usize % alphabet.len()]
    };
    (0..count).map(character).collect()
}

const ALPHANUMERIC: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

#[test]
fn each_fires_on_its_examples_and_lets_near_misses_pass() {
    let mut shipped = Shipped::new();
    let mut wrong = Vec::new();
    for located in std::mem::take(&mut shipped.documents) {
        let Document::Sensor(sensor) = &located.value else {
            panic!("only sensors are shipped");
        };
        let prefix = format!("{}/", sensor.metadata.name);
        let examples = sensor.spec.examples.clone().unwrap_or_default();
        let texts = examples.fires.iter().map(|text| (text, true));
        let texts = texts.chain(examples.passes.iter().map(|text| (text, false)));
        for (text, expected) in texts {
            let told = shipped.fires(text);
            if told.iter().any(|(name, _)| name.starts_with(&prefix)) != expected {
                wrong.push(format!("{prefix} {expected}: {text}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn credentials_of_each_issuer_are_found_and_never_shown_whole() {
    let mut shipped = Shipped::new();
    let alnum = |count| random(ALPHANUMERIC, count);
    let base32 = |count| random("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", count);
    let cases = [
        (
            "cloud-credentials/aws-key-id",
            "",
            format!("AKIA{}", base32(16)),
        ),
        (
            "cloud-credentials/aws-secret",
            "aws_secret_access_key = ",
            alnum(40),
        ),
        (
            "cloud-credentials/gcp-api-key",
            "key=",
            format!("AIza{}", alnum(35)),
        ),
        (
            "cloud-credentials/gcp-service-account",
            r#"{"type": "service_account", "project_id": "x", "private_key_id": ""#,
            random("0123456789abcdef", 40),
        ),
        (
            "cloud-credentials/azure-storage",
            "DefaultEndpointsProtocol=https;AccountKey=",
            format!("{}==", alnum(86)),
        ),
        (
            "cloud-credentials/azure-client-secret",
            "secret: ",
            format!("abc8Q~{}", alnum(34)),
        ),
        (
            "cloud-credentials/azure-sas",
            "?sv=1&sig=",
            format!("{}%3D", alnum(43)),
        ),
        (
            "service-credentials/github",
            "token ",
            format!("ghp_{}", alnum(36)),
        ),
        (
            "service-credentials/gitlab",
            "token ",
            format!("glpat-{}", alnum(20)),
        ),
        (
            "service-credentials/slack",
            "",
            format!("xoxb-123456789012-{}", alnum(24)),
        ),
        (
            "service-credentials/slack-webhook",
            "https://hooks.slack.com/services/T0123ABCD/B0123ABCD/",
            alnum(24),
        ),
        (
            "service-credentials/stripe",
            "",
            format!("sk_live_{}", alnum(24)),
        ),
        ("service-credentials/npm", "", format!("npm_{}", alnum(36))),
        (
            "service-credentials/pypi",
            "",
            format!("pypi-AgE{}", alnum(80)),
        ),
        (
            "service-credentials/sendgrid",
            "",
            format!("SG.{}.{}", alnum(22), alnum(43)),
        ),
        (
            "service-credentials/openai",
            "",
            format!("sk-proj-{}T3BlbkFJ{}", alnum(20), alnum(20)),
        ),
        (
            "service-credentials/anthropic",
            "",
            format!("sk-ant-api03-{}", alnum(93)),
        ),
        (
            "service-credentials/vault",
            "",
            format!("hvs.{}", alnum(90)),
        ),
        (
            "cluster-credentials/service-account-token",
            "",
            format!("eyJhbGciOiJSUzI1NiIsImtpZCI6{}.eyJ{}", alnum(44), alnum(60)),
        ),
        (
            "cluster-credentials/kubeconfig-key",
            "    client-key-data: ",
            format!("LS0tLS1CRUdJTi{}", alnum(60)),
        ),
        (
            "cluster-credentials/registry-login",
            r#"{"auths": {"registry.example": {"auth": ""#,
            format!("{}=", alnum(27)),
        ),
    ];
    for (sensor, before, secret) in cases {
        let told = shipped.fires(&format!("{before}{secret}\" and more"));
        let found = told.iter().find(|(name, _)| name == sensor);
        let Some((_, excerpt)) = found else {
            panic!("{sensor} did not fire on {before}{secret}: {told:?}");
        };
        let shown = excerpt.trim_end_matches('*').len();
        assert!(shown <= 4, "{sensor} shows {excerpt}");
        // One character too few.
        let cut = format!("{before}{}\" and more", &secret[..8]);
        assert!(
            shipped.fires(&cut).iter().all(|(name, _)| name != sensor),
            "{sensor}: {cut}"
        );
    }
}

#[test]
fn much_personal_data_is_found_and_a_little_is_not() {
    let mut shipped = Shipped::new();
    let accounts: Vec<String> = (0..40u64).map(iban).collect();
    let cards: Vec<String> = (0..20u64).map(card).collect();
    let mails = (0..150).map(|n| format!("user{n}@mail{n}.example.org"));
    let phones = (0..150).map(|n| format!("+49 30 {}", 1_234_567 + 37 * n));
    let lists: [(&str, Vec<String>, usize); 4] = [
        ("bulk-mail-addresses/address", mails.collect(), 100),
        ("bulk-phone-numbers/number", phones.collect(), 100),
        ("bulk-accounts/account", accounts, 20),
        ("payment-cards-bulk/number", cards, 10),
    ];
    for (sensor, values, threshold) in lists {
        let fired = |shipped: &mut Shipped, values: &[String]| {
            let told = shipped.fires(&values.join(",\n"));
            told.iter().any(|(name, _)| name == sensor)
        };
        assert!(fired(&mut shipped, &values[..threshold]), "{sensor}");
        assert!(!fired(&mut shipped, &values[..threshold - 1]), "{sensor}");
        let same = vec![values[0].clone(); threshold];
        assert!(
            !fired(&mut shipped, &same),
            "{sensor}: the same again and again"
        );
    }
}

/// A German account with its check digits.
fn iban(number: u64) -> String {
    let account = format!("37040044{:010}", 532_013_000 + number);
    let rest = format!("{account}131400")
        .bytes()
        .fold(0, |rest, digit| (rest * 10 + u32::from(digit - b'0')) % 97);
    format!("DE{:02}{account}", 98 - rest)
}

/// A card number with its check digit.
fn card(number: u64) -> String {
    let body = format!("400000{:09}", 123_456_000 + number);
    let digits = body.bytes().rev().enumerate();
    let sum: u32 = digits
        .map(
            |(index, digit)| match (index % 2, u32::from(digit - b'0')) {
                (0, digit) if digit > 4 => 2 * digit - 9,
                (0, digit) => 2 * digit,
                (_, digit) => digit,
            },
        )
        .sum();
    format!("{body}{}", (10 - sum % 10) % 10)
}
