//! DPDK's environment: started once per process, on a thread of its own, and ended with the last thing
//! that uses it.

use std::ffi::{CStr, CString, c_char};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, Weak};
use std::thread::{self, JoinHandle};

use crate::error::{self, DeviceError, EalError};
use crate::{host, lock, log, port};

/// Whether DPDK's memory comes from hugepages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HugePages {
    /// When enough are free.
    #[default]
    Auto,
    /// Start fails without them.
    Required,
    /// Ordinary memory: any host, any user, 1.5 to 2.5 times slower.
    Never,
}

/// What DPDK is started with.
#[derive(Debug, Clone)]
pub struct EalOptions {
    /// Where memory comes from.
    pub huge_pages: HugePages,
    /// Memory reserved at start, in MiB, for all pools and devices.
    pub memory_mb: u32,
    /// PCI devices by address (with options, as DPDK's `-a`). None: no PCI device is touched.
    pub pci: Vec<String>,
    /// PCI devices come later, by [`Eal::attach`]: another process has them still.
    pub pci_later: bool,
    /// Virtual devices, as DPDK's `--vdev`: `net_pcap0,rx_pcap=file`.
    pub virtual_devices: Vec<String>,
    /// Tells processes on one host apart.
    pub file_prefix: String,
    /// Passed on to DPDK as they are, last.
    pub extra: Vec<String>,
    /// Core of DPDK's main thread, which sleeps after start. None: any that this process may run on.
    pub main_core: Option<usize>,
}

/// One port that DPDK knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortInfo {
    /// Its number, valid until it is detached.
    pub id: u16,
    /// `net_pcap0`, or the PCI address.
    pub name: String,
    /// `net_pcap`, `mlx5_pci`.
    pub driver: String,
    /// The device it belongs to: several ports may share one.
    pub device: String,
}

/// The running environment. Dropping it ends DPDK once the last pool and port are dropped too.
pub struct Eal {
    environment: Arc<Environment>,
}

/// Kept alive by everything that needs DPDK's memory.
pub(crate) struct Environment {
    pub(crate) huge_pages: bool,
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

struct Process {
    started: bool,
    running: Weak<Environment>,
}

static PROCESS: Mutex<Process> = Mutex::new(Process {
    started: false,
    running: Weak::new(),
});

/// Held while ports are listed, made, started, asked or removed: DPDK leaves that to its callers.
pub(crate) static CONTROL: Mutex<()> = Mutex::new(());

impl Default for EalOptions {
    fn default() -> Self {
        EalOptions {
            huge_pages: HugePages::Auto,
            memory_mb: 512,
            pci: Vec::new(),
            pci_later: false,
            virtual_devices: Vec::new(),
            file_prefix: format!("weir-{}", std::process::id()),
            extra: Vec::new(),
            main_core: None,
        }
    }
}

impl Eal {
    /// Starts DPDK, on a thread of its own so that the caller is not pinned to a core.
    pub fn start(options: &EalOptions) -> Result<Eal, EalError> {
        let huge_pages = choose_memory(options)?;
        let arguments = arguments(options, huge_pages);
        let c_arguments = arguments
            .iter()
            .map(|argument| {
                CString::new(argument.as_str()).map_err(|_| EalError::Argument {
                    argument: argument.clone(),
                })
            })
            .collect::<Result<Vec<CString>, EalError>>()?;

        let mut process = lock(&PROCESS);
        if process.started {
            return Err(EalError::AlreadyStarted);
        }
        process.started = true;
        log::capture();
        let mark = log::mark();
        let (end, ended) = mpsc::channel::<()>();
        let (answer, answered) = mpsc::channel::<i32>();
        let thread = thread::Builder::new()
            .name("dpdk-main".to_owned())
            .spawn(move || {
                let code = initialise(c_arguments);
                let directory = runtime_directory();
                if code != 0 {
                    remove_if_empty(directory.as_deref());
                }
                if answer.send(code).is_err() || code != 0 {
                    return;
                }
                // Returns when the last user of the environment is gone.
                let _ = ended.recv();
                // SAFETY: initialised on this very thread, and nothing that lives in its memory is left:
                // pools, ports and registered threads each hold the environment.
                unsafe { dpdk_sys::rte_eal_cleanup() };
                remove_if_empty(directory.as_deref());
            })?;
        let code = answered.recv().unwrap_or(-1);
        if code != 0 {
            let log = log::since(mark);
            return Err(EalError::Start {
                arguments: arguments.join(" "),
                reason: error::text(code),
                advice: error::advice(
                    &log,
                    "see DPDK's lines above; memory (-m, hugepages) and devices are the usual causes",
                ),
                log,
            });
        }
        let environment = Arc::new(Environment {
            huge_pages,
            end: Some(end),
            thread: Some(thread),
        });
        process.running = Arc::downgrade(&environment);
        // SAFETY: the environment runs; what is registered is a function of the shim. Without it nobody
        // hears of cards that are pulled out, and the machine waits until the process has ended.
        let _ = unsafe { dpdk_sys::weir_note_removed() };
        let eal = Eal { environment };
        eal.expect_ports(options, mark)?;
        Ok(eal)
    }

    /// Each configured device must have given a port: a missing one is no reason for DPDK to fail.
    fn expect_ports(&self, options: &EalOptions, mark: u64) -> Result<(), EalError> {
        let missing = options
            .virtual_devices
            .iter()
            .chain(&options.pci)
            .find(|device| {
                let name = device.split(',').next().unwrap_or(device);
                let name = name.strip_prefix("pci:").unwrap_or(name);
                self.find_port(name).is_none()
            });
        let Some(device) = missing else {
            return Ok(());
        };
        let log = log::since(mark);
        Err(EalError::NoPort {
            device: device.clone(),
            advice: error::advice(
                &log,
                "check that it exists; a PCI device must be bound to vfio-pci (weir doctor shows it), \
                 a virtual one's interface, file or socket must be there",
            ),
            log,
        })
    }

    /// Whether its memory comes from hugepages.
    pub fn huge_pages_used(&self) -> bool {
        self.environment.huge_pages
    }

    /// All ports there are, running or not.
    pub fn ports(&self) -> Vec<PortInfo> {
        let _control = lock(&CONTROL);
        port_ids().into_iter().filter_map(describe).collect()
    }

    /// The port of that name, or of the device with that name or PCI address (`0000:` may be left out).
    pub fn find_port(&self, name_or_pci: &str) -> Option<u16> {
        let with_domain = format!("0000:{name_or_pci}");
        let ports = self.ports();
        ports
            .iter()
            .find(|port| port.name == name_or_pci)
            .or_else(|| {
                ports.iter().find(|port| {
                    [name_or_pci, with_domain.as_str()].iter().any(|name| {
                        port.device.eq_ignore_ascii_case(name)
                            || port.name.eq_ignore_ascii_case(name)
                    })
                })
            })
            .map(|port| port.id)
    }

    /// The MAC address of a port, running or not; None where there is no such port.
    pub fn mac_of(&self, port: u16) -> Option<[u8; 6]> {
        let _control = lock(&CONTROL);
        let mut address = dpdk_sys::rte_ether_addr::default();
        // SAFETY: takes any number and fills the struct it is given.
        let code = unsafe { dpdk_sys::rte_eth_macaddr_get(port, &mut address) };
        (code == 0).then_some(address.addr_bytes)
    }

    /// Adds a device while running, written as in [`EalOptions`] (`net_null0,no-rx=1`, `0000:03:00.0`).
    /// Returns its ports.
    pub fn attach(&self, device: &str) -> Result<Vec<u16>, DeviceError> {
        let argument = CString::new(device).map_err(|_| DeviceError::Argument {
            device: device.to_owned(),
        })?;
        let _control = lock(&CONTROL);
        let mark = log::mark();
        let before = port_ids();
        // SAFETY: the environment runs as `self` lives; the string is read during the call.
        let code = unsafe { dpdk_sys::rte_dev_probe(argument.as_ptr()) };
        let added: Vec<u16> = port_ids()
            .into_iter()
            .filter(|id| !before.contains(id))
            .collect();
        if code == 0 && !added.is_empty() {
            return Ok(added);
        }
        let log = log::since(mark);
        Err(DeviceError::Refused {
            device: device.to_owned(),
            action: "attached",
            reason: if code == 0 {
                "it has no network port".to_owned()
            } else {
                error::text(code)
            },
            advice: error::advice(
                &log,
                "check the device: the address or driver name, its options, and that it is not attached already",
            ),
            log,
        })
    }

    /// Removes the device of a port that is not running, and with it the other ports of that device.
    pub fn detach(&self, port: u16) -> Result<(), DeviceError> {
        let _control = lock(&CONTROL);
        if !exists(port) {
            return Err(DeviceError::NoPort { port });
        }
        let device = device_of(port);
        if let Some(port) = port_ids()
            .into_iter()
            .find(|id| port::is_running(*id) && device_of(*id) == device)
        {
            return Err(DeviceError::InUse { port });
        }
        let name = describe(port).map_or_else(|| port.to_string(), |info| info.name);
        let mark = log::mark();
        // SAFETY: a device of a port that exists; none of its ports runs, so no queue polls it.
        let code = unsafe { dpdk_sys::rte_dev_remove(device) };
        if code == 0 {
            return Ok(());
        }
        let log = log::since(mark);
        Err(DeviceError::Refused {
            device: name,
            action: "detached",
            reason: error::text(code),
            advice: error::advice(
                &log,
                "its driver may not support it: end the process instead",
            ),
            log,
        })
    }
}

impl std::fmt::Debug for Eal {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Eal")
            .field("huge_pages", &self.environment.huge_pages)
            .finish_non_exhaustive()
    }
}

impl Drop for Environment {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has nothing left to end.
            let _ = thread.join();
        }
    }
}

/// A device that the machine asks to be let go of (its card is pulled out, or taken back), by name or PCI
/// address; each is told once.
pub fn take_removed() -> Option<String> {
    let mut name = [0 as c_char; dpdk_sys::WEIR_DEVICE_NAME_BYTES as usize];
    // SAFETY: writes a terminated string of that many bytes at most; answers 0 before the start.
    let found = unsafe { dpdk_sys::weir_take_removed(name.as_mut_ptr()) } != 0;
    found.then(|| copy_text(name.as_ptr()))
}

/// The running environment, for those that must keep it alive.
pub(crate) fn running() -> Option<Arc<Environment>> {
    lock(&PROCESS).running.upgrade()
}

/// With the control lock held.
pub(crate) fn exists(port: u16) -> bool {
    // SAFETY: takes any number.
    unsafe { dpdk_sys::rte_eth_dev_is_valid_port(port) != 0 }
}

/// With the control lock held. Null: none.
pub(crate) fn device_of(port: u16) -> *mut dpdk_sys::rte_device {
    device_info(port).map_or(std::ptr::null_mut(), |info| info.device)
}

/// With the control lock held.
pub(crate) fn device_info(port: u16) -> Option<dpdk_sys::rte_eth_dev_info> {
    let mut info = dpdk_sys::rte_eth_dev_info::default();
    // SAFETY: takes any number and fills the struct it is given.
    let code = unsafe { dpdk_sys::rte_eth_dev_info_get(port, &mut info) };
    (code == 0).then_some(info)
}

/// With the control lock held.
pub(crate) fn describe(port: u16) -> Option<PortInfo> {
    let info = device_info(port)?;
    let mut name = [0 as c_char; dpdk_sys::RTE_ETH_NAME_MAX_LEN as usize];
    // SAFETY: writes a terminated string of at most RTE_ETH_NAME_MAX_LEN bytes.
    if unsafe { dpdk_sys::rte_eth_dev_get_name_by_port(port, name.as_mut_ptr()) } != 0 {
        return None;
    }
    let device = if info.device.is_null() {
        String::new()
    } else {
        // SAFETY: the device of a port that exists; its name lives as long as it does.
        copy_text(unsafe { dpdk_sys::rte_dev_name(info.device) })
    };
    Some(PortInfo {
        id: port,
        name: copy_text(name.as_ptr()),
        driver: copy_text(info.driver_name),
        device,
    })
}

/// With the control lock held.
pub(crate) fn port_ids() -> Vec<u16> {
    const NO_OWNER: u64 = 0;
    let mut ids = Vec::new();
    let mut next = 0;
    while let Ok(from) = u16::try_from(next) {
        // SAFETY: takes any number; answers RTE_MAX_ETHPORTS when there is none from there on.
        let found = unsafe { dpdk_sys::rte_eth_find_next_owned_by(from, NO_OWNER) };
        let Some(id) = u16::try_from(found)
            .ok()
            .filter(|id| u32::from(*id) < dpdk_sys::WEIR_PORTS_MAX)
        else {
            break;
        };
        ids.push(id);
        next = u32::from(id) + 1;
    }
    ids
}

/// Copies a string of DPDK's; null becomes empty.
fn copy_text(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: every caller passes a terminated string that outlives the call.
    unsafe { CStr::from_ptr(text) }
        .to_string_lossy()
        .into_owned()
}

fn choose_memory(options: &EalOptions) -> Result<bool, EalError> {
    let needed_mb = u64::from(options.memory_mb);
    let free_mb = host::free_huge_pages_mb();
    match options.huge_pages {
        HugePages::Never => Ok(false),
        // Decided before DPDK is asked: a start that failed half way cannot be tried again.
        HugePages::Auto => Ok(free_mb > 0 && free_mb >= needed_mb),
        HugePages::Required if free_mb == 0 || free_mb < needed_mb => {
            Err(EalError::HugePages { needed_mb, free_mb })
        }
        HugePages::Required => Ok(true),
    }
}

fn arguments(options: &EalOptions, huge_pages: bool) -> Vec<String> {
    let mut arguments = vec!["weir".to_owned(), "--no-telemetry".to_owned()];
    if huge_pages {
        // Nothing is left behind in hugetlbfs, and none needs to be mounted.
        arguments.push("--in-memory".to_owned());
    } else {
        arguments.push("--no-huge".to_owned());
        arguments.push("--no-shconf".to_owned());
    }
    arguments.push(format!("--file-prefix={}", options.file_prefix));
    if options.memory_mb > 0 {
        arguments.push("-m".to_owned());
        arguments.push(options.memory_mb.to_string());
    }
    // One core for DPDK itself: else it starts a thread on each and leaves no number for the workers.
    let main = options
        .main_core
        .map(|core| core.to_string())
        .or_else(host::allowed_cpus);
    if let Some(cores) = main {
        arguments.push(format!("--lcores=0@({cores})"));
    }
    if options.pci_later {
        // With an address of nothing there is a list of what may be touched, and nothing on it yet.
        arguments.extend(["-a".to_owned(), "ffff:ff:1f.7".to_owned()]);
    } else if options.pci.is_empty() {
        arguments.push("--no-pci".to_owned());
    }
    for address in &options.pci {
        arguments.push("-a".to_owned());
        arguments.push(address.clone());
    }
    for device in &options.virtual_devices {
        arguments.push(format!("--vdev={device}"));
    }
    arguments.extend(options.extra.iter().cloned());
    arguments
}

/// Runs `rte_eal_init`; 0 or its error number.
fn initialise(arguments: Vec<CString>) -> i32 {
    // DPDK keeps pointers into its arguments: they are left to it, once per process.
    let mut pointers: Vec<*mut c_char> = arguments.into_iter().map(CString::into_raw).collect();
    let Ok(count) = i32::try_from(pointers.len()) else {
        return -1;
    };
    pointers.push(std::ptr::null_mut());
    let pointers = pointers.leak();
    // SAFETY: a terminated vector of terminated strings, writable and never freed; called once per process.
    let code = unsafe { dpdk_sys::rte_eal_init(count, pointers.as_mut_ptr()) };
    if code >= 0 {
        return 0;
    }
    match error::last() {
        0 => -1,
        code => code,
    }
}

/// The directory that DPDK has made for this file prefix; none before it has.
fn runtime_directory() -> Option<PathBuf> {
    // SAFETY: answers a string that stays where it is; only its content changes, during start.
    let path = copy_text(unsafe { dpdk_sys::rte_eal_get_runtime_dir() });
    Some(PathBuf::from(path)).filter(|path| path.is_absolute())
}

/// DPDK makes a directory for each run and leaves it. Where something is in it (processes that share
/// memory, by options passed on) it stays.
fn remove_if_empty(directory: Option<&Path>) {
    if let Some(directory) = directory {
        let _ = fs::remove_dir(directory);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_follow_the_options() {
        let options = EalOptions {
            pci: vec!["03:00.0".to_owned()],
            virtual_devices: vec!["net_null0".to_owned()],
            file_prefix: "x".to_owned(),
            extra: vec!["--single-file-segments".to_owned()],
            main_core: Some(1),
            ..EalOptions::default()
        };
        assert_eq!(
            arguments(&options, true).join(" "),
            "weir --no-telemetry --in-memory --file-prefix=x -m 512 --lcores=0@(1) -a 03:00.0 --vdev=net_null0 \
             --single-file-segments"
        );
        let without = arguments(&EalOptions::default(), false).join(" ");
        assert!(without.contains("--no-huge --no-shconf"), "{without}");
        assert!(without.contains("--no-pci"), "{without}");
    }

    #[test]
    fn required_hugepages_that_are_not_there_are_refused_before_dpdk_is_asked() {
        let options = EalOptions {
            huge_pages: HugePages::Required,
            memory_mb: u32::MAX,
            ..EalOptions::default()
        };
        let error = Eal::start(&options)
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default();
        assert!(error.contains("nr_hugepages"), "{error}");
    }
}
