//! The environment starts once and ends with the last thing that needs it, in whatever order they go.

mod common;

use std::path::PathBuf;
use std::{env, fs, thread};

use weir_dpdk::rings::RingPort;
use weir_dpdk::{
    Eal, EalError, Pool, PoolError, Port, PortConfig, PortError, ThreadError, register_thread,
    take_log_lines,
};

fn threads_named(name: &str) -> usize {
    let tasks = fs::read_dir("/proc/self/task").expect("tasks");
    tasks
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("comm")).ok())
        .filter(|found| found.trim() == name)
        .count()
}

fn allowed_cpus() -> String {
    let status = fs::read_to_string("/proc/thread-self/status").expect("status");
    let line = status
        .lines()
        .find(|line| line.starts_with("Cpus_allowed_list"));
    line.expect("line").to_owned()
}

/// DPDK's directories of this process, wherever this release of it puts them.
fn runtime_directories() -> Vec<PathBuf> {
    let variables = ["RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR"];
    let mut roots: Vec<PathBuf> = variables
        .iter()
        .filter_map(|name| env::var_os(name).map(PathBuf::from))
        .collect();
    roots.extend(["/var/run", "/tmp"].map(PathBuf::from));
    let prefix = common::options(Vec::new()).file_prefix;
    roots
        .iter()
        .flat_map(|root| [root.join("dpdk").join(&prefix), root.join(&prefix)])
        .filter(|path| path.exists())
        .collect()
}

#[test]
fn the_environment_outlives_its_handle_and_ends_once() {
    assert!(matches!(
        Pool::new("early", 15, 0, 64, None),
        Err(PoolError::NotStarted { .. })
    ));
    assert!(matches!(register_thread(), Err(ThreadError::NotStarted)));
    assert_eq!(runtime_directories(), Vec::<PathBuf>::new());
    let cpus = allowed_cpus();
    let eal = common::start(Vec::new());
    assert_eq!(allowed_cpus(), cpus, "the caller is not pinned");
    assert!(matches!(
        Eal::start(&common::options(Vec::new())),
        Err(EalError::AlreadyStarted)
    ));
    assert_eq!(runtime_directories().len(), 1);
    assert!(!take_log_lines().lines.is_empty(), "what DPDK said is kept");

    let pool = Pool::new("life", 255, 16, 2048, None).expect("pool");
    let far = RingPort::new("life", 1, 16).expect("rings");
    let (port, _) = Port::start(far.id(), &PortConfig::default(), &pool).expect("start");
    let mut queue = port.rx_queue(0).expect("queue");
    drop(eal);
    drop(port);
    assert!(far.inject_bytes(0, &pool, &[1; 64]));
    drop(pool);
    let mut burst = Vec::new();
    assert_eq!(
        queue.receive(&mut burst, 4),
        1,
        "pool and device live with the queue"
    );
    thread::spawn(|| register_thread().expect("registered"))
        .join()
        .expect("thread");
    assert_eq!(threads_named("dpdk-main"), 1);
    drop(burst);
    drop(queue);
    assert_eq!(threads_named("dpdk-main"), 1, "the rings are left");
    drop(far);
    assert_eq!(threads_named("dpdk-main"), 0, "ended");
    assert_eq!(
        runtime_directories(),
        Vec::<PathBuf>::new(),
        "nothing is left behind"
    );

    assert!(matches!(
        Eal::start(&common::options(Vec::new())),
        Err(EalError::AlreadyStarted)
    ));
    let pool = Pool::new("late", 15, 0, 64, None);
    assert!(matches!(pool, Err(PoolError::NotStarted { .. })));
    assert!(matches!(
        PortError::NotStarted.to_string().as_str(),
        "DPDK is not running: start it before its ports"
    ));
}
