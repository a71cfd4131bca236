//! Guardrails hold at the API server, with the webhook and without it, and whatever was changed while no
//! controller ran.

mod site;

use std::net::{SocketAddr, TcpListener};

use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use weir_api::v1;
use weir_cluster::{Cluster, PATIENCE, TestPod};
use weir_controller::Config;
use weir_controller::admission::AdmissionConfig;

use crate::site::{Site, apply, condition, custom, workload};

const PROTECT_STAYS: &str = include_str!("../../../control/guardrail/library/protect_stays.rego");
const WEBHOOKS: &str = include_str!("../../../deploy/baremetal/kustomize/webhook.yaml");
const NO_ANY: &str = r#"
package weir.guardrail
deny contains {"msg": "any is too wide", "field": peer.field, "next": "name the peers"} if {
    some rule in input.facts.rules
    some peer in rule.peers
    peer.kind == "any"
}
"#;

fn guardrail(name: &str, rego: &str) -> Value {
    json!({
        "apiVersion": "weir.dev/v1alpha1", "kind": "Guardrail",
        "metadata": {"name": name}, "spec": {"rego": rego},
    })
}

fn mode(mode: &str) -> Value {
    json!({
        "apiVersion": "weir.dev/v1alpha1", "kind": "Mode",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"target": {"workload": "web"}, "mode": mode},
    })
}

fn allowlist(name: &str, peer: Value, port: u16) -> Value {
    json!({
        "apiVersion": "weir.dev/v1alpha1", "kind": "Allowlist",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"target": {"workload": "web"}, "ingress": [{"from": [peer], "ports": [port]}]},
    })
}

/// A cluster with two guardrails, and web, which db may reach.
async fn shop() -> Cluster {
    let cluster = Cluster::start().await;
    cluster.namespace("shop", &[]).await;
    for (name, address) in [("web", "10.1.0.7"), ("db", "10.1.0.8")] {
        let pod = TestPod::new("shop", name);
        cluster.pod(pod.addresses(&[address])).await;
    }
    apply(&cluster, &guardrail("protect-stays", PROTECT_STAYS)).await;
    apply(&cluster, &guardrail("no-any", NO_ANY)).await;
    apply(&cluster, &mode("protect")).await;
    let db = allowlist("web", json!({"workload": "db"}), 80);
    apply(&cluster, &db).await;
    cluster
}

/// In protect, with its one rule.
fn is_protected(status: &v1::StatusReply) -> bool {
    let protect = i32::from(v1::Mode::Protect);
    workload(status, "shop/web").is_some_and(|it| it.mode == protect && it.rules == 1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_changed_while_no_controller_ran_is_judged_against_what_was_accepted() {
    let cluster = shop().await;
    let kubeconfig = cluster.kubeconfig_path();
    let mut site = Site::start(&cluster, &kubeconfig).await;
    site.status_when("the policy", is_protected).await;
    let (modes, allowlists) = (
        custom(&cluster, "Mode", "modes"),
        custom(&cluster, "Allowlist", "allowlists"),
    );
    condition(&modes, "web", "Accepted", "True").await;
    site.controller.stop().await;

    apply(&cluster, &mode("discover")).await;
    // New, and an old one made wider.
    apply(&cluster, &allowlist("late", json!({"any": true}), 81)).await;
    apply(&cluster, &allowlist("web", json!({"any": true}), 80)).await;
    // The second time it is still that state which holds, not the one that was refused.
    for _ in 0..2 {
        let mut site = Site::start(&cluster, &kubeconfig).await;
        let (why, status) = condition(&modes, "web", "Accepted", "False").await;
        assert!(
            why.contains("guardrail protect-stays: Mode shop/web goes from protect to discover")
                && why.contains("annotation weir.dev/loosen"),
            "{why}"
        );
        assert_eq!(status["conditions"][0]["reason"], "Invalid", "{status:#}");
        for name in ["late", "web"] {
            let (why, _) = condition(&allowlists, name, "Accepted", "False").await;
            assert!(why.contains("guardrail no-any: any is too wide"), "{why}");
        }
        let told = |status: &v1::StatusReply| {
            let words = "goes from protect to discover";
            status.problems.iter().any(|it| it.message.contains(words))
        };
        let status = site.status_when("what is refused", told).await;
        assert!(is_protected(&status), "{status:#?}");
        site.controller.stop().await;
    }

    // With a reason, and without the wide peer, all of it is taken at the next start.
    let mut excused = mode("discover");
    excused["metadata"]["annotations"] = json!({"weir.dev/loosen": "a migration"});
    apply(&cluster, &excused).await;
    for (name, port) in [("late", 81), ("web", 80)] {
        apply(&cluster, &allowlist(name, json!({"workload": "db"}), port)).await;
    }
    let mut site = Site::start(&cluster, &kubeconfig).await;
    let discover = i32::from(v1::Mode::Discover);
    let taken = |status: &v1::StatusReply| {
        workload(status, "shop/web").is_some_and(|it| it.mode == discover && it.rules == 2)
    };
    site.status_when("what is excused", taken).await;
    condition(&modes, "web", "Accepted", "True").await;
    site.controller.stop().await;
}

/// What was refused is judged again when guardrails change, without anybody touching it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_guardrail_refused_is_taken_when_it_only_warns() {
    let cluster = shop().await;
    let mut site = Site::start(&cluster, &cluster.kubeconfig_path()).await;
    site.status_when("the policy", is_protected).await;
    apply(&cluster, &allowlist("web", json!({"any": true}), 80)).await;
    let allowlists = custom(&cluster, "Allowlist", "allowlists");
    condition(&allowlists, "web", "Accepted", "False").await;
    let mut warns = guardrail("no-any", NO_ANY);
    warns["spec"]["enforcement"] = json!("warn");
    apply(&cluster, &warns).await;
    condition(&allowlists, "web", "Accepted", "True").await;
    let told = |status: &v1::StatusReply| {
        let mut problems = status.problems.iter();
        problems.any(|it| it.warning && it.message.contains("any is too wide"))
    };
    site.status_when("the warning", told).await;
    site.controller.stop().await;
}

/// The configuration that is shipped, with an address where the webhook answers in this test.
fn webhooks(address: SocketAddr) -> ValidatingWebhookConfiguration {
    let mut configuration: Value = serde_yaml_ng::from_str(WEBHOOKS).unwrap();
    for webhook in configuration["webhooks"].as_array_mut().unwrap() {
        let path = webhook["clientConfig"]["service"]["path"].clone();
        let path = path.as_str().unwrap();
        webhook["clientConfig"] = json!({"url": format!("https://{address}{path}")});
    }
    serde_json::from_value(configuration).unwrap()
}

/// A port of this machine that nobody listens at.
fn free() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// With the webhook at this address.
fn listening(address: SocketAddr) -> impl FnOnce(Config) -> Config {
    move |config| Config {
        admission: Some(AdmissionConfig {
            listen: address,
            names: vec!["127.0.0.1".to_owned()],
            configuration: "weir".to_owned(),
        }),
        ..config
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_cannot_be_kept_is_told_with_what_to_do_and_policy_goes_on() {
    let cluster = shop().await;
    let groups = ["", "apps", "batch", "discovery.k8s.io", "weir.dev"];
    let verbs = ["list", "watch"];
    let all = [
        "pods",
        "namespaces",
        "nodes",
        "services",
        "endpointslices",
        "replicasets",
        "deployments",
        "statefulsets",
        "daemonsets",
        "jobs",
        "cronjobs",
    ];
    let rules = groups.iter().map(|group| match *group {
        "weir.dev" => Cluster::rule(group, &["*"], &verbs),
        group => Cluster::rule(group, &all, &verbs),
    });
    cluster.namespace("weir-system", &[]).await;
    let account = cluster.service_account("weir-system", "weir", rules.collect());
    let path = cluster.folder().join("weir.yaml");
    std::fs::write(&path, &account.await.kubeconfig).unwrap();
    let mut site = Site::start_with(&cluster, &path, listening(free())).await;
    let told = |status: &v1::StatusReply| {
        let mut problems = status.problems.iter();
        problems.any(|it| {
            it.message.contains("Secret weir-webhook cannot be read")
                && it.message.contains("it has no certificate")
                && it.message.contains("secrets in its namespace")
                && it.next_step.contains("failurePolicy")
        })
    };
    let both = |status: &v1::StatusReply| told(status) && is_protected(status);
    site.status_when("the problem and the policy", both).await;
    site.controller.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_webhook_the_controller_refuses_the_same_and_kubectl_shows_it() {
    let cluster = shop().await;
    let Some(kubectl) = cluster.kubectl("without_its_webhook_the_controller_refuses_the_same")
    else {
        return;
    };
    let address = free();
    let api: Api<ValidatingWebhookConfiguration> = Api::all(cluster.client());
    let shipped = webhooks(address);
    let created = api.create(&PostParams::default(), &shipped).await;
    created.unwrap();
    let kubeconfig = cluster.kubeconfig_path();
    let mut site = Site::start_with(&cluster, &kubeconfig, listening(address)).await;
    site.status_when("the policy", is_protected).await;
    let deadline = Instant::now() + PATIENCE;
    while api.get("weir").await.unwrap().webhooks.unwrap()[0]
        .client_config
        .ca_bundle
        .is_none()
    {
        assert!(Instant::now() < deadline, "the authority is never written");
        sleep(std::time::Duration::from_millis(50)).await;
    }
    let wide = allowlist("web", json!({"any": true}), 80).to_string();
    let yaml = wide.as_str();
    let apply = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
    let refused = kubectl.run_with(&apply, yaml).await.unwrap_err();
    println!("{refused}");
    assert!(
        refused.contains(
            "admission webhook \"policy.weir.dev\" denied the request: allowlist shop/web"
        ) && refused
            .contains("spec.ingress[0].from[0]: guardrail no-any: any is too wide; name the peers"),
        "{refused}"
    );

    // Nobody answers: as shipped the API server takes it, and the controller does not.
    let point = async |at: SocketAddr, policy: &str| {
        let mut configuration = api.get("weir").await.unwrap();
        for webhook in configuration.webhooks.iter_mut().flatten() {
            let url = webhook.client_config.url.as_mut().unwrap();
            *url = url.replace(&address.to_string(), &at.to_string());
            webhook.failure_policy = Some(policy.to_owned());
        }
        let configuration = serde_json::to_value(configuration).unwrap();
        let patch = Patch::Merge(json!({"webhooks": configuration["webhooks"]}));
        let parameters = PatchParams::default();
        api.patch("weir", &parameters, &patch).await.unwrap();
    };
    point(free(), "Ignore").await;
    let taken = |said: &weir_cluster::Said| said.success;
    let deadline = Instant::now() + PATIENCE;
    // A real server learns of a changed configuration a moment later.
    while !taken(&kubectl.run_with(&apply, yaml).await) {
        assert!(Instant::now() < deadline, "it is never taken");
    }
    let allowlists = custom(&cluster, "Allowlist", "allowlists");
    let (why, _) = condition(&allowlists, "web", "Accepted", "False").await;
    assert!(why.contains("guardrail no-any: any is too wide"), "{why}");
    let status = site.status_when("the last good", is_protected).await;
    assert!(!status.problems.is_empty());
    let table = ["get", "allowlists", "-n", "shop"];
    let table = kubectl.run(&table).await.unwrap();
    println!("{table}");
    let row = table.lines().nth(1).unwrap_or_default();
    assert!(
        table.contains("ACCEPTED") && row.contains("False"),
        "{table}"
    );

    // With Fail nobody may write policy meanwhile, and kubectl says what does not answer.
    point(free(), "Fail").await;
    let other = allowlist("other", json!({"workload": "db"}), 81).to_string();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let said = kubectl.run_with(&apply, &other).await;
        if !said.success {
            println!("{}", said.err);
            let words = "failed calling webhook \"policy.weir.dev\"";
            assert!(said.err.contains(words), "{}", said.err);
            break;
        }
        assert!(Instant::now() < deadline, "it is never refused");
    }
    site.status_when("the last good", |status| {
        workload(status, "shop/web").is_some_and(|it| it.rules >= 1)
    })
    .await;
    site.controller.stop().await;
}
