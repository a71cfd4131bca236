//! One connection, however many records tell of it: every node and pair that it passes reports it,
//! and each of them several times.

use std::collections::{HashMap, VecDeque};

use weir_api::{Verdict, v1};

/// Whoever sees a connection sees its first packet within this of the others; what begins later
/// between the same ends is another connection.
const SAME_START_US: u64 = 2_000_000;
/// Connections that one reader is told the changes of; the oldest gives way.
const FOLLOWED_MAX: usize = 16_384;

/// Something kept for each connection: of the `max` that were met last.
#[derive(Debug)]
pub struct Connections<T> {
    max: usize,
    /// By community id: when they began, and what is kept.
    by_name: HashMap<String, Vec<(u64, T)>>,
    order: VecDeque<(String, u64)>,
}

/// Tells which records say something new of their connection.
#[derive(Debug)]
pub struct News {
    told: Connections<Option<Told>>,
}

/// What a reader knows of a connection. Numbers of packets and bytes are no news before its end.
#[derive(Clone, Debug, PartialEq)]
struct Told {
    application: String,
    verdict: Verdict,
    decider: String,
    detail: String,
    ended: bool,
}

impl<T: Default> Connections<T> {
    /// None yet.
    pub fn with_max(max: usize) -> Self {
        Self {
            max,
            by_name: HashMap::new(),
            order: VecDeque::new(),
        }
    }

    /// What is kept for the connection of this record.
    pub fn of(&mut self, node: &str, record: &v1::FlowRecord) -> &mut T {
        while self.order.len() >= self.max.max(1) {
            self.forget_oldest();
        }
        let name = match record.community_id.as_str() {
            "" => format!("{node}/{}", record.flow_id),
            id => id.to_owned(),
        };
        let start = record.first_seen_unix_us;
        let known = self.by_name.entry(name.clone()).or_default();
        let same = |(began, _): &(u64, T)| began.abs_diff(start) <= SAME_START_US;
        let place = known.iter().position(same).unwrap_or_else(|| {
            self.order.push_back((name, start));
            known.push((start, T::default()));
            known.len() - 1
        });
        &mut known[place].1
    }

    fn forget_oldest(&mut self) {
        let Some((name, start)) = self.order.pop_front() else {
            return;
        };
        if let Some(known) = self.by_name.get_mut(&name) {
            known.retain(|(began, _)| *began != start);
            if known.is_empty() {
                self.by_name.remove(&name);
            }
        }
    }
}

impl Default for News {
    fn default() -> Self {
        Self {
            told: Connections::with_max(FOLLOWED_MAX),
        }
    }
}

impl News {
    /// Whether the record says what no record of its connection has said before it.
    pub fn is_new(&mut self, view: &v1::FlowView) -> bool {
        let Some(record) = &view.record else {
            return false;
        };
        let told = self.told.of(&view.node, record);
        let mut now = Told {
            application: record.application.clone(),
            verdict: record.verdict(),
            decider: record.decider.clone(),
            detail: record.detail.clone(),
            ended: record.event() == v1::FlowEvent::End,
        };
        if let Some(before) = told {
            // The next point on its way begins where the first one began.
            if record.event() == v1::FlowEvent::New {
                return false;
            }
            for (text, known) in [
                (&mut now.application, &before.application),
                (&mut now.detail, &before.detail),
            ] {
                if text.is_empty() {
                    text.clone_from(known);
                }
            }
            now.ended |= before.ended;
            if *before == now {
                return false;
            }
        }
        *told = Some(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use v1::FlowEvent::{self, End, New, Update};

    const START_US: u64 = 1_750_000_000_000_000;

    fn view(node: &str, event: FlowEvent, start_us: u64, application: &str) -> v1::FlowView {
        let record = v1::FlowRecord {
            event: event.into(),
            community_id: "1:abc".into(),
            first_seen_unix_us: START_US + start_us,
            application: application.into(),
            rule_action: v1::Action::Allow.into(),
            ..Default::default()
        };
        v1::FlowView {
            node: node.into(),
            record: Some(record),
            ..Default::default()
        }
    }

    #[test]
    fn a_connection_seen_twice_is_news_once() {
        let mut news = News::default();
        let told: Vec<bool> = [
            view("a", New, 0, ""),
            view("b", New, 40, ""),
            view("a", Update, 0, "http"),
            view("b", Update, 40, "http"),
            view("a", Update, 0, "http"),
            view("b", Update, 40, ""),
            view("a", End, 0, "http"),
            view("b", Update, 40, "http"),
            view("b", End, 40, "http"),
            // The same ends once more.
            view("a", New, 60_000_000, ""),
        ]
        .iter()
        .map(|view| news.is_new(view))
        .collect();
        assert_eq!(
            told,
            [
                true, false, true, false, false, false, true, false, false, true
            ]
        );
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut connections = Connections::<u8>::with_max(10);
        for start in 0..100 {
            let other = view("a", New, start * 10_000_000, "").record.unwrap();
            *connections.of("a", &other) = 1;
            let nameless = v1::FlowRecord {
                community_id: String::new(),
                flow_id: start,
                ..other
            };
            *connections.of("a", &nameless) = 1;
        }
        let kept: usize = connections.by_name.values().map(Vec::len).sum();
        assert_eq!((kept, connections.order.len()), (10, 10));
        let last = view("a", Update, 99 * 10_000_000, "").record.unwrap();
        assert_eq!(*connections.of("a", &last), 1);
    }
}
