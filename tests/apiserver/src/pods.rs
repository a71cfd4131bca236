//! What a scheduler does to a pod.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::clock;
use crate::failure::Failure;
use crate::request::{Reply, Request, Target};
use crate::state::State;
use crate::write::Write;

/// `POST pods/NAME/binding`: puts a pod on a node.
pub(crate) async fn bind(
    state: &Arc<State>,
    request: &Request,
    target: &Target,
) -> Result<Reply, Failure> {
    let node = request.object()?["target"]["name"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let write = Write::new(state, request, target)?;
    write
        .change(|current| {
            if current["spec"]["nodeName"]
                .as_str()
                .is_some_and(|node| !node.is_empty())
            {
                let assigned = current["spec"]["nodeName"].as_str().unwrap_or_default();
                let why = format!(
                    "pod {} is already assigned to node {assigned:?}",
                    target.name()
                );
                return Err(Failure::conflict(&target.kind, target.name(), &why));
            }
            let mut new = current.clone();
            new["spec"]["nodeName"] = Value::from(node.as_str());
            if !new["status"]["conditions"].is_array() {
                new["status"]["conditions"] = json!([]);
            }
            if let Some(conditions) = new["status"]["conditions"].as_array_mut() {
                conditions.retain(|condition| condition["type"] != "PodScheduled");
                conditions.push(json!({
                    "type": "PodScheduled", "status": "True", "lastProbeTime": null,
                    "lastTransitionTime": clock::now(),
                }));
            }
            Ok((new, Vec::new()))
        })
        .await?;
    Ok(Reply::json(
        201,
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}),
    ))
}
