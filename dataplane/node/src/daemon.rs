//! Puts a node together: environment, ports, workers, watchdog, agent; and takes it apart again.

use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tracing::{error, info, warn};
use weir_api::{Endpoint, TlsFiles};
use weir_dpdk::{Eal, EalOptions, Pool};
use weir_service::{Notifier, Supervision, supervise};
use weir_sigs::RuleSet;
use weir_threat::Threats;

use crate::agent::{
    Agent, Alarms, Clock, ControllerAddress, EvidenceFiles, LastGood, Trust, last_good_path,
};
use crate::capture::{CaptureDesk, Desk, Folder, Setting};
use crate::config::{Config, HugePages, Strictness};
use crate::cores;
use crate::ending::{Ending, Next};
use crate::eve::EveFile;
use crate::event::EventRing;
use crate::handover::Ownership;
use crate::inspection::Inspection;
use crate::io::dpdk::{DpdkQueue, PoolFrames};
use crate::limits::{Limits, Rules};
use crate::links;
use crate::metrics::{Sources, Telling};
use crate::path::Path;
use crate::ports::{self, Ports};
use crate::service::Progress;
use crate::signatures;
use crate::status::Status;
use crate::takeover::{self, Moment, Predecessor, Share, Successor, Taken};
use crate::watchdog::Watchdog;
use crate::worker::{Shared, SharedQueues, Worker};

/// Runs a node until it is told to stop. `reread` gives the configuration again, for SIGHUP. With `take_over` the
/// ports are another process's until that one lets go of them, when all else is ready.
pub fn run(config: &Config, reread: &dyn Fn() -> Result<Config>, take_over: bool) -> Result<()> {
    config.check()?;
    cores::check(&config.workers.cores)?;
    cores::leave_to_workers(&config.workers.cores);
    let eve = open_events(config)?;
    let signatures = signatures::load(&signature_source(config))?;
    let controller = controller_address(config)?;
    let predecessor = take_over.then(Predecessor::from_standard_input).transpose();
    let predecessor =
        predecessor.context("--take-over needs the process before at standard input")?;
    let eal = start_eal(config, take_over)?;
    let pool = ports::frame_pool(config)?;
    let workers = config.workers.cores.len();
    let shared = Shared::new(workers, config.limits.sessions);
    signatures.count(&shared);
    let rings: Vec<_> = (0..workers).map(|_| event_ring(config)).collect();
    let crew = Crew {
        config,
        shared: &shared,
    };
    let paths = crew.paths(&rings, signatures.rules, &pool)?;
    if let Some(mut predecessor) = predecessor {
        info!("all is ready but the ports, which the process before has still");
        predecessor
            .ready()
            .context("the process before keeps its ports")?;
        ports::attach(config, &eal)?;
    }
    let started = ports::start(config, &eal, &pool)?;
    tell_dpdk_log();
    let (desk, captures) = capture_desk(config, &shared).unzip();
    let trust = Trust::open(&config.policy, &config.node.state_directory)?;
    let ports = Arc::new(Ports {
        config: config.clone(),
        ports: Mutex::new(started.ports),
        pool,
        shared: Arc::clone(&shared),
    });
    let mut agent = Agent {
        node: config.node.name.clone(),
        shared: Arc::clone(&shared),
        rings: rings.clone(),
        last_good: LastGood::at(last_good_path(&config.node.state_directory)),
        trust,
        kept: None,
        alarms: Alarms::default(),
        tally: Arc::default(),
        status: Arc::clone(&ports) as Arc<dyn Status>,
        eve,
        evidence: config
            .events
            .packets
            .as_ref()
            .map(|directory| EvidenceFiles::new(directory, config.events.packets_mb)),
        captures,
        controller,
    };
    let telling = telling(config, &agent, eal.huge_pages_used());
    match agent.start_with_last_good() {
        Ok(0) => info!(
            "no policy kept from earlier: until one is received, pairs that fail closed drop everything and the others only learn"
        ),
        Ok(version) => info!(version, "the last good policy is in force"),
        Err(why) => error!(%why, "starting without the last good policy"),
    }
    let share = crew.inheritance(&started.spread);
    let queues = by_worker(started.ends, workers);
    let mut threads = crew.start(paths, queues, &started.spread, share)?;
    if let Some(desk) = desk {
        let builder = std::thread::Builder::new().name("captures".into());
        threads.push(builder.spawn(move || desk.run())?);
    }
    let back = Arc::new(Notify::new());
    links::start(&ports, &back)?;
    let ending = Ending {
        config,
        shared: &shared,
        threads,
        ports,
        supervision: watched(&shared, config),
    };
    serve(agent, telling, ending, reread, &back)?;
    report_totals(&shared);
    Ok(())
}

/// Who captures packets; a directory that cannot be used keeps the node from that alone.
fn capture_desk(config: &Config, shared: &Arc<Shared>) -> Option<(Desk, CaptureDesk)> {
    let settings = &config.capture;
    if settings.megabytes == 0 {
        return None;
    }
    let usual = || config.node.state_directory.join("captures");
    let directory = settings.directory.clone().unwrap_or_else(usual);
    let bytes_max = settings.megabytes.saturating_mul(1 << 20);
    let folder = Folder::open(&directory, bytes_max, settings.files);
    let folder = folder.inspect_err(|why| error!("no packets can be captured: {why}"));
    let setting = Setting {
        node: config.node.name.clone(),
        ports: config.port_names().map(str::to_owned).collect(),
        snap_bytes: ports::buffer_bytes(config).into(),
        readable: settings.fetch,
    };
    Some(Desk::new(Arc::clone(shared), folder.ok()?, setting))
}

/// What is told over HTTP.
fn telling(config: &Config, agent: &Agent, huge_pages: bool) -> Arc<Telling> {
    let sources = Sources {
        config: config.clone(),
        shared: Arc::clone(&agent.shared),
        rings: agent.rings.clone(),
        tally: Arc::clone(&agent.tally),
        status: Arc::clone(&agent.status),
        captures: agent.captures.as_ref().map(CaptureDesk::told),
        huge_pages,
    };
    Telling::new(sources, progress(config, &agent.shared))
}

fn progress(config: &Config, shared: &Arc<Shared>) -> Progress {
    let stuck_after = Duration::from_millis(config.node.stuck_after_ms);
    let has_controller = config.controller.address.is_some();
    Progress::new(Arc::clone(shared), stuck_after, has_controller)
}

/// Tells a service manager, if there is one, when policy is in force and that the workers make progress.
fn watched(shared: &Arc<Shared>, config: &Config) -> Supervision {
    let mut progress = progress(config, shared);
    supervise(Notifier::from_environment(), move || {
        progress.look(Instant::now())
    })
}

/// Packets of alerts that wait to be written, per worker.
const EVIDENCE_WAITING: usize = 256;

fn event_ring(config: &Config) -> EventRing {
    let ring = EventRing::new(config.limits.events);
    match config.events.packets {
        Some(_) => ring.with_packets(EVIDENCE_WAITING),
        None => ring,
    }
}

/// The ends of all ports, by worker.
fn by_worker(ends: Vec<Vec<DpdkQueue>>, workers: usize) -> Vec<SharedQueues<DpdkQueue>> {
    let mut queues: Vec<Vec<DpdkQueue>> = (0..workers).map(|_| Vec::new()).collect();
    for ends in ends {
        for (queues, end) in queues.iter_mut().zip(ends) {
            queues.push(end);
        }
    }
    queues
        .into_iter()
        .map(|queues| Arc::new(Mutex::new(Some(queues))))
        .collect()
}

/// What the workers and their watchdog are made of.
struct Crew<'a> {
    config: &'a Config,
    shared: &'a Arc<Shared>,
}

impl Crew<'_> {
    /// The way of packets on each worker: all that takes time to make.
    fn paths(
        &self,
        rings: &[EventRing],
        ruleset: Option<Arc<RuleSet>>,
        pool: &Pool,
    ) -> Result<Vec<Path<PoolFrames>>> {
        let roles = ports::roles(self.config);
        let ownerships = Ownership::shared(&self.shared.alive, &[]);
        let counted = Arc::new(weir_threat::network::Shared::new(
            &self.config.threats.network,
            limits(self.config).secret,
        ));
        let mut paths = Vec::new();
        for (ownership, ring) in ownerships.into_iter().zip(rings) {
            let (limits, rules) = (limits(self.config), rules(self.config, self.shared));
            let mut inspection = Inspection::new(limits.sessions, ruleset.clone())?;
            inspection.watch(
                Threats::new(
                    Arc::clone(&rules.threats),
                    Arc::clone(&counted),
                    limits.secret,
                ),
                weir_content::Limits::default(),
            );
            paths.push(Path::new(
                &limits,
                rules,
                roles.clone(),
                PoolFrames(pool.clone()),
                ownership,
                inspection,
                Box::new(ring.clone()),
            ));
        }
        Ok(paths)
    }

    /// What the process before left for these workers; nothing where it left nothing that is of use.
    fn inheritance(&self, spread: &[bool]) -> Share {
        let settings = &self.config.upgrade;
        let path = settings.path(&self.config.node.state_directory);
        let estate = Moment::now()
            .map_err(|why| why.to_string())
            .and_then(|now| {
                let (ports, valid) = (
                    ports::described(self.config),
                    Duration::from_secs(settings.valid_s),
                );
                takeover::take(&path, &ports, valid, &now).map_err(|why| why.to_string())
            });
        match estate {
            Ok(None) => Share::default(),
            Ok(Some(estate)) => {
                let workers = self.config.workers.cores.len();
                info!(
                    from = estate.version,
                    flows = estate.flows(),
                    "the process before has left its connections"
                );
                estate.share_out(workers, spread.contains(&true))
            }
            Err(why) => {
                warn!(%why, "connections are not taken over: those under way are picked up in the middle, under the policy in force");
                Share::default()
            }
        }
    }

    /// Starts a worker on each core, and the watchdog.
    fn start(
        self,
        paths: Vec<Path<PoolFrames>>,
        queues: Vec<SharedQueues<DpdkQueue>>,
        spread: &[bool],
        share: Share,
    ) -> Result<Vec<JoinHandle<()>>> {
        let mut threads = Vec::new();
        let mut taken = Taken::default();
        for (index, mut path) in paths.into_iter().enumerate() {
            path.spread_by(spread);
            let mut worker = Worker::new(
                index,
                path,
                Arc::clone(&queues[index]),
                Arc::clone(self.shared),
                self.config.workers.idle,
            );
            if let Some(left) = share.workers.get(index) {
                taken = taken.plus(worker.take_over(left, self.config.upgrade.midway));
            }
            let core = self.config.workers.cores[index];
            threads.push(start_worker(worker, index, core)?);
        }
        if !share.workers.is_empty() {
            let ownerless = share.ownerless;
            info!(
                allowed = taken.allowed,
                denied = taken.denied,
                ended_midway = taken.ended_midway,
                no_room = taken.no_room,
                ownerless,
                "connections taken over"
            );
        }
        let roles = ports::roles(self.config);
        let stuck_after = Duration::from_millis(self.config.node.stuck_after_ms);
        let watchdog = Watchdog::new(Arc::clone(self.shared), queues, roles, stuck_after);
        threads.push(start_watchdog(watchdog)?);
        Ok(threads)
    }
}

fn start_watchdog(watchdog: Watchdog<DpdkQueue>) -> Result<JoinHandle<()>> {
    let watch = move || {
        if let Err(why) = weir_dpdk::register_thread() {
            error!(%why, "the watchdog cannot use ports");
        }
        watchdog.run();
    };
    Ok(std::thread::Builder::new()
        .name("watchdog".into())
        .spawn(watch)?)
}

/// Runs the agent and waits for signals.
fn serve(
    agent: Agent,
    telling: Arc<Telling>,
    ending: Ending<'_>,
    reread: &dyn Fn() -> Result<Config>,
    back: &Notify,
) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hang_up = signal(SignalKind::hangup())?;
        let mut replace = signal(SignalKind::user_defined2())?;
        let (node, workers) = (&ending.config.node.name, ending.config.workers.cores.len());
        // Not before signals are heard: one that came earlier would end the process.
        info!(node, workers, "weir-node is ready");
        let agent = tokio::spawn(agent.run());
        tokio::spawn(Arc::clone(&telling).look());
        let listen = ending.config.metrics.listen;
        tokio::spawn(weir_metrics::serve(listen, telling, std::future::pending()));
        let (told, mut successors) = tokio::sync::mpsc::channel(1);
        let next = loop {
            tokio::select! {
                _ = terminate.recv() => break Next::Someone,
                _ = interrupt.recv() => break Next::Nobody,
                () = back.notified() => break Next::Someone,
                _ = hang_up.recv() => reload(ending.config, reread, ending.shared),
                _ = replace.recv() => {
                    // One at a time: further ones while it gets ready change nothing.
                    if let Ok(told) = told.clone().try_reserve_owned() {
                        info!("starting the process that is to take over");
                        let workers = ending.config.workers.cores.clone();
                        std::thread::spawn(move || {
                            cores::share_with_workers(&workers);
                            told.send(Successor::start())
                        });
                    }
                }
                Some(successor) = successors.recv() => match successor {
                    Ok(successor) => break Next::This(successor),
                    Err(why) => error!(%why, "nobody takes over; this process goes on"),
                },
            }
        };
        ending.end(next);
        let _ = tokio::time::timeout(Duration::from_secs(3), agent).await;
        Ok(())
    })
}

/// SIGHUP: the configuration is read again. What can change while running does; for the rest the
/// log says that it needs a restart.
fn reload(config: &Config, reread: &dyn Fn() -> Result<Config>, shared: &Shared) {
    match reread().and_then(|next| Ok(next.check().map(|()| next)?)) {
        Err(why) => error!(%why, "the configuration is not taken; the one in force stays"),
        Ok(next) => {
            let changed = config.restart_needed(&next);
            if !changed.is_empty() {
                warn!(
                    sections = changed.join(", "),
                    "the configuration was read; these sections need a restart to take effect"
                );
            }
            shared.look_by(rules(&next, shared));
            let source = signature_source(&next);
            let sessions = config.limits.sessions;
            if let Err(why) = signatures::reload(&source, sessions, shared) {
                error!("the signatures are not taken; those in force stay: {why:#}");
            }
            info!("configuration read again");
        }
    }
}

fn start_eal(config: &Config, without_devices: bool) -> Result<Eal> {
    let devices = |all: &Vec<String>| match without_devices {
        true => Vec::new(),
        false => all.clone(),
    };
    let options = EalOptions {
        huge_pages: match config.eal.huge_pages {
            HugePages::Auto => weir_dpdk::HugePages::Auto,
            HugePages::Required => weir_dpdk::HugePages::Required,
            HugePages::Never => weir_dpdk::HugePages::Never,
        },
        memory_mb: config.eal.memory_mb,
        pci: devices(&config.eal.devices),
        pci_later: without_devices && !config.eal.devices.is_empty(),
        virtual_devices: devices(&config.eal.virtual_devices),
        file_prefix: match &config.eal.file_prefix {
            // The process before has it still.
            Some(prefix) if without_devices => format!("{prefix}-{}", std::process::id()),
            Some(prefix) => prefix.clone(),
            None => format!("weir-{}", std::process::id()),
        },
        extra: config.eal.extra.clone(),
        main_core: None,
    };
    let eal = Eal::start(&options)?;
    tell_dpdk_log();
    if eal.huge_pages_used() {
        info!("DPDK memory: hugepages");
    } else {
        info!(
            "DPDK memory: ordinary pages (no hugepages): expect 1.5 to 2.5 times the cost per packet"
        );
    }
    Ok(eal)
}

/// Passes on what DPDK has logged since the last call.
fn tell_dpdk_log() {
    let log = weir_dpdk::take_log_lines();
    for line in &log.lines {
        info!("dpdk: {line}");
    }
    if log.lost > 0 {
        warn!(lines = log.lost, "dpdk logged more than could be kept");
    }
}

fn start_worker<Q, S>(mut worker: Worker<Q, S>, index: usize, core: usize) -> Result<JoinHandle<()>>
where
    Q: crate::io::Queue<Frame = S::Frame> + 'static,
    S: crate::io::FrameSource + Send + 'static,
{
    let run = move || {
        if !cores::stay_on(core) {
            warn!(
                worker = index,
                core, "the worker could not be pinned to its core"
            );
        }
        if let Err(why) = weir_dpdk::register_thread() {
            error!(worker = index, %why, "the worker cannot use DPDK");
        }
        worker.run_watched();
    };
    Ok(std::thread::Builder::new()
        .name(format!("worker-{index}"))
        .spawn(run)?)
}

fn limits(config: &Config) -> Limits {
    let mut limits = Limits {
        flows: config.limits.flows,
        sessions: config.limits.sessions,
        held_packets: config.limits.held_packets,
        ..Limits::default()
    };
    limits.reassembly.pool_bytes = config.limits.reassembly_mb << 20;
    limits
}

fn rules(config: &Config, shared: &Shared) -> Rules {
    Rules {
        tunnels_max: config.inspection.tunnels,
        verify_checksums: config.inspection.verify_checksums,
        learn_first: learn_first(config),
        lenient: config.inspection.strictness == Strictness::Lenient,
        scan_depth_bytes: config.inspection.scan_depth_kb << 10,
        zero_unix_us: Clock::started_at(shared.started).unix_us(0),
        tell_requests: config.events.requests,
        tell_answers: config.controller.address.is_some(),
        // The names were checked with the rest of the configuration.
        threats: Arc::new(weir_threat::Config::new(&config.threats).unwrap_or_default()),
        ..Rules::default()
    }
}

/// A bit for each pair that learns before the first policy.
fn learn_first(config: &Config) -> u64 {
    let pairs = config.pair.iter().enumerate();
    pairs
        .filter(|(_, pair)| pair.learn_first)
        .fold(0, |all, (index, _)| all | 1 << index)
}

fn signature_source(config: &Config) -> signatures::Source {
    signatures::Source {
        shipped: config.inspection.shipped_rules,
        paths: config.inspection.signatures.clone(),
        variables: config.inspection.variables.clone(),
        cache: Some(config.node.state_directory.join("signatures")),
    }
}

fn open_events(config: &Config) -> Result<Option<EveFile>> {
    let open = |path: &std::path::PathBuf| {
        EveFile::open(path).with_context(|| {
            format!(
                "cannot append events to {}; check the directory and its permissions",
                path.display()
            )
        })
    };
    config.events.file.as_ref().map(open).transpose()
}

fn controller_address(config: &Config) -> Result<Option<ControllerAddress>> {
    let settings = &config.controller;
    let Some(address) = &settings.address else {
        warn!("no controller is configured: only the last good policy is enforced");
        return Ok(None);
    };
    let tls = TlsFiles::from_options(
        settings.tls_ca.clone(),
        settings.tls_certificate.clone(),
        settings.tls_key.clone(),
    )?;
    let endpoint: Endpoint = address.parse()?;
    Ok(Some(ControllerAddress {
        endpoint,
        tls,
        server_name: settings.tls_server_name.clone(),
    }))
}

/// The last line of the log: every frame is accounted for.
fn report_totals(shared: &Shared) {
    let (mut received, mut transmitted, mut tapped, mut dropped) = (0, 0, 0, 0);
    for worker in 0..shared.pages.len() {
        let page = shared.page(worker);
        received += page.counts.received + page.counts.injected - page.counts.handed_over;
        transmitted += page.counts.transmitted;
        tapped += page.counts.tapped;
        dropped += page.counts.dropped_total();
    }
    let balanced = received == transmitted + tapped + dropped;
    info!(
        received,
        transmitted, tapped, dropped, balanced, "weir-node has stopped"
    );
}
