//! The most recent flow records, for looking at and for explaining.
//!
//! Memory bound: [`RECENT_MAX`] records, each cut down by [`bounded`]: nodes send the text.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use weir_api::{Verdict, v1};

use crate::connections::Connections;

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
    /// Records, instead of the newest state of each connection.
    pub every: bool,
}

/// How someone names a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlowName {
    /// "1:…": the same for every tool that saw the flow.
    CommunityId(String),
    /// `node/id`.
    Id(String, u64),
    /// `10.0.0.1:4000->10.0.0.2:3306`, or `10.0.0.1->10.0.0.2` where the protocol has no ports.
    Ends(End, End),
}

/// An address, and a port where the protocol has ports.
type End = (IpAddr, Option<u16>);

impl Recent {
    /// Adds the newest record.
    pub fn push(&mut self, view: Arc<v1::FlowView>) {
        if self.views.len() >= RECENT_MAX {
            self.views.pop_front();
        }
        self.views.push_back(view);
    }

    /// All of them, oldest first.
    pub fn all(&self) -> Vec<Arc<v1::FlowView>> {
        self.views.iter().cloned().collect()
    }

    /// The newest `limit` records that match, oldest first: of each connection the newest, or every
    /// one where the filter says so.
    pub fn newest(&self, filter: &Filter, limit: usize) -> Vec<Arc<v1::FlowView>> {
        let mut listed = Connections::<bool>::with_max(RECENT_MAX);
        let mut first = |view: &v1::FlowView| match &view.record {
            Some(record) => !std::mem::replace(listed.of(&view.node, record), true),
            None => false,
        };
        let matching = self
            .views
            .iter()
            .rev()
            .filter(|view| filter.matches(view) && (filter.every || first(view)));
        let mut newest: Vec<_> = matching.take(limit).cloned().collect();
        newest.reverse();
        newest
    }

    /// The newest record of a flow; one that tells of a denial before others.
    pub fn find(&self, name: &FlowName) -> Option<Arc<v1::FlowView>> {
        let mut matching = self.views.iter().rev().filter(|view| name.matches(view));
        let newest = matching.next()?;
        let denied = |view: &&Arc<v1::FlowView>| {
            view.record
                .as_ref()
                .is_some_and(|record| record.verdict().is_denial())
        };
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
            text => Some(text.parse()?),
        };
        let (workload, application) = (request.workload.clone(), request.application.clone());
        Ok(Self {
            workload,
            application,
            verdict,
            every: request.every,
        })
    }

    /// Whether a record is wanted.
    pub fn matches(&self, view: &v1::FlowView) -> bool {
        let Some(record) = &view.record else {
            return false;
        };
        (self.workload.is_empty()
            || names(&self.workload, &view.client)
            || names(&self.workload, &view.server))
            && (self.application.is_empty() || self.application == record.application)
            && self
                .verdict
                .is_none_or(|verdict| verdict == record.verdict())
    }
}

impl FlowName {
    /// Reads what someone wrote.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if let Some((client, server)) = text.split_once("->") {
            return Ok(Self::Ends(end(client.trim())?, end(server.trim())?));
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
                let ports = has_ports(record);
                let is = |address: &[u8], port: u32, end: &End| {
                    let port = ports.then(|| u16::try_from(port).unwrap_or_default());
                    ip_address(address) == Some(end.0) && port == end.1
                };
                is(&record.client_address, record.client_port, client)
                    && is(&record.server_address, record.server_port, server)
            }
        }
    }
}

fn end(text: &str) -> Result<End, String> {
    let with_port = text.parse::<SocketAddr>();
    let with_port = with_port.map(|end| (end.ip(), Some(end.port())));
    with_port
        .or_else(|_| text.parse().map(|address| (address, None)))
        .map_err(|_| {
            format!("{text:?} is no address:port (an IPv6 address with a port stands in brackets)")
        })
}

/// Whether the numbers that a record gives as ports are ports; a node puts an echo's id there too.
pub fn has_ports(record: &v1::FlowRecord) -> bool {
    u8::try_from(record.protocol).is_ok_and(|number| weir_model::Protocol(number).has_ports())
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
    if let Some(alert) = &mut record.alert {
        for text in [
            &mut alert.name,
            &mut alert.message,
            &mut alert.technique,
            &mut alert.sign,
            &mut alert.excerpt,
        ] {
            cut(text);
        }
        while alert.counters.len() > FIELDS_MAX {
            alert.counters.pop_last();
        }
        alert
            .counters
            .retain(|name, _| name.len() <= TEXT_BYTES_MAX);
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
            matches!(ends, FlowName::Ends(client, server) if client.1 == Some(4000) && server.0.is_ipv6())
        );
        let pings = FlowName::parse("10.0.0.1->fd00::2").unwrap();
        assert!(matches!(pings, FlowName::Ends((_, None), (_, None))));
        for text in ["", "photo-db", "a/b", "10.0.0.1->shop", "->"] {
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
