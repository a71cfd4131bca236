//! Questions to the API server about tokens and rights: TokenReview, SubjectAccessReview and their kin,
//! and tokens for service accounts.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use crate::ISSUER;
use crate::clock;
use crate::failure::{Cause, Failure};
use crate::fields::Set;
use crate::identity::{self, IssuedToken, User, Wish, allowed, bindings_of};
use crate::kind::{AUTHENTICATION, AUTHORIZATION, Kind};
use crate::request::{Reply, Request, Target};
use crate::state::State;

/// The question that is asked at a path, if it is one.
pub(crate) fn question(
    state: &State,
    group: &str,
    version: &str,
    rest: &[&str],
) -> Option<(Arc<Kind>, String)> {
    let (namespace, plural) = match rest {
        [plural] => (String::new(), *plural),
        ["namespaces", namespace, plural] => ((*namespace).to_owned(), *plural),
        _ => return None,
    };
    let kind = state
        .kind(group, version, plural)
        .filter(|kind| kind.is_question)?;
    Some((kind, namespace))
}

/// Answers a question.
pub(crate) fn answer(
    state: &Arc<State>,
    request: &Request,
    kind: &Kind,
    namespace: &str,
) -> Result<Reply, Failure> {
    let mut review = request.object()?;
    let (kind, group) = (kind.kind.as_str(), kind.group.as_str());
    review["apiVersion"] = Value::from(format!("{group}/v1"));
    review["kind"] = Value::from(kind);
    let mut metadata = review["metadata"].as_object().cloned().unwrap_or_default();
    let rules = kind == "SelfSubjectRulesReview";
    if let Some(spec) = review.get("spec").filter(|spec| !rules && spec.is_object()) {
        let owned = claimed(spec);
        metadata.insert(
            "managedFields".to_owned(),
            owners(request, &format!("{group}/v1"), &owned, ""),
        );
    }
    if kind == "SelfSubjectReview" {
        metadata.insert("creationTimestamp".to_owned(), Value::from(clock::now()));
    }
    review["metadata"] = Value::Object(metadata);
    review["status"] = match kind {
        "TokenReview" => token_status(state, &review["spec"])?,
        "SelfSubjectReview" => json!({"userInfo": request.user.described()}),
        "SelfSubjectRulesReview" => {
            let status = rules_status(
                state,
                &request.user,
                review["spec"]["namespace"].as_str().unwrap_or_default(),
            );
            review["spec"] = json!({});
            status
        }
        "SelfSubjectAccessReview" => {
            access_status(state, &request.user, &review["spec"], namespace)
        }
        _ => {
            check_subject(&review["spec"])?;
            let spec = &review["spec"];
            let groups: Vec<&str> = spec["groups"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            let user = User::new(spec["user"].as_str().unwrap_or_default(), "").in_groups(&groups);
            access_status(state, &user, spec, namespace)
        }
    };
    Ok(Reply::json(201, review))
}

/// Who asked this owns every field of it.
fn claimed(spec: &Value) -> Value {
    let mut fields = Map::new();
    for (name, value) in spec.as_object().into_iter().flatten() {
        let mut inner = Map::new();
        let always = name == "boundObjectRef";
        for (name, _) in value.as_object().into_iter().flatten() {
            if !always {
                inner.insert(".".to_owned(), json!({}));
            }
            inner.insert(format!("f:{name}"), json!({}));
        }
        fields.insert(format!("f:{name}"), Value::Object(inner));
    }
    json!({"f:spec": fields})
}

fn owners(request: &Request, version: &str, fields: &Value, subresource: &str) -> Value {
    let mut entry = json!({
        "manager": request.field_manager(), "operation": "Update", "apiVersion": version, "time": clock::now(),
        "fieldsType": "FieldsV1", "fieldsV1": Set::read(fields).write(),
    });
    if !subresource.is_empty() {
        entry["subresource"] = Value::from(subresource);
    }
    json!([entry])
}

fn check_subject(spec: &Value) -> Result<(), Failure> {
    let mut causes = Vec::new();
    if spec["resourceAttributes"].is_object() == spec["nonResourceAttributes"].is_object() {
        let why = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
        causes.push(Cause::invalid("spec.resourceAttributes", &Value::Null, why));
    }
    let nobody = spec["user"].as_str().is_none_or(str::is_empty)
        && spec["groups"].as_array().is_none_or(Vec::is_empty);
    if nobody {
        causes.push(Cause::invalid(
            "spec.user",
            &json!(""),
            "at least one of user or group must be specified",
        ));
    }
    if causes.is_empty() {
        return Ok(());
    }
    Err(Failure::invalid_as(
        ".authorization.k8s.io",
        json!({"group": AUTHORIZATION}),
        "",
        &causes,
    ))
}

fn access_status(state: &State, user: &User, spec: &Value, namespace: &str) -> Value {
    let resource = &spec["resourceAttributes"];
    let text = |value: &Value, name: &str| value[name].as_str().unwrap_or_default().to_owned();
    let wish = if resource.is_object() {
        let named = text(resource, "namespace");
        Wish {
            verb: text(resource, "verb"),
            group: text(resource, "group"),
            resource: text(resource, "resource"),
            subresource: text(resource, "subresource"),
            namespace: if named.is_empty() {
                namespace.to_owned()
            } else {
                named
            },
            name: text(resource, "name"),
            path: String::new(),
        }
    } else {
        let path = &spec["nonResourceAttributes"];
        Wish {
            verb: text(path, "verb"),
            path: text(path, "path"),
            ..Wish::default()
        }
    };
    match allowed(state, user, &wish) {
        Some(reason) if reason.is_empty() => json!({"allowed": true}),
        Some(reason) => json!({"allowed": true, "reason": reason}),
        None => json!({"allowed": false}),
    }
}

fn rules_status(state: &State, user: &User, namespace: &str) -> Value {
    let rules: Vec<Value> = bindings_of(state, user, namespace)
        .into_iter()
        .flat_map(|(_, rules)| rules)
        .collect();
    let (paths, mut resources): (Vec<Value>, Vec<Value>) = rules.into_iter().partition(|rule| {
        rule["nonResourceURLs"]
            .as_array()
            .is_some_and(|urls| !urls.is_empty())
    });
    let mut open = paths;
    if user.is_in("system:authenticated") {
        let own = |group: &str, resources: Value| json!({"verbs": ["create"], "apiGroups": [group], "resources": resources});
        resources.push(own(
            AUTHORIZATION,
            json!(["selfsubjectaccessreviews", "selfsubjectrulesreviews"]),
        ));
        resources.push(own(AUTHENTICATION, json!(["selfsubjectreviews"])));
        open.extend(identity::open_rules());
    }
    json!({"resourceRules": resources, "nonResourceRules": open, "incomplete": false})
}

fn token_status(state: &State, spec: &Value) -> Result<Value, Failure> {
    let token = spec["token"].as_str().unwrap_or_default();
    if token.is_empty() {
        return Err(Failure::bad_request(
            "token is required for TokenReview in authentication",
        ));
    }
    let mut audiences: Vec<String> = spec["audiences"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|one| one.as_str().map(str::to_owned))
        .collect();
    if audiences.is_empty() {
        audiences.push(ISSUER.to_owned());
    }
    let refused = |why: String| Ok(json!({"user": {}, "error": why}));
    let Some(issued) = state.issued(token) else {
        return match state.user_of(token) {
            Some(user) => {
                Ok(json!({"authenticated": true, "user": user.described(), "audiences": audiences}))
            }
            None => refused("invalid bearer token".to_owned()),
        };
    };
    if let Err(why) = issued.check(state) {
        return refused(format!("[invalid bearer token, {why}]"));
    }
    let both: Vec<&String> = audiences
        .iter()
        .filter(|audience| issued.audiences.contains(audience))
        .collect();
    if both.is_empty() {
        return refused(format!(
            "[invalid bearer token, token audiences {:?} is invalid for the target audiences {audiences:?}]",
            issued.audiences
        ));
    }
    let user = User::service_account(&issued.namespace, &issued.service_account, token)
        .with_uid(&issued.service_account_uid);
    let mut described = user.described();
    let mut extra =
        json!({"authentication.kubernetes.io/credential-id": [format!("JTI={}", issued.id)]});
    if let Some((name, uid)) = &issued.pod {
        extra["authentication.kubernetes.io/pod-name"] = json!([name]);
        extra["authentication.kubernetes.io/pod-uid"] = json!([uid]);
    }
    described["extra"] = extra;
    Ok(json!({"authenticated": true, "user": described, "audiences": both}))
}

/// `POST serviceaccounts/NAME/token`
pub(crate) fn issue(
    state: &Arc<State>,
    request: &Request,
    target: &Target,
) -> Result<Reply, Failure> {
    let account = state
        .find("serviceaccounts", target.namespace(), target.name())
        .ok_or_else(|| Failure::not_found(&target.kind, target.name()))?;
    let sent = request.object()?;
    let seconds = sent["spec"]["expirationSeconds"].as_i64().unwrap_or(3600);
    if seconds < 600 {
        let cause = Cause::invalid(
            "spec.expirationSeconds",
            &json!(seconds),
            "may not specify a duration less than 10 minutes",
        );
        let details = json!({"group": AUTHENTICATION, "kind": "TokenRequest"});
        return Err(Failure::invalid_as(
            "TokenRequest.authentication.k8s.io",
            details,
            "",
            &[cause],
        ));
    }
    let audiences = sent["spec"]["audiences"]
        .as_array()
        .filter(|list| !list.is_empty())
        .cloned();
    let audiences = audiences.unwrap_or_else(|| vec![json!(ISSUER)]);
    let bound = sent["spec"]
        .get("boundObjectRef")
        .filter(|bound| bound.is_object())
        .cloned();
    let pod = match &bound {
        Some(bound) => Some(bound_pod(state, target, bound)?),
        None => None,
    };
    let id = clock::uid();
    let expires = clock::unix_seconds() + seconds;
    let token = signed(&id, &audiences, expires, target);
    state.issue(IssuedToken {
        token: token.clone(),
        namespace: target.namespace().to_owned(),
        service_account: target.name().to_owned(),
        service_account_uid: account["metadata"]["uid"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
        audiences: audiences
            .iter()
            .filter_map(|one| one.as_str().map(str::to_owned))
            .collect(),
        expires,
        pod,
        id,
    });
    let version = format!("{AUTHENTICATION}/v1");
    let fields = claimed(&sent["spec"]);
    Ok(Reply::json(
        201,
        json!({
            "kind": "TokenRequest", "apiVersion": version,
            "metadata": {
                "name": target.name(), "namespace": target.namespace(), "uid": account["metadata"]["uid"],
                "creationTimestamp": clock::now(), "managedFields": owners(request, &version, &fields, "token"),
            },
            "spec": {"audiences": audiences, "expirationSeconds": seconds, "boundObjectRef": bound},
            "status": {"token": token, "expirationTimestamp": clock::in_seconds(seconds)},
        }),
    ))
}

fn bound_pod(state: &State, target: &Target, bound: &Value) -> Result<(String, String), Failure> {
    let name = bound["name"].as_str().unwrap_or_default();
    let pod = state
        .find("pods", target.namespace(), name)
        .ok_or_else(|| {
            let mut failure = Failure::new(404, "NotFound", format!("pods {name:?} not found"));
            failure.details = Some(json!({"name": name, "kind": "pods"}));
            failure
        })?;
    Ok((
        name.to_owned(),
        pod["metadata"]["uid"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
    ))
}

/// Looks like a JWT; nobody can check its signature but this server, which remembers it.
fn signed(id: &str, audiences: &[Value], expires: i64, target: &Target) -> String {
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let subject = format!(
        "system:serviceaccount:{}:{}",
        target.namespace(),
        target.name()
    );
    format!(
        "{}.{}.{}",
        part(json!({"alg": "none", "typ": "JWT"})),
        part(json!({"aud": audiences, "exp": expires, "iss": ISSUER, "jti": id, "sub": subject})),
        URL_SAFE_NO_PAD.encode(clock::uid())
    )
}
