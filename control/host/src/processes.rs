//! Who runs on the machine, and who holds what open.
//!
//! Of other processes only names and the files that are asked for are looked at; what a recording keeps
//! of them is what was found, never their environment or their other files.

use crate::machine::Machine;

/// So many parents are followed.
const ANCESTORS_MAX: usize = 64;

/// A process.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    /// Its number.
    pub id: u32,
    /// What it calls itself, 15 letters at most.
    pub name: String,
}

/// Those with one of these names.
pub fn named(machine: &Machine, names: &[&str]) -> Vec<Process> {
    let fits = |id: &u32| {
        let name = machine.peek(&format!("/proc/{id}/comm"));
        name.is_ok_and(|name| names.contains(&name.trim()))
    };
    let found = ids(machine).into_iter().filter(fits);
    found.map(|id| process(machine, id)).collect()
}

/// Those that hold a file open whose link says something that fits: `socket:[4711]`, `/dev/vfio/12`.
/// Without the rights of root only one's own can be seen.
pub fn holders(machine: &Machine, fits: impl Fn(&str) -> bool) -> Vec<Process> {
    let mut found = Vec::new();
    for id in ids(machine) {
        let directory = format!("/proc/{id}/fd");
        let files = machine.peek_entries(&directory).unwrap_or_default();
        let holding = files.into_iter().find(|file| {
            let link = machine.peek_link(&format!("{directory}/{file}"));
            link.is_ok_and(|target| fits(&target))
        });
        if let Some(file) = holding {
            let _ = machine.link(&format!("{directory}/{file}"));
            found.push(process(machine, id));
        }
    }
    found
}

/// The value of an environment variable of a process or of the nearest of its ancestors that has it:
/// sudo takes variables away that the shell before it has.
pub fn inherited(machine: &Machine, id: u32, variable: &str) -> Option<String> {
    let mut id = id;
    for _ in 0..ANCESTORS_MAX {
        let environment = machine.peek(&format!("/proc/{id}/environ"));
        let environment = environment.unwrap_or_default();
        let mut pairs = environment.split('\0').filter_map(|it| it.split_once('='));
        if let Some((_, value)) = pairs.find(|(name, _)| *name == variable) {
            return Some(value.to_owned());
        }
        let status = machine.peek(&format!("/proc/{id}/status")).ok()?;
        id = crate::parse::fields(&status).get("PPid")?.parse().ok()?;
        if id <= 1 {
            return None;
        }
    }
    None
}

fn ids(machine: &Machine) -> Vec<u32> {
    let entries = machine.peek_entries("/proc").unwrap_or_default();
    entries
        .iter()
        .filter_map(|name| name.parse().ok())
        .collect()
}

fn process(machine: &Machine, id: u32) -> Process {
    let name = machine.word(&format!("/proc/{id}/comm"));
    Process {
        id,
        name: name.unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Record;

    fn machine(text: &str) -> (tempfile::TempDir, Machine) {
        let directory = tempfile::tempdir().unwrap();
        Record::parse(text)
            .unwrap()
            .lay_out(directory.path())
            .unwrap();
        let machine = Machine::at(directory.path()).recording();
        (directory, machine)
    }

    #[test]
    fn who_holds_a_file_is_found_and_nothing_else_is_kept() {
        let (_directory, machine) = machine(
            "== /proc/7/comm\n|weir-node\n== /proc/7/fd/9 -> /dev/vfio/12\n== /proc/7/fd/10 -> /secret\n\
             == /proc/8/comm\n|other\n== /proc/8/fd/1 -> /secret\n",
        );
        let holders = holders(&machine, |target| target == "/dev/vfio/12");
        let expected = Process {
            id: 7,
            name: "weir-node".into(),
        };
        assert_eq!(holders, std::slice::from_ref(&expected));
        assert_eq!(named(&machine, &["weir-node"]), [expected]);
        let record = machine.record().to_string();
        assert!(
            !record.contains("secret") && !record.contains("other"),
            "{record}"
        );
    }

    #[test]
    fn a_variable_is_found_behind_sudo() {
        let (directory, machine) = machine(
            "== /proc/30/status\n|Name: weir\n|PPid: 20\n== /proc/20/status\n|PPid: 10\n\
             == /proc/10/status\n|PPid: 1\n",
        );
        std::fs::write(directory.path().join("proc/30/environ"), "HOME=/root\0").unwrap();
        let text = "SECRET=1\0SSH_CONNECTION=192.0.2.9 50000 192.0.2.1 22\0";
        std::fs::write(directory.path().join("proc/10/environ"), text).unwrap();
        let value = inherited(&machine, 30, "SSH_CONNECTION");
        assert_eq!(value.as_deref(), Some("192.0.2.9 50000 192.0.2.1 22"));
        assert_eq!(inherited(&machine, 30, "NOTHING"), None);
        assert!(!machine.record().to_string().contains("SECRET"));
    }
}
