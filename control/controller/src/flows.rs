//! The most recent flow records, for looking at and for explaining.
//!
//! Memory bound: [`RECENT_MAX`] records, each cut down by [`bounded`]: nodes send the text.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use weir_api::v1;

/// Records kept.
pub const RECENT_MAX: usize = 65_536;
const TEXT_BYTES_MAX: usize = 512;
const FIELDS_MAX: usize = 32;

/// A ring of records, oldest first.
#[derive(Debug, Default)]
pub struct Recent {
    views: VecDeque<Arc<v1::FlowView>>,
}

/// Which records someone wants to see.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    workload: String,
    application: String,
    verdict: Option<Verdict>,
}

/// What happened to a flow, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The policy allows it.
    Allowed,
    /// The policy denies it, and the wire got that.
    Denied,
    /// The policy denies it, and the mode let it pass.
    WouldDeny,
}

/// How someone names a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlowName {
    /// "1:…": the same for every tool that saw the flow.
    CommunityId(String),
    /// `node/id`.
    Id(String, u64),
    /// `10.0.0.1:4000->10.0.0.2:3306`.
    Ends(SocketAddr, SocketAddr),
}

impl Recent {
    /// Adds the newest record.
    pub fn push(&mut self, view: Arc<v1::FlowView>) {
        if self.views.len() >= RECENT_MAX {
            self.views.pop_front();
        }
        self.views.push_back(view);
    }

    /// The newest `limit` records that match, oldest first.
    pub fn newest(&self, filter: &Filter, limit: usize) -> Vec<Arc<v1::FlowView>> {
        let matching = self.views.iter().rev().filter(|view| filter.matches(view));
        let mut newest: Vec<_> = matching.take(limit).cloned().collect();
        newest.reverse();
        newest
    }

    /// The newest record of a flow; one that tells of a denial before others.
    pub fn find(&self, name: &FlowName) -> Option<Arc<v1::FlowView>> {
        let mut matching = self.views.iter().rev().filter(|view| name.matches(view));
        let newest = matching.next()?;
        let denied = |view: &&Arc<v1::FlowView>| Verdict::of(view) != Verdict::Allowed;
        Some(
            std::iter::once(newest)
                .chain(matching)
                .find(denied)
                .unwrap_or(newest)
                .clone(),
        )
    }
}

impl Filter {
    /// The filter of a request.
    pub fn of(request: &v1::FlowsRequest) -> Result<Self, String> {
        let verdict = match request.verdict.as_str() {
            "" => None,
            "allowed" => Some(Verdict::Allowed),
            "denied" => Some(Verdict::Denied),
            "would-deny" => Some(Verdict::WouldDeny),
            other => {
                return Err(format!(
                    "verdict {other:?} is none of allowed, denied, would-deny"
                ));
            }
        };
        let (workload, application) = (request.workload.clone(), request.application.clone());
        Ok(Self {
            workload,
            application,
            verdict,
        })
    }

    /// Whether a record is wanted.
    pub fn matches(&self, view: &v1::FlowView) -> bool {
        let application = view
            .record
            .as_ref()
            .map_or("", |record| record.application.as_str());
        (self.workload.is_empty()
            || names(&self.workload, &view.client)
            || names(&self.workload, &view.server))
            && (self.application.is_empty() || self.application == application)
            && self
                .verdict
                .is_none_or(|verdict| verdict == Verdict::of(view))
    }
}

impl Verdict {
    /// Of a record.
    pub fn of(view: &v1::FlowView) -> Self {
        let Some(record) = &view.record else {
            return Self::Allowed;
        };
        if record.rule_action() != v1::Action::Deny {
            Self::Allowed
        } else if record.wire_action() == v1::WireAction::Forward {
            Self::WouldDeny
        } else {
            Self::Denied
        }
    }
}

impl FlowName {
    /// Reads what someone wrote.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if let Some((client, server)) = text.split_once("->") {
            let end = |end: &str| {
                end.trim().parse::<SocketAddr>().map_err(|_| {
                    format!(
                        "{:?} is not address:port (an IPv6 address stands in brackets)",
                        end.trim()
                    )
                })
            };
            return Ok(Self::Ends(end(client)?, end(server)?));
        }
        if text.starts_with("1:") {
            return Ok(Self::CommunityId(text.to_owned()));
        }
        if let Some((node, id)) = text.rsplit_once('/')
            && let Ok(id) = id.parse()
        {
            return Ok(Self::Id(node.to_owned(), id));
        }
        Err(format!(
            "{text:?} names no flow: give a community id (1:…), node/id, or client:port->server:port as `weir flows` prints them"
        ))
    }

    fn matches(&self, view: &v1::FlowView) -> bool {
        let Some(record) = &view.record else {
            return false;
        };
        match self {
            Self::CommunityId(id) => &record.community_id == id,
            Self::Id(node, id) => view.node == *node && record.flow_id == *id,
            Self::Ends(client, server) => {
                let is = |address: &[u8], port: u32, end: &SocketAddr| {
                    ip_address(address) == Some(end.ip()) && port == u32::from(end.port())
                };
                is(&record.client_address, record.client_port, client)
                    && is(&record.server_address, record.server_port, server)
            }
        }
    }
}

/// The address in a message.
pub fn ip_address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(IpAddr::from(v4));
    }
    <[u8; 16]>::try_from(bytes)
        .ok()
        .map(|v6| IpAddr::from(v6).to_canonical())
}

/// Whether what someone wrote names a workload: in full, or without its namespace.
pub fn names(written: &str, full: &str) -> bool {
    written == full
        || full
            .rsplit_once('/')
            .is_some_and(|(_, name)| name == written)
}

/// The record with its text cut to what a record may hold.
pub fn bounded(mut record: v1::FlowRecord) -> v1::FlowRecord {
    for text in [
        &mut record.community_id,
        &mut record.application,
        &mut record.confidence,
        &mut record.decider,
        &mut record.nearest,
        &mut record.reason,
        &mut record.detail,
    ] {
        cut(text);
    }
    while record.fields.len() > FIELDS_MAX {
        record.fields.pop_last();
    }
    for value in record.fields.values_mut() {
        cut(value);
    }
    record.fields.retain(|name, _| name.len() <= TEXT_BYTES_MAX);
    record.client_address.truncate(16);
    record.server_address.truncate(16);
    record
}

fn cut(text: &mut String) {
    if text.len() > TEXT_BYTES_MAX {
        text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
        text.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flows_are_named_in_three_ways() {
        let id = FlowName::CommunityId("1:abc=".into());
        assert_eq!(FlowName::parse("1:abc="), Ok(id));
        assert_eq!(
            FlowName::parse("node-1/42"),
            Ok(FlowName::Id("node-1".into(), 42))
        );
        let ends = FlowName::parse("10.0.0.1:4000->[fd00::2]:3306").unwrap();
        assert!(
            matches!(ends, FlowName::Ends(client, server) if client.port() == 4000 && server.is_ipv6())
        );
        for text in ["", "photo-db", "a/b", "10.0.0.1->10.0.0.2", "->"] {
            assert!(FlowName::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_ring_is_bounded_and_keeps_the_newest() {
        let mut recent = Recent::default();
        for flow_id in 0..RECENT_MAX as u64 + 10 {
            let record = Some(v1::FlowRecord {
                flow_id,
                ..Default::default()
            });
            recent.push(Arc::new(v1::FlowView {
                record,
                node: "n".into(),
                ..Default::default()
            }));
        }
        assert!(recent.find(&FlowName::Id("n".into(), 9)).is_none());
        assert!(recent.find(&FlowName::Id("n".into(), 10)).is_some());
        let newest = recent.newest(&Filter::default(), 2);
        assert_eq!(
            newest[1].record.as_ref().unwrap().flow_id,
            RECENT_MAX as u64 + 9
        );
    }

    #[test]
    fn text_from_nodes_is_cut_at_characters() {
        let record = v1::FlowRecord {
            detail: "ä".repeat(1000),
            ..Default::default()
        };
        assert_eq!(bounded(record).detail, "ä".repeat(256));
    }
}
