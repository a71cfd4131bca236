//! One scenario: its steps in order, its watches open meanwhile.

use std::collections::HashMap;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use regex::{Captures, Regex};
use serde_json::{Value, json};
use weir_apiserver::ApiServer;

use crate::client::{Sent, Watch, ask};
use crate::normal::{compare, normal};
use crate::webhook::Webhook;

/// What a watch gets to see before the next step.
const SETTLE: Duration = Duration::from_millis(60);

/// How long a stream may take to end that the real server ended.
const ENDS_WITHIN: Duration = Duration::from_secs(10);

/// `${ID:/json/pointer}`: a value of what a step was answered.
static TEMPLATE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\$\{([\w-]+):([^}]*)\}").expect("a pattern"));

/// One difference.
#[derive(Debug)]
pub struct Found {
    pub step: String,
    pub path: String,
    pub what: String,
}

/// What a replay found.
pub struct Outcome {
    pub steps: usize,
    pub watches: usize,
    pub found: Vec<Found>,
}

/// A scenario being replayed.
pub struct Replay<'a> {
    server: &'a ApiServer,
    scenario: &'a Value,
    bodies: HashMap<String, Value>,
    watches: HashMap<String, Watch>,
    found: Vec<Found>,
    webhook: Option<Webhook>,
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

impl<'a> Replay<'a> {
    pub async fn new(
        server: &'a ApiServer,
        folder: &Path,
        name: &str,
        scenario: &'a Value,
    ) -> Replay<'a> {
        let webhook = if name == "admission" {
            Some(Webhook::start(folder).await)
        } else {
            None
        };
        let (bodies, watches) = (HashMap::new(), HashMap::new());
        Replay {
            server,
            scenario,
            bodies,
            watches,
            found: Vec::new(),
            webhook,
        }
    }

    pub async fn run(mut self) -> Outcome {
        let steps: Vec<&Value> = items(&self.scenario["steps"]).collect();
        self.open_watches(None).await;
        for step in &steps {
            let id = text(step, "id");
            if step["kind"] == "http" {
                self.step(step).await;
            } else {
                self.outside(id).await;
            }
            self.open_watches(Some(id)).await;
            self.close_watches(id).await;
        }
        tokio::time::sleep(SETTLE).await;
        let watches: Vec<&Value> = items(&self.scenario["watches"]).collect();
        for watch in &watches {
            self.close_watch(watch).await;
        }
        if let Some(webhook) = self.webhook.take() {
            self.found.extend(webhook.found());
        }
        Outcome {
            steps: steps.len(),
            watches: watches.len(),
            found: self.found,
        }
    }

    async fn step(&mut self, step: &Value) {
        let (id, recorded) = (text(step, "id"), &step["response"]);
        let sent = self.sent(step);
        if let Some(webhook) = &self.webhook {
            webhook.expect(id);
        }
        let got = ask(self.server.address(), &sent).await;
        let parsed: Option<Value> = serde_json::from_str(&got.text).ok();
        self.bodies
            .insert(id.to_owned(), parsed.clone().unwrap_or_default());
        let mut now = json!({"status": got.status, "h": got.headers});
        let headers = &recorded["headers"];
        let mut before = json!({"status": recorded["status"], "h": {
            "content-type": headers["content-type"], "warning": headers["warning"], "retry-after": headers["retry-after"],
        }});
        match (recorded.get("text"), parsed) {
            (None, Some(parsed)) => {
                now["body"] = parsed;
                before["body"] = recorded["body"].clone();
            }
            _ => {
                now["text"] = Value::from(got.text);
                before["text"] = recorded["text"].clone();
            }
        }
        compare(&normal(&before), &normal(&now), "", id, &mut self.found);
    }

    /// What happened to the server between two requests.
    async fn outside(&mut self, id: &str) {
        match id {
            "stop" => {
                // Longer than it takes a quiet watch to be told where it stands.
                tokio::time::sleep(Duration::from_millis(500)).await;
                self.server.stop().await;
            }
            "compact" => self.server.compact(),
            "start" => self.server.restart().await.expect("the server comes back"),
            other => panic!("nobody knows what {other} did to the server"),
        }
    }

    async fn open_watches(&mut self, after: Option<&str>) {
        let mut opened = false;
        for watch in items(&self.scenario["watches"]) {
            if watch["opened_after_step"].as_str() == after {
                let opening = Watch::open(self.server.address(), &self.sent(watch)).await;
                self.watches.insert(text(watch, "id").to_owned(), opening);
                opened = true;
            }
        }
        if opened {
            tokio::time::sleep(SETTLE).await;
        }
    }

    /// Watches that the recorder closed after a step.
    async fn close_watches(&mut self, after: &str) {
        let all = self.scenario;
        for watch in items(&all["watches"]).filter(|watch| watch["closed_after_step"] == after) {
            tokio::time::sleep(SETTLE).await;
            self.close_watch(watch).await;
        }
    }

    async fn close_watch(&mut self, recorded: &Value) {
        let id = text(recorded, "id");
        let step = format!("watch:{id}");
        let Some(mut watch) = self.watches.remove(id) else {
            return;
        };
        let ended_by_server = text(recorded, "end").starts_with("server");
        let patience = if ended_by_server { ENDS_WITHIN } else { SETTLE };
        let ended = watch.ends_within(patience).await;
        let split = |events: Vec<Value>| {
            let (marks, rest): (Vec<Value>, Vec<Value>) = events
                .into_iter()
                .partition(|event| event["type"] == "BOOKMARK");
            json!({"bookmarks": !marks.is_empty(), "events": rest})
        };
        let mut before = split(
            items(&recorded["events"])
                .map(|event| event["event"].clone())
                .collect(),
        );
        let mut now = split(watch.events());
        before["status"] = recorded["response"]["status"].clone();
        now["status"] = json!(watch.status);
        before["ended by the server"] = json!(ended_by_server);
        now["ended by the server"] = json!(ended);
        compare(&normal(&before), &normal(&now), "", &step, &mut self.found);
    }

    fn sent(&self, step: &Value) -> Sent {
        let request = &step["request"];
        let body = match (request.get("raw_body"), request.get("body")) {
            (Some(raw), _) => raw.as_str().map(str::to_owned),
            (None, Some(body)) => Some(self.filled(body).to_string()),
            (None, None) => None,
        };
        let filled = self.filled(&request["path"]);
        Sent {
            method: text(request, "method").to_owned(),
            path: filled.as_str().unwrap_or_default().replace(' ', "%20"),
            accept: text(request, "accept").to_owned(),
            user: text(step, "user").to_owned(),
            content_type: request["content_type"]
                .as_str()
                .unwrap_or("application/json")
                .to_owned(),
            body,
        }
    }

    /// A value with its templates filled in, and the recorder's webhook replaced by ours.
    fn filled(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::from(self.filled_text(text)),
            Value::Array(items) => items.iter().map(|item| self.filled(item)).collect(),
            Value::Object(map) if map.contains_key("$from") => self.edited(value),
            Value::Object(map) => map
                .iter()
                .map(|(name, inner)| match (&self.webhook, name.as_str()) {
                    (Some(webhook), "caBundle") => (name.clone(), Value::from(webhook.bundle())),
                    _ => (name.clone(), self.filled(inner)),
                })
                .collect(),
            other => other.clone(),
        }
    }

    fn filled_text(&self, text: &str) -> String {
        let filled = TEMPLATE.replace_all(text, |found: &Captures| {
            let value = self
                .bodies
                .get(&found[1])
                .and_then(|body| body.pointer(&found[2]))
                .cloned()
                .unwrap_or_default();
            value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned)
        });
        match &self.webhook {
            Some(webhook) => filled.replace("https://127.0.0.1:33317", &webhook.url()),
            None => filled.into_owned(),
        }
    }

    fn edited(&self, template: &Value) -> Value {
        let mut body = self
            .bodies
            .get(text(template, "$from"))
            .cloned()
            .unwrap_or_default();
        let parent = |pointer: &str| {
            pointer
                .rsplit_once('/')
                .map(|(parent, name)| (parent.to_owned(), name.to_owned()))
        };
        for pointer in items(&template["$delete"]).filter_map(Value::as_str) {
            if let Some((above, name)) = parent(pointer)
                && let Some(map) = body.pointer_mut(&above).and_then(Value::as_object_mut)
            {
                map.remove(&name);
            }
        }
        for (pointer, value) in template["$set"].as_object().into_iter().flatten() {
            if let Some((above, name)) = parent(pointer)
                && let Some(above) = body.pointer_mut(&above)
            {
                above[name.as_str()] = self.filled(value);
            }
        }
        body
    }
}
