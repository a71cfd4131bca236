//! What the server answers: refusals, matched to what was asked.

use super::api;
use super::client::SIZE;
use super::reader::{Fault, Read, Reader};
use super::{API, Asked, ERROR, ERROR_CODE, Kafka, LOGIN, MECHANISM, MESSAGE_MAX, TOPIC};
use crate::{Event, EventKind, EventSink, Field, Step};

/// How much of an answer is read.
const HEAD_MAX: usize = 1_024;

impl Kafka {
    pub(super) fn server_bytes(&mut self, input: &[u8], sink: &mut dyn EventSink) -> Step {
        let Some((&size, rest)) = input.split_first_chunk::<SIZE>() else {
            return Step::Incomplete;
        };
        let size = u32::from_be_bytes(size);
        if size > MESSAGE_MAX {
            return self.wrong("kafka: a length that is none");
        }
        let bytes = rest.get(..size as usize).unwrap_or(rest);
        if bytes.len() < (size as usize).min(HEAD_MAX) {
            return Step::Incomplete;
        }
        let bytes = bytes.get(..HEAD_MAX).unwrap_or(bytes);
        if let Some(asked) = self.asked(bytes) {
            // What is not as expected is not told.
            let _ = answer(asked, bytes, sink);
        }
        Step::Skip(SIZE as u64 + u64::from(size))
    }

    /// The request that this answers.
    fn asked(&mut self, bytes: &[u8]) -> Option<Asked> {
        let correlation = u32::from_be_bytes(*bytes.first_chunk()?);
        let place = self
            .outstanding
            .iter()
            .position(|asked| asked.correlation == correlation)?;
        // Answers come in the order of the requests; a Produce may want none.
        let asked = self.outstanding.get(place).copied();
        self.outstanding.drain(..=place);
        asked
    }
}

fn answer(asked: Asked, bytes: &[u8], sink: &mut dyn EventSink) -> Read<()> {
    let Asked { key, version, .. } = asked;
    let api = api::of(key.into()).ok_or(Fault::Bad)?;
    let flexible = version >= api.flexible;
    let mut reader = Reader::new(bytes, flexible);
    reader.skip(4)?;
    // The answer to ApiVersions is understood by everybody: its header has no tags.
    if key != api::API_VERSIONS {
        reader.tags()?;
    }
    let mut topic: &[u8] = &[];
    let throttled = match (key, version) {
        (api::API_VERSIONS | api::SASL_HANDSHAKE | api::SASL_AUTHENTICATE, _) => false,
        (api::PRODUCE, 0..=12) => {
            if reader.count()?.unwrap_or_default() == 0 {
                return Ok(());
            }
            topic = reader.text()?;
            if reader.count()?.unwrap_or_default() == 0 {
                return Ok(());
            }
            reader.skip(4)?;
            false
        }
        (api::FETCH, 7..) | (22 | 24 | 25 | 26, _) => true,
        // FindCoordinator answers for several from version 4 on.
        (10, 0) | (11, 0..=1) | (12..=14, 0) => false,
        (10, 1..=3) | (11, 2..) | (12..=14, 1..) => true,
        _ => return Ok(()),
    };
    if throttled {
        reader.skip(4)?;
    }
    let code = reader.i16()?;
    let number = Field::number(ERROR_CODE, u64::try_from(code).unwrap_or(u16::MAX.into()));
    let name = Field::name(API, api.name);
    if key == api::SASL_AUTHENTICATE {
        let error = reader.text().unwrap_or_default();
        let login = if code == 0 { "accepted" } else { "failed" };
        let fields = [
            Field::name(LOGIN, login),
            number,
            Field::bytes(ERROR, error),
        ];
        sink.event(&Event {
            kind: EventKind::Session,
            fields: fields
                .get(..if code == 0 { 2 } else { 3 })
                .unwrap_or_default(),
        });
    } else if code != 0 {
        let mechanism = match (key, reader.count()) {
            (api::SASL_HANDSHAKE, Ok(Some(1..))) => reader.text().unwrap_or_default(),
            _ => &[],
        };
        let (field, there) = match key {
            api::PRODUCE => (Field::bytes(TOPIC, topic), true),
            _ => (Field::bytes(MECHANISM, mechanism), !mechanism.is_empty()),
        };
        let fields = [name, number, field];
        sink.event(&Event {
            kind: EventKind::Response,
            fields: fields.get(..if there { 3 } else { 2 }).unwrap_or_default(),
        });
    }
    Ok(())
}
