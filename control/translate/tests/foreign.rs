//! What others wrote, as documents, and what is said of what is lost.

use weir_model::{Document, to_yaml_stream};
use weir_translate::{Effect, Format, ImportOptions, Imported, export, import};

fn read(format: Format, text: &str) -> Imported {
    import(format, "test", text, ImportOptions::default()).expect("the sample can be read")
}

/// The documents and losses of a sample, as they stand in the file beside it. `UPDATE_SAMPLES=1`
/// writes the file.
fn check(format: Format, name: &str) -> Imported {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples");
    let text = std::fs::read_to_string(directory.join(format!("{name}.yaml"))).unwrap();
    let imported = read(format, &text);
    let losses = imported.losses.iter().map(|loss| format!("# {loss}\n"));
    let shown = losses.collect::<String>() + &to_yaml_stream(&imported.documents);
    let expected = directory.join(format!("{name}.weir.yaml"));
    if std::env::var_os("UPDATE_SAMPLES").is_some() {
        std::fs::write(&expected, &shown).unwrap();
    }
    assert_eq!(
        shown,
        std::fs::read_to_string(&expected).unwrap(),
        "UPDATE_SAMPLES=1 renews {}",
        expected.display()
    );
    imported
}

#[test]
fn network_policies() {
    let imported = check(Format::NetworkPolicy, "networkpolicy");
    assert_eq!(imported.documents.len(), 3);
    assert!(
        imported
            .losses
            .iter()
            .all(|loss| loss.effect != Effect::Wider)
    );
}

#[test]
fn cilium_policies() {
    let imported = check(Format::Cilium, "cilium");
    assert_eq!(imported.documents.len(), 2);
    let wider: Vec<_> = imported
        .losses
        .iter()
        .filter(|loss| loss.effect == Effect::Wider)
        .collect();
    assert_eq!(wider.len(), 1, "only the * of a name: {wider:?}");
}

#[test]
fn neuvector_rules_and_sensors() {
    let imported = check(Format::NeuVector, "neuvector");
    let kinds: Vec<&str> = imported
        .documents
        .iter()
        .map(|it| it.kind().name())
        .collect();
    assert_eq!(kinds, ["Allowlist", "Sensor", "Sensor"]);
}

#[test]
fn hostile_text_gives_an_error_or_losses() {
    for text in [
        "",
        "---",
        "[1, 2]",
        "a: &a [*a]",
        "kind: NetworkPolicy",
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: [1]}\nspec: 7",
        "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nspec: {endpointSelector: {}, ingress: [1, {fromEndpoints: [2]}]}",
        "apiVersion: neuvector.com/v1\nkind: NvSecurityRule\nspec: {target: {selector: {criteria: {}}}}",
        "apiVersion: v1\nkind: List\nitems: [{kind: List, items: []}]",
    ] {
        for (_, format) in Format::ALL {
            if let Ok(imported) = import(format, "test", text, ImportOptions::default()) {
                let rules = imported.documents.iter().map(|document| match document {
                    Document::Allowlist(allowlist) | Document::ClusterAllowlist(allowlist) => {
                        allowlist.spec.ingress.len()
                    }
                    _ => 0,
                });
                assert_eq!(rules.sum::<usize>(), 0, "{text}");
            }
        }
    }
}

/// What was read from another format and is written to it again is read as the same.
#[test]
fn a_second_trip_changes_nothing_more() {
    for (name, format) in [
        ("networkpolicy", Format::NetworkPolicy),
        ("cilium", Format::Cilium),
        ("neuvector", Format::NeuVector),
    ] {
        let path = format!("{}/tests/samples/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
        let first = read(format, &std::fs::read_to_string(path).unwrap()).documents;
        let second = read(format, &export(format, &first).text).documents;
        let third = read(format, &export(format, &second).text).documents;
        assert_eq!(to_yaml_stream(&second), to_yaml_stream(&third), "{name}");
    }
}
