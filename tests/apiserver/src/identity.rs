//! Who asks: bearer tokens, and what RBAC objects allow.

use serde_json::{Value, json};

use crate::clock;
use crate::failure::Failure;
use crate::request::Target;
use crate::state::State;

/// Somebody who asks, as a test made them known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct User {
    /// What `kubectl auth whoami` says.
    pub name: String,
    /// Groups besides `system:authenticated`.
    pub groups: Vec<String>,
    /// What is sent as `Authorization: Bearer …`.
    pub token: String,
    /// What tells two of the same name apart; may be empty.
    pub uid: String,
}

impl User {
    /// Somebody with a name and a token, and no rights but those that RBAC objects give.
    #[must_use]
    pub fn new(name: &str, token: &str) -> User {
        User {
            name: name.to_owned(),
            groups: Vec::new(),
            token: token.to_owned(),
            uid: String::new(),
        }
    }

    /// As new, in these groups too. `system:masters` may do everything.
    #[must_use]
    pub fn in_groups(mut self, groups: &[&str]) -> User {
        self.groups = groups.iter().map(|&group| group.to_owned()).collect();
        self
    }

    /// As new, with a uid.
    #[must_use]
    pub fn with_uid(mut self, uid: &str) -> User {
        self.uid = uid.to_owned();
        self
    }

    /// A service account of a namespace.
    #[must_use]
    pub fn service_account(namespace: &str, name: &str, token: &str) -> User {
        let all = format!("system:serviceaccounts:{namespace}");
        User::new(&format!("system:serviceaccount:{namespace}:{name}"), token)
            .in_groups(&["system:serviceaccounts", &all])
    }

    fn anonymous() -> User {
        User::new("system:anonymous", "").in_groups(&["system:unauthenticated"])
    }

    /// As reviews and admission reviews tell of somebody.
    pub(crate) fn described(&self) -> Value {
        let mut groups = self.groups.clone();
        if self.name != "system:anonymous" {
            groups.push("system:authenticated".to_owned());
        }
        let mut described = json!({"username": self.name, "groups": groups});
        if !self.uid.is_empty() {
            described["uid"] = Value::from(self.uid.as_str());
        }
        described
    }

    pub(crate) fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|one| one == group)
            || group == "system:authenticated" && self.name != "system:anonymous"
    }
}

/// Somebody wants to do something: as RBAC looks at it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wish {
    pub(crate) verb: String,
    pub(crate) group: String,
    pub(crate) resource: String,
    pub(crate) subresource: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// A path that is no resource; the rest is empty then.
    pub(crate) path: String,
}

impl Wish {
    pub(crate) fn on(target: &Target, verb: &str) -> Wish {
        Wish {
            verb: verb.to_owned(),
            group: target.kind.group.clone(),
            resource: target.kind.plural.clone(),
            subresource: target.subresource().to_owned(),
            namespace: target.namespace().to_owned(),
            name: target.name().to_owned(),
            path: String::new(),
        }
    }
}

/// Who sent a request with this `Authorization` header.
pub(crate) fn authenticate(state: &State, authorization: &str) -> Result<User, Failure> {
    if authorization.is_empty() {
        return Ok(User::anonymous());
    }
    let token = authorization
        .strip_prefix("Bearer ")
        .ok_or_else(Failure::unauthorized)?;
    state.user_of(token).ok_or_else(Failure::unauthorized)
}

/// As whom a request is to count: `kubectl --as`. Who asks needs the right to.
pub(crate) fn impersonated(
    state: &State,
    user: User,
    name: Option<&str>,
    groups: &[&str],
) -> Result<User, Failure> {
    let Some(name) = name else { return Ok(user) };
    let account = name.strip_prefix("system:serviceaccount:");
    let account = account.and_then(|it| it.split_once(':'));
    let wish = |resource: &str, namespace: &str, name: &str| Wish {
        verb: "impersonate".to_owned(),
        resource: resource.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        ..Wish::default()
    };
    let (resource, namespace, own) = match account {
        Some((namespace, own)) => ("serviceaccounts", namespace, own),
        None => ("users", "", name),
    };
    authorize(state, &user, &wish(resource, namespace, own))?;
    for group in groups {
        authorize(state, &user, &wish("groups", "", group))?;
    }
    let other = match account {
        Some((namespace, name)) if groups.is_empty() => User::service_account(namespace, name, ""),
        _ => User::new(name, "").in_groups(groups),
    };
    Ok(other)
}

/// Paths that anybody may read.
const OPEN_PATHS: [&str; 4] = ["/healthz", "/livez", "/readyz", "/version"];

/// Paths that everybody with a name may read.
const DISCOVERY_PATHS: [&str; 5] = ["/api", "/apis", "/openapi", "/version", "/.well-known"];

/// Refuses what nothing allows, in the words of the real server.
pub(crate) fn authorize(state: &State, user: &User, wish: &Wish) -> Result<(), Failure> {
    if allowed(state, user, wish).is_some() {
        return Ok(());
    }
    if !wish.path.is_empty() {
        let message = format!(
            "forbidden: User {:?} cannot {} path {:?}",
            user.name, wish.verb, wish.path
        );
        let mut failure = Failure::new(403, "Forbidden", message);
        failure.details = Some(json!({}));
        return Err(failure);
    }
    let resource = if wish.subresource.is_empty() {
        wish.resource.clone()
    } else {
        format!("{}/{}", wish.resource, wish.subresource)
    };
    let scope = if wish.namespace.is_empty() {
        "at the cluster scope".to_owned()
    } else {
        format!("in the namespace {:?}", wish.namespace)
    };
    let qualified = if wish.group.is_empty() {
        wish.resource.clone()
    } else {
        format!("{}.{}", wish.resource, wish.group)
    };
    let named = if wish.name.is_empty() {
        String::new()
    } else {
        format!(" {:?}", wish.name)
    };
    let message = format!(
        "{qualified}{named} is forbidden: User {:?} cannot {} resource {resource:?} in API group {:?} {scope}",
        user.name, wish.verb, wish.group
    );
    let mut failure = Failure::new(403, "Forbidden", message);
    let mut details = json!({"kind": wish.resource});
    if !wish.group.is_empty() {
        details["group"] = Value::from(wish.group.as_str());
    }
    if !wish.name.is_empty() {
        details["name"] = Value::from(wish.name.as_str());
    }
    failure.details = Some(details);
    Err(failure)
}

/// Why something is allowed; nothing when it is not.
pub(crate) fn allowed(state: &State, user: &User, wish: &Wish) -> Option<String> {
    if user.is_in("system:masters") {
        return Some(String::new());
    }
    if !wish.path.is_empty() && wish.verb == "get" && reads_discovery(user, &wish.path) {
        return Some(String::new());
    }
    if wish.verb == "create"
        && wish.group == "authorization.k8s.io"
        && wish.resource.starts_with("selfsubject")
        || wish.verb == "create" && wish.resource == "selfsubjectreviews"
    {
        return user.is_in("system:authenticated").then(String::new);
    }
    for (binding, rules) in bindings_of(state, user, &wish.namespace) {
        if rules.iter().any(|rule| covers(rule, wish)) {
            return Some(binding);
        }
    }
    None
}

/// What everybody with a name may read, as rules.
pub(crate) fn open_rules() -> Vec<Value> {
    [
        json!([
            "/api",
            "/api/*",
            "/apis",
            "/apis/*",
            "/healthz",
            "/livez",
            "/openapi",
            "/openapi/*",
            "/readyz",
            "/version",
            "/version/"
        ]),
        json!(["/.well-known", "/.well-known/*"]),
        json!([
            "/.well-known/openid-configuration",
            "/.well-known/openid-configuration/",
            "/openid/v1/jwks",
            "/openid/v1/jwks/"
        ]),
        json!(["/healthz", "/livez", "/readyz", "/version", "/version/"]),
    ]
    .into_iter()
    .map(|urls| json!({"verbs": ["get"], "nonResourceURLs": urls}))
    .collect()
}

fn reads_discovery(user: &User, path: &str) -> bool {
    let below = |roots: &[&str]| {
        roots.iter().any(|root| {
            path == *root
                || path
                    .strip_prefix(root)
                    .is_some_and(|rest| rest.starts_with('/'))
        })
    };
    below(&OPEN_PATHS) || user.is_in("system:authenticated") && below(&DISCOVERY_PATHS)
}

/// Rules that hold for somebody, with the words in which the real server gives its reason.
pub(crate) fn bindings_of(
    state: &State,
    user: &User,
    namespace: &str,
) -> Vec<(String, Vec<Value>)> {
    let mut found = Vec::new();
    let mut collect = |kind: &str, namespace: Option<&str>| {
        let resource = format!("{}.rbac.authorization.k8s.io", kind.to_lowercase() + "s");
        for (key, binding) in state.list(&resource, namespace) {
            let Some(subject) = subjects(&binding).find(|subject| is_subject(user, subject)) else {
                continue;
            };
            let role = &binding["roleRef"];
            let rules = rules_of(state, role, &key.namespace);
            let place = if namespace.is_some() {
                format!("/{}", key.namespace)
            } else {
                String::new()
            };
            found.push((
                format!(
                    "RBAC: allowed by {kind} \"{}{place}\" of {} {:?} to {}",
                    key.name,
                    role["kind"].as_str().unwrap_or_default(),
                    role["name"].as_str().unwrap_or_default(),
                    described_subject(subject)
                ),
                rules,
            ));
        }
    };
    collect("ClusterRoleBinding", None);
    if !namespace.is_empty() {
        collect("RoleBinding", Some(namespace));
    }
    found
}

fn subjects(binding: &Value) -> impl Iterator<Item = &Value> {
    binding["subjects"].as_array().into_iter().flatten()
}

fn is_subject(user: &User, subject: &Value) -> bool {
    let name = subject["name"].as_str().unwrap_or_default();
    match subject["kind"].as_str() {
        Some("User") => user.name == name,
        Some("Group") => user.is_in(name),
        Some("ServiceAccount") => {
            let namespace = subject["namespace"].as_str().unwrap_or_default();
            user.name == format!("system:serviceaccount:{namespace}:{name}")
        }
        _ => false,
    }
}

fn described_subject(subject: &Value) -> String {
    let name = subject["name"].as_str().unwrap_or_default();
    match (subject["kind"].as_str(), subject["namespace"].as_str()) {
        (Some("ServiceAccount"), Some(namespace)) => {
            format!("ServiceAccount \"{name}/{namespace}\"")
        }
        (kind, _) => format!("{} {name:?}", kind.unwrap_or_default()),
    }
}

fn rules_of(state: &State, role: &Value, namespace: &str) -> Vec<Value> {
    let name = role["name"].as_str().unwrap_or_default();
    let object = match role["kind"].as_str() {
        Some("ClusterRole") => state.find("clusterroles.rbac.authorization.k8s.io", "", name),
        _ => state.find("roles.rbac.authorization.k8s.io", namespace, name),
    };
    object
        .and_then(|object| object["rules"].as_array().cloned())
        .unwrap_or_default()
}

fn covers(rule: &Value, wish: &Wish) -> bool {
    let has = |field: &str, wanted: &str| {
        rule[field]
            .as_array()
            .is_some_and(|list| list.iter().any(|one| one == "*" || one == wanted))
    };
    if !has("verbs", &wish.verb) {
        return false;
    }
    if !wish.path.is_empty() {
        return rule["nonResourceURLs"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .any(|url| {
                url == wish.path
                    || url
                        .strip_suffix('*')
                        .is_some_and(|start| wish.path.starts_with(start))
            });
    }
    let resource = if wish.subresource.is_empty() {
        has("resources", &wish.resource)
    } else {
        has(
            "resources",
            &format!("{}/{}", wish.resource, wish.subresource),
        ) || has("resources", &format!("*/{}", wish.subresource))
    };
    let named = rule["resourceNames"].as_array().is_none_or(|names| {
        names.is_empty()
            || names
                .iter()
                .any(|name| name == wish.name.as_str() && !wish.name.is_empty())
    });
    resource && named && has("apiGroups", &wish.group)
}

/// A token that was asked for with a TokenRequest.
#[derive(Debug, Clone)]
pub(crate) struct IssuedToken {
    pub(crate) token: String,
    pub(crate) namespace: String,
    pub(crate) service_account: String,
    pub(crate) service_account_uid: String,
    pub(crate) audiences: Vec<String>,
    pub(crate) expires: i64,
    /// The pod that it is bound to: name and uid.
    pub(crate) pod: Option<(String, String)>,
    pub(crate) id: String,
}

impl IssuedToken {
    /// Whether what the token is bound to is still there and its time is not over.
    pub(crate) fn check(&self, state: &State) -> Result<(), String> {
        let bound = |resource: &str, name: &str, uid: &str| match state.find(
            resource,
            &self.namespace,
            name,
        ) {
            Some(object) if object["metadata"]["uid"] == uid => Ok(()),
            Some(_) => Err(format!("{resource} {name:?} has another uid")),
            None => Err(format!("{resource} {name:?} not found")),
        };
        bound(
            "serviceaccounts",
            &self.service_account,
            &self.service_account_uid,
        )?;
        if let Some((name, uid)) = &self.pod {
            bound("pods", name, uid)?;
        }
        if self.expires > clock::unix_seconds() {
            Ok(())
        } else {
            Err("service account token has expired".to_owned())
        }
    }
}
