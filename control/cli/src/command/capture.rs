//! `weir capture`: packets that nodes keep.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use serde::Serialize;
use weir_api::v1::{self, CaptureState};

use crate::Answer;
use crate::args::{CaptureCommand, Client};
use crate::error::Failure;
use crate::output::{Output, Page, Tone, View};
use crate::text;

#[derive(Serialize)]
struct Captures {
    captures: Vec<CaptureView>,
    /// Triggers of rules that were one too many.
    refused: u64,
    nodes: Vec<NodeView>,
}

/// One capture on one node.
#[derive(Serialize)]
struct CaptureView {
    id: String,
    node: String,
    connected: bool,
    state: &'static str,
    of: String,
    by: String,
    because: String,
    packets: u64,
    bytes: u64,
    lost: u64,
    since: Option<String>,
    until: Option<String>,
    why: String,
    file: String,
}

/// Where a node keeps its captures.
#[derive(Serialize)]
struct NodeView {
    node: String,
    connected: bool,
    directory: String,
    kept_bytes: u64,
    kept_bytes_max: u64,
}

#[derive(Serialize)]
struct Fetched {
    files: Vec<FetchedView>,
}

#[derive(Serialize)]
struct FetchedView {
    node: String,
    path: String,
    bytes: u64,
}

impl View for Captures {
    fn table(&self, page: &mut Page) {
        let row = |it: &CaptureView| {
            let tone = match it.state {
                "failed" => Tone::Bad,
                "running" => Tone::Good,
                _ => Tone::Plain,
            };
            let lost = if it.lost > 0 {
                format!(" (+{} lost)", it.lost)
            } else {
                String::new()
            };
            let away = if it.connected { "" } else { " (away)" };
            let cells = vec![
                it.id.clone(),
                format!("{}{away}", it.node),
                it.state.to_owned(),
                it.of.clone(),
                it.by.clone(),
                format!("{}{lost}", it.packets),
                it.bytes.to_string(),
                it.since.clone().or(it.until.clone()).unwrap_or_default(),
                it.why.clone(),
                it.file.clone(),
            ];
            (tone, cells)
        };
        let headers = [
            "id", "node", "state", "of", "by", "packets", "bytes", "since", "why", "file",
        ];
        let rows = self.captures.iter().map(row).collect();
        page.columns(&headers, rows, "nothing is or was captured");
        if self.refused > 0 {
            let triggers = text::count(self.refused, "trigger");
            let told = format!(
                "{triggers} of rules began no capture: there are or were as many as there may be"
            );
            page.toned(Tone::Warning, &told);
        }
        if !self.nodes.is_empty() {
            page.gap();
        }
        let mib = |bytes: u64| bytes.div_ceil(1 << 20);
        for node in &self.nodes {
            let away = if node.connected { "" } else { " (away)" };
            page.line(format!(
                "{}{away} keeps captures in {}: {} of {} MiB",
                node.node,
                node.directory,
                mib(node.kept_bytes),
                mib(node.kept_bytes_max)
            ));
        }
    }
}

impl View for Fetched {
    fn table(&self, page: &mut Page) {
        for file in &self.files {
            page.line(format!(
                "{} ({} bytes, from {})",
                file.path, file.bytes, file.node
            ));
        }
    }
}

/// Lists, starts, stops, fetches; prints what there is then.
pub async fn run(
    client: &mut Client,
    command: CaptureCommand,
    output: &mut Output,
) -> Result<Answer, Failure> {
    let reply = match command {
        CaptureCommand::List => client.capture_list(v1::CaptureListRequest {}).await?,
        CaptureCommand::Start {
            flow,
            workload,
            packets,
            bytes,
            length,
            because,
        } => {
            let duration_s = length.as_secs();
            if !(1..=3_600).contains(&duration_s) {
                let told = "a capture lasts 1s to 1h; write it like --for 60s or --for 10m";
                return Err(Failure::Usage(told.to_owned()));
            }
            let request = v1::CaptureStartRequest {
                flow: flow.unwrap_or_default(),
                workload: workload.unwrap_or_default(),
                packets,
                bytes,
                duration_s,
                because,
            };
            client.capture_start(request).await?
        }
        CaptureCommand::Stop { ids, all } => {
            client
                .capture_stop(v1::CaptureStopRequest { ids, all })
                .await?
        }
        CaptureCommand::Fetch { id, node, to } => {
            let files = fetch(client, &id, node.as_deref(), &to).await?;
            output.print(&Fetched { files })?;
            return Ok(Answer::Yes);
        }
    };
    output.print(&Captures::of(reply.into_inner()))?;
    Ok(Answer::Yes)
}

impl Captures {
    fn of(reply: v1::CaptureReply) -> Self {
        let node = |it: v1::CaptureNode| NodeView {
            node: it.node,
            connected: it.connected,
            directory: it.directory,
            kept_bytes: it.kept_bytes,
            kept_bytes_max: it.kept_bytes_max,
        };
        Self {
            captures: reply
                .captures
                .into_iter()
                .filter_map(CaptureView::of)
                .collect(),
            refused: reply.refused,
            nodes: reply.nodes.into_iter().map(node).collect(),
        }
    }
}

impl CaptureView {
    fn of(view: v1::CaptureView) -> Option<Self> {
        let status = view.status?;
        let state = match status.state() {
            CaptureState::Unspecified => "",
            CaptureState::Running => "running",
            CaptureState::Done => "done",
            CaptureState::Failed => "failed",
            CaptureState::Waiting => "waiting",
        };
        let wanted = status.wanted.unwrap_or_default();
        Some(Self {
            id: status.id,
            node: view.node,
            connected: view.connected,
            state,
            of: wanted.of,
            by: wanted.by,
            because: wanted.because,
            packets: status.packets,
            bytes: status.bytes,
            lost: status.lost,
            since: time(status.since_unix_us),
            until: time(status.until_unix_us),
            why: status.why,
            file: status.file,
        })
    }
}

fn time(unix_us: u64) -> Option<String> {
    let time = UNIX_EPOCH.checked_add(Duration::from_micros(unix_us))?;
    (unix_us > 0).then(|| humantime::format_rfc3339_seconds(time).to_string())
}

/// The files of a capture, from every node that has one.
async fn fetch(
    client: &mut Client,
    id: &str,
    node: Option<&str>,
    to: &Path,
) -> Result<Vec<FetchedView>, Failure> {
    let reply = client.capture_list(v1::CaptureListRequest {}).await?;
    let all = Captures::of(reply.into_inner()).captures;
    let mut here: Vec<CaptureView> = all.into_iter().filter(|it| it.id == id).collect();
    here.retain(|it| node.is_none_or(|node| it.node == node));
    if here.is_empty() {
        let told = format!("no node has told of a capture {id:?}; weir capture list shows them");
        return Err(Failure::Failed(told));
    }
    if here.iter().any(|it| !it.file.is_empty()) {
        here.retain(|it| !it.file.is_empty());
    }
    let mut files = Vec::new();
    for capture in here {
        let request = v1::CaptureFetchRequest {
            id: id.to_owned(),
            node: capture.node.clone(),
        };
        let mut pieces = client.capture_fetch(request).await?.into_inner();
        let (path, mut file) = create(to, &capture)?;
        let mut bytes = 0;
        let mut whole = false;
        while let Some(piece) = pieces.message().await? {
            let written = file.write_all(&piece.piece);
            written.map_err(|error| unwritable(&path, &error))?;
            bytes += piece.piece.len() as u64;
            whole |= piece.last;
        }
        if !whole {
            let told = format!(
                "{} is not whole: node {} stopped sending; try again with another --to",
                path.display(),
                capture.node
            );
            return Err(Failure::Failed(told));
        }
        files.push(FetchedView {
            node: capture.node,
            path: path.display().to_string(),
            bytes,
        });
    }
    Ok(files)
}

/// A new file of one's own: names come from nodes, and nothing that is there is overwritten.
fn create(to: &Path, capture: &CaptureView) -> Result<(PathBuf, File), Failure> {
    let letter = |letter: char| match letter {
        _ if letter.is_ascii_alphanumeric() || "._-".contains(letter) => letter,
        _ => '_',
    };
    let name = format!("{}-{}", capture.node, capture.file);
    let name: String = name.chars().map(letter).take(250).collect();
    let path = to.join(name.trim_start_matches('.'));
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(&path);
    match file {
        Ok(file) => Ok((path, file)),
        Err(error) => Err(unwritable(&path, &error)),
    }
}

fn unwritable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::Failed(format!(
        "{} cannot be written: {error}; name another directory with --to",
        path.display()
    ))
}
