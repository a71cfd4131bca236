//! What stands under `deploy/baremetal` for a cluster: every file is YAML, Weir's documents in it are
//! read, and what is listed by hand names every kind.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;
use weir_model::{API_VERSION, GROUP, Kind, from_object, parse_documents, to_yaml};

#[allow(dead_code, reason = "each test uses a part")]
#[path = "schema/mod.rs"]
mod schema;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../deploy/baremetal")
}

fn yaml_files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        // What a chart links to is read where it is; its templates are no YAML yet.
        if path.is_symlink() || path.ends_with("templates") {
            continue;
        }
        if path.is_dir() {
            yaml_files(&path, found);
        } else if path.extension().is_some_and(|end| end == "yaml") {
            found.push(path);
        }
    }
}

/// Each object of a file.
fn objects(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    serde_yaml_ng::Deserializer::from_str(&text)
        .map(|one| Value::deserialize(one).unwrap_or_else(|error| panic!("{path:?}: {error}")))
        .collect()
}

#[test]
fn every_file_is_read() {
    let mut files = Vec::new();
    yaml_files(&root(), &mut files);
    let mut documents = 0;
    for path in &files {
        for object in objects(path) {
            if object["apiVersion"] != API_VERSION {
                continue;
            }
            documents += 1;
            let kind = object["kind"].as_str().unwrap();
            let read = from_object(&object, "deploy").unwrap_or_else(|told| panic!("{told:?}"));
            assert_eq!(
                schema::validate(kind, &object),
                Vec::<String>::new(),
                "{path:?}"
            );
            let (again, problems) = parse_documents("again", &to_yaml(&read.value));
            assert_eq!(problems, []);
            assert_eq!(again[0].value, read.value);
        }
    }
    assert!(documents >= 8, "{documents} of {files:?}");
}

#[test]
fn kustomizations_name_files_that_are_there() {
    let mut files = Vec::new();
    yaml_files(&root(), &mut files);
    files.retain(|path| path.ends_with("kustomization.yaml"));
    assert!(files.len() >= 5, "{files:?}");
    for path in files {
        for object in objects(&path) {
            // A component may only have patches.
            for resource in object["resources"].as_array().into_iter().flatten() {
                let there = path.with_file_name(resource.as_str().unwrap());
                assert!(there.exists(), "{path:?} names {resource}");
                // kustomize reads files below itself only, and directories anywhere.
                assert!(there.is_dir() || !resource.as_str().unwrap().starts_with(".."));
            }
        }
    }
}

#[test]
fn the_base_and_fleet_hold_the_same_policy() {
    for name in ["photo-db.yaml", "ai-model.yaml", "threats.yaml"] {
        let read = |directory: &str| {
            std::fs::read_to_string(root().join("examples").join(directory).join(name)).unwrap()
        };
        assert_eq!(read("kustomize/base"), read("fleet/policy"), "{name}");
    }
}

/// The resources of a group that some rule of a role grants with this verb.
fn granted(role: &Value, group: &str, verb: &str) -> Vec<String> {
    let mut found = Vec::new();
    for rule in role["rules"].as_array().unwrap() {
        let has = |field: &str, wanted: &str| {
            rule[field]
                .as_array()
                .unwrap()
                .iter()
                .any(|one| one == wanted)
        };
        if has("apiGroups", group) && has("verbs", verb) {
            let names = rule["resources"].as_array().unwrap().iter();
            found.extend(names.map(|name| name.as_str().unwrap().to_owned()));
        }
    }
    found
}

#[test]
fn roles_cover_every_kind_and_give_the_controller_no_specification() {
    let objects = objects(&root().join("kustomize/rbac.yaml"));
    let role = |name: &str| {
        let found = objects
            .iter()
            .find(|object| object["kind"] == "ClusterRole" && object["metadata"]["name"] == name);
        found.unwrap()
    };
    let controller = role("weir-controller");
    for rule in controller["rules"].as_array().unwrap() {
        assert!(
            !rule.to_string().contains("\"*\""),
            "{rule} grants everything"
        );
    }
    let kinds = Kind::ALL
        .into_iter()
        .filter(|kind| *kind != Kind::Namespace);
    for kind in kinds {
        let plural = kind.plural().to_owned();
        assert!(
            granted(controller, GROUP, "watch").contains(&plural),
            "{plural}"
        );
        let status = format!("{plural}/status");
        assert!(
            granted(controller, GROUP, "patch").contains(&status),
            "{status}"
        );
        let learned = kind == Kind::LearnedProfile;
        for (verb, wanted) in [
            ("create", learned),
            ("delete", learned),
            ("update", false),
            ("patch", false),
        ] {
            let writes = granted(controller, GROUP, verb).contains(&plural);
            assert_eq!(writes, wanted, "{verb} {plural}");
        }
        let (view, edit) = match kind.is_namespaced() {
            true => ("weir-view", "weir-edit"),
            false => ("weir-cluster-view", "weir-cluster-edit"),
        };
        assert!(
            granted(role(view), GROUP, "list").contains(&plural),
            "{plural}"
        );
        assert_eq!(
            granted(role(edit), GROUP, "create").contains(&plural),
            !learned
        );
    }
    let webhook = &self::objects(&root().join("kustomize/webhook.yaml"))[0];
    let looked_at = webhook["webhooks"][0]["rules"][0]["resources"]
        .as_array()
        .unwrap();
    for kind in Kind::ALL {
        let policy = !matches!(kind, Kind::Namespace | Kind::LearnedProfile);
        let there = looked_at.iter().any(|name| name == kind.plural());
        assert_eq!(there, policy, "{kind}");
    }
}
