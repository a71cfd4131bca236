//! How long policy takes to nodes: `perf/push [--quick] [--check]`, sizes in `perf/push --help`.
//!
//! A real controller, and nodes that speak the real protocol over its socket, in one process. Changes are
//! handed to the controller as the API server's would be, one after the other. A change has come to a
//! node when the controller counts its acknowledgement. Putting a policy in force on workers is not
//! part of it: the nodes say at once that it is.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use weir_api::v1::policy_distribution_client::PolicyDistributionClient;
use weir_api::{Contents, Endpoint, Follower, MESSAGE_BYTES_MAX, Step};
use weir_controller::push::target::Target;
use weir_controller::source::SourceConfig;
use weir_controller::state::State;
use weir_controller::{Config, Controller};
use weir_model::{Document, Located, parse_documents};
use weir_sources::{Change, News};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Workloads of one namespace.
const SPACE: usize = 100;
/// What takes longer than this is broken.
const PATIENCE: Duration = Duration::from_secs(120);
/// The promises.
const LATENCY_MS: f64 = 100.0;
const SETTLED: Duration = Duration::from_millis(1);

#[derive(Parser)]
#[command(about = "How long policy takes from the controller to its nodes")]
struct Arguments {
    /// Nodes that subscribe.
    #[arg(long, default_value_t = 1000)]
    nodes: usize,
    /// Workloads while they do.
    #[arg(long, default_value_t = 10_000)]
    workloads: usize,
    /// Allowlists while they do.
    #[arg(long, default_value_t = 1000)]
    allowlists: usize,
    /// Changes of each sort.
    #[arg(long, default_value_t = 200)]
    changes: usize,
    /// Workloads of the full resync, 100 to a node.
    #[arg(long, default_value_t = 100_000)]
    resync_workloads: usize,
    /// Allowlists of the full resync.
    #[arg(long, default_value_t = 10_000)]
    resync_allowlists: usize,
    /// A tenth of everything.
    #[arg(long)]
    quick: bool,
    /// Fails where a change takes longer than promised.
    #[arg(long)]
    check: bool,
}

/// A controller in a directory of its own.
struct Site {
    root: tempfile::TempDir,
    controller: Controller,
    nodes: Vec<Node>,
    /// The nodes' tasks.
    tasks: tokio::task::JoinSet<()>,
}

/// A simulated node, and what the controller has for it.
struct Node {
    target: Arc<Target>,
    /// The version that it has acknowledged.
    acknowledged: watch::Receiver<u64>,
    snapshot: Received,
}

#[derive(Clone, Copy, Default)]
struct Received {
    bytes: usize,
    items: usize,
    took: Duration,
}

fn main() {
    let mut arguments = Arguments::parse();
    if arguments.quick {
        for size in [
            &mut arguments.nodes,
            &mut arguments.workloads,
            &mut arguments.allowlists,
            &mut arguments.resync_workloads,
            &mut arguments.resync_allowlists,
        ] {
            *size = (*size / 10).max(1);
        }
        arguments.changes = arguments.changes.min(50);
    }
    let runtime = tokio::runtime::Runtime::new().expect("threads can be started");
    let kept = runtime.block_on(async {
        // First, so that the peak of memory is that of the resync alone.
        let resync = resync(&arguments).await;
        let latencies = latencies(&arguments).await;
        resync && latencies
    });
    if arguments.check && !kept {
        eprintln!("a promise is not kept");
        std::process::exit(1);
    }
}

/// From nothing to published, a node's first policy, and events at that size.
async fn resync(arguments: &Arguments) -> bool {
    let (workloads, allowlists) = (arguments.resync_workloads, arguments.resync_allowlists);
    let nodes = workloads.div_ceil(100);
    println!(
        "Full resync: {workloads} workloads of one address, 100 to a node, {allowlists} allowlists"
    );
    let mut site = Site::start().await;
    let start = Instant::now();
    let documents = documents(workloads, allowlists, nodes);
    let read_s = start.elapsed().as_secs_f64();
    let start = Instant::now();
    site.take(News::Everything(documents)).await;
    let published_s = start.elapsed().as_secs_f64();
    println!("  documents read from text in {read_s:.2} s, then published in {published_s:.2} s");
    println!(
        "  peak memory {} MB, with the documents' text",
        peak_bytes() >> 20
    );
    site.subscribe([node_name(1)]).await;
    if let Some(node) = site.nodes.first() {
        let Received { bytes, items, took } = node.snapshot;
        println!(
            "  a node subscribes: its policy of {items} items in {bytes} bytes, acknowledged after {:.3} s",
            took.as_secs_f64()
        );
    }
    println!("{}", heading());
    let mut own = |turn: usize| workload(1 + turn % 100 * nodes, 1 + turn, nodes);
    let own = site.measure(arguments.changes, &mut own).await;
    let kept = print_row("an address, of the node", own);
    let mut any = |turn: usize| workload(turn * 7919 % workloads, 1 + turn, nodes);
    let any = site.measure(arguments.changes, &mut any).await;
    let kept = print_row("an address, anywhere", any) && kept;
    println!("  peak memory then {} MB\n", peak_bytes() >> 20);
    site.stop().await;
    kept
}

/// Changes of three sorts, to many nodes.
async fn latencies(arguments: &Arguments) -> bool {
    let (workloads, allowlists) = (arguments.workloads, arguments.allowlists);
    let nodes = arguments.nodes;
    println!("Changes: {nodes} nodes, {workloads} workloads, {allowlists} allowlists");
    let mut site = Site::start().await;
    let documents = documents(workloads, allowlists, nodes);
    site.take(News::Everything(documents)).await;
    let start = Instant::now();
    site.subscribe((0..nodes).map(node_name)).await;
    println!(
        "  all nodes subscribed and served in {:.2} s",
        start.elapsed().as_secs_f64()
    );
    println!("{}", heading());
    let spaces = workloads.div_ceil(SPACE);
    let mut address = |turn: usize| workload(turn * 7919 % workloads, 1 + turn, nodes);
    let address = site.measure(arguments.changes, &mut address).await;
    let kept = print_row("an address of a workload", address);
    let mut rule = |turn: usize| allowlist(turn * 7919 % allowlists, spaces, 1 + turn);
    let rule = site.measure(arguments.changes, &mut rule).await;
    let kept = print_row("a rule of an allowlist", rule) && kept;
    let mut everywhere = |turn: usize| for_all(1 + turn);
    let everywhere = site.measure(arguments.changes, &mut everywhere).await;
    let kept = print_row("a rule for every node", everywhere) && kept;
    site.stop().await;
    kept
}

impl Site {
    async fn start() -> Self {
        let root = tempfile::tempdir().expect("there is room for temporary files");
        let policy = root.path().join("policy");
        std::fs::create_dir(&policy).expect("the directory is ours");
        let config = Config {
            // Stays empty: what changes is handed in beside it.
            source: SourceConfig::Files(policy),
            response: Default::default(),
            state: root.path().join("state"),
            listen: Endpoint::Unix(root.path().join("controller.sock")),
            node_listen: Endpoint::Unix(root.path().join("nodes.sock")),
            tls: None,
            operator_ca: None,
            ageing: Default::default(),
            admission: None,
            bundle: None,
        };
        let controller = Controller::start(config).await;
        Self {
            root,
            controller: controller.expect("the controller starts"),
            nodes: Vec::new(),
            tasks: Default::default(),
        }
    }

    async fn stop(mut self) {
        self.tasks.shutdown().await;
        self.controller.stop().await;
    }

    fn state(&self) -> &Arc<State> {
        self.controller.state()
    }

    async fn take(&self, news: News) -> u64 {
        let taken = self.state().take_news(news).await;
        taken.expect("the documents are right")
    }

    /// Lets these nodes subscribe, until all of them have acknowledged what they got.
    async fn subscribe(&mut self, names: impl IntoIterator<Item = String>) {
        let socket = self.root.path().join("nodes.sock");
        for name in names {
            let start = Instant::now();
            let (acknowledges, mut acknowledged) = watch::channel(0);
            let (first, received) = tokio::sync::oneshot::channel();
            let socket = socket.clone();
            self.tasks
                .spawn(follow(socket, name.clone(), acknowledges, first));
            let mut snapshot = patient(received).await.expect("the node is served");
            let there = patient(acknowledged.wait_for(|version| *version > 0)).await;
            drop(there.expect("the node is served"));
            snapshot.took = start.elapsed();
            let target = self.state().pipeline.subscribe(&name, false);
            self.state().pipeline.unsubscribe(&name, false);
            self.nodes.push(Node {
                target,
                acknowledged,
                snapshot,
            });
        }
    }

    /// Milliseconds of each change, sorted, and the nodes concerned on average.
    async fn measure(
        &mut self,
        changes: usize,
        change: &mut dyn FnMut(usize) -> Change,
    ) -> (Vec<f64>, f64) {
        let (mut took_ms, mut concerned) = (Vec::new(), 0);
        for turn in 0..changes {
            let change = change(turn);
            let start = Instant::now();
            let version = self.take(News::Changes(vec![change])).await;
            concerned += self.settled(version).await;
            took_ms.push(start.elapsed().as_secs_f64() * 1e3);
        }
        took_ms.sort_by(f64::total_cmp);
        (took_ms, concerned as f64 / changes.max(1) as f64)
    }

    /// Until the controller counts every concerned node as enforcing this version; how many those are.
    async fn settled(&mut self, version: u64) -> usize {
        let concerned = |node: &&mut Node| node.target.mark().version == version;
        let mut count = 0;
        for node in self.nodes.iter_mut().filter(concerned) {
            let reached = node.acknowledged.wait_for(|reached| *reached >= version);
            drop(patient(reached).await.expect("the node is served"));
            count += 1;
        }
        // They have sent it; it has come when the controller says so.
        let behind = |node: &weir_api::v1::NodeStatus| node.enforced_version < version;
        while count > 0 && self.state().nodes.status(version).iter().any(behind) {
            tokio::time::sleep(SETTLED).await;
        }
        count
    }
}

/// A node: enforces whatever it is sent, at once.
async fn follow(
    socket: std::path::PathBuf,
    name: String,
    acknowledges: watch::Sender<u64>,
    first: tokio::sync::oneshot::Sender<Received>,
) {
    let channel = Endpoint::Unix(socket).connect(None, None).await;
    let mut client = PolicyDistributionClient::new(channel.expect("the controller listens"))
        .max_decoding_message_size(MESSAGE_BYTES_MAX);
    let mut follower = Follower::new(&name, "perf", 0, Contents::default());
    let (outgoing, requests) = mpsc::channel(4);
    let _ = outgoing.send(follower.hello()).await;
    let stream = client.subscribe(ReceiverStream::new(requests)).await;
    let mut incoming = stream.expect("the controller serves").into_inner();
    let (mut first, mut bytes) = (Some(first), 0);
    while let Ok(Some(message)) = incoming.message().await {
        if first.is_some() {
            bytes += prost::Message::encoded_len(&message);
        }
        let answer = match follower.take(message) {
            Step::Nothing => continue,
            Step::Enforce => follower.enforced(),
            Step::Answer(answer) | Step::Keep(answer) => answer,
            Step::Failed(failure) => {
                eprintln!("node {name} is refused: {}", failure.reason);
                return;
            }
        };
        if outgoing.send(answer).await.is_err() {
            return;
        }
        if let Some(first) = first.take() {
            let _ = first.send(Received {
                bytes,
                items: follower.contents().len(),
                took: Duration::ZERO,
            });
        }
        acknowledges.send_replace(follower.version());
    }
}

async fn patient<T>(future: impl Future<Output = T>) -> T {
    let outcome = tokio::time::timeout(PATIENCE, future).await;
    outcome.expect("it comes in time")
}

fn heading() -> String {
    format!(
        "  {:<26} {:>7} {:>9} {:>9} {:>9} {:>9}  promise",
        "changes", "number", "nodes", "p50 ms", "p99 ms", "max ms"
    )
}

/// Whether the promise is kept.
fn print_row(what: &str, (took_ms, concerned): (Vec<f64>, f64)) -> bool {
    let at = |percent: usize| {
        let last = took_ms.len().saturating_sub(1);
        let index = (took_ms.len() * percent / 100).min(last);
        took_ms.get(index).copied().unwrap_or(0.0)
    };
    let kept = at(99) < LATENCY_MS;
    let verdict = if kept { "kept" } else { "NOT KEPT" };
    println!(
        "  {what:<26} {:>7} {concerned:>9.1} {:>9.1} {:>9.1} {:>9.1}  p99 < {LATENCY_MS} ms: {verdict}",
        took_ms.len(),
        at(50),
        at(99),
        at(100)
    );
    kept
}

fn documents(workloads: usize, allowlists: usize, nodes: usize) -> Vec<Change> {
    let spaces = workloads.div_ceil(SPACE);
    (0..workloads)
        .map(|number| workload(number, 0, nodes))
        .chain((0..allowlists).map(|number| allowlist(number, spaces, 0)))
        .chain([for_all(0)])
        .collect()
}

/// A workload of one pod; `turn` gives it another address.
fn workload(number: usize, turn: usize, nodes: usize) -> Change {
    let address = number + turn % 64 * 0x0002_0000;
    let [_, second, third, fourth] = (address as u32).to_be_bytes();
    read(&format!(
        "apiVersion: weir.dev/v1alpha1\nkind: Workload\nmetadata: {{name: w{number}, namespace: ns{}, labels: {{app: a{}, tier: t{}}}}}\n\
         spec: {{addresses: [10.{second}.{third}.{fourth}], nodes: [{}], serviceAccount: default}}\n",
        number / SPACE,
        number % 20,
        number % 3,
        node_name(number % nodes)
    ))
}

/// One application of a namespace is reached by another, asks DNS, and one beyond the cluster; `turn`
/// lets it be reached at another port.
fn allowlist(number: usize, spaces: usize, turn: usize) -> Change {
    let (space, app, peer) = (number % spaces, number / spaces % 20, (number + 1) % 20);
    read(&format!(
        "apiVersion: weir.dev/v1alpha1\nkind: Allowlist\nmetadata: {{name: l{number}, namespace: ns{space}}}\n\
         spec:\n  target: {{matchLabels: {{app: a{app}}}}}\n  ingress:\n    - {{from: [{{matchLabels: {{app: a{peer}}}}}], applications: [http], ports: [{}]}}\n\
         \x20 egress:\n    - {{to: [{{workload: ns0/w0}}], applications: [dns], ports: [53]}}\n\
         \x20   - {{to: [{{cidr: 0.0.0.0/0, except: [10.0.0.0/8]}}, {{cidr: 192.168.{}.0/24}}], applications: [postgresql]}}\n",
        80 + turn,
        number % 200
    ))
}

/// Every workload is protected, and may be watched; `turn` says at which port.
fn for_all(turn: usize) -> Change {
    read(&format!(
        "apiVersion: weir.dev/v1alpha1\nkind: ClusterAllowlist\nmetadata: {{name: all}}\n\
         spec:\n  target: {{matchLabels: {{}}}}\n  stage: protect\n\
         \x20 ingress:\n    - {{from: [{{workload: ns0/w0}}], applications: [http], ports: [{}]}}\n",
        9000 + turn
    ))
}

fn read(text: &str) -> Change {
    let (documents, problems) = parse_documents("push.yaml", text);
    assert!(problems.is_empty(), "{problems:?}");
    let document: Option<Located<Document>> = documents.into_iter().next();
    Change::Upsert {
        document: Arc::new(document.expect("one document")),
        revision: 0,
    }
}

fn node_name(number: usize) -> String {
    format!("n{number}")
}

/// The most that the process had in memory, from the kernel; 0 where it does not say.
fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string(Path::new("/proc/self/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let word = line.and_then(|line| line.split_whitespace().nth(1));
    word.and_then(|word| word.parse::<u64>().ok()).unwrap_or(0) << 10
}
