//! Every condition of every application bites in protect, tells in monitor and is silent in
//! discover: shown on the samples of the parsers, through the whole path.

use std::collections::BTreeMap;

use weir_l7::{
    AppEventSink, AppId, Engine, Event, EventKind as MessageKind, Speaker, Transport, registry,
};
use weir_node::event::EventKind;
use weir_policy::spec::{Action, Mode};
use weir_samples::Sample;
use weir_wire::Direction;

use crate::common::bench::{CLIENTS, SERVERS};
use crate::common::frames;
use crate::common::hosts::*;
use crate::common::{Bench, Shop, Talk};

/// What fits into a frame.
const SEGMENT_BYTES: usize = 1_400;

/// The first value of each field that a condition may name, in the requests of a conversation.
#[derive(Default)]
pub struct Values(pub BTreeMap<(AppId, u8), String>);

impl AppEventSink for Values {
    fn event(&mut self, speaker: Speaker, event: &Event<'_>) {
        // What TLS says within another application is no request of that one.
        let judged = registry::refines(speaker.app, registry::root(speaker.parser));
        if event.kind != MessageKind::Request || !judged {
            return;
        }
        for field in event.fields {
            let spec =
                registry::info(speaker.parser).map(|row| &row.fields[usize::from(field.index)]);
            let text = match field.value {
                weir_l7::Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                weir_l7::Value::Name(name) => name.to_owned(),
                weir_l7::Value::Number(number) => number.to_string(),
                weir_l7::Value::Address(address) => address.to_string(),
            };
            let usable = !text.is_empty() && !text.contains(char::REPLACEMENT_CHARACTER);
            if usable && spec.is_some_and(|spec| spec.condition) {
                let key = (speaker.parser, field.index);
                self.0.entry(key).or_insert(text);
            }
        }
    }
}

pub fn values_of(sample: &Sample) -> Values {
    let mut engine = Engine::new(weir_samples::limits());
    let mut values = Values::default();
    let id = engine
        .open(sample.transport, [1, sample.port], true)
        .unwrap();
    for (direction, piece) in &sample.pieces {
        engine.data(id, *direction, piece, &mut values);
    }
    values
}

fn plays(sample: &Sample, policy: &Shop) -> (bool, Bench) {
    let mut bench = Bench::new(&policy.build());
    (play(sample, 40_000, &mut bench), bench)
}

/// Whether every frame of the conversation passed as it was.
pub fn play(sample: &Sample, client_port: u16, bench: &mut Bench) -> bool {
    let client = AI_MODEL.port(Family::V4, client_port);
    let server = FRONTEND.port(Family::V4, sample.port);
    let mut talk = Talk::new(client, server);
    let mut all = sample.transport != Transport::Tcp || talk.open(bench);
    for (direction, piece) in &sample.pieces {
        let to_server = *direction == Direction::ToServer;
        if sample.transport == Transport::Udp {
            let (port, frame) = match to_server {
                true => (CLIENTS, frames::udp(client, server, piece)),
                false => (SERVERS, frames::udp(server, client, piece)),
            };
            all &= bench.send(port, &frame).is_passed(port, &frame);
            continue;
        }
        for segment in piece.chunks(SEGMENT_BYTES) {
            all &= match to_server {
                true => talk.client_passes(bench, segment),
                false => talk.server_passes(bench, segment),
            };
        }
    }
    all
}

fn denied(mode: Mode, application: &str, field: &str, value: &str) -> Shop {
    let (client, server) = (AI_MODEL.identity(), FRONTEND.identity());
    Shop::new(mode)
        .allow_any(client, server)
        .rule(Action::Deny, client, server, &[application], None)
        .when(field, value)
}

/// The samples that no parser objects to, over TCP and UDP.
pub fn samples() -> impl Iterator<Item = Sample> {
    weir_samples::all().into_iter().filter(|sample| {
        sample.violation.is_none() && matches!(sample.transport, Transport::Tcp | Transport::Udp)
    })
}

#[test]
fn every_condition_of_every_application_holds_in_every_mode() {
    let mut seen = BTreeMap::new();
    for sample in samples() {
        for ((app, index), value) in values_of(&sample).0 {
            let row = registry::info(app).unwrap();
            let field = format!("{}.{}", row.name, row.fields[usize::from(index)].name);
            let place = format!("{field} = {value:?} in {}", sample.path.display());
            for mode in [Mode::Discover, Mode::Monitor, Mode::Protect] {
                let (passed, mut bench) = plays(&sample, &denied(mode, row.name, &field, &value));
                let told = !bench.events_of(EventKind::Verdict).is_empty();
                assert_eq!(passed, mode != Mode::Protect, "{mode:?}: {place}");
                assert_eq!(told, mode != Mode::Discover, "{mode:?}: {place}");
            }
            let (client, server) = (AI_MODEL.identity(), FRONTEND.identity());
            let others_only = Shop::new(Mode::Protect)
                .rule(Action::Allow, client, server, &[row.name], None)
                .when(&field, "\u{1}nothing like it");
            assert!(
                !plays(&sample, &others_only).0,
                "allowed without meeting: {place}"
            );
            seen.insert((app, index), ());
        }
    }
    for row in registry::applications()
        .iter()
        .filter(|row| row.id == registry::root(row.id))
    {
        for (index, spec) in (0..).zip(row.fields).filter(|(_, spec)| spec.condition) {
            let carried = row
                .transports
                .iter()
                .any(|transport| matches!(transport, Transport::Tcp | Transport::Udp));
            let shown = seen
                .keys()
                .any(|&(app, seen)| registry::root(app) == row.id && seen == index);
            assert!(
                shown || !carried,
                "no sample has a request with {}.{}",
                row.name,
                spec.name
            );
        }
    }
}
