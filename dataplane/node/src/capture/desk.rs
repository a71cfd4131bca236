//! Begins and ends captures, and writes what workers copied for them. One thread, beside the workers.
//!
//! Trusts the controller in what to capture, within the node's own bounds: [`CAPTURES_MAX`] at a time,
//! the directory's bytes and files. A disk that is full or broken ends the captures that meet it, with
//! an error in the log and in the status that the controller shows; traffic is not concerned.
//! Memory: the workers' rings while anything runs, and [`ENDED_MAX`] captures that are over.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::watch;
use tracing::{error, info};
use weir_api::v1::wanted_capture::What;
use weir_api::v1::{self, CaptureState};

use super::file::CaptureFile;
use super::folder::{Folder, id_of, unix_us};
use super::{BUFFERS, CAPTURES_MAX, Copied, Filter, NETWORKS_MAX, Ring, Switch, Wanted, network};
use crate::agent::Clock;
use crate::connection::has_ports;
use crate::worker::Shared;

/// Captures that are over and still told of.
const ENDED_MAX: usize = 256;
/// Between two looks at the rings while something runs.
const POLL: Duration = Duration::from_millis(1);
/// Between two looks at whether the node stops, while nothing does.
const IDLE: Duration = Duration::from_millis(200);
/// How often what changed is told.
const TELL_EVERY: Duration = Duration::from_millis(250);
/// Packets written before anything else is looked at.
const WRITE_AT_ONCE: usize = 4_096;
/// The longest that a capture lasts here, whatever is wanted.
const LASTS_MAX: Duration = Duration::from_secs(24 * 3600);

/// How captures are asked for and looked at.
#[derive(Clone, Debug)]
pub struct CaptureDesk {
    inbox: Arc<Inbox>,
    told: watch::Receiver<v1::CaptureStatuses>,
    /// Where the files are, if they may be read by the controller.
    pub readable: Option<std::path::PathBuf>,
}

#[derive(Debug, Default)]
struct Inbox {
    wanted: Mutex<Option<Vec<v1::WantedCapture>>>,
    came: Condvar,
}

/// What a desk needs to know of its node.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The node's name.
    pub node: String,
    /// The names of its ports.
    pub ports: Vec<String>,
    /// Bytes kept of a frame: no frame is longer.
    pub snap_bytes: usize,
    /// Whether the controller may read the files.
    pub readable: bool,
}

/// The thread's state.
pub struct Desk {
    shared: Arc<Shared>,
    setting: Setting,
    folder: Folder,
    clock: Clock,
    inbox: Arc<Inbox>,
    telling: watch::Sender<v1::CaptureStatuses>,
    /// By bit.
    running: Vec<Option<Running>>,
    ended: VecDeque<v1::CaptureStatus>,
    rings: Vec<Arc<Ring>>,
    generation: u64,
    /// What workers may still look at.
    passed_on: Vec<Arc<Wanted>>,
    changed: bool,
    told_at: Option<Instant>,
}

struct Running {
    status: v1::CaptureStatus,
    wanted: v1::WantedCapture,
    filter: Filter,
    switch: Arc<Switch>,
    file: CaptureFile,
    since: u64,
    until: Instant,
}

impl CaptureDesk {
    /// These captures are wanted, and no others.
    pub fn want(&self, wanted: Vec<v1::WantedCapture>) {
        *lock(&self.inbox.wanted) = Some(wanted);
        self.inbox.came.notify_one();
    }

    /// All captures, whenever one of them changes.
    pub fn told(&self) -> watch::Receiver<v1::CaptureStatuses> {
        self.told.clone()
    }
}

impl Desk {
    /// A desk for these workers, and the way to it.
    pub fn new(shared: Arc<Shared>, folder: Folder, setting: Setting) -> (Self, CaptureDesk) {
        let (telling, told) = watch::channel(v1::CaptureStatuses::default());
        let inbox: Arc<Inbox> = Arc::default();
        let readable = setting.readable.then(|| folder.path().to_owned());
        let of_before = folder.files().iter().map(|kept| v1::CaptureStatus {
            id: id_of(&kept.name).unwrap_or_default().to_owned(),
            state: CaptureState::Done.into(),
            bytes: kept.bytes,
            file: kept.name.clone(),
            why: "kept from before the node started".to_owned(),
            until_unix_us: kept.changed_unix_us,
            ..Default::default()
        });
        let of_before: Vec<_> = of_before.collect();
        let forgotten = of_before.len().saturating_sub(ENDED_MAX);
        let desk = Self {
            clock: Clock::started_at(shared.started),
            shared,
            setting,
            inbox: Arc::clone(&inbox),
            telling,
            running: (0..CAPTURES_MAX).map(|_| None).collect(),
            ended: of_before.into_iter().skip(forgotten).collect(),
            folder,
            rings: Vec::new(),
            generation: 0,
            passed_on: Vec::new(),
            changed: true,
            told_at: None,
        };
        (
            desk,
            CaptureDesk {
                inbox,
                told,
                readable,
            },
        )
    }

    /// Works until the node stops.
    pub fn run(mut self) {
        let mut written = 0;
        while !self.shared.stop.load(Ordering::Relaxed) {
            let wait = match (written, self.rings.is_empty()) {
                (0, true) => IDLE,
                (0, false) => POLL,
                _ => Duration::ZERO,
            };
            if let Some(wanted) = self.inbox.take(wait) {
                self.want(wanted);
            }
            written = self.write();
            self.look_at_the_clock();
            self.tell();
        }
        for index in 0..CAPTURES_MAX {
            self.end(index, CaptureState::Done, "the node stopped".to_owned());
        }
    }

    /// Begins what is new, ends what is missing.
    fn want(&mut self, wanted: Vec<v1::WantedCapture>) {
        let mut differs = false;
        for index in 0..CAPTURES_MAX {
            let is = |it: &Running| wanted.iter().any(|wanted| wanted.id == it.status.id);
            if self.running[index].as_ref().is_some_and(|it| !is(it)) {
                self.end(index, CaptureState::Done, "it was ended".to_owned());
                differs = true;
            }
        }
        for wanted in wanted {
            let running = self.running.iter_mut().flatten();
            let mut running = running.filter(|it| it.status.id == wanted.id);
            if let Some(running) = running.next() {
                // The pods of a workload come and go.
                if let Ok(filter) = filter(&wanted)
                    && filter != running.filter
                {
                    (running.filter, differs) = (filter, true);
                }
                continue;
            }
            if self.ended.iter().all(|ended| ended.id != wanted.id) {
                differs |= self.begin(wanted);
            }
        }
        if differs {
            self.pass_on();
        }
    }

    fn begin(&mut self, wanted: v1::WantedCapture) -> bool {
        let now = SystemTime::now();
        let mut status = v1::CaptureStatus {
            id: wanted.id.clone(),
            state: CaptureState::Running.into(),
            since_unix_us: unix_us(now),
            wanted: Some(wanted.clone()),
            ..Default::default()
        };
        self.changed = true;
        match self.open(&wanted, now) {
            Ok((index, file, name, filter)) => {
                info!(
                    capture = wanted.id,
                    by = wanted.by,
                    of = wanted.of,
                    file = name,
                    "capturing packets"
                );
                status.file = name;
                let lasts = Duration::from_millis(wanted.left_ms).min(LASTS_MAX);
                self.running[index] = Some(Running {
                    status,
                    filter,
                    switch: Arc::default(),
                    file,
                    // That of the next set of captures, which has it first.
                    since: self.generation + 1,
                    until: Instant::now() + lasts,
                    wanted,
                });
                true
            }
            Err(why) => {
                error!(capture = wanted.id, by = wanted.by, %why, "packets are not captured");
                status.state = CaptureState::Failed.into();
                status.until_unix_us = status.since_unix_us;
                status.why = why;
                self.keep(status);
                false
            }
        }
    }

    fn open(
        &mut self,
        wanted: &v1::WantedCapture,
        now: SystemTime,
    ) -> Result<(usize, CaptureFile, String, Filter), String> {
        let filter = filter(wanted)?;
        let free = self.running.iter().position(Option::is_none);
        let index = free.ok_or_else(|| {
            format!("this node makes {CAPTURES_MAX} captures already; end some of them first")
        })?;
        let names = (wanted.by.as_str(), wanted.of.as_str(), wanted.id.as_str());
        let (name, file, gone) = self.folder.begin(now, names)?;
        self.forget_files(&gone);
        let v1::WantedCapture {
            id,
            by,
            because,
            of,
            ..
        } = wanted;
        let node = &self.setting.node;
        let comment = format!("weir capture {id} of {of} on {node}, wanted by {by}: {because}");
        let begun = CaptureFile::begin(file, comment, &self.setting.ports, self.setting.snap_bytes);
        match begun {
            Ok(file) => Ok((index, file, name, filter)),
            Err(why) => {
                self.folder.remove(&name);
                Err(format!("{name} cannot be written: {why}"))
            }
        }
    }

    /// Ends a capture, if there is one with this bit.
    fn end(&mut self, index: usize, state: CaptureState, why: String) {
        let Some(running) = self.running[index].take() else {
            return;
        };
        let Running {
            mut status,
            switch,
            mut file,
            ..
        } = running;
        switch.turn_off();
        let flushed = file.flush();
        let bytes = file.bytes;
        drop(file);
        (status.state, status.why) = match (state, flushed) {
            (CaptureState::Done, Err(why)) => (CaptureState::Failed.into(), why),
            (state, _) => (state.into(), why),
        };
        status.lost = switch.lost();
        status.until_unix_us = unix_us(SystemTime::now());
        match status.packets {
            0 => {
                self.folder.remove(&status.file);
                status.file.clear();
                status.why = format!("{}; no packet came", status.why);
            }
            _ => {
                let _ = self.folder.grown(&status.file, bytes);
                self.folder.close(&status.file);
            }
        }
        let (packets, lost, why) = (status.packets, status.lost, &status.why);
        if status.state() == CaptureState::Failed {
            error!(capture = status.id, packets, why, directory = %self.folder.path().display(), "a capture has failed; what was written is kept");
        } else {
            info!(capture = status.id, packets, lost, why, "a capture is over");
        }
        self.keep(status);
    }

    fn keep(&mut self, status: v1::CaptureStatus) {
        if self.ended.len() >= ENDED_MAX {
            self.ended.pop_front();
        }
        self.ended.push_back(status);
        self.changed = true;
    }

    /// Lets workers know what is wanted now; they take it within a millisecond.
    fn pass_on(&mut self) {
        let any = self.running.iter().any(Option::is_some);
        if any && self.rings.is_empty() {
            let ring = |_| Arc::new(Ring::new(BUFFERS, self.setting.snap_bytes));
            self.rings = (0..self.shared.pages.len()).map(ring).collect();
        }
        self.generation += 1;
        let wanted = any.then(|| {
            let entry = |running: &Option<Running>| {
                let running = running.as_ref()?;
                Some((running.filter.clone(), Arc::clone(&running.switch)))
            };
            let entries = self.running.iter().map(entry).collect();
            Arc::new(Wanted::new(self.generation, entries, self.rings.clone()))
        });
        self.passed_on.extend(wanted.clone());
        self.shared.captures.store(wanted);
        if !any {
            self.rings.clear();
        }
    }

    /// Writes what workers copied; how many packets.
    fn write(&mut self) -> usize {
        let rings = self.rings.clone();
        let mut written = 0;
        for ring in &rings {
            while written < WRITE_AT_ONCE
                && let Some(copied) = ring.pop()
            {
                written += 1;
                for index in 0..CAPTURES_MAX {
                    self.write_to(index, &copied);
                }
                ring.give_back(copied);
            }
        }
        self.changed |= written > 0;
        written
    }

    fn write_to(&mut self, index: usize, copied: &Copied) {
        let Some(running) = &mut self.running[index] else {
            return;
        };
        if !copied.is_for(index, running.since) {
            return;
        }
        let (packets_max, bytes_max) = (running.wanted.packets_max, running.wanted.bytes_max);
        let bytes = running.status.bytes + copied.bytes.len() as u64;
        if bytes > bytes_max.into() {
            self.end_early(
                index,
                CaptureState::Done,
                format!("it has its {bytes_max} bytes"),
            );
            return;
        }
        let unix = Duration::from_micros(self.clock.unix_us(copied.time_us));
        if let Err(why) = running.file.write(copied, unix) {
            let why = format!("{} cannot be written: {why}", running.status.file);
            self.end_early(index, CaptureState::Failed, why);
            return;
        }
        running.status.bytes = bytes;
        running.status.packets += 1;
        let full = running.status.packets >= packets_max.into();
        match self.folder.grown(&running.status.file, running.file.bytes) {
            Ok(gone) => self.forget_files(&gone),
            Err(why) => return self.end_early(index, CaptureState::Failed, why),
        }
        if full {
            self.end_early(
                index,
                CaptureState::Done,
                format!("it has its {packets_max} packets"),
            );
        }
    }

    /// Ends a capture that has all it may have.
    fn end_early(&mut self, index: usize, state: CaptureState, why: String) {
        self.end(index, state, why);
        self.pass_on();
    }

    fn look_at_the_clock(&mut self) {
        let now = Instant::now();
        let over = |running: &Option<Running>| running.as_ref().is_some_and(|it| it.until <= now);
        let over: Vec<usize> = (0..CAPTURES_MAX)
            .filter(|&index| over(&self.running[index]))
            .collect();
        for &index in &over {
            self.end(index, CaptureState::Done, "its time is over".to_owned());
        }
        if !over.is_empty() {
            self.pass_on();
        }
        // What no worker holds any more is dropped here, where it delays nobody.
        self.passed_on
            .retain(|wanted| Arc::strong_count(wanted) > 1);
    }

    fn forget_files(&mut self, gone: &[String]) {
        for status in &mut self.ended {
            if gone.contains(&status.file) {
                status.file.clear();
                status.why.push_str("; the file made way for newer ones");
                self.changed = true;
            }
        }
    }

    /// Tells all captures, if one has changed and it is time.
    fn tell(&mut self) {
        let soon = self.told_at.is_some_and(|told| told.elapsed() < TELL_EVERY);
        if !self.changed || soon {
            return;
        }
        let mut failed = BTreeMap::new();
        for (index, running) in self.running.iter_mut().enumerate() {
            let Some(running) = running else { continue };
            running.status.lost = running.switch.lost();
            if let Err(why) = running.file.flush() {
                failed.insert(index, why);
            }
        }
        let any = !failed.is_empty();
        for (index, why) in failed {
            self.end(index, CaptureState::Failed, why);
        }
        if any {
            self.pass_on();
        }
        let running = self.running.iter().flatten().map(|it| &it.status);
        let statuses = v1::CaptureStatuses {
            captures: self.ended.iter().chain(running).cloned().collect(),
            directory: self.folder.path().display().to_string(),
            kept_bytes: self.folder.bytes(),
            kept_bytes_max: self.folder.bytes_max(),
        };
        self.telling.send_replace(statuses);
        (self.changed, self.told_at) = (false, Some(Instant::now()));
    }
}

impl Inbox {
    /// What is wanted now, if that has changed; waits for so long.
    fn take(&self, wait: Duration) -> Option<Vec<v1::WantedCapture>> {
        let wanted = lock(&self.wanted);
        let nothing = |wanted: &mut Option<_>| wanted.is_none();
        let came = self.came.wait_timeout_while(wanted, wait, nothing);
        came.unwrap_or_else(PoisonError::into_inner).0.take()
    }
}

/// What somebody wants, as workers look for it.
fn filter(wanted: &v1::WantedCapture) -> Result<Filter, String> {
    let id_fits = (1..=32).contains(&wanted.id.len())
        && wanted.id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if !id_fits {
        return Err("its id is not of 1 to 32 letters and digits".to_owned());
    }
    match &wanted.what {
        Some(What::Flow(flow)) => {
            let address = |bytes: &[u8]| {
                let (address, _) = network(bytes, bytes.len() as u32 * 8)?;
                Some(address)
            };
            let ends = address(&flow.client_address).zip(address(&flow.server_address));
            let (client, server) = ends.ok_or("an address has neither 4 nor 16 bytes")?;
            let protocol = u8::try_from(flow.protocol).map_err(|_| "there is no such protocol")?;
            let port = |port: u32| match has_ports(protocol) {
                true => u16::try_from(port).map_err(|_| "there is no such port"),
                false => Ok(0),
            };
            Ok(Filter::Flow {
                zone: flow.zone,
                protocol,
                ends: [
                    (client, port(flow.client_port)?),
                    (server, port(flow.server_port)?),
                ],
            })
        }
        Some(What::Workload(workload)) => {
            if workload.networks.len() > NETWORKS_MAX {
                return Err(format!(
                    "the workload has more than {NETWORKS_MAX} addresses"
                ));
            }
            let networks = workload.networks.iter();
            let networks = networks.map(|it| network(&it.network, it.prefix_bits));
            let networks: Option<Vec<_>> = networks.collect();
            Ok(Filter::Networks {
                zone: workload.zone,
                networks: networks.ok_or("a network of the workload cannot be read")?,
            })
        }
        None => Err("it does not say whose packets".to_owned()),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
