//! Weak versions in use, Heartbleed, and the marks of malware in hellos and certificates.

use weir_l7::{Buffer, Content, Event, EventKind};

use super::fields::FieldPlace;
use super::{Memory as Remembered, Scene, malware};
use crate::{Evidence, Threat};

/// Kind, length of the payload and the least padding (RFC 6520, 4).
const HEARTBEAT_FRAME_BYTES: u64 = 1 + 2 + 16;
/// The least that encryption adds to a record of TLS 1.2: the tag of an AEAD cipher without nonce.
const SEAL_BYTES: u64 = 16;
/// A response that is longer than the request by more than padding may differ.
const RESPONSE_SLACK_BYTES: u64 = 64;

/// What is remembered of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Memory {
    /// Length of the record of the last encrypted heartbeat, by direction; 0: none.
    heartbeats: [u16; 2],
}

pub(super) struct Tls {
    version: FieldPlace,
    note: FieldPlace,
    heartbeat: FieldPlace,
    claim: FieldPlace,
    length: FieldPlace,
    marks: malware::Hellos,
}

impl Tls {
    pub(super) fn new() -> Self {
        Self {
            version: FieldPlace::of("tls.version"),
            note: FieldPlace::of("tls.note"),
            heartbeat: FieldPlace::of("tls.heartbeat"),
            claim: FieldPlace::of("tls.heartbeat_claim"),
            length: FieldPlace::of("tls.heartbeat_length"),
            marks: malware::Hellos::new(),
        }
    }

    pub(super) fn message(&self, scene: &mut Scene<'_>, message: &Event<'_>) {
        match message.kind {
            EventKind::Request => {
                if self.note.text(message) == b"sslv2 hello" {
                    scene.once(Threat::Sslv2Hello, || Evidence::sign("client hello"));
                }
            }
            EventKind::Response => self.answer(scene, message),
            EventKind::Session => self.heartbeat(scene, message),
        }
        self.marks.message(scene, message);
    }

    /// What the server chose is what is used.
    fn answer(&self, scene: &mut Scene<'_>, message: &Event<'_>) {
        let threat = match self.version.text(message) {
            b"SSL 2.0" => Threat::Sslv2Use,
            b"SSL 3.0" => Threat::Ssl3Use,
            b"TLS 1.0" => Threat::Tls10Use,
            b"TLS 1.1" => Threat::Tls11Use,
            _ => return,
        };
        scene.once(threat, || Evidence::sign("chosen by the server"));
    }

    fn heartbeat(&self, scene: &mut Scene<'_>, message: &Event<'_>) {
        let kind = self.heartbeat.text(message);
        let Some(length) = self.length.number(message) else {
            return;
        };
        let sign = match (kind, self.claim.number(message)) {
            (b"request", Some(claim)) if claim + HEARTBEAT_FRAME_BYTES > length => {
                "claims more than it has"
            }
            (b"request" | b"response", _) => return,
            _ => match self.encrypted(scene, kind, length) {
                Some(sign) => sign,
                None => return,
            },
        };
        let claim = self.claim.number(message).unwrap_or(0);
        scene.once(Threat::Heartbleed, || {
            Evidence::sign(sign)
                .counter("record_bytes", length)
                .counter("claimed_bytes", claim)
        });
    }

    /// Encrypted heartbeats show their length only.
    fn encrypted(&self, scene: &mut Scene<'_>, kind: &[u8], length: u64) -> Option<&'static str> {
        let mut memory = scene.watch.tls();
        let direction = scene.speaker.direction as usize;
        let asked = u64::from(memory.heartbeats[1 - direction]);
        memory.heartbeats[direction] = u16::try_from(length).unwrap_or(u16::MAX);
        scene.watch.memory = Remembered::Tls(memory);
        if length < HEARTBEAT_FRAME_BYTES + SEAL_BYTES {
            Some("shorter than any heartbeat")
        } else if asked > 0 && length > asked + RESPONSE_SLACK_BYTES {
            Some("an answer longer than what was asked")
        } else if kind == b"encrypted before any data" && asked == 0 {
            // It keeps idle connections alive: none is idle before it was used.
            Some("before any data")
        } else {
            None
        }
    }
}

impl super::Watch {
    fn tls(&self) -> Memory {
        match self.memory {
            Remembered::Tls(memory) => memory,
            _ => Memory::default(),
        }
    }
}

/// A buffer of a connection: only some hold marks.
pub(super) fn content(scene: &mut Scene<'_>, content: &Content<'_>) {
    if content.buffer == Buffer::TlsSerial {
        malware::serial(scene, content.bytes);
    }
}
