//! `create`, `update` and `patch`.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::admission;
use crate::clock;
use crate::decode::{self, decode};
use crate::establish;
use crate::failure::Failure;
use crate::fields::manage::{self, Manager};
use crate::kind::Kind;
use crate::patch::{self, Patch};
use crate::prepare;
use crate::read::in_version;
use crate::request::{Reply, Request, Target};
use crate::services;
use crate::state::State;
use crate::store::Key;
use crate::validate;
use crate::view::View;

/// How often a change is tried that others keep overtaking.
const ATTEMPTS: usize = 16;

/// A write, and who makes it.
pub(crate) struct Write<'a> {
    pub(crate) state: &'a Arc<State>,
    pub(crate) request: &'a Request,
    pub(crate) target: &'a Target,
    pub(crate) dry_run: bool,
    view: View,
}

impl<'a> Write<'a> {
    pub(crate) fn new(
        state: &'a Arc<State>,
        request: &'a Request,
        target: &'a Target,
    ) -> Result<Write<'a>, Failure> {
        let dry_run = request.dry_run()?;
        let view = View::negotiate(request.header("accept"))?;
        Ok(Write {
            state,
            request,
            target,
            dry_run,
            view,
        })
    }

    fn kind(&self) -> &Arc<Kind> {
        &self.target.kind
    }

    fn key(&self, name: &str) -> Key {
        Key {
            resource: self.kind().resource(),
            namespace: self.target.namespace().to_owned(),
            name: name.to_owned(),
        }
    }

    fn manager(&self, apply: bool) -> Manager {
        Manager {
            apply,
            name: self.request.field_manager(),
            api_version: self.kind().api_version(),
            subresource: self.target.subresource().to_owned(),
        }
    }

    fn reply(&self, code: u16, object: &Value, warnings: Vec<String>) -> Reply {
        let object = in_version(self.kind(), object);
        let object = self.view.object(
            self.kind(),
            &object,
            self.request.query.get("includeObject"),
        );
        Reply::json(code, object).warning(warnings)
    }

    /// `POST` on a collection.
    pub(crate) async fn create(&self) -> Result<Reply, Failure> {
        let kind = self.kind();
        let mut object = decode::body(kind, self.request)?;
        self.check_place(&mut object)?;
        let warnings = decode(kind, &mut object, self.request)?;
        if object["metadata"]["resourceVersion"]
            .as_str()
            .is_some_and(|version| !version.is_empty())
        {
            return Err(Failure::bad_request(
                "resourceVersion should not be set on objects to be created",
            ));
        }
        name_generated(&mut object);
        let empty = empty(kind);
        let reset = prepare::untouchable(kind, "");
        manage::note_update(kind, &empty, &mut object, &self.manager(false), &reset);
        self.insert(object, warnings).await
    }

    /// Where an object is to be kept: nowhere else than where the request goes to.
    fn check_place(&self, object: &mut Value) -> Result<(), Failure> {
        if !object["metadata"].is_object() {
            object["metadata"] = json!({});
        }
        let metadata = &mut object["metadata"];
        let given = metadata["namespace"].as_str().unwrap_or_default();
        if self.kind().namespaced && !given.is_empty() && given != self.target.namespace() {
            return Err(Failure::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
        if let Some(name) = &self.target.name
            && let Some(given) = metadata["name"].as_str().filter(|given| !given.is_empty())
            && given != name
        {
            return Err(Failure::bad_request(format!(
                "the name of the object ({given}) does not match the name on the URL ({name})"
            )));
        }
        if self.kind().namespaced {
            metadata["namespace"] = Value::from(self.target.namespace());
        }
        if let Some(name) = &self.target.name {
            metadata["name"] = Value::from(name.as_str());
        }
        Ok(())
    }

    async fn insert(&self, mut object: Value, mut warnings: Vec<String>) -> Result<Reply, Failure> {
        let kind = self.kind();
        self.check_namespace(&object)?;
        prepare::admitted(kind, &mut object);
        admission::mutate(self, None, &mut object, &mut warnings).await?;
        prepare::created(kind, &mut object, self.target.namespace());
        if kind.is("Service") {
            services::allocate(self.state, &mut object, None)?;
        }
        let name = object["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        validate::check(kind, &object, None)?;
        let key = self.key(&name);
        if self.state.store().get(&key).is_some() {
            return Err(Failure::already_exists(kind, &name));
        }
        admission::validate(self, "CREATE", None, Some(&object), &mut warnings).await?;
        if self.dry_run {
            return Ok(self.reply(201, &object, warnings));
        }
        let stored = {
            let mut store = self.state.store();
            if store.get(&key).is_some() {
                return Err(Failure::already_exists(kind, &name));
            }
            store.put(key, self.stored_form(object))
        };
        self.state.publish();
        if kind.is("CustomResourceDefinition") {
            establish::accept(self.state, &name);
        }
        Ok(self.reply(201, &stored, warnings))
    }

    /// Objects of a kind with versions are kept in one of them.
    fn stored_form(&self, mut object: Value) -> Value {
        if let Some(custom) = &self.kind().custom {
            object["apiVersion"] =
                Value::from(format!("{}/{}", self.kind().group, custom.storage_version));
        }
        object
    }

    /// Nothing is put into a namespace that is not there or about to go.
    fn check_namespace(&self, object: &Value) -> Result<(), Failure> {
        if !self.kind().namespaced {
            return Ok(());
        }
        let name = self.target.namespace();
        let Some(namespace) = self.state.find("namespaces", "", name) else {
            let mut failure =
                Failure::new(404, "NotFound", format!("namespaces {name:?} not found"));
            failure.details = Some(json!({"name": name, "kind": "namespaces"}));
            return Err(failure);
        };
        if namespace["metadata"]["deletionTimestamp"].is_null() {
            return Ok(());
        }
        let called = object["metadata"]["name"].as_str().unwrap_or_default();
        let why = format!(
            "unable to create new content in namespace {name} because it is being terminated"
        );
        let mut failure = Failure::forbidden(self.kind(), called, &why);
        if let Some(details) = &mut failure.details {
            details["causes"] = json!([{
                "reason": "NamespaceTerminating", "field": "metadata.namespace",
                "message": format!("namespace {name} is being terminated"),
            }]);
        }
        Err(failure)
    }

    /// `PUT` on an object.
    pub(crate) async fn replace(&self) -> Result<Reply, Failure> {
        let kind = self.kind();
        let mut sent = decode::body(kind, self.request)?;
        self.check_place(&mut sent)?;
        let warnings = decode(kind, &mut sent, self.request)?;
        let version = sent["metadata"]["resourceVersion"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        if version.is_empty() && !may_overwrite(kind) {
            if self.current().is_none() {
                return Err(Failure::not_found(kind, self.target.name()));
            }
            return Err(validate::version_missing(kind, self.target.name()));
        }
        self.change(|current| {
            self.check_version(current, &sent)?;
            let mut new = sent.clone();
            self.note(current, &mut new);
            Ok((new, warnings.clone()))
        })
        .await
    }

    /// `PATCH` on an object. An apply creates what is not there.
    pub(crate) async fn patch(&self) -> Result<Reply, Failure> {
        let kind = self.kind();
        let patch = Patch::read(kind, self.request)?;
        if let Patch::Apply { config, force } = patch {
            return self.apply(config, force).await;
        }
        // What the patch makes of the object is judged like a body.
        self.change(|current| {
            let mut new = patch::patched(kind, &in_version(kind, current), &patch)?;
            patch::check_times(kind, &new)?;
            self.check_version(current, &new)?;
            self.check_place(&mut new)?;
            let warnings = decode(kind, &mut new, self.request)?;
            self.note(current, &mut new);
            Ok((new, warnings))
        })
        .await
    }

    async fn apply(&self, mut config: Value, force: bool) -> Result<Reply, Failure> {
        let kind = self.kind();
        if self.request.query.get("fieldManager").is_empty() {
            return Err(Failure::bad_request(
                "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch",
            ));
        }
        self.check_place(&mut config)?;
        if config["metadata"]
            .get("managedFields")
            .is_some_and(|fields| !fields.is_null())
        {
            return Err(Failure::bad_request("metadata.managedFields must be nil"));
        }
        let mut unfilled = config.clone();
        kind.shape
            .check(&unfilled, "", &kind.kind)
            .map_err(Failure::bad_request)?;
        let warnings = decode(kind, &mut config, self.request)?;
        kind.shape.normalise_applied(&mut unfilled);
        let reset = prepare::untouchable(kind, self.target.subresource());
        let manager = self.manager(true);
        let applied = |live: &Value| -> Result<Value, Failure> {
            let mut new = manage::apply(kind, live, &unfilled, &manager, &reset, force)?;
            decode(kind, &mut new, self.request)?;
            Ok(new)
        };
        if self.current().is_none() {
            if !self.target.subresource().is_empty() {
                return Err(Failure::not_found(kind, self.target.name()));
            }
            let object = applied(&empty(kind))?;
            return self.insert(object, warnings).await;
        }
        self.change(|current| {
            self.check_version(current, &unfilled)?;
            Ok((applied(&in_version(kind, current))?, warnings.clone()))
        })
        .await
    }

    fn current(&self) -> Option<Arc<Value>> {
        self.state
            .store()
            .get(&self.key(self.target.name()))
            .cloned()
    }

    /// A version that was sent has to be the newest.
    fn check_version(&self, current: &Value, sent: &Value) -> Result<(), Failure> {
        let (kind, name) = (self.kind(), self.target.name());
        let uid = sent["metadata"]["uid"].as_str().unwrap_or_default();
        if !uid.is_empty() && current["metadata"]["uid"] != uid {
            let key = if kind.group.is_empty() || kind.custom.is_none() {
                format!(
                    "/registry/{}/{}/{name}",
                    kind.plural,
                    self.target.namespace()
                )
            } else {
                format!(
                    "/registry/{}/{}/{}/{name}",
                    kind.group,
                    kind.plural,
                    self.target.namespace()
                )
            };
            let now = current["metadata"]["uid"].as_str().unwrap_or_default();
            return Err(Failure::conflict(
                kind,
                name,
                &format!(
                    "StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: \
                     Precondition failed: UID in precondition: {uid}, UID in object meta: {now}"
                ),
            ));
        }
        let version = sent["metadata"]["resourceVersion"]
            .as_str()
            .unwrap_or_default();
        if !version.is_empty() && current["metadata"]["resourceVersion"] != version {
            return Err(Failure::modified(kind, name));
        }
        Ok(())
    }

    /// Takes note of who changed what.
    fn note(&self, current: &Value, new: &mut Value) {
        let reset = prepare::untouchable(self.kind(), self.target.subresource());
        let current = in_version(self.kind(), current);
        manage::note_update(self.kind(), &current, new, &self.manager(false), &reset);
    }

    /// Changes the object, again and again until nobody else changed it meanwhile.
    pub(crate) async fn change(
        &self,
        transform: impl Fn(&Value) -> Result<(Value, Vec<String>), Failure>,
    ) -> Result<Reply, Failure> {
        let (kind, name) = (self.kind(), self.target.name());
        for _ in 0..ATTEMPTS {
            let current = self
                .current()
                .ok_or_else(|| Failure::not_found(kind, name))?;
            let old = in_version(kind, &current);
            let (mut new, mut warnings) = transform(&current)?;
            prepare::updated(kind, self.target.subresource(), &old, &mut new);
            admission::mutate(self, Some(&old), &mut new, &mut warnings).await?;
            if kind.is("Service") && self.target.subresource().is_empty() {
                services::allocate(self.state, &mut new, Some(&old))?;
            }
            validate::check(kind, &new, Some(&old))?;
            admission::validate(self, "UPDATE", Some(&old), Some(&new), &mut warnings).await?;
            if new == old || self.dry_run {
                return Ok(self.reply(200, &new, warnings));
            }
            if let Some(stored) = self.commit(&current, new) {
                self.state.publish();
                if kind.is("CustomResourceDefinition") {
                    establish::accept(self.state, name);
                }
                return Ok(self.reply(200, &stored, warnings));
            }
        }
        Err(Failure::modified(kind, name))
    }

    /// Writes unless somebody was quicker. An object that was only waiting for its finalizers goes.
    fn commit(&self, current: &Arc<Value>, new: Value) -> Option<Arc<Value>> {
        let key = self.key(self.target.name());
        let new = self.stored_form(new);
        let mut store = self.state.store();
        if store.get(&key).is_none_or(|now| !Arc::ptr_eq(now, current)) {
            return None;
        }
        let last = ends(self.kind(), &new);
        if !last {
            return Some(store.put(key, new));
        }
        // Watches are told what it was; who let it go sees what it has become.
        store.remove(&key, (**current).clone());
        Some(Arc::new(new))
    }
}

/// Whether nothing keeps an object any more that is to be deleted.
fn ends(kind: &Kind, object: &Value) -> bool {
    let metadata = &object["metadata"];
    if metadata["deletionTimestamp"].is_null() {
        return false;
    }
    let none = |list: &Value| list.as_array().is_none_or(Vec::is_empty);
    let graceless = metadata["deletionGracePeriodSeconds"].as_i64().unwrap_or(0) == 0;
    none(&metadata["finalizers"])
        && graceless
        && (!kind.is("Namespace") || none(&object["spec"]["finalizers"]))
}

/// Kinds that may be overwritten by who has not read them.
fn may_overwrite(kind: &Kind) -> bool {
    kind.custom.is_none()
        && !matches!(
            kind.kind.as_str(),
            "Lease" | "CustomResourceDefinition" | "ControllerRevision"
        )
        && kind.group != "admissionregistration.k8s.io"
}

/// What an object is before anything was written.
fn empty(kind: &Kind) -> Value {
    let mut empty = if kind.custom.is_some() {
        json!({"metadata": {}})
    } else {
        kind.shape.zero()
    };
    empty["apiVersion"] = Value::from(kind.api_version());
    empty["kind"] = Value::from(kind.kind.as_str());
    empty
}

fn name_generated(object: &mut Value) {
    let metadata = &mut object["metadata"];
    if metadata["name"].as_str().is_none_or(str::is_empty)
        && let Some(start) = metadata["generateName"]
            .as_str()
            .filter(|start| !start.is_empty())
    {
        metadata["name"] = Value::from(format!("{start}{}", clock::suffix()));
    }
}
