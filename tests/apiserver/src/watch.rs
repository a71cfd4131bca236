//! `watch`: changes as they come, one JSON object a line.
//!
//! Memory: at most `QUEUE_EVENTS` per open watch. A client that does not read holds up its own watch only.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_stream::wrappers::ReceiverStream;

use crate::failure::Failure;
use crate::read::{in_version, revision_of};
use crate::request::{Content, Reply, Request, Target};
use crate::selector::Selector;
use crate::state::State;
use crate::store::Change;
use crate::table;
use crate::view::View;

const QUEUE_EVENTS: usize = 256;

/// How long a watch lasts whose client did not say.
const LONGEST: Duration = Duration::from_secs(3600);

/// How long before its end a watch says where it stands.
const LAST_BOOKMARK: Duration = Duration::from_secs(2);

type Line = Result<Bytes, std::io::Error>;

/// One open watch.
struct Watch {
    state: Arc<State>,
    target: Target,
    selector: Selector,
    view: View,
    include: String,
    bookmarks: bool,
    lines: mpsc::Sender<Line>,
    /// Everything up to here was told.
    told: u64,
    headed: bool,
}

/// Nobody listens any more, or there is nothing more to say.
struct Over;

pub(crate) fn watch(
    state: &Arc<State>,
    request: &Request,
    target: &Target,
) -> Result<Reply, Failure> {
    let query = &request.query;
    let view = View::negotiate(request.header("accept"))?;
    let selector = Selector::read(
        &target.kind,
        query.get("labelSelector"),
        query.get("fieldSelector"),
    )?;
    let revision = revision_of(query)?;
    let bookmarks = query.is_true("allowWatchBookmarks");
    let initial = query.is_true("sendInitialEvents");
    if initial && query.get("resourceVersionMatch") != "NotOlderThan" {
        return Err(Failure::bad_request(
            "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: sendInitialEvents requires \
             setting resourceVersionMatch to NotOlderThan",
        ));
    }
    let life = query
        .get("timeoutSeconds")
        .parse()
        .map_or(LONGEST, Duration::from_secs);
    let (lines, receiver) = mpsc::channel(QUEUE_EVENTS);
    let watch = Watch {
        state: Arc::clone(state),
        target: target.clone(),
        selector,
        view,
        include: query.get("includeObject").to_owned(),
        bookmarks,
        lines,
        told: revision.unwrap_or(0),
        headed: false,
    };
    let from_now = revision.is_none_or(|revision| revision == 0) || initial;
    tokio::spawn(async move {
        let _over = watch.run(from_now, initial, life).await;
    });
    let body = Body::from_stream(ReceiverStream::new(receiver));
    Ok(Reply {
        code: 200,
        content: Content::Events(body),
        warnings: Vec::new(),
    })
}

impl Watch {
    async fn run(mut self, from_now: bool, initial: bool, life: Duration) -> Result<(), Over> {
        let mut revisions = self.state.revisions();
        let mut ends = self.state.faults.watch_ends();
        let end = Instant::now() + life;
        if from_now {
            self.send_everything().await?;
            if initial && self.bookmarks {
                self.bookmark(true).await?;
            }
        }
        let mut bookmark_at = self.next_bookmark(end);
        loop {
            revisions.mark_unchanged();
            self.send_changes().await?;
            if !self.is_served() {
                return Err(Over);
            }
            tokio::select! {
                changed = revisions.changed() => changed.map_err(|_| Over)?,
                _ = ends.changed() => return Err(Over),
                () = self.lines.closed() => return Err(Over),
                () = sleep_until(bookmark_at) => {
                    if self.bookmarks {
                        self.bookmark(false).await?;
                    }
                    bookmark_at = self.next_bookmark(end);
                }
                () = sleep_until(end) => return Err(Over),
            }
        }
    }

    /// About once a minute, and shortly before the end.
    fn next_bookmark(&self, end: Instant) -> Instant {
        let now = Instant::now();
        let next = now + self.state.options.bookmark_every;
        let last = end.checked_sub(LAST_BOOKMARK).unwrap_or(now);
        if last > now && last < next {
            last
        } else {
            next
        }
    }

    /// A kind whose CRD is gone ends its watches.
    fn is_served(&self) -> bool {
        let kind = &self.target.kind;
        kind.custom.is_none()
            || self
                .state
                .kind(&kind.group, &kind.version, &kind.plural)
                .is_some()
    }

    async fn send_everything(&mut self) -> Result<(), Over> {
        let (revision, objects) = {
            let store = self.state.store();
            let resource = self.target.kind.resource();
            let objects: Vec<Arc<Value>> = store
                .list(&resource, self.target.namespace.as_deref())
                .map(|(_, object)| Arc::clone(object))
                .collect();
            (store.revision(), objects)
        };
        self.told = revision;
        for object in objects {
            if self.selector.matches(&object) {
                self.event("ADDED", &object).await?;
            }
        }
        Ok(())
    }

    async fn send_changes(&mut self) -> Result<(), Over> {
        let changes = {
            let store = self.state.store();
            if self.told < store.compacted() {
                None
            } else {
                let resource = self.target.kind.resource();
                let mine = |change: &&Change| {
                    change.key.resource == resource
                        && self
                            .target
                            .namespace
                            .as_ref()
                            .is_none_or(|namespace| *namespace == change.key.namespace)
                };
                let changes: Vec<Change> = store.since(self.told).filter(mine).cloned().collect();
                Some((changes, store.revision()))
            }
        };
        let Some((changes, revision)) = changes else {
            return self.too_old().await;
        };
        for change in changes {
            let before = change
                .before
                .as_deref()
                .filter(|object| self.selector.matches(object));
            let after = change
                .after
                .as_deref()
                .filter(|object| self.selector.matches(object));
            match (before, after) {
                (None, Some(object)) => self.event("ADDED", object).await?,
                (Some(_), Some(object)) => self.event("MODIFIED", object).await?,
                // What leaves the selection is told as it was, at the revision at which it left.
                (Some(last), None) => {
                    let mut last = last.clone();
                    last["metadata"]["resourceVersion"] = Value::from(change.revision.to_string());
                    self.event("DELETED", &last).await?;
                }
                (None, None) => {}
            }
        }
        self.told = self.told.max(revision);
        Ok(())
    }

    async fn too_old(&mut self) -> Result<(), Over> {
        let oldest = self.state.store().compacted();
        let failure = Failure::too_old(&format!(
            "too old resource version: {} ({oldest})",
            self.told
        ));
        self.line(&json!({"type": "ERROR", "object": failure.status()}))
            .await?;
        Err(Over)
    }

    async fn event(&mut self, kind: &str, object: &Value) -> Result<(), Over> {
        let object = in_version(&self.target.kind, object);
        let object = match self.view {
            View::Table => {
                let version = json!({"resourceVersion": object["metadata"]["resourceVersion"]});
                let heading = !std::mem::replace(&mut self.headed, true);
                table::table(
                    &self.target.kind,
                    std::slice::from_ref(&object),
                    version,
                    &self.include,
                    heading,
                )
            }
            view => view.object(&self.target.kind, &object, &self.include),
        };
        self.line(&json!({"type": kind, "object": object})).await
    }

    /// Says up to where everything was told.
    async fn bookmark(&mut self, initial_events_end: bool) -> Result<(), Over> {
        let kind = &self.target.kind;
        let mut object = kind.shape.zero();
        object["kind"] = Value::from(kind.kind.as_str());
        object["apiVersion"] = Value::from(kind.api_version());
        object["metadata"] = json!({"resourceVersion": self.told.to_string()});
        if kind.custom.is_none() && kind.counts_generations() || initial_events_end {
            object["metadata"]["creationTimestamp"] = Value::Null;
        }
        if initial_events_end {
            object["metadata"]["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        self.line(&json!({"type": "BOOKMARK", "object": object}))
            .await
    }

    async fn line(&mut self, event: &Value) -> Result<(), Over> {
        let mut line = event.to_string().into_bytes();
        line.push(b'\n');
        self.lines
            .send(Ok(Bytes::from(line)))
            .await
            .map_err(|_| Over)
    }
}
