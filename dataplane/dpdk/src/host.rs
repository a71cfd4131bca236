//! What the host offers: hugepages and processors, read from `/proc` and `/sys`.

use std::fs;
use std::path::Path;

/// DPDK numbers processors in a set of this size; later ones cannot hold its main thread.
const CPUS_MAX: usize = 128;

/// Free hugepages of all sizes, in MiB.
pub(crate) fn free_huge_pages_mb() -> u64 {
    free_huge_pages_mb_in(Path::new("/sys/kernel/mm/hugepages"))
}

fn free_huge_pages_mb_in(directory: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(directory) else {
        return 0;
    };
    let kilobytes: u64 = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name();
            let size = name
                .to_str()?
                .strip_prefix("hugepages-")?
                .strip_suffix("kB")?;
            let size: u64 = size.parse().ok()?;
            let free = fs::read_to_string(entry.path().join("free_hugepages")).ok()?;
            size.checked_mul(free.trim().parse().ok()?)
        })
        .sum();
    kilobytes / 1024
}

/// The processors this process may run on, as DPDK's `--lcores` writes sets: `0-3,8`.
pub(crate) fn allowed_cpus() -> Option<String> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let list = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    within_limit(list.trim())
}

/// The part of a kernel's processor list that DPDK can name.
fn within_limit(list: &str) -> Option<String> {
    let ranges: Vec<String> = list
        .split(',')
        .filter_map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let first: usize = first.trim().parse().ok()?;
            let last: usize = last.trim().parse().ok()?;
            (first < CPUS_MAX).then(|| match last.min(CPUS_MAX - 1) {
                last if last == first => format!("{first}"),
                last => format!("{first}-{last}"),
            })
        })
        .collect();
    (!ranges.is_empty()).then(|| ranges.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_lists_are_cut_to_what_dpdk_can_name() {
        assert_eq!(within_limit("0-1").as_deref(), Some("0-1"));
        assert_eq!(
            within_limit("0,2-3,120-200,300").as_deref(),
            Some("0,2-3,120-127")
        );
        assert_eq!(within_limit("300-301"), None);
        assert_eq!(within_limit("what"), None);
        assert!(allowed_cpus().is_some());
    }

    #[test]
    fn free_pages_of_all_sizes_are_added_up() -> std::io::Result<()> {
        let directory = tempfile::tempdir()?;
        for (name, free) in [
            ("hugepages-2048kB", "3\n"),
            ("hugepages-1048576kB", "1\n"),
            ("other", "9"),
        ] {
            fs::create_dir(directory.path().join(name))?;
            fs::write(directory.path().join(name).join("free_hugepages"), free)?;
        }
        assert_eq!(free_huge_pages_mb_in(directory.path()), 3 * 2 + 1024);
        assert_eq!(free_huge_pages_mb_in(&directory.path().join("absent")), 0);
        Ok(())
    }
}
