//! The ports of a running node: started as configured, described for people and for the controller.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use tracing::{info, warn};
use weir_api::v1::{PortCounters, WorkerState};
use weir_dpdk::{Eal, Pool, Port, PortConfig, PortReport};

use crate::config::{Config, FailMode};
use crate::host_interface;
use crate::io::dpdk::DpdkQueue;
use crate::io::{PortIndex, Role};
use crate::status::{Device, Status};
use crate::worker::Shared;

/// Descriptors of a queue, each way.
const DESCRIPTORS: u16 = 1024;
/// How long a process that was taken over from may keep its cards, and how often they are asked for.
const LET_GO_WITHIN: Duration = Duration::from_secs(8);
const ATTACH_AGAIN: Duration = Duration::from_millis(10);
/// Headroom, Ethernet header, two tags and frame check sequence beside the MTU.
const FRAME_OVERHEAD_BYTES: u16 = 128 + 14 + 8 + 4 + 10;
/// A buffer holds at least this, whatever the MTU: DPDK's own default.
const BUFFER_BYTES_MIN: u16 = 2176;

/// The started ports.
pub struct Started {
    /// In the order of the configuration.
    pub ports: Vec<(Port, PortReport)>,
    /// By port, then by worker.
    pub ends: Vec<Vec<DpdkQueue>>,
    /// By port: the device spreads flows over the workers.
    pub spread: Vec<bool>,
}

fn mtus(config: &Config) -> impl Iterator<Item = u16> {
    let pairs = config.pair.iter().flat_map(|pair| [pair.mtu; 2]);
    pairs.chain(config.tap.iter().map(|tap| tap.mtu))
}

/// Bytes that hold any frame of the ports.
pub fn buffer_bytes(config: &Config) -> u16 {
    let largest = mtus(config).max().unwrap_or(1500);
    largest
        .saturating_add(FRAME_OVERHEAD_BYTES)
        .max(BUFFER_BYTES_MIN)
}

/// Where frames live.
pub fn frame_pool(config: &Config) -> Result<Pool> {
    let room = buffer_bytes(config);
    Ok(Pool::new(
        "weir",
        config.eal.frame_buffers,
        256,
        room,
        None,
    )?)
}

/// Adds the devices of the configuration to an environment that was started without. The kernel gives a card to one
/// process at a time, and takes it back when the one before has ended: until then it is asked again.
pub fn attach(config: &Config, eal: &Eal) -> Result<()> {
    let begun = Instant::now();
    for device in config.eal.virtual_devices.iter().chain(&config.eal.devices) {
        while let Err(why) = eal.attach(device) {
            if begun.elapsed() > LET_GO_WITHIN {
                return Err(why.into());
            }
            std::thread::sleep(ATTACH_AGAIN);
        }
    }
    Ok(())
}

/// What tells these ports from others, in order.
pub fn described(config: &Config) -> Vec<String> {
    let pairs = config.pair.iter().flat_map(|pair| {
        let inline = |port| format!("{port} of pair {}", pair.name);
        pair.ports.iter().map(inline)
    });
    let taps = config.tap.iter().map(|tap| format!("tap {}", tap.port));
    pairs.chain(taps).collect()
}

/// Starts every port of the configuration; what a device does not give as asked is logged.
pub fn start(config: &Config, eal: &Eal, pool: &Pool) -> Result<Started> {
    let workers = u16::try_from(config.workers.cores.len())?;
    host_interface::make(config, eal)?;
    let mtus: Vec<u16> = mtus(config).collect();
    let mut started = Started {
        ports: Vec::new(),
        ends: Vec::new(),
        spread: Vec::new(),
    };
    for (name, mtu) in config.port_names().zip(mtus) {
        let known = || {
            eal.ports()
                .iter()
                .map(|port| port.name.clone())
                .collect::<Vec<_>>()
                .join(", ")
        };
        let id = host_interface::find_port(eal, name).ok_or_else(|| {
            anyhow!("port {name} is not there (DPDK has: {}); check the PCI address and that its driver is vfio-pci, or add the virtual device with --vdev", known())
        })?;
        let settings = PortConfig {
            rx_queues: workers,
            tx_queues: workers,
            rx_descriptors: DESCRIPTORS,
            tx_descriptors: DESCRIPTORS,
            mtu,
            promiscuous: true,
            symmetric_rss: workers > 1,
        };
        let (port, report) = Port::start(id, &settings, pool)?;
        for deviation in report.deviations() {
            warn!("{deviation}");
        }
        info!(
            port = name, driver = report.driver, link_up = report.link.up, speed_mbps = report.link.speed_mbps, mtu = report.mtu.given,
            promiscuous = report.promiscuous.given, queues = report.rx_queues.given, symmetric_rss = report.symmetric_rss.given,
            checksum_offloads = ?report.checksum_offloads, "port started"
        );
        let ends = DpdkQueue::split(&port, usize::from(workers))
            .with_context(|| format!("port {name} has no transmit queue"))?;
        started
            .spread
            .push(report.symmetric_rss.given && report.rx_queues.given == workers);
        started.ends.push(ends);
        started.ports.push((port, report));
    }
    let mtus: Vec<u16> = started.ports.iter().map(|(_, it)| it.mtu.given).collect();
    host_interface::dress(config, &mtus);
    Ok(started)
}

/// What each port is to the path: pairs first, then taps.
pub fn roles(config: &Config) -> Vec<Role> {
    let pairs = config.pair.iter().enumerate().flat_map(|(index, pair)| {
        let first = (2 * index) as PortIndex;
        let fail_open = pair.fail_mode == FailMode::Open;
        [first + 1, first].map(|peer| Role::Inline {
            peer,
            pair: index as u8,
            fail_open,
        })
    });
    let taps = (config.pair.len()..)
        .zip(&config.tap)
        .map(|(index, _)| Role::Tap { pair: index as u8 });
    pairs.chain(taps).collect()
}

/// Ports and workers for the controller.
pub struct Ports {
    /// As it was at the start.
    pub config: Config,
    /// In its order; see [`Ports::lock`].
    pub ports: Mutex<Vec<(Port, PortReport)>>,
    /// Where frames are.
    pub pool: Pool,
    /// What the workers tell.
    pub shared: Arc<Shared>,
}

impl Ports {
    /// Lets go of the ports: those whose queues are dropped are free for another process.
    pub fn close(&self) {
        self.lock().clear();
    }

    /// The ports, none once they are closed.
    pub fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(Port, PortReport)>> {
        self.ports.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Status for Ports {
    fn ports(&self) -> Vec<PortCounters> {
        let count = |device: Device| PortCounters {
            received: device.stats.received,
            transmitted: device.stats.transmitted,
            dropped: device.stats.receive_errors + device.stats.transmit_errors,
            missed: device.stats.missed + device.stats.no_buffer,
            link_up: device.up,
            port: device.port,
            pair: device.pair,
            role: device.role.to_owned(),
        };
        self.devices().into_iter().map(count).collect()
    }

    fn devices(&self) -> Vec<Device> {
        let pairs = self.config.pair.iter().flat_map(|pair| {
            let ports = pair.ports.iter();
            ports.map(move |port| (port, pair.name.as_str(), "inline"))
        });
        let taps = self.config.tap.iter().map(|tap| (&tap.port, "", "tap"));
        let ports = self.lock();
        let named = pairs.chain(taps).zip(ports.iter());
        let device = named.map(|((name, pair, role), (port, report))| Device {
            port: name.clone(),
            pair: pair.to_owned(),
            role,
            driver: report.driver.clone(),
            up: port.link().up,
            stats: port.stats(),
        });
        device.collect()
    }

    fn frame_buffers(&self) -> Option<(u32, u32)> {
        Some((self.pool.available(), self.pool.capacity()))
    }

    fn workers(&self) -> Vec<WorkerState> {
        let describe = |(index, core): (usize, &usize)| WorkerState {
            worker: index as u32,
            core: *core as u32,
            state: if self.shared.alive[index].load(Ordering::Relaxed) {
                "running"
            } else {
                "lost"
            }
            .to_owned(),
        };
        self.config
            .workers
            .cores
            .iter()
            .enumerate()
            .map(describe)
            .collect()
    }
}
