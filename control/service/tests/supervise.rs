//! What a service manager hears, over a real socket.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use weir_service::{Notifier, Standing, supervise};

struct Manager {
    socket: UnixDatagram,
}

impl Manager {
    fn at(socket: UnixDatagram) -> Self {
        let wait = Some(Duration::from_secs(10));
        socket.set_read_timeout(wait).unwrap();
        Self { socket }
    }

    /// What comes next.
    fn next(&self) -> String {
        let mut bytes = [0; 2048];
        let length = self.socket.recv(&mut bytes).expect("something is told");
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    }

    /// Everything until this is told.
    fn until(&self, last: &str) -> Vec<String> {
        let mut told = Vec::new();
        while told.last().is_none_or(|it: &String| it != last) {
            told.push(self.next());
        }
        told
    }

    fn is_silent_for(&self, time: Duration) -> bool {
        let mut bytes = [0; 2048];
        self.socket.set_read_timeout(Some(time)).unwrap();
        self.socket.recv(&mut bytes).is_err()
    }
}

#[test]
fn ready_when_it_works_and_fed_while_it_moves() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let manager = Manager::at(UnixDatagram::bind(&path).unwrap());
    let standing = Arc::new(Mutex::new(Standing::Starting("waiting for policy".into())));
    let seen = Arc::clone(&standing);
    let watchdog = Duration::from_millis(40);
    let notifier = Notifier::to(path.as_os_str(), Some(watchdog)).unwrap();
    let supervision = supervise(Some(notifier), move || seen.lock().unwrap().clone());

    assert_eq!(manager.next(), "STATUS=waiting for policy");
    for _ in 0..5 {
        assert_eq!(manager.next(), "WATCHDOG=1");
    }
    *standing.lock().unwrap() = Standing::Working("policy 7\nis in force".into());
    let told = manager.until("READY=1");
    let before = &told[told.len() - 2];
    assert_eq!(before, "STATUS=policy 7is in force");
    // Once is enough.
    for _ in 0..5 {
        assert_eq!(manager.next(), "WATCHDOG=1");
    }
    *standing.lock().unwrap() = Standing::Stuck("worker 0 makes no progress".into());
    manager.until("STATUS=worker 0 makes no progress");
    assert!(manager.is_silent_for(watchdog * 10));
    drop(supervision);
    assert_eq!(manager.next(), "STOPPING=1");
}

#[test]
fn without_a_watchdog_nothing_is_fed() {
    let name = format!("weir-service-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let manager = Manager::at(UnixDatagram::bind_addr(&address).unwrap());
    let notifier = Notifier::to(format!("@{name}").as_ref(), None).unwrap();
    let supervision = supervise(Some(notifier), || Standing::Working(String::new()));
    assert_eq!(manager.next(), "READY=1");
    let before = Instant::now();
    drop(supervision);
    assert_eq!(manager.next(), "STOPPING=1");
    assert!(before.elapsed() < Duration::from_secs(10));
}

#[test]
fn nobody_who_listens_is_no_matter() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("nobody");
    let notifier = Notifier::to(path.as_os_str(), None).unwrap();
    notifier.ready();
    notifier.status(&"é".repeat(4000));
    assert!(Notifier::to("relative".as_ref(), None).is_none());
    drop(supervise(None, || Standing::Working(String::new())));
}
