//! kube's own client against the server, unmodified: watcher, reflector, server-side apply, Lease.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::{WatchStreamExt, reflector, watcher};
use kube::{Client, Config};
use serde_json::{Value, json};
use weir_apiserver::{ApiServer, Fault, Options, Which};

async fn client(server: &ApiServer, user: &str) -> Client {
    let kubeconfig = Kubeconfig::from_yaml(&server.kubeconfig(user)).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .unwrap();
    Client::try_from(config).unwrap()
}

fn object<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn pod(name: &str) -> Pod {
    object(json!({"metadata": {"name": name, "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c", "image": "example.invalid/web:1"}]}}))
}

/// Waits for a condition for at most ten seconds.
async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let patience = tokio::time::Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(
            tokio::time::Instant::now() < patience,
            "not within ten seconds: {what}"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reflector_follows_pods_through_changes_410_and_lost_connections() {
    let server = ApiServer::start(Options::default()).await.unwrap();
    let pods: Api<Pod> = Api::namespaced(client(&server, "admin").await, "default");
    pods.create(&PostParams::default(), &pod("first"))
        .await
        .unwrap();
    let (reader, writer) = reflector::store();
    let stream =
        reflector(writer, watcher(pods.clone(), watcher::Config::default())).default_backoff();
    let task = tokio::spawn(stream.for_each(|_| async {}));
    eventually("the first pod is known", || reader.state().len() == 1).await;
    pods.create(&PostParams::default(), &pod("second"))
        .await
        .unwrap();
    eventually("the second pod is known", || reader.state().len() == 2).await;
    server.faults().drop_connections();
    // The client may still hold a connection that is gone, or not have heard that the pod was made.
    while !matches!(pods.get_opt("third").await, Ok(Some(_))) {
        let _ = pods.create(&PostParams::default(), &pod("third")).await;
    }
    eventually("the third pod is known after a lost connection", || {
        reader.state().len() == 3
    })
    .await;
    server
        .faults()
        .next(1, Which::path("/pods").only_watches(), Fault::Gone);
    server.compact();
    server.faults().end_watches();
    pods.delete("first", &DeleteParams::default())
        .await
        .unwrap();
    eventually("the first pod is gone after 410", || {
        reader.state().len() == 2
    })
    .await;
    task.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_server_comes_back_with_everything_that_it_kept() {
    let server = ApiServer::start(Options::default()).await.unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(client(&server, "admin").await, "default");
    let map = object(json!({"metadata": {"name": "kept"}, "data": {"a": "1"}}));
    let made: ConfigMap = maps.create(&PostParams::default(), &map).await.unwrap();
    server.stop().await;
    assert!(
        maps.get("kept").await.is_err(),
        "nothing answers while it is stopped"
    );
    server.restart().await.unwrap();
    assert_eq!(maps.get("kept").await.unwrap(), made);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_that_take_a_lease_one_learns_that_it_was_late() {
    let server = ApiServer::start(Options::default()).await.unwrap();
    let leases: Api<Lease> = Api::namespaced(client(&server, "admin").await, "default");
    let lease: Lease = object(json!({"metadata": {"name": "lead"}, "spec": {
        "holderIdentity": "a", "leaseDurationSeconds": 15, "renewTime": "2026-11-01T00:00:00.000000Z"}}));
    let made = leases.create(&PostParams::default(), &lease).await.unwrap();
    let mut renewed = made.clone();
    renewed.spec.as_mut().unwrap().holder_identity = Some("b".to_owned());
    leases
        .replace("lead", &PostParams::default(), &renewed)
        .await
        .unwrap();
    let late = leases
        .replace("lead", &PostParams::default(), &made)
        .await
        .unwrap_err();
    assert!(
        matches!(&late, kube::Error::Api(status) if status.code == 409 && status.reason == "Conflict"),
        "{late}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_applies_owns_and_who_differs_is_told_of_the_conflict() {
    let server = ApiServer::start(Options::default()).await.unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(client(&server, "admin").await, "default");
    let map = |data: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "owned"}, "data": data});
    let apply = |manager: &str| PatchParams::apply(manager);
    maps.patch(
        "owned",
        &apply("one"),
        &Patch::Apply(map(json!({"a": "1", "b": "1"}))),
    )
    .await
    .unwrap();
    let refused = maps
        .patch(
            "owned",
            &apply("two"),
            &Patch::Apply(map(json!({"a": "2"}))),
        )
        .await
        .unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("conflict with \"one\": .data.a"),
        "{refused}"
    );
    maps.patch(
        "owned",
        &apply("two").force(),
        &Patch::Apply(map(json!({"a": "2"}))),
    )
    .await
    .unwrap();
    // What the first does not apply any more goes, unless another owns it.
    let last = maps
        .patch(
            "owned",
            &apply("one"),
            &Patch::Apply(map(json!({"c": "3"}))),
        )
        .await
        .unwrap();
    assert_eq!(
        serde_json::to_value(last.data).unwrap(),
        json!({"a": "2", "c": "3"})
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_a_list_are_of_one_moment() {
    let server = ApiServer::start(Options::default()).await.unwrap();
    let pods: Api<Pod> = Api::namespaced(client(&server, "admin").await, "default");
    for name in ["a", "b", "c"] {
        pods.create(&PostParams::default(), &pod(name))
            .await
            .unwrap();
    }
    let first = pods.list(&ListParams::default().limit(2)).await.unwrap();
    pods.delete("c", &DeleteParams::default()).await.unwrap();
    let token = first.metadata.continue_.clone().unwrap();
    let second = pods
        .list(&ListParams::default().limit(2).continue_token(&token))
        .await
        .unwrap();
    let names = |list: &kube::core::ObjectList<Pod>| -> Vec<String> {
        list.items
            .iter()
            .map(|pod| pod.metadata.name.clone().unwrap())
            .collect()
    };
    assert_eq!(
        (names(&first), names(&second)),
        (vec!["a".to_owned(), "b".to_owned()], vec!["c".to_owned()])
    );
    server.compact();
    let gone = pods
        .list(&ListParams::default().limit(2).continue_token(&token))
        .await
        .unwrap_err();
    assert!(
        matches!(&gone, kube::Error::Api(status) if status.code == 410),
        "{gone}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_no_rights_is_told_which_one_is_missing() {
    let server = ApiServer::start(Options::default()).await.unwrap();
    let pods: Api<Pod> = Api::all(client(&server, "nobody-user").await);
    let refused = pods.list(&ListParams::default()).await.unwrap_err();
    let words = "pods is forbidden: User \"nobody-user\" cannot list resource \"pods\" in API group \"\" at the cluster scope";
    assert!(refused.to_string().contains(words), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_that_begins_with_everything_says_when_everything_was_told() {
    let server = ApiServer::start(Options::default()).await.unwrap();
    let pods: Api<Pod> = Api::namespaced(client(&server, "admin").await, "default");
    pods.create(&PostParams::default(), &pod("only"))
        .await
        .unwrap();
    let stream = watcher(pods, watcher::Config::default().streaming_lists());
    let events: Vec<_> = stream.take(3).try_collect().await.unwrap();
    assert!(matches!(events[0], watcher::Event::Init));
    assert!(
        matches!(&events[1], watcher::Event::InitApply(pod) if pod.metadata.name.as_deref() == Some("only"))
    );
    assert!(matches!(events[2], watcher::Event::InitDone));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_is_what_a_client_sees_and_ends_when_it_is_used_up() {
    let server = ApiServer::start(Options::default()).await.unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(client(&server, "admin").await, "default");
    let code = |result: kube::Result<kube::core::ObjectList<ConfigMap>>| match result {
        Ok(_) => 200,
        Err(kube::Error::Api(status)) => status.code,
        Err(_) => 0,
    };
    let faults = [
        // kube's client asks again by itself.
        (Fault::TooManyRequests { retry_after_s: 1 }, 200),
        (Fault::Error(500), 500),
        (Fault::Error(403), 403),
        (Fault::Gone, 410),
        (Fault::Drop, 0),
        (Fault::Cut, 0),
        (Fault::Garbage("<html>".to_owned()), 0),
        (
            Fault::Answer(
                json!({"kind": "ConfigMapList", "apiVersion": "v1", "metadata": {}, "items": []}),
            ),
            200,
        ),
    ];
    for (fault, expected) in faults {
        let named = format!("{fault:?}");
        server.faults().next(
            1,
            Which::path("/configmaps").method("GET").no_watches(),
            fault,
        );
        assert_eq!(
            code(maps.list(&ListParams::default()).await),
            expected,
            "{named}"
        );
        assert_eq!(
            code(maps.list(&ListParams::default()).await),
            200,
            "after {named}"
        );
    }
    server.faults().always(
        Which::all().user("admin"),
        Fault::Slow(Duration::from_millis(200)),
    );
    let begun = std::time::Instant::now();
    maps.list(&ListParams::default()).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(200));
    server.faults().clear();
    server.remove_user("admin");
    assert_eq!(
        code(maps.list(&ListParams::default()).await),
        401,
        "a token that is not known any more"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_finalizer_keeps_an_object_until_it_is_taken_away() {
    let server = ApiServer::start(Options::default()).await.unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(client(&server, "admin").await, "default");
    let map = object(json!({"metadata": {"name": "kept", "finalizers": ["weir.dev/cleanup"]}}));
    maps.create(&PostParams::default(), &map).await.unwrap();
    maps.delete("kept", &DeleteParams::default()).await.unwrap();
    assert!(
        maps.get("kept")
            .await
            .unwrap()
            .metadata
            .deletion_timestamp
            .is_some()
    );
    let release = json!([{"op": "remove", "path": "/metadata/finalizers"}]);
    let release: json_patch::Patch = serde_json::from_value(release).unwrap();
    maps.patch(
        "kept",
        &PatchParams::default(),
        &Patch::Json::<ConfigMap>(release),
    )
    .await
    .unwrap();
    assert!(maps.get_opt("kept").await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_writers_none_overwrites_another() {
    let server = ApiServer::start(Options::default()).await.unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(client(&server, "admin").await, "default");
    maps.create(
        &PostParams::default(),
        &object(json!({"metadata": {"name": "shared"}})),
    )
    .await
    .unwrap();
    let writers = (0..16).map(|number| {
        let maps = maps.clone();
        tokio::spawn(async move {
            let patch = json!({"data": {format!("writer-{number}"): "here"}});
            maps.patch("shared", &PatchParams::default(), &Patch::Merge(patch))
                .await
                .unwrap();
        })
    });
    futures::future::join_all(writers)
        .await
        .into_iter()
        .for_each(|done| done.unwrap());
    assert_eq!(maps.get("shared").await.unwrap().data.unwrap().len(), 16);
}
