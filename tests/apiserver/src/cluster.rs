//! What is in a cluster before anybody writes: its namespaces and the API server's own service.

use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::clock;
use crate::fields::Set;
use crate::fields::manage::{Manager, note_update};
use crate::state::State;
use crate::store::Key;

/// Puts there what the real server puts there when it starts.
pub(crate) fn fill(state: &Arc<State>, address: SocketAddr) {
    for namespace in ["default", "kube-node-lease", "kube-public", "kube-system"] {
        let object = json!({"metadata": {"name": namespace, "labels": {"kubernetes.io/metadata.name": namespace}}});
        let unowned =
            json!({"spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}});
        put(state, "namespaces", object, unowned);
    }
    let service = json!({
        "metadata": {
            "name": "kubernetes", "namespace": "default",
            "labels": {"component": "apiserver", "provider": "kubernetes"},
        },
        "spec": {
            "clusterIP": "10.96.0.1", "internalTrafficPolicy": "Cluster", "ipFamilyPolicy": "SingleStack",
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": address.port()}],
            "sessionAffinity": "None", "type": "ClusterIP",
        },
    });
    let unowned = json!({
        "spec": {"clusterIPs": ["10.96.0.1"], "ipFamilies": ["IPv4"]}, "status": {"loadBalancer": {}},
    });
    put(state, "services", service, unowned);
}

/// Puts an object there as the server's own. Nobody owns what `unowned` adds to it.
fn put(state: &Arc<State>, plural: &str, mut object: Value, unowned: Value) {
    let kind = state
        .kind("", "v1", plural)
        .expect("a kind of every cluster");
    let manager = Manager {
        apply: false,
        name: "kube-apiserver".to_owned(),
        api_version: kind.api_version(),
        subresource: String::new(),
    };
    object["apiVersion"] = json!("v1");
    object["kind"] = json!(kind.kind);
    note_update(
        &kind,
        &kind.shape.zero(),
        &mut object,
        &manager,
        &Set::default(),
    );
    json_patch::merge(&mut object, &unowned);
    object["metadata"]["uid"] = Value::from(clock::uid());
    object["metadata"]["creationTimestamp"] = Value::from(clock::now());
    let text = |name: &str| {
        object["metadata"][name]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let key = Key {
        resource: kind.resource(),
        namespace: text("namespace"),
        name: text("name"),
    };
    state.store().put(key, object);
}
