//! What people do with Weir's kinds, done with kubectl and with what is shipped.

use weir_cluster::{Cluster, Kubectl, Said};

const ALLOWLIST: &str = "\
apiVersion: weir.dev/v1alpha1
kind: Allowlist
metadata: {name: web, namespace: shop, labels: {team: blue}}
spec:
  stage: monitor
  target: {workload: web}
  ingress: [{from: [{workload: db}], applications: [http], ports: [80]}]
";

const RBAC: &str = include_str!("../../../deploy/baremetal/kustomize/rbac.yaml");

/// A line of words as one types it.
async fn run(kubectl: &Kubectl, line: &str) -> Said {
    let words: Vec<&str> = line.split(' ').collect();
    kubectl.run(&words).await
}

fn shows(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word:?} is not in\n{text}");
    }
}

/// Weir's kinds, one allowlist, and kubectl; none where there is no kubectl.
async fn shop(test: &str) -> Option<(Cluster, Kubectl)> {
    let cluster = Cluster::start().await;
    let kubectl = cluster.kubectl(test)?;
    cluster.namespace("shop", &[]).await;
    let apply = ["apply", "--server-side", "-f", "-"];
    let said = kubectl.run_with(&apply, ALLOWLIST).await.unwrap();
    assert_eq!(said, "allowlist.weir.dev/web serverside-applied\n");
    Some((cluster, kubectl))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kinds_are_found_explained_and_shown() {
    let Some((_cluster, kubectl)) = shop("kinds_are_found_explained_and_shown").await else {
        return;
    };
    let kinds = run(&kubectl, "api-resources --api-group=weir.dev")
        .await
        .unwrap();
    shows(
        &kinds,
        &[
            "wal",
            "wcal",
            "wgr",
            "wrr",
            "wsen",
            "wtp",
            "ThreatPolicy",
            "Guardrail",
        ],
    );
    let category = run(&kubectl, "api-resources --categories=weir -o name")
        .await
        .unwrap();
    shows(&category, &["allowlists.weir.dev", "modes.weir.dev"]);
    let explained = run(&kubectl, "explain allowlist.spec").await.unwrap();
    shows(&explained, &["stage", "ingress", "target", "draft"]);
    let explained = run(&kubectl, "explain threatpolicies.spec.rules --recursive")
        .await
        .unwrap();
    shows(&explained, &["action", "threats"]);
    for command in [
        "get wal -n shop",
        "get weir -n shop",
        "get allowlists.v1alpha1.weir.dev -A",
    ] {
        shows(&run(&kubectl, command).await.unwrap(), &["web", "monitor"]);
    }
    let wide = run(&kubectl, "get wal web -n shop -o wide").await.unwrap();
    let yaml = run(&kubectl, "get wal web -n shop -o yaml").await.unwrap();
    shows(&wide, &["STAGE", "PROGRAMMED"]);
    shows(&yaml, &["stage: monitor", "team: blue"]);
    let column = "get wal -n shop -l team=blue -o jsonpath={.items[*].metadata.name}";
    assert_eq!(run(&kubectl, column).await.unwrap(), "web");
    let described = run(&kubectl, "describe wal web -n shop").await.unwrap();
    shows(
        &described,
        &["Name:         web", "Stage:", "monitor", "Events:"],
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_are_compared_changed_waited_for_and_deleted() {
    let test = "objects_are_compared_changed_waited_for_and_deleted";
    let Some((_cluster, kubectl)) = shop(test).await else {
        return;
    };
    // diff ends with 1 where something would change, and changes nothing.
    let protect = ALLOWLIST.replace("monitor", "protect");
    let diff = ["diff", "--server-side", "-f", "-"];
    assert!(kubectl.run_with(&diff, ALLOWLIST).await.ok());
    let differs = kubectl.run_with(&diff, &protect).await;
    assert!(!differs.success);
    shows(&differs.out, &["-  stage: monitor", "+  stage: protect"]);
    let dry = ["apply", "--server-side", "--dry-run=server", "-f", "-"];
    kubectl.run_with(&dry, &protect).await.unwrap();
    let stage = "get wal web -n shop -o jsonpath={.spec.stage}";
    assert_eq!(run(&kubectl, stage).await.unwrap(), "monitor");

    let merge = r#"patch wal web -n shop --type=merge -p {"spec":{"stage":"protect"}}"#;
    run(&kubectl, merge).await.unwrap();
    let json = r#"patch wal web -n shop --type=json -p [{"op":"replace","path":"/spec/stage","value":"draft"}]"#;
    run(&kubectl, json).await.unwrap();
    assert_eq!(run(&kubectl, stage).await.unwrap(), "draft");
    let wrong = r#"patch wal web -n shop --type=merge -p {"spec":{"stage":"open"}}"#;
    let refused = run(&kubectl, wrong).await.unwrap_err();
    shows(
        &refused,
        &["spec.stage", "\"draft\", \"monitor\", \"protect\""],
    );
    run(
        &kubectl,
        "annotate wal web -n shop weir.dev/loosen=migration",
    )
    .await
    .unwrap();
    run(&kubectl, "label wal web -n shop team=red --overwrite")
        .await
        .unwrap();

    // Who waits is told when the status says it, by whoever writes it.
    let status = r#"patch wal web -n shop --subresource=status --type=merge -p {"status":{"conditions":[{"type":"Programmed","status":"True","reason":"Programmed","message":"","lastTransitionTime":"2026-01-01T00:00:00Z"}]}}"#;
    let waits = run(
        &kubectl,
        "wait wal/web -n shop --for=condition=Programmed --timeout=30s",
    );
    let (waited, written) = tokio::join!(waits, run(&kubectl, status));
    written.unwrap();
    shows(&waited.unwrap(), &["condition met"]);
    let late = run(
        &kubectl,
        "wait wal/web -n shop --for=condition=Degraded --timeout=1s",
    )
    .await;
    shows(&late.unwrap_err(), &["timed out"]);

    run(&kubectl, "delete wal --all -n shop --timeout=20s")
        .await
        .unwrap();
    run(&kubectl, "wait wal/web -n shop --for=delete --timeout=20s")
        .await
        .unwrap();
}

/// As deploy/baremetal/KUBERNETES.md and the messages about missing rights say it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_controllers_account_gets_a_token_and_has_the_rights_that_are_shipped() {
    let cluster = Cluster::start().await;
    let test = "the_controllers_account_gets_a_token_and_has_the_rights_that_are_shipped";
    let Some(kubectl) = cluster.kubectl(test) else {
        return;
    };
    cluster.namespace("weir-system", &[]).await;
    kubectl.run_with(&["apply", "-f", "-"], RBAC).await.unwrap();
    let create = "create token weir-controller -n weir-system --duration=1h";
    let token = run(&kubectl, create).await.unwrap();
    let token = token.trim();
    assert_eq!(token.split('.').count(), 3, "{token}");
    let account = "system:serviceaccount:weir-system:weir-controller";
    let may_as = async |account: &str, question: &str| {
        let line = format!("auth can-i {question} --as {account}");
        let said = run(&kubectl, &line).await;
        let answer = said.out.trim().to_owned();
        assert!(
            ["yes", "no"].contains(&answer.as_str()),
            "{question}: {said:?}"
        );
        answer == "yes"
    };
    let may = async |question: &str| may_as(account, question).await;
    assert!(may("list services --all-namespaces").await);
    assert!(may("patch allowlists.weir.dev --subresource=status --all-namespaces").await);
    assert!(may("update leases.coordination.k8s.io -n weir-system").await);
    // No specification, and nobody's secrets but its own.
    assert!(!may("patch allowlists.weir.dev --all-namespaces").await);
    assert!(!may("list secrets -n weir-system").await);
    assert!(!may("create pods -n shop").await);
    // The token is the account's.
    let path = cluster.folder().join("account.yaml");
    let config = run(&kubectl, "config view --raw --minify -o json")
        .await
        .unwrap();
    let mut config: serde_json::Value = serde_json::from_str(&config).unwrap();
    config["users"][0]["user"] = serde_json::json!({"token": token});
    std::fs::write(&path, config.to_string()).unwrap();
    let line = format!("--kubeconfig {} auth whoami", path.display());
    shows(&run(&kubectl, &line).await.unwrap(), &[account]);
    let line = format!("--kubeconfig {} get allowlists -A", path.display());
    run(&kubectl, &line).await.unwrap();
    let line = format!("--kubeconfig {} get secrets -A", path.display());
    shows(
        &run(&kubectl, &line).await.unwrap_err(),
        &["cannot list resource \"secrets\""],
    );

    // Who answers for the whole cluster is bound to the role that is shipped for it.
    for line in [
        "create namespace ops",
        "create serviceaccount reader -n ops",
        "create configmap notes -n ops --from-literal=a=b",
        "create clusterrolebinding reader --clusterrole=weir-cluster-view --serviceaccount=ops:reader",
    ] {
        run(&kubectl, line).await.unwrap();
    }
    let data = "get configmap notes -n ops -o jsonpath={.data.a}";
    assert_eq!(run(&kubectl, data).await.unwrap(), "b");
    let reader = "system:serviceaccount:ops:reader";
    let reads = "list guardrails.weir.dev --all-namespaces";
    assert!(may_as(reader, reads).await);
    assert!(!may_as(reader, "delete guardrails.weir.dev --all-namespaces").await);
    run(&kubectl, "delete clusterrolebinding reader")
        .await
        .unwrap();
    assert!(!may_as(reader, reads).await);
}
