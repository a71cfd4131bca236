//! Messages on their way: tried again with growing pauses, given up after [`TRIES_MAX`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tracing::{debug, warn};
use weir_respond::{Order, OrderAction, message};

use super::syslog::Lines;
use super::webhook::{Failure, Poster};
use crate::ResponseConfig;

/// Messages to web servers that are on their way at the same time.
const POSTS_MAX: usize = 32;
/// Tries of one message.
const TRIES_MAX: u32 = 6;
/// The pause after the first try; doubled after each.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// Delivers messages.
#[derive(Debug)]
pub struct Delivery {
    poster: Arc<Poster>,
    hostname: String,
    failed: Arc<AtomicU64>,
}

impl Delivery {
    /// With the directory of secrets, and this machine's name for lines of logs.
    pub fn of(config: &ResponseConfig) -> Self {
        let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname");
        Self {
            poster: Arc::new(Poster::new(config.secrets.clone())),
            hostname: hostname.unwrap_or_default().trim().to_owned(),
            failed: Arc::default(),
        }
    }

    /// Delivers until nobody sends any more.
    pub async fn run(self, mut waiting: mpsc::Receiver<Order>) {
        let posts = Arc::new(Semaphore::new(POSTS_MAX));
        let mut lines = Lines::default();
        while let Some(order) = waiting.recv().await {
            match &order.action {
                OrderAction::Post(_) => {
                    let Ok(permit) = posts.clone().acquire_owned().await else {
                        return;
                    };
                    let (poster, failed) = (self.poster.clone(), self.failed.clone());
                    tokio::spawn(async move {
                        post(&poster, &order, &failed).await;
                        drop(permit);
                    });
                }
                OrderAction::Log(syslog) => {
                    let line = message::line(&order, &self.hostname);
                    if let Err(why) = lines.send(syslog, &line).await {
                        let failed = self.failed.fetch_add(1, Ordering::Relaxed) + 1;
                        warn!(rule = order.rule, why, failed, "a line of the log is lost");
                    }
                }
                _ => {}
            }
        }
    }
}

async fn post(poster: &Poster, order: &Order, failed: &AtomicU64) {
    let OrderAction::Post(webhook) = &order.action else {
        return;
    };
    let body = message::body(order, webhook.format);
    let mut pause = FIRST_PAUSE;
    for tried in 1..=TRIES_MAX {
        let failure = match poster.post(webhook, &body).await {
            Ok(()) => return,
            Err(failure) => failure,
        };
        let last = tried == TRIES_MAX || matches!(failure, Failure::Never(_));
        if last {
            let failed = failed.fetch_add(1, Ordering::Relaxed) + 1;
            let why = failure.why();
            warn!(rule = order.rule, why, tried, failed, "a message is lost");
            return;
        }
        debug!(
            rule = order.rule,
            why = failure.why(),
            tried,
            "a message is tried again"
        );
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
}
