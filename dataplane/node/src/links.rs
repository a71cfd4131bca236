//! What befalls ports while the node runs, on a thread of its own: links that come and go, and cards that are
//! pulled out.
//!
//! The carrier of a host interface is that of the port it stands for, so that what looks at carriers on the
//! host (bonds, routing, probes) sees the wire's. A card that the machine wants back is let go of: its pair
//! passes nothing from then on, whatever its fail mode, and the other pairs go on. When the card is there
//! again and with its driver the node ends, to be started again with it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Result;
use tokio::sync::Notify;
use tracing::{error, info, warn};
use weir_host::addresses;

use crate::host_interface::{self, HostInterface};
use crate::ports::Ports;

/// How often is looked.
const INTERVAL: Duration = Duration::from_millis(200);
const DEVICES: &str = "/sys/bus/pci/devices";

/// A port whose card was pulled out.
struct Lost {
    name: String,
    /// Where its driver is seen.
    driver: PathBuf,
    /// It was not there in between: before that it is the card that goes.
    gone: bool,
}

/// Starts looking. Who waits at `restart` hears that the node is to be started again. Nobody waits for the end of
/// this thread: it may sleep, and touches no port that was closed.
pub fn start(ports: &Arc<Ports>, restart: &Arc<Notify>) -> Result<()> {
    let (ports, restart) = (Arc::clone(ports), Arc::clone(restart));
    let builder = std::thread::Builder::new().name("links".into());
    builder.spawn(move || look(&ports, &restart))?;
    Ok(())
}

/// Until the node stops.
fn look(ports: &Ports, restart: &Notify) {
    let mut told = false;
    let mut followed = followed(ports);
    let mut lost: Vec<Lost> = Vec::new();
    while !ports.shared.stop.load(Ordering::Relaxed) {
        while let Some(device) = weir_dpdk::take_removed() {
            lost.extend(let_go(ports, &device));
        }
        if !told && lost.iter_mut().any(Lost::is_back) {
            told = true;
            let names: Vec<&str> = lost.iter().map(|it| it.name.as_str()).collect();
            info!(
                ports = names.join(", "),
                "a card is back: weir-node ends, to be started again with it"
            );
            restart.notify_one();
        }
        for (interface, other, was_up) in &mut followed {
            let Some(up) = is_up(ports, *other, &interface.stands_for) else {
                continue;
            };
            if std::mem::replace(was_up, up) != up {
                set_carrier(interface, up);
            }
        }
        std::thread::sleep(INTERVAL);
    }
}

/// Host interfaces, each with the index of the port that it stands for, and whether that was up. Up is what
/// they are made as.
fn followed(ports: &Ports) -> Vec<(HostInterface, usize, bool)> {
    let names: Vec<&str> = ports.config.port_names().collect();
    let wanted = ports.config.pair.iter().filter_map(host_interface::of);
    wanted
        .filter_map(|interface| {
            let other = names.iter().position(|it| **it == interface.stands_for)?;
            Some((interface, other, true))
        })
        .collect()
}

/// Drivers over an interface of the kernel say that it is up whatever it is. Nothing is known of a port that was
/// closed.
fn is_up(ports: &Ports, port: usize, name: &str) -> Option<bool> {
    let open = ports.lock();
    let (port, _) = open.get(port)?;
    Some(match host_interface::interface_below(name, &ports.config) {
        Some(interface) => {
            let carrier = std::fs::read_to_string(format!("/sys/class/net/{interface}/carrier"));
            carrier.is_ok_and(|carrier| carrier.trim() == "1")
        }
        None => port.link().up,
    })
}

fn set_carrier(interface: &HostInterface, up: bool) {
    let carrier = if up { "on" } else { "off" };
    info!(
        port = interface.stands_for,
        interface = interface.name,
        carrier,
        "link changed; the host interface follows"
    );
    let line = format!("link set dev {} carrier {carrier}", interface.name);
    if let Err(why) = addresses::ip(&[line]) {
        warn!(interface = interface.name, %why, "the carrier cannot be set");
    }
}

/// Gives up the port of a device that the machine wants back. The device is let go of with the last queue.
fn let_go(ports: &Ports, device: &str) -> Option<Lost> {
    let address = |name: &str| name.parse::<weir_host::pci::Address>().ok();
    let wanted = address(device)?;
    let open = ports.lock();
    let names = ports.config.port_names().zip(open.iter());
    let (name, (port, _)) = names
        .filter(|(_, (port, _))| !port.is_given_up())
        .find(|(name, _)| address(name) == Some(wanted))?;
    error!(
        port = name,
        "the card is taken away: its pair passes nothing until it is back; weir host prepare gives it to weir-node again"
    );
    port.give_up();
    Some(Lost {
        name: name.to_owned(),
        driver: Path::new(DEVICES).join(wanted.to_string()).join("driver"),
        gone: false,
    })
}

impl Lost {
    fn is_back(&mut self) -> bool {
        let driver = std::fs::read_link(&self.driver);
        self.gone |= driver.is_err();
        let ours = |driver: PathBuf| driver.file_name().is_some_and(|it| it == "vfio-pci");
        self.gone && driver.is_ok_and(ours)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_is_back_when_it_was_gone_and_has_its_driver_again() {
        let directory = tempfile::tempdir().unwrap();
        let driver = directory.path().join("driver");
        let give = |name: &str| {
            let _ = std::fs::remove_file(&driver);
            std::os::unix::fs::symlink(format!("../drivers/{name}"), &driver).unwrap();
        };
        give("vfio-pci");
        let mut lost = Lost {
            name: "0000:01:00.0".into(),
            driver: driver.clone(),
            gone: false,
        };
        // It is about to go.
        assert!(!lost.is_back());
        std::fs::remove_file(&driver).unwrap();
        assert!(!lost.is_back());
        give("e1000e");
        assert!(!lost.is_back());
        give("vfio-pci");
        assert!(lost.is_back());
    }
}
