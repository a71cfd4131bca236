//! What was accepted becomes documents that can be read again, a rule at each end.

use proptest::prelude::*;
use weir_learn::{ConversationKey, allowlists, obstacle};
use weir_model::{Document, parse_documents, to_yaml_stream};

fn key(client: &str, server: &str, application: &str, port: u16, protocol: u8) -> ConversationKey {
    let (client, server, application) = (client.into(), server.into(), application.into());
    ConversationKey {
        client,
        server,
        application,
        port,
        protocol,
    }
}

fn documents(keys: &[ConversationKey]) -> Vec<Document> {
    allowlists(keys)
        .into_iter()
        .map(Document::Allowlist)
        .collect()
}

fn read(text: &str) -> Vec<Document> {
    let (read, problems) = parse_documents("learned.yaml", text);
    assert!(problems.is_empty(), "{problems:?}");
    read.into_iter().map(|located| located.value).collect()
}

#[test]
fn the_story_reads_as_a_person_would_write_it() {
    let keys = [
        key("shop/ai-model", "shop/photo-db", "mysql", 3306, 6),
        key("shop/ai-model", "web/frontend", "http", 5000, 6),
        key("[203.0.113.0/24]", "web/frontend", "http", 80, 6),
        key("unknown", "web/frontend", "http", 80, 6),
        key("shop/ai-model", "[api.example.com]", "tls", 443, 6),
        key("shop/ai-model", "shop/photo-db", "icmp", 0, 1),
    ];
    let expected = "
apiVersion: weir.dev/v1alpha1
kind: Allowlist
metadata: {name: ai-model, namespace: shop}
spec:
  target: {workload: ai-model}
  egress:
    - {to: [{workload: web/frontend}], applications: [http], ports: [5000], protocols: [tcp]}
    - {to: [{workload: photo-db}], applications: [icmp], protocols: [icmp]}
    - {to: [{workload: photo-db}], applications: [mysql], ports: [3306], protocols: [tcp]}
    - {to: [{domain: api.example.com}], applications: [tls], ports: [443], protocols: [tcp]}
---
apiVersion: weir.dev/v1alpha1
kind: Allowlist
metadata: {name: photo-db, namespace: shop}
spec:
  target: {workload: photo-db}
  ingress:
    - {from: [{workload: ai-model}], applications: [icmp], protocols: [icmp]}
    - {from: [{workload: ai-model}], applications: [mysql], ports: [3306], protocols: [tcp]}
---
apiVersion: weir.dev/v1alpha1
kind: Allowlist
metadata: {name: frontend, namespace: web}
spec:
  target: {workload: frontend}
  ingress:
    - {from: [{cidr: 203.0.113.0/24}, {unknown: true}], applications: [http], ports: [80], protocols: [tcp]}
    - {from: [{workload: shop/ai-model}], applications: [http], ports: [5000], protocols: [tcp]}
";
    let written = documents(&keys);
    assert_eq!(written, read(expected), "{}", to_yaml_stream(&written));
}

#[test]
fn a_workload_that_speaks_to_itself_has_both_rules() {
    let documents = allowlists(&[key("shop/a", "shop/a", "http", 80, 6)]);
    assert_eq!(documents.len(), 1);
    assert_eq!(
        (
            documents[0].spec.ingress.len(),
            documents[0].spec.egress.len()
        ),
        (1, 1)
    );
}

#[test]
fn what_cannot_be_written_says_why() {
    for (client, server, application, part) in [
        ("shop/a", "shop/b", "", "no data"),
        ("unknown", "[10.0.0.0/8]", "http", "neither end"),
        (
            "[api.example.com]",
            "shop/b",
            "http",
            "[api.example.com] cannot be written",
        ),
        ("shop/A_b", "shop/b", "http", "shop/A_b cannot be named"),
        (
            "shop/a",
            "[not a name]",
            "http",
            "[not a name] cannot be written",
        ),
    ] {
        let key = key(client, server, application, 80, 6);
        let told = obstacle(&key).unwrap();
        assert!(told.contains(part), "{told}");
        assert!(allowlists(&[key]).is_empty());
    }
}

fn any_key() -> impl Strategy<Value = ConversationKey> {
    let names = vec![
        "shop/a",
        "shop/b",
        "web/a",
        "unknown",
        "[10.0.0.0/8]",
        "[fd00::/8]",
        "[*.example.com]",
    ];
    let ends = || prop::sample::select(names.clone());
    let application = prop::sample::select(vec!["http", "mysql", "unknown", ""]);
    (
        ends(),
        ends(),
        application,
        prop::sample::select(vec![0u16, 80, 3306]),
        prop::sample::select(vec![1u8, 6, 17, 50]),
    )
        .prop_map(|(client, server, application, port, protocol)| {
            key(client, server, application, port, protocol)
        })
}

proptest! {
    /// The documents depend on the set of keys alone, and reading what is written gives them again.
    #[test]
    fn documents_are_deterministic_and_readable(mut keys in prop::collection::vec(any_key(), 0..20)) {
        let written = documents(&keys);
        keys.reverse();
        keys.extend(keys.clone());
        prop_assert_eq!(&documents(&keys), &written);
        let text = to_yaml_stream(&written);
        prop_assert_eq!(read(&text), written);
    }
}
