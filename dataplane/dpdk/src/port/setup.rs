//! Setting a device up: what it cannot give is cut or left out and reported; only what a port cannot do
//! without is an error.

use std::ptr;

use super::{PortConfig, link_of};
use crate::eal;
use crate::error::{self, PortError};
use crate::log;
use crate::pool::Pool;
use crate::report::{ChecksumOffloads, Granted, PortReport};

/// Ethernet header, checksum, two VLAN tags.
const FRAME_OVERHEAD_BYTES: u32 = 14 + 4 + 2 * 4;
const MTU_DEFAULT: u16 = 1500;
/// What drivers answer when they have no such function.
const NOT_SUPPORTED: i32 = -95;
/// Repeated over the whole key of a Toeplitz hash it makes swapped addresses and ports hash alike
/// (Woo and Park, "Scalable TCP Session Monitoring with Symmetric Receive-side Scaling", 2012).
const SYMMETRIC_KEY: [u8; 2] = [0x6d, 0x5a];
const KEY_BYTES_DEFAULT: usize = 40;

/// Where these verify checksums, the other end takes it as leave to send none.
const NO_CHECKSUMS: [&str; 2] = ["net_virtio_user", "net_virtio"];
/// It says that it can hash, and means by rules of its own: the kernel chooses its queues.
const NO_HASH: &str = "net_tap";

const RSS_FUNCTIONS: [(u64, &str); 12] = [
    (dpdk_sys::WEIR_RSS_IPV4, "ipv4"),
    (dpdk_sys::WEIR_RSS_FRAG_IPV4, "ipv4-fragment"),
    (dpdk_sys::WEIR_RSS_IPV4_TCP, "ipv4-tcp"),
    (dpdk_sys::WEIR_RSS_IPV4_UDP, "ipv4-udp"),
    (dpdk_sys::WEIR_RSS_IPV4_SCTP, "ipv4-sctp"),
    (dpdk_sys::WEIR_RSS_IPV4_OTHER, "ipv4-other"),
    (dpdk_sys::WEIR_RSS_IPV6, "ipv6"),
    (dpdk_sys::WEIR_RSS_FRAG_IPV6, "ipv6-fragment"),
    (dpdk_sys::WEIR_RSS_IPV6_TCP, "ipv6-tcp"),
    (dpdk_sys::WEIR_RSS_IPV6_UDP, "ipv6-udp"),
    (dpdk_sys::WEIR_RSS_IPV6_SCTP, "ipv6-sctp"),
    (dpdk_sys::WEIR_RSS_IPV6_OTHER, "ipv6-other"),
];

/// One port on its way to being started. The control lock is held throughout.
pub(super) struct Setup<'a> {
    id: u16,
    name: String,
    driver: String,
    config: &'a PortConfig,
    pool: &'a Pool,
    info: dpdk_sys::rte_eth_dev_info,
    mark: u64,
}

/// What the device accepted in `configure`.
struct Accepted {
    mtu: Granted<u16>,
    symmetric_rss: Granted<bool>,
    rss_functions: u64,
    offloads: u64,
}

impl<'a> Setup<'a> {
    pub(super) fn run(
        id: u16,
        config: &'a PortConfig,
        pool: &'a Pool,
    ) -> Result<PortReport, PortError> {
        let mark = log::mark();
        let (Some(info), Some(about)) = (eal::device_info(id), eal::describe(id)) else {
            return Err(PortError::NoPort { port: id });
        };
        let setup = Setup {
            id,
            name: about.name,
            driver: about.driver,
            config,
            pool,
            info,
            mark,
        };
        setup.start()
    }

    fn start(self) -> Result<PortReport, PortError> {
        let rx_queues = self.queues(self.config.rx_queues, self.info.max_rx_queues);
        let tx_queues = self.queues(self.config.tx_queues, self.info.max_tx_queues);
        let accepted = self.configure(rx_queues.given, tx_queues.given)?;
        let (rx_descriptors, tx_descriptors) = self.descriptors();
        let socket = self.socket();
        for queue in 0..rx_queues.given {
            // SAFETY: the port is configured with that many queues; null asks for the driver's defaults; the
            // pool is kept by the caller for as long as the device.
            let code = unsafe {
                let pool = self.pool.as_ptr();
                dpdk_sys::rte_eth_rx_queue_setup(
                    self.id,
                    queue,
                    rx_descriptors.given,
                    socket,
                    ptr::null(),
                    pool,
                )
            };
            self.check("setting up a receive queue", code)?;
        }
        for queue in 0..tx_queues.given {
            // SAFETY: as above.
            let code = unsafe {
                dpdk_sys::rte_eth_tx_queue_setup(
                    self.id,
                    queue,
                    tx_descriptors.given,
                    socket,
                    ptr::null(),
                )
            };
            self.check("setting up a transmit queue", code)?;
        }
        // SAFETY: configured, with all queues set up.
        self.check("starting", unsafe { dpdk_sys::rte_eth_dev_start(self.id) })?;
        let promiscuous = self.promiscuous();
        Ok(PortReport {
            id: self.id,
            mac: self.mac(),
            socket: u16::try_from(self.socket_id()).ok(),
            rx_queues,
            tx_queues,
            rx_descriptors,
            tx_descriptors,
            mtu: accepted.mtu,
            promiscuous,
            symmetric_rss: accepted.symmetric_rss,
            rss_functions: names(accepted.rss_functions),
            checksum_offloads: checksums(accepted.offloads),
            link: link_of(self.id),
            name: self.name,
            driver: self.driver,
        })
    }

    fn queues(&self, asked: u16, most: u16) -> Granted<u16> {
        Granted::new(asked, asked.min(most), || format!("the device has {most}"))
    }

    /// Configures with all that is asked for; what is refused is given up step by step.
    fn configure(&self, rx_queues: u16, tx_queues: u16) -> Result<Accepted, PortError> {
        let checksums = dpdk_sys::WEIR_OFFLOAD_IPV4_CKSUM
            | dpdk_sys::WEIR_OFFLOAD_TCP_CKSUM
            | dpdk_sys::WEIR_OFFLOAD_UDP_CKSUM;
        let checksums = match NO_CHECKSUMS.contains(&self.driver.as_str()) {
            true => 0,
            false => checksums,
        };
        let offloads = self.info.rx_offload_capa & (checksums | dpdk_sys::WEIR_OFFLOAD_RSS_HASH);
        let wanted = RSS_FUNCTIONS.iter().fold(0, |all, (bit, _)| all | bit);
        let spread = rx_queues > 1 && self.config.symmetric_rss;
        let functions = if spread && self.driver != NO_HASH {
            wanted & self.info.flow_type_rss_offloads
        } else {
            0
        };
        let (possible_mtu, mtu_why) = self.possible_mtu();

        // From all to nothing but the queues.
        let attempts = [
            (functions, offloads, possible_mtu),
            (functions, 0, possible_mtu),
            (0, 0, possible_mtu),
            (0, 0, MTU_DEFAULT.min(possible_mtu)),
        ];
        let mut code = 0;
        for (functions, offloads, mtu) in attempts {
            let before = std::mem::replace(
                &mut code,
                self.configure_once(rx_queues, tx_queues, functions, offloads, mtu),
            );
            if code != 0 {
                continue;
            }
            let lowered = mtu < possible_mtu;
            let refused_mtu = lowered.then(|| refusal(before));
            // Drivers over an interface of the kernel would lower that interface's own MTU, though it
            // carries more than the driver says.
            let (mtu, refused) = if lowered {
                (mtu, None)
            } else {
                self.set_mtu(mtu, rx_queues, tx_queues, functions, offloads)
            };
            return Ok(Accepted {
                mtu: Granted::new(self.config.mtu, mtu, || {
                    refused_mtu.or(refused).unwrap_or(mtu_why)
                }),
                symmetric_rss: Granted::new(spread, functions != 0, || self.no_rss_because()),
                rss_functions: functions,
                offloads,
            });
        }
        Err(self.refused("configuring", code))
    }

    fn configure_once(
        &self,
        rx_queues: u16,
        tx_queues: u16,
        functions: u64,
        offloads: u64,
        mtu: u16,
    ) -> i32 {
        let mut key = self.symmetric_key();
        let mut configuration = dpdk_sys::rte_eth_conf::default();
        configuration.rxmode.mtu = u32::from(mtu);
        configuration.rxmode.offloads = offloads;
        if functions != 0 {
            configuration.rxmode.mq_mode = dpdk_sys::RTE_ETH_MQ_RX_RSS;
            let rss = &mut configuration.rx_adv_conf.rss_conf;
            rss.rss_hf = functions;
            rss.rss_key = key.as_mut_ptr();
            rss.rss_key_len = u8::try_from(key.len()).unwrap_or(0);
        } else {
            configuration.rxmode.mq_mode = dpdk_sys::RTE_ETH_MQ_RX_NONE;
            configuration.rxmode.offloads &= !dpdk_sys::WEIR_OFFLOAD_RSS_HASH;
        }
        // SAFETY: the port exists and is not started; the struct and the key it points to live during the
        // call, and drivers copy the key.
        unsafe { dpdk_sys::rte_eth_dev_configure(self.id, rx_queues, tx_queues, &configuration) }
    }

    /// Tells the device itself, which `configure` leaves out for those in software. Returns the MTU in force
    /// and why it is not the one asked for.
    fn set_mtu(
        &self,
        mtu: u16,
        rx_queues: u16,
        tx_queues: u16,
        functions: u64,
        offloads: u64,
    ) -> (u16, Option<String>) {
        // SAFETY: the port exists and is configured.
        let code = unsafe { dpdk_sys::rte_eth_dev_set_mtu(self.id, mtu) };
        if code == 0 || code == NOT_SUPPORTED {
            return (mtu, None);
        }
        let why = Some(refusal(code));
        // What it runs with is not known then; the default is what every device carries.
        let fallback = MTU_DEFAULT.min(mtu);
        let _ = self.configure_once(rx_queues, tx_queues, functions, offloads, fallback);
        (fallback, why)
    }

    /// The MTU that device and buffers have room for, and why it is not more.
    fn possible_mtu(&self) -> (u16, String) {
        let device = self.info.max_mtu;
        let own = self.info.max_rx_pktlen.saturating_sub(u32::from(device));
        // Drivers that do not say leave the largest number: only what is plausible is an overhead.
        let overhead = if (1..=64).contains(&own) {
            own.max(FRAME_OVERHEAD_BYTES)
        } else {
            FRAME_OVERHEAD_BYTES
        };
        let room = u32::from(self.pool.data_room_bytes()).saturating_sub(overhead);
        let room = u16::try_from(room).unwrap_or(u16::MAX);
        let why = if room < device {
            format!(
                "the pool's buffers of {} bytes hold no more",
                self.pool.data_room_bytes()
            )
        } else {
            format!("the device allows {} to {device}", self.info.min_mtu)
        };
        let mtu = self.config.mtu.max(self.info.min_mtu).min(device).min(room);
        (mtu, why)
    }

    fn symmetric_key(&self) -> Vec<u8> {
        let length = match usize::from(self.info.hash_key_size) {
            0 => KEY_BYTES_DEFAULT,
            length => length,
        };
        SYMMETRIC_KEY.into_iter().cycle().take(length).collect()
    }

    fn no_rss_because(&self) -> String {
        if self.info.flow_type_rss_offloads == 0 || self.driver == NO_HASH {
            "the device cannot hash; workers hand packets over instead".to_owned()
        } else {
            "the device refused it; workers hand packets over instead".to_owned()
        }
    }

    fn descriptors(&self) -> (Granted<u16>, Granted<u16>) {
        let (mut rx, mut tx) = (self.config.rx_descriptors, self.config.tx_descriptors);
        // SAFETY: rounds the two numbers to what the device allows; they stay on failure.
        let _ = unsafe { dpdk_sys::rte_eth_dev_adjust_nb_rx_tx_desc(self.id, &mut rx, &mut tx) };
        let why = |limits: &dpdk_sys::rte_eth_desc_lim| {
            format!(
                "the device allows {} to {} in steps of {}",
                limits.nb_min, limits.nb_max, limits.nb_align
            )
        };
        (
            Granted::new(self.config.rx_descriptors, rx, || {
                why(&self.info.rx_desc_lim)
            }),
            Granted::new(self.config.tx_descriptors, tx, || {
                why(&self.info.tx_desc_lim)
            }),
        )
    }

    fn promiscuous(&self) -> Granted<bool> {
        if !self.config.promiscuous {
            return Granted::new(false, false, String::new);
        }
        // SAFETY: the port is started.
        let code = unsafe { dpdk_sys::rte_eth_promiscuous_enable(self.id) };
        Granted::new(true, code == 0, || match code {
            NOT_SUPPORTED => "its driver has no such setting".to_owned(),
            code => refusal(code),
        })
    }

    fn mac(&self) -> [u8; 6] {
        let mut address = dpdk_sys::rte_ether_addr::default();
        // SAFETY: fills the struct it is given; zeroes remain if there is none.
        let _ = unsafe { dpdk_sys::rte_eth_macaddr_get(self.id, &mut address) };
        address.addr_bytes
    }

    /// -1: unknown, or any.
    fn socket_id(&self) -> i32 {
        // SAFETY: takes any number.
        unsafe { dpdk_sys::rte_eth_dev_socket_id(self.id) }
    }

    /// As DPDK takes it: all bits set is its SOCKET_ID_ANY.
    fn socket(&self) -> u32 {
        self.socket_id().cast_unsigned()
    }

    fn check(&self, step: &'static str, code: i32) -> Result<(), PortError> {
        if code == 0 {
            Ok(())
        } else {
            Err(self.refused(step, code))
        }
    }

    fn refused(&self, step: &'static str, code: i32) -> PortError {
        let log = log::since(self.mark);
        PortError::Refused {
            port: self.id,
            name: self.name.clone(),
            step,
            reason: error::text(code),
            advice: error::advice(
                &log,
                "a pool with more buffers than all receive slots together, fewer queues or fewer descriptors",
            ),
            log,
        }
    }
}

fn refusal(code: i32) -> String {
    format!("the device refused it: {}", error::text(code))
}

fn names(functions: u64) -> Vec<&'static str> {
    RSS_FUNCTIONS
        .iter()
        .filter(|(bit, _)| functions & bit != 0)
        .map(|(_, name)| *name)
        .collect()
}

fn checksums(offloads: u64) -> ChecksumOffloads {
    ChecksumOffloads {
        ipv4: offloads & dpdk_sys::WEIR_OFFLOAD_IPV4_CKSUM != 0,
        tcp: offloads & dpdk_sys::WEIR_OFFLOAD_TCP_CKSUM != 0,
        udp: offloads & dpdk_sys::WEIR_OFFLOAD_UDP_CKSUM != 0,
    }
}
