//! A stand-in for the kernel, and a laid-out machine that it runs on.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use weir_host::network::Session;
use weir_host::prepare::{Hand, Manner, Outcome, Request, prepare, restore};
use weir_host::{Machine, Record, Wanted};

pub const PCI: &str = "sys/bus/pci";
pub const PAGES: &str = "sys/devices/system/node/node0/hugepages/hugepages-2048kB";

/// A machine in a temporary directory, and its kernel.
pub struct Bench {
    pub directory: tempfile::TempDir,
    pub state: tempfile::TempDir,
    /// Which driver of the kernel takes a card by itself.
    pub natural: BTreeMap<String, (String, Vec<(String, PathBuf)>)>,
    /// Hugepages that there is memory for.
    pub pages_max: u64,
    /// Fails with the write of this number; None: with none.
    pub fails_at: Option<usize>,
    pub writes: Vec<String>,
    pub given: Vec<String>,
    /// What `ip` was told.
    pub ip: Vec<String>,
}

impl Bench {
    pub fn of(name: &str) -> Self {
        let path = format!(
            "{}/tests/machines/{name}.machine",
            env!("CARGO_MANIFEST_DIR")
        );
        Self::laid_out(&fs::read_to_string(path).unwrap())
    }

    pub fn laid_out(text: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        Record::parse(text)
            .unwrap()
            .lay_out(directory.path())
            .unwrap();
        let boot = directory.path().join("proc/sys/kernel/random");
        fs::create_dir_all(&boot).unwrap();
        fs::write(boot.join("boot_id"), "first\n").unwrap();
        let mut bench = Self {
            directory,
            state: tempfile::tempdir().unwrap(),
            natural: BTreeMap::new(),
            pages_max: 1 << 20,
            fails_at: None,
            writes: Vec::new(),
            given: Vec::new(),
            ip: Vec::new(),
        };
        bench.learn_drivers();
        bench
    }

    /// The drivers and interfaces that there are now are those that the kernel chooses by itself.
    pub fn learn_drivers(&mut self) {
        let interfaces: Vec<(String, PathBuf)> = fs::read_dir(self.path("sys/class/net"))
            .unwrap()
            .filter_map(|entry| {
                let path = entry.unwrap().path();
                let target = fs::read_link(&path).ok()?;
                Some((path.file_name()?.to_string_lossy().into_owned(), target))
            })
            .collect();
        for entry in fs::read_dir(self.path(&format!("{PCI}/devices"))).unwrap() {
            let address = entry.unwrap().file_name().to_string_lossy().into_owned();
            let own = interfaces
                .iter()
                .filter(|(_, target)| target.to_string_lossy().contains(&address));
            let own: Vec<_> = own.cloned().collect();
            if let Some(driver) = self.driver(&address).filter(|it| it != "vfio-pci") {
                self.natural.insert(address, (driver, own));
            }
        }
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join(path.trim_start_matches('/'))
    }

    pub fn machine(&self) -> Machine {
        Machine::at(self.directory.path())
    }

    pub fn driver(&self, address: &str) -> Option<String> {
        let link = fs::read_link(self.path(&format!("{PCI}/devices/{address}/driver"))).ok()?;
        Some(link.file_name()?.to_string_lossy().into_owned())
    }

    pub fn pages(&self) -> u64 {
        let text = fs::read_to_string(self.path(&format!("{PAGES}/nr_hugepages"))).unwrap();
        text.trim().parse().unwrap()
    }

    pub fn prepare_in(&mut self, request: &Request, manner: Manner) -> Outcome {
        let (machine, state) = (self.machine(), self.state.path().to_owned());
        let session = Session { process: 900 };
        prepare(&machine, self, request, &session, &state, manner).unwrap()
    }

    pub fn prepare(&mut self, request: &Request) -> Outcome {
        self.prepare_in(request, Manner::Do)
    }

    pub fn restore(&mut self) -> Outcome {
        let (machine, state) = (self.machine(), self.state.path().to_owned());
        restore(&machine, self, &state, Manner::Do).unwrap()
    }

    /// Everything that preparing may change.
    pub fn picture(&self) -> BTreeMap<String, String> {
        let mut picture = BTreeMap::from([("pages".to_owned(), self.pages().to_string())]);
        for entry in fs::read_dir(self.path(&format!("{PCI}/devices"))).unwrap() {
            let address = entry.unwrap().file_name().to_string_lossy().into_owned();
            let path = self.path(&format!("{PCI}/devices/{address}/driver_override"));
            let kept_for = fs::read_to_string(path).unwrap_or_default();
            let kept_for = kept_for.trim().replace("(null)", "");
            let driver = self.driver(&address).unwrap_or_default();
            picture.insert(address, format!("{driver} {kept_for}"));
        }
        let unsafe_mode = self.path("sys/module/vfio/parameters/enable_unsafe_noiommu_mode");
        let unsafe_mode = fs::read_to_string(unsafe_mode).unwrap_or("N\n".into());
        picture.insert("no iommu".into(), unsafe_mode);
        picture
    }

    pub fn unbind(&mut self, address: &str) {
        fs::remove_file(self.path(&format!("{PCI}/devices/{address}/driver"))).unwrap();
        if let Some((_, interfaces)) = self.natural.get(address) {
            for (name, _) in interfaces {
                let _ = fs::remove_file(self.path(&format!("sys/class/net/{name}")));
            }
        }
    }

    pub fn probe(&mut self, address: &str) {
        let link = self.path(&format!("{PCI}/devices/{address}/driver"));
        if link.symlink_metadata().is_ok() {
            return;
        }
        let kept_for = self.path(&format!("{PCI}/devices/{address}/driver_override"));
        let kept_for = fs::read_to_string(kept_for).unwrap_or_default();
        let kept_for = kept_for.trim().replace("(null)", "");
        let natural = self.natural.get(address).cloned();
        let driver = match kept_for.as_str() {
            "" => natural.as_ref().map(|(driver, _)| driver.clone()),
            name => Some(name.to_owned()),
        };
        let Some(driver) = driver.filter(|it| self.path(&format!("{PCI}/drivers/{it}")).exists())
        else {
            return;
        };
        symlink(format!("../../../../bus/pci/drivers/{driver}"), &link).unwrap();
        if let Some((own, interfaces)) = natural.filter(|(own, _)| *own == driver) {
            assert_eq!(own, driver);
            for (name, target) in interfaces {
                let _ = symlink(target, self.path(&format!("sys/class/net/{name}")));
            }
        }
    }
}

impl Hand for Bench {
    fn write(&mut self, path: &str, text: &str) -> io::Result<()> {
        if self.fails_at == Some(self.writes.len()) {
            return Err(io::Error::other("the power is gone"));
        }
        self.writes.push(format!("{path} {}", text.trim()));
        let address = text.trim();
        if path.ends_with("/unbind") {
            self.unbind(address);
        } else if path.ends_with("/drivers_probe") {
            self.probe(address);
        } else if path.ends_with("/compact_memory") {
            // Nothing comes of it.
        } else if path.ends_with("/nr_hugepages") {
            let asked: u64 = text.trim().parse().unwrap();
            fs::write(self.path(path), asked.min(self.pages_max).to_string())?;
        } else {
            assert!(self.path(path).exists(), "{path}");
            fs::write(self.path(path), text)?;
        }
        Ok(())
    }

    fn load(&mut self, module: &str) -> io::Result<()> {
        fs::create_dir_all(self.path(&format!("{PCI}/drivers/{module}")))?;
        let parameters = self.path("sys/module/vfio/parameters");
        fs::create_dir_all(&parameters)?;
        fs::write(parameters.join("enable_unsafe_noiommu_mode"), "N\n")
    }

    fn ip(&mut self, lines: &[String]) -> Result<(), String> {
        self.ip.extend(lines.iter().cloned());
        Ok(())
    }

    fn give(&mut self, path: &str, user: u32, group: u32) -> io::Result<()> {
        self.given.push(format!("{path} {user}:{group}"));
        Ok(())
    }
}

pub fn request(devices: &[&str], memory_mb: u64) -> Request {
    Request {
        wanted: Wanted {
            memory_mb,
            ..Wanted::default()
        },
        devices: devices.iter().map(|it| (*it).to_owned()).collect(),
        driver: "vfio-pci".into(),
        page_size_kb: None,
        no_iommu: false,
        force: false,
        owner: None,
    }
}

pub fn says(outcome: &Outcome) -> Vec<String> {
    let refused = outcome.refused.iter().map(|why| format!("refused {why}"));
    let steps = outcome
        .steps
        .iter()
        .map(|step| format!("{:?} {}", step.state, step.says));
    refused.chain(steps).collect()
}

pub fn with_iommu(name: &str) -> Bench {
    let bench = Bench::of(name);
    fs::create_dir_all(bench.path("sys/kernel/iommu_groups/1")).unwrap();
    bench
}
