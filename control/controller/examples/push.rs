//! How long policy takes to nodes: `perf/push [--quick] [--check]`, sizes in `perf/push --help`.
//!
//! A real controller, and nodes that speak the real protocol over its socket, in one process. Changes are
//! handed to the controller as the API server's would be, one after the other. A change has come to a
//! node when the controller counts its acknowledgement. The simulated nodes say at once that a policy
//! is in force; with `--real` one of them is a weir-node, which says so when its workers have it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
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

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    Resync,
    Changes,
}

#[derive(Parser)]
#[command(about = "How long policy takes from the controller to its nodes")]
struct Arguments {
    /// Only this part.
    #[arg(long)]
    only: Option<Part>,
    /// A weir-node program, to be one of the nodes.
    #[arg(long)]
    real: Option<PathBuf>,
    /// A file that rows of figures are added to.
    #[arg(long)]
    record: Option<PathBuf>,
    /// What each of these rows begins with: date, commit and processor.
    #[arg(long, default_value = ",,")]
    made: String,
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
    real: Option<Child>,
    /// The nodes' tasks.
    tasks: tokio::task::JoinSet<()>,
}

/// A simulated node, and what the controller has for it.
struct Node {
    target: Arc<Target>,
    /// The version that it has acknowledged, if it is simulated.
    acknowledged: Option<watch::Receiver<u64>>,
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
        let wanted = |part| arguments.only.is_none_or(|only| only == part);
        // First, so that the peak of memory is that of the resync alone.
        let resync = !wanted(Part::Resync) || resync(&arguments).await;
        let changes = !wanted(Part::Changes) || changes(&arguments).await;
        resync && changes
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
    let sizes = [nodes, workloads, allowlists];
    let row = |what, figures| arguments.add("resync", sizes, what, figures);
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
    let peak_mb = peak_bytes() >> 20;
    println!("  documents read from text in {read_s:.2} s, then published in {published_s:.2} s");
    println!("  peak memory {peak_mb} MB, with the documents' text");
    row("published", format!(",,,,,{published_s:.2},{peak_mb}"));
    let start = Instant::now();
    site.state().policy().await;
    let whole_s = start.elapsed().as_secs_f64();
    let peak_mb = peak_bytes() >> 20;
    println!("  whole policy for questions made in {whole_s:.2} s, peak memory then {peak_mb} MB");
    row("whole policy", format!(",,,,,{whole_s:.2},{peak_mb}"));
    site.subscribe([node_name(1)]).await;
    if let Some(node) = site.nodes.first() {
        let Received { bytes, items, took } = node.snapshot;
        let took_s = took.as_secs_f64();
        println!(
            "  a node subscribes: its policy of {items} items in {bytes} bytes, acknowledged after {took_s:.3} s"
        );
        row("a node subscribes", format!(",,,,,{took_s:.3},"));
    }
    println!("{}", heading());
    let mut own = |turn: usize| workload(1 + turn % 100 * nodes, 1 + turn, nodes);
    let own = site.measure(arguments.changes, &mut own).await;
    let kept = arguments.tell("resync", sizes, "an address, of the node", own);
    let mut any = |turn: usize| workload(turn * 7919 % workloads, 1 + turn, nodes);
    let any = site.measure(arguments.changes, &mut any).await;
    let kept = arguments.tell("resync", sizes, "an address, anywhere", any) && kept;
    println!("  peak memory then {} MB\n", peak_bytes() >> 20);
    site.stop().await;
    kept
}

/// Changes of three sorts, to many nodes.
async fn changes(arguments: &Arguments) -> bool {
    let (workloads, allowlists) = (arguments.workloads, arguments.allowlists);
    let nodes = arguments.nodes;
    let sizes = [nodes, workloads, allowlists];
    println!("Changes: {nodes} nodes, {workloads} workloads, {allowlists} allowlists");
    let mut site = Site::start().await;
    let documents = documents(workloads, allowlists, nodes);
    site.take(News::Everything(documents)).await;
    let start = Instant::now();
    if let Some(program) = &arguments.real {
        site.run_real(program, &node_name(0)).await;
        println!("  {} is weir-node with one worker", node_name(0));
    }
    let simulated = usize::from(arguments.real.is_some())..nodes;
    site.subscribe(simulated.map(node_name)).await;
    println!(
        "  all nodes subscribed and served in {:.2} s",
        start.elapsed().as_secs_f64()
    );
    println!("{}", heading());
    let spaces = workloads.div_ceil(SPACE);
    let mut address = |turn: usize| workload(turn * 7919 % workloads, 1 + turn, nodes);
    let address = site.measure(arguments.changes, &mut address).await;
    let kept = arguments.tell("changes", sizes, "an address of a workload", address);
    let mut own = |turn: usize| workload(nodes * (1 + turn % 9) % workloads, 1 + turn, nodes);
    let own = site.measure(arguments.changes, &mut own).await;
    let kept = arguments.tell("changes", sizes, "an address, of one node", own) && kept;
    let mut rule = |turn: usize| allowlist(turn * 7919 % allowlists, spaces, 1 + turn);
    let rule = site.measure(arguments.changes, &mut rule).await;
    let kept = arguments.tell("changes", sizes, "a rule of an allowlist", rule) && kept;
    let mut everywhere = |turn: usize| for_all(1 + turn);
    let everywhere = site.measure(arguments.changes, &mut everywhere).await;
    let kept = arguments.tell("changes", sizes, "a rule for every node", everywhere) && kept;
    site.stop().await;
    kept
}

impl Arguments {
    /// Prints a row of latencies; whether the promise is kept.
    fn tell(
        &self,
        part: &str,
        sizes: [usize; 3],
        what: &str,
        (took_ms, concerned): (Vec<f64>, f64),
    ) -> bool {
        let at = |percent: usize| {
            let last = took_ms.len().saturating_sub(1);
            let index = (took_ms.len() * percent / 100).min(last);
            took_ms.get(index).copied().unwrap_or(0.0)
        };
        let number = took_ms.len();
        let [p50, p99, most] = [at(50), at(99), at(100)];
        let kept = p99 < LATENCY_MS;
        let verdict = if kept { "kept" } else { "NOT KEPT" };
        println!(
            "  {what:<26} {number:>7} {concerned:>9.1} {p50:>9.1} {p99:>9.1} {most:>9.1}  p99 < {LATENCY_MS} ms: {verdict}"
        );
        let figures = format!("{number},{concerned:.1},{p50:.1},{p99:.1},{most:.1},,");
        self.add(part, sizes, what, figures);
        kept
    }

    /// Adds a row to the record.
    fn add(
        &self,
        part: &str,
        [nodes, workloads, allowlists]: [usize; 3],
        what: &str,
        figures: String,
    ) {
        let Some(path) = &self.record else { return };
        let mut options = std::fs::OpenOptions::new();
        let file = options.create(true).append(true).open(path);
        let mut file = file.expect("the record can be written");
        let made = &self.made;
        let what = what.replace(',', "");
        let written = writeln!(
            file,
            "{made},{part},{nodes},{workloads},{allowlists},{what},{figures}"
        );
        written.expect("the record can be written");
    }
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
            real: None,
            tasks: Default::default(),
        }
    }

    async fn stop(mut self) {
        if let Some(mut real) = self.real.take() {
            let _ = real.kill();
            let _ = real.wait();
        }
        self.tasks.shutdown().await;
        self.controller.stop().await;
    }

    fn state(&self) -> &Arc<State> {
        self.controller.state()
    }

    async fn take(&self, news: News) -> u64 {
        let taken = self.state().take_news(news).await;
        let refused = self.state().pipeline.standings.problems();
        assert!(
            refused.is_empty(),
            "what is measured is in force: {refused:?}"
        );
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
            self.nodes.push(Node {
                target: self.target(&name),
                acknowledged: Some(acknowledged),
                snapshot,
            });
        }
    }

    /// What the controller has for a node.
    fn target(&self, name: &str) -> Arc<Target> {
        let target = self.state().pipeline.subscribe(name, false);
        self.state().pipeline.unsubscribe(name, false);
        target
    }

    /// Starts a weir-node between two devices without traffic, until it enforces its policy.
    async fn run_real(&mut self, program: &Path, name: &str) {
        let directory = self.root.path().join("node");
        std::fs::create_dir(&directory).expect("the directory is ours");
        let config = directory.join("node.toml");
        let text = format!(
            "[node]\nname = {name:?}\nstate_directory = {directory:?}\n\
             [eal]\nhuge_pages = \"never\"\nmemory_mb = 256\nvirtual_devices = [\"net_null0,no-rx=1\", \"net_null1,no-rx=1\"]\n\
             [workers]\ncores = [0]\nidle = \"sleep\"\n\
             [controller]\naddress = \"unix:{}\"\n\
             [[pair]]\nname = \"p0\"\nports = [\"net_null0\", \"net_null1\"]\n",
            self.root.path().join("nodes.sock").display()
        );
        std::fs::write(&config, text).expect("the directory is ours");
        let log = std::fs::File::create(directory.join("log")).expect("the directory is ours");
        let node = Command::new(program)
            .args(["run", "--config"])
            .arg(&config)
            .env("RUNTIME_DIRECTORY", &directory)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        self.real = Some(node.expect("weir-node can be started"));
        let start = Instant::now();
        let version = self.state().version();
        let enforces = |node: &weir_api::v1::NodeStatus| node.enforced_version >= version;
        while !self.state().nodes.status(version).iter().any(enforces) {
            let log = || std::fs::read_to_string(directory.join("log")).unwrap_or_default();
            assert!(
                start.elapsed() < PATIENCE,
                "weir-node enforces nothing:\n{}",
                log()
            );
            tokio::time::sleep(SETTLED).await;
        }
        self.nodes.push(Node {
            target: self.target(name),
            acknowledged: None,
            snapshot: Received::default(),
        });
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
            count += 1;
            let Some(acknowledged) = &mut node.acknowledged else {
                continue;
            };
            let reached = acknowledged.wait_for(|reached| *reached >= version);
            drop(patient(reached).await.expect("the node is served"));
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
        number % 20
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
