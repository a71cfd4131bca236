//! The push protocol on a bad network, with a virtual clock: messages are dropped, delayed, sent twice
//! and overtaken, connections break, nodes refuse and restart. The real session of the controller and
//! the real follower of a node, over channels.
//!
//! The law: whatever happens on the way, every node comes to the newest policy, never goes back, and is
//! never without one once it has one. A failure names its seed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use weir_api::v1::wire;
use weir_api::{Contents, Follower, Item, ItemKey, Step, first, v1};
use weir_controller::push::session::{Session, Told};
use weir_controller::push::target::Target;

/// Half an hour of virtual time: what has not come together by then never does.
const PATIENCE: Duration = Duration::from_secs(1800);

/// xorshift64*: the same seed, the same story.
#[derive(Clone)]
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % end
    }

    fn fork(&mut self) -> Self {
        Self::new(self.below(u64::MAX))
    }
}

/// How bad the network is, in percent, until it is mended.
#[derive(Clone)]
struct Weather {
    mended: Arc<Mutex<bool>>,
}

impl Weather {
    fn is_bad(&self) -> bool {
        !*self.mended.lock().unwrap()
    }
}

/// Carries messages one way, badly.
async fn carry<T: Clone + Send + 'static>(
    mut from: mpsc::Receiver<T>,
    to: mpsc::Sender<T>,
    weather: Weather,
    mut dice: Dice,
) {
    while let Some(message) = from.recv().await {
        if !weather.is_bad() {
            if to.send(message).await.is_err() {
                return;
            }
            continue;
        }
        let copies = match dice.below(100) {
            0..15 => 0,
            15..25 => 2,
            _ => 1,
        };
        for _ in 0..copies {
            let (to, message) = (to.clone(), message.clone());
            let delay = Duration::from_millis(dice.below(400));
            match dice.below(100) {
                // It is overtaken.
                0..30 => {
                    tokio::spawn(async move {
                        sleep(delay * 5).await;
                        let _ = to.send(message).await;
                    });
                }
                30..33 => return,
                _ => {
                    sleep(delay).await;
                    if to.send(message).await.is_err() {
                        return;
                    }
                }
            }
        }
    }
}

struct Nobody;

impl Told for Nobody {
    fn applied(&self, _version: u64) {}
    fn refused(&self, _refused: &v1::Refused) {}
}

/// What a controller has for one node.
#[derive(Clone)]
struct Controller {
    target: Arc<Target>,
    newest: Arc<AtomicU64>,
    large: Arc<Semaphore>,
}

impl Controller {
    fn new(seed: u64) -> Self {
        let target = Target::new(1, contents(seed, 1));
        Self {
            target: Arc::new(target),
            newest: Arc::new(AtomicU64::new(1)),
            large: Arc::new(Semaphore::new(4)),
        }
    }

    fn change(&self, dice: &mut Dice) {
        let version = self.newest.load(Ordering::SeqCst) + 1;
        let mut changes = Vec::new();
        for _ in 0..=dice.below(4) {
            let id = 1 + dice.below(40) as u32;
            let item = identity(id, dice.below(9));
            let gone = dice.below(3) == 0;
            changes.push((item.0, (!gone).then_some(item.1)));
        }
        // Some versions concern other nodes only.
        if dice.below(3) > 0 {
            self.target.change(version, changes);
        }
        self.newest.store(version, Ordering::SeqCst);
    }

    /// What greets a node: whatever it is sent is above what it enforces, unless that is it.
    fn make_way(&self, hello: &v1::Hello) {
        let mark = self.target.mark();
        let has_it = hello.enforced_checksum == mark.checksum && hello.protocol_max > 1;
        if !has_it && hello.enforced_version >= mark.version {
            let version = hello.enforced_version + 1;
            self.newest.fetch_max(version, Ordering::SeqCst);
            self.target.raise(version);
        }
    }
}

fn identity(id: u32, salt: u64) -> (ItemKey, Item) {
    Item::identity(&v1::Identity {
        id,
        name: format!("shop/workload-{id}-{salt}"),
        managed: true,
        mode: v1::Mode::Protect.into(),
        ..Default::default()
    })
}

fn contents(seed: u64, salt: u64) -> Contents {
    let mut contents = Contents::default();
    for id in 1..=20 + (seed % 3) as u32 {
        let (key, item) = identity(id, salt);
        contents.put(key, Some(item));
    }
    // Large enough to travel in parts.
    if seed.is_multiple_of(4) {
        for id in 1000..1030 {
            let (key, item) = Item::identity(&v1::Identity {
                id,
                name: "x".repeat(100_000),
                ..Default::default()
            });
            contents.put(key, Some(item));
        }
    }
    contents
}

/// A node, as long as it runs: connects again and again.
struct Node {
    follower: Follower,
    protocol_max: u32,
    /// Version and checksum of everything that was in force, in its order.
    history: Arc<Mutex<Vec<(u64, u64)>>>,
}

impl Node {
    fn new(protocol_max: u32) -> Self {
        Self {
            follower: Follower::new("node-1", "test", 0, Contents::default()),
            protocol_max,
            history: Arc::default(),
        }
    }

    /// It forgets everything but what is on its disk.
    fn restart(&mut self) {
        let kept = self.follower.contents().write(self.follower.version());
        let (version, contents) = Contents::read(&kept).unwrap();
        self.follower = Follower::new("node-1", "test", version, contents);
    }

    fn hello(&mut self) -> v1::Hello {
        match self.follower.hello().message {
            Some(v1::node_message::Message::Hello(hello)) => v1::Hello {
                protocol_max: self.protocol_max,
                ..hello
            },
            other => panic!("no hello: {other:?}"),
        }
    }

    fn take(&mut self, message: wire::ControllerMessage, refuses: bool) -> Option<v1::NodeMessage> {
        match self.follower.take(message) {
            Step::Nothing | Step::Failed(_) => None,
            Step::Answer(answer) => Some(answer),
            Step::Enforce if refuses => Some(self.follower.refuse("no memory".into())),
            Step::Keep(answer) => {
                self.remember();
                Some(answer)
            }
            Step::Enforce => {
                let answer = self.follower.enforced();
                self.remember();
                Some(answer)
            }
        }
    }

    fn remember(&self) {
        let now = (self.follower.version(), self.follower.contents().checksum());
        self.history.lock().unwrap().push(now);
    }

    async fn live(mut self, controller: Controller, weather: Weather, mut dice: Dice) {
        loop {
            if weather.is_bad() && dice.below(5) == 0 {
                self.restart();
            }
            let hello = self.hello();
            controller.make_way(&hello);
            let (to_node, from_session) = mpsc::channel(1);
            let (to_session, from_node) = mpsc::channel(16);
            let (far_to_node, mut incoming) = mpsc::channel(4);
            let (outgoing, far_from_node) = mpsc::channel(16);
            let mut stream = JoinSet::new();
            stream.spawn(carry(
                from_session,
                far_to_node,
                weather.clone(),
                dice.fork(),
            ));
            stream.spawn(carry(
                far_from_node,
                to_session,
                weather.clone(),
                dice.fork(),
            ));
            let shared = (
                controller.target.clone(),
                controller.newest.clone(),
                controller.large.clone(),
            );
            let protocol = self.protocol_max;
            let session = Session::new(&hello, protocol, shared, Nobody, to_node);
            stream.spawn(async move {
                let answers = ReceiverStream::new(from_node);
                session.run(answers, std::future::pending()).await;
            });
            loop {
                // Where a stream breaks the transport tells both ends.
                let message: Result<wire::ControllerMessage, Status> = tokio::select! {
                    message = incoming.recv() => match message {
                        Some(message) => message,
                        None => break,
                    },
                    _ = stream.join_next() => break,
                };
                // A slow reader.
                if weather.is_bad() && dice.below(20) == 0 {
                    sleep(Duration::from_secs(dice.below(40))).await;
                }
                let refuses = weather.is_bad() && dice.below(6) == 0;
                if let Some(answer) = self.take(message.unwrap(), refuses)
                    && outgoing.send(Ok(answer)).await.is_err()
                {
                    break;
                }
            }
            sleep(Duration::from_millis(100 + dice.below(1000))).await;
        }
    }
}

async fn story(seed: u64, protocol_max: u32) {
    let mut dice = Dice::new(seed);
    let weather = Weather {
        mended: Arc::default(),
    };
    let controller = Controller::new(seed);
    let nodes: Vec<Node> = (0..3).map(|_| Node::new(protocol_max)).collect();
    // Each its own part of the policy, and its own network.
    let controllers: Vec<Controller> = (nodes.iter())
        .map(|_| Controller {
            target: Arc::new(Target::new(1, contents(seed, 1))),
            ..controller.clone()
        })
        .collect();
    let histories: Vec<_> = nodes.iter().map(|node| node.history.clone()).collect();
    let mut living = JoinSet::new();
    for (node, controller) in nodes.into_iter().zip(&controllers) {
        living.spawn(node.live(controller.clone(), weather.clone(), dice.fork()));
    }
    for _ in 0..30 {
        sleep(Duration::from_millis(dice.below(3000))).await;
        let place = dice.below(controllers.len() as u64) as usize;
        controllers[place].change(&mut dice);
    }
    *weather.mended.lock().unwrap() = true;
    let deadline = Instant::now() + PATIENCE;
    for (controller, history) in controllers.iter().zip(&histories) {
        let wanted = controller.target.mark();
        let is_there = || {
            let history = history.lock().unwrap();
            history
                .last()
                .is_some_and(|(_, checksum)| *checksum == wanted.checksum)
        };
        while !is_there() {
            assert!(
                Instant::now() < deadline,
                "seed {seed}: never at {wanted:?}: {history:?}"
            );
            sleep(Duration::from_secs(1)).await;
        }
        let history = history.lock().unwrap();
        for pair in history.windows(2) {
            assert!(
                pair[0].0 <= pair[1].0,
                "seed {seed}: it went back: {pair:?}"
            );
            let told_apart = pair[0].0 < pair[1].0 || pair[0].1 == pair[1].1;
            assert!(
                told_apart || protocol_max == first::PROTOCOL,
                "seed {seed}: two contents of one version: {pair:?}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_happens_on_the_way_every_node_comes_to_the_newest_policy() {
    for seed in 0..30 {
        story(seed, 2).await;
    }
}

#[tokio::test(start_paused = true)]
async fn so_does_a_node_that_speaks_version_1() {
    for seed in 0..10 {
        story(seed, 1).await;
    }
}
