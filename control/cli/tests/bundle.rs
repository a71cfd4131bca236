//! `weir bundle` from files to a bundle that verifies, with openssl in the place of cosign.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

const POLICY: &str = "\
apiVersion: weir.dev/v1alpha1
kind: Workload
metadata: {name: photo-db, namespace: shop}
spec: {addresses: [10.91.0.3]}
---
apiVersion: weir.dev/v1alpha1
kind: Allowlist
metadata: {name: photo-db, namespace: shop}
spec:
  target: {workload: photo-db}
  ingress:
    - {from: [{workload: ai-model}], applications: [mysql], ports: [3306]}
---
apiVersion: weir.dev/v1alpha1
kind: Mode
metadata: {name: photo-db, namespace: shop}
spec: {target: {workload: photo-db}, mode: protect}
";

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        place.write("policy.yaml", POLICY);
        for key in ["one", "two"] {
            place.yes(&format!("keygen {key}"));
        }
        place
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path().join(name), text).unwrap();
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn run(&self, program: &str, arguments: &str) -> Output {
        let mut command = Command::new(program);
        command.args(arguments.split(' ')).current_dir(self.path());
        command.output().unwrap()
    }

    fn weir(&self, arguments: &str) -> Output {
        self.run(env!("CARGO_BIN_EXE_weir"), &format!("bundle {arguments}"))
    }

    fn yes(&self, arguments: &str) -> String {
        let output = self.weir(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// What it says where the answer is no, or it fails.
    fn no(&self, arguments: &str) -> String {
        let output = self.weir(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments}: {output:?}");
        let told = [output.stdout, output.stderr].concat();
        String::from_utf8(told).unwrap()
    }
}

#[test]
fn what_is_signed_verifies_and_is_shown() {
    let place = Place::new();
    place.yes("sign policy.yaml --key one.key --name shop --sequence 7 --out shop.bundle");
    let verdict = place.yes("verify shop.bundle --key two.pub --key one.pub -o json");
    let verdict: Value = serde_json::from_str(&verdict).unwrap();
    assert_eq!(verdict["header"]["sequence"], 7);
    assert_eq!(verdict["signers"].as_array().unwrap().len(), 1);
    let shown = place.yes("show shop.bundle");
    assert!(shown.contains("allowlist shop/photo-db"), "{shown}");
    assert!(
        !shown.contains("workload shop/photo-db"),
        "who there is follows from the cluster"
    );
    let documents = place.yes("show shop.bundle --documents");
    place.write("again.yaml", &documents);
    assert_eq!(
        place.yes("diff shop.bundle again.yaml"),
        "no document differs\n"
    );
    assert!(
        place
            .no("verify shop.bundle --key two.pub")
            .contains("is signed by")
    );
    assert!(
        place
            .no("verify shop.bundle --key one.pub --key two.pub --threshold 2")
            .contains("1 of the 2")
    );
    place.yes("sign shop.bundle --key two.key --out shop.bundle");
    place.yes("verify shop.bundle --key one.pub --key two.pub --threshold 2");
    let private = std::fs::metadata(place.path().join("one.key")).unwrap();
    assert_eq!(private.permissions().mode() & 0o777, 0o600);
    assert!(place.no("keygen one").contains("move it away"));
    let manifest = place.yes("manifest shop.bundle");
    assert!(manifest.contains("weir.dev/bundle-part: 1/1"), "{manifest}");
}

#[test]
fn what_opens_is_told_and_may_need_a_second_key() {
    let place = Place::new();
    place.yes("sign policy.yaml --key one.key --name shop --sequence 7 --out old.bundle");
    place.write(
        "policy.yaml",
        &POLICY
            .replace("protect", "monitor")
            .replace("[3306]", "[3306, 3307]"),
    );
    let signed = place
        .yes("sign policy.yaml --key one.key --sequence 8 --previous old.bundle --out new.bundle");
    assert!(
        signed.contains("mode shop/photo-db mode no longer holds shop/photo-db to protect"),
        "{signed}"
    );
    assert!(
        signed.contains("allowlist shop/photo-db ingress[0] allows more than before: wider ports")
    );
    let keys = "--key one.pub --key two.pub --previous old.bundle";
    assert!(
        place
            .yes(&format!("verify new.bundle {keys}"))
            .contains("weakens:")
    );
    let refused = place.no(&format!("verify new.bundle {keys} --weakening-threshold 2"));
    assert!(refused.contains("1 of the 2"), "{refused}");
    place.yes("sign policy.yaml --key one.key --second-key two.key --sequence 8 --previous old.bundle --out new.bundle.2");
    place.yes(&format!(
        "verify new.bundle.2 {keys} --weakening-threshold 2"
    ));
    assert!(
        place
            .no("diff old.bundle new.bundle")
            .contains("~ allowlist shop/photo-db")
    );
    let older = place.no("verify old.bundle --key one.pub --previous new.bundle");
    assert!(older.contains("is not above 8"), "{older}");
    let back = place.no("sign policy.yaml --key one.key --sequence 8 --out new.bundle");
    assert!(back.contains("give a higher --sequence"), "{back}");
}

#[test]
fn signatures_of_other_tools_count() {
    let place = Place::new();
    if Command::new("openssl").arg("version").output().is_err() {
        eprintln!("SKIPPED signatures_of_other_tools_count: openssl is not installed");
        return;
    }
    // As cosign does with --key: ECDSA on P-256 over SHA-256, DER in base64.
    place.yes("keygen cosign --algorithm ecdsa-p256");
    place.yes("payload policy.yaml --name shop --out payload.json");
    assert!(
        place
            .run(
                "openssl",
                "dgst -sha256 -sign cosign.key -out raw.sig payload.json"
            )
            .status
            .success()
    );
    assert!(
        place
            .run("openssl", "base64 -A -in raw.sig -out base64.sig")
            .status
            .success()
    );
    for signature in ["raw.sig", "base64.sig"] {
        place.yes(&format!(
            "verify payload.json --key cosign.pub --signature {signature}"
        ));
        place.yes(&format!(
            "attach payload.json --key cosign.pub --signature {signature} --out shop.bundle"
        ));
        place.yes("verify shop.bundle --key cosign.pub");
    }
    let other = place.no("verify payload.json --key one.pub --signature base64.sig");
    assert!(other.contains("is no signature of"), "{other}");
}

#[test]
fn what_cannot_be_signed_is_said() {
    let place = Place::new();
    let sign = "sign policy.yaml --key one.key --out x.bundle";
    place.write("policy.yaml", &POLICY.replace("mysql", "mysqll"));
    assert!(place.no(sign).contains("did you mean mysql?"));
    place.write("policy.yaml", POLICY.split("---").next().unwrap());
    assert!(place.no(sign).contains("no policy is in these files"));
    place.write("policy.yaml", POLICY);
    assert!(
        place
            .no("sign policy.yaml --key one.pub --out x.bundle")
            .contains("a public key, which cannot sign")
    );
    assert!(
        place
            .no("sign policy.yaml --key none.key --out x.bundle")
            .contains("none.key")
    );
    assert!(place.no("show policy.yaml").contains("no policy bundle"));
    assert!(!place.path().join("x.bundle").exists());
    let expired = "sign policy.yaml --key one.key --expires 2020-01-01T00:00:00Z --out x.bundle";
    assert!(place.no(expired).contains("would expire before"));
    place.yes("sign policy.yaml --key one.key --workloads --expires 90d --out x.bundle");
    assert!(
        place
            .yes("show x.bundle")
            .contains("workload shop/photo-db")
    );
}
