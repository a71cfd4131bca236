//! A worker that dies or hangs: the watchdog takes its queues, and the declared fail mode holds.

mod common;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use common::bench::{inline, small_limits};
use common::hosts::*;
use common::{Shop, Talk};
use crossbeam::queue::ArrayQueue;
use weir_node::event::EventRing;
use weir_node::handover::Ownership;
use weir_node::inspection::Inspection;
use weir_node::io::{Frame, FrameSource, Queue};
use weir_node::limits::Rules;
use weir_node::path::Path;
use weir_node::watchdog::Watchdog;
use weir_node::worker::{Idle, Shared, SharedQueues, Worker};
use weir_policy::spec::Mode;

const STUCK_AFTER: Duration = Duration::from_millis(300);
const PATIENCE: Duration = Duration::from_secs(240);

/// What happens to the worker that looks at the frame.
#[derive(Clone)]
enum Trap {
    None,
    Panic,
    Hang(Arc<Gate>),
}

/// Closed until it is opened.
#[derive(Default)]
struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
    entered: AtomicBool,
}

impl Gate {
    fn pass(&self) {
        self.entered.store(true, Ordering::Release);
        let open = self.open.lock().unwrap();
        drop(self.opened.wait_while(open, |open| !*open).unwrap());
    }

    fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.opened.notify_all();
    }
}

struct TestFrame {
    bytes: Vec<u8>,
    trap: Trap,
}

impl Frame for TestFrame {
    fn bytes(&self) -> &[u8] {
        match &self.trap {
            Trap::None => {}
            Trap::Panic => panic!("a worker dies, as the test wants it"),
            Trap::Hang(gate) => gate.pass(),
        }
        &self.bytes
    }
}

struct TestFrames;

impl FrameSource for TestFrames {
    type Frame = TestFrame;

    fn frame(&mut self, bytes: &[u8]) -> Option<TestFrame> {
        Some(TestFrame {
            bytes: bytes.to_vec(),
            trap: Trap::None,
        })
    }
}

#[derive(Clone)]
struct TestQueue {
    incoming: Arc<ArrayQueue<TestFrame>>,
    outgoing: Arc<ArrayQueue<TestFrame>>,
}

impl TestQueue {
    fn new() -> Self {
        Self {
            incoming: Arc::new(ArrayQueue::new(1024)),
            outgoing: Arc::new(ArrayQueue::new(1024)),
        }
    }

    fn come(&self, bytes: Vec<u8>, trap: Trap) {
        assert!(self.incoming.push(TestFrame { bytes, trap }).is_ok());
    }

    fn left(&self) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| self.outgoing.pop())
            .map(|frame| frame.bytes)
            .collect()
    }
}

impl Queue for TestQueue {
    type Frame = TestFrame;

    fn receive(&mut self, into: &mut Vec<TestFrame>) {
        into.extend(std::iter::from_fn(|| self.incoming.pop()).take(32));
    }

    fn transmit(&mut self, from: &mut Vec<TestFrame>) {
        for frame in from.drain(..) {
            let _ = self.outgoing.push(frame);
        }
    }
}

/// A node of some workers over one pair, each with queues of its own.
struct Node {
    shared: Arc<Shared>,
    /// By worker, then by port.
    queues: Vec<[TestQueue; 2]>,
    workers: Vec<JoinHandle<()>>,
    watchdog: Option<JoinHandle<()>>,
}

impl Node {
    fn start(workers: usize, fail_open: bool) -> Self {
        let shared = Shared::new(workers, small_limits().sessions);
        let policy = Shop::new(Mode::Protect).silent();
        let policy = policy.allow_any(AI_MODEL.identity(), PHOTO_DB.identity());
        shared
            .put_in_force(policy.build(), None)
            .expect("no memory is needed");
        let queues: Vec<_> = (0..workers)
            .map(|_| [TestQueue::new(), TestQueue::new()])
            .collect();
        let taken: Vec<SharedQueues<TestQueue>> = queues
            .iter()
            .map(|pair| Arc::new(Mutex::new(Some(pair.to_vec()))))
            .collect();
        let ownerships = Ownership::shared(&shared.alive, &[false, false]);
        let threads = ownerships
            .into_iter()
            .enumerate()
            .map(|(index, ownership)| {
                let limits = small_limits();
                let path = Path::new(
                    &limits,
                    Rules::default(),
                    inline(fail_open),
                    TestFrames,
                    ownership,
                    Inspection::new(limits.sessions, None).unwrap(),
                    Box::new(EventRing::new(1024)),
                );
                let queues = Arc::clone(&taken[index]);
                let mut worker = Worker::new(index, path, queues, Arc::clone(&shared), Idle::Sleep);
                std::thread::spawn(move || worker.run_watched())
            });
        let workers = threads.collect();
        let watchdog = Watchdog::new(Arc::clone(&shared), taken, inline(fail_open), STUCK_AFTER);
        Self {
            shared,
            queues,
            workers,
            watchdog: Some(std::thread::spawn(move || watchdog.run())),
        }
    }

    fn wait_until(&self, what: &str, mut done: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !done() {
            assert!(begun.elapsed() < PATIENCE, "waited in vain until {what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn wait_until_lost(&self, worker: usize) {
        self.wait_until("the worker is lost", || {
            !self.shared.alive[worker].load(Ordering::Acquire)
        });
    }

    /// Whether the frame leaves on the other side. When what came behind it is taken, its own
    /// turn is over.
    fn passes(&self, worker: usize, frame: &[u8]) -> bool {
        let [here, there] = &self.queues[worker];
        for bytes in [frame, b"behind"] {
            here.come(bytes.to_vec(), Trap::None);
            self.wait_until("the frame is taken", || here.incoming.is_empty());
        }
        there.left().iter().any(|left| left == frame)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.workers.drain(..).chain(self.watchdog.take()) {
            let _ = thread.join();
        }
    }
}

/// The policy lets it pass.
fn allowed(port: u16) -> Vec<u8> {
    Talk::new(
        AI_MODEL.port(Family::V4, port),
        PHOTO_DB.port(Family::V4, 80),
    )
    .syn()
}

/// The policy does not.
fn denied(port: u16) -> Vec<u8> {
    Talk::new(
        FRONTEND.port(Family::V4, port),
        PHOTO_DB.port(Family::V4, 80),
    )
    .syn()
}

#[test]
fn a_worker_that_dies_leaves_its_ports_to_the_fail_mode() {
    for fail_open in [true, false] {
        let node = Node::start(1, fail_open);
        assert!(node.passes(0, &allowed(1)));
        assert!(!node.passes(0, &denied(2)));
        node.queues[0][0].come(allowed(3), Trap::Panic);
        node.wait_until_lost(0);
        assert_eq!(node.passes(0, &denied(4)), fail_open);
        assert_eq!(node.passes(0, &allowed(5)), fail_open);
    }
}

#[test]
fn a_worker_that_hangs_is_relieved_and_ends_when_it_wakes() {
    for fail_open in [true, false] {
        let mut node = Node::start(1, fail_open);
        assert!(node.passes(0, &allowed(1)));
        let gate = Arc::new(Gate::default());
        node.queues[0][0].come(allowed(2), Trap::Hang(Arc::clone(&gate)));
        node.wait_until_lost(0);
        assert!(gate.entered.load(Ordering::Acquire));
        assert_eq!(node.passes(0, &denied(3)), fail_open);
        // It wakes, finds its queues gone, and sends nothing of what it had in hand.
        gate.open();
        let worker = node.workers.pop().unwrap();
        worker.join().unwrap();
        assert!(node.queues[0][1].left().is_empty());
        assert_eq!(node.passes(0, &denied(4)), fail_open);
        assert_eq!(node.passes(0, &allowed(5)), fail_open);
    }
}

#[test]
fn the_other_workers_go_on_and_what_the_lost_one_owned_follows_the_fail_mode() {
    for fail_open in [true, false] {
        let node = Node::start(2, fail_open);
        node.queues[1][0].come(allowed(1), Trap::Panic);
        node.wait_until_lost(1);
        let passed = (10..30)
            .filter(|&port| node.passes(0, &denied(port)))
            .count();
        // About half of these flows were the lost worker's.
        if fail_open {
            assert!((3..18).contains(&passed), "{passed}");
        } else {
            assert_eq!(passed, 0);
        }
        let passed = (10..30)
            .filter(|&port| node.passes(0, &allowed(port)))
            .count();
        if fail_open {
            assert_eq!(passed, 20);
        } else {
            assert!((3..18).contains(&passed), "{passed}");
        }
    }
}

#[test]
fn a_stopped_node_ends_without_a_lost_worker() {
    let node = Node::start(2, false);
    assert!((1..40).any(|port| node.passes(0, &allowed(port))));
    let shared = Arc::clone(&node.shared);
    drop(node);
    assert!(
        shared
            .alive
            .iter()
            .all(|alive| alive.load(Ordering::Acquire))
    );
}
