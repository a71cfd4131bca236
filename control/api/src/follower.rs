//! The node's side of the push protocol, without socket, clock and workers: which message makes which
//! policy, and what is answered.
//!
//! Trusts nothing of the stream: messages may be missing, come twice or in another order. Whatever comes, the
//! policy in force is one that the controller sent whole, its version never goes back, and what
//! cannot be applied is refused with what is in force, so that the controller sends everything.

use crate::contents::{ApplyError, Contents, Undo};
use crate::parts::{Assembled, Assembly};
use crate::v1::wire::{self, controller_message::Message};
use crate::v1::{self, node_message};
use crate::{PROTOCOL_VERSION, first};

/// What a node has of its controller.
#[derive(Debug)]
pub struct Follower {
    node: String,
    software: String,
    version: u64,
    contents: Contents,
    /// Of this stream; the first one until Welcome says otherwise.
    protocol: u32,
    assembly: Assembly,
    candidate: Option<Candidate>,
}

/// What leads back from a policy that is not in force yet.
#[derive(Debug)]
struct Candidate {
    version: u64,
    before: Before,
}

#[derive(Debug)]
enum Before {
    Whole(Contents),
    Changes(Undo),
}

/// What to do about a message.
#[derive(Debug)]
pub enum Step {
    /// Nothing.
    Nothing,
    /// Send this.
    Answer(v1::NodeMessage),
    /// The policy in force has another version now: keep it on disk, then send this.
    Keep(v1::NodeMessage),
    /// Put [`Follower::contents`] in force, then call [`Follower::enforced`] or [`Follower::refuse`]
    /// and send what it returns.
    Enforce,
    /// The controller refuses this node; the stream ends.
    Failed(v1::Failure),
}

impl Follower {
    /// Of a node that enforces this.
    pub fn new(node: &str, software: &str, version: u64, contents: Contents) -> Self {
        Self {
            node: node.to_owned(),
            software: software.to_owned(),
            version,
            contents,
            protocol: first::PROTOCOL,
            assembly: Assembly::default(),
            candidate: None,
        }
    }

    /// Begins a stream: what to send first.
    pub fn hello(&mut self) -> v1::NodeMessage {
        self.protocol = first::PROTOCOL;
        self.assembly.clear();
        message(node_message::Message::Hello(v1::Hello {
            node: self.node.clone(),
            protocol_min: first::PROTOCOL,
            protocol_max: PROTOCOL_VERSION,
            enforced_version: self.version,
            software: self.software.clone(),
            enforced_checksum: self.contents.checksum(),
        }))
    }

    /// The version in force, or of what [`Step::Enforce`] asks for; 0 for none.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// What is in force, or what [`Step::Enforce`] asks for.
    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    /// Takes a message.
    pub fn take(&mut self, message: wire::ControllerMessage) -> Step {
        match message.message {
            Some(Message::Welcome(welcome)) => {
                self.protocol = welcome.protocol;
                Step::Nothing
            }
            Some(Message::Part(part)) => {
                let version = part.version;
                match self.assembly.take(part) {
                    Assembled::More => Step::Nothing,
                    Assembled::Broken(why) => Step::Answer(self.refused(version, why)),
                    // Parts of parts are not a thing: whoever sends them is not answered.
                    Assembled::Whole(whole) => match whole.message {
                        Some(Message::Snapshot(_) | Message::Delta(_)) => self.take(*whole),
                        _ => Step::Nothing,
                    },
                }
            }
            Some(Message::Snapshot(snapshot)) => self.take_snapshot(&snapshot),
            Some(Message::Delta(delta)) => self.take_delta(&delta),
            Some(Message::Current(current)) => self.take_current(&current),
            Some(Message::Failure(failure)) => Step::Failed(failure),
            None => Step::Nothing,
        }
    }

    /// What was asked for is in force on every worker: the answer.
    pub fn enforced(&mut self) -> v1::NodeMessage {
        self.candidate = None;
        self.applied()
    }

    /// What was asked for cannot be put in force: goes back, and returns the answer.
    pub fn refuse(&mut self, reason: String) -> v1::NodeMessage {
        let refused = self.version;
        if let Some(candidate) = self.candidate.take() {
            self.version = candidate.version;
            match candidate.before {
                Before::Whole(contents) => self.contents = contents,
                Before::Changes(undo) => self.contents.undo(undo),
            }
        }
        self.refused(refused, reason)
    }

    fn take_snapshot(&mut self, snapshot: &wire::Snapshot) -> Step {
        let version = snapshot.version;
        let contents = match self.protocol {
            first::PROTOCOL => first_contents(snapshot),
            _ => Contents::of_snapshot(snapshot).map_err(|error| error.to_string()),
        };
        let contents = match contents {
            Ok(contents) => contents,
            Err(why) => return Step::Answer(self.refused(version, why)),
        };
        let same = contents.checksum() == self.contents.checksum();
        if let Some(step) = self.without_enforcing(version, same) {
            return step;
        }
        let before = std::mem::replace(&mut self.contents, contents);
        self.propose(version, Before::Whole(before))
    }

    fn take_delta(&mut self, delta: &wire::Delta) -> Step {
        let version = delta.version;
        // It came twice: what it leads to is in force already.
        let again = self.protocol != first::PROTOCOL
            && version == self.version
            && delta.checksum == self.contents.checksum();
        if again {
            return Step::Answer(self.applied());
        }
        if version <= self.version {
            return Step::Answer(self.refused(version, self.too_old(version)));
        }
        let applied = match self.protocol {
            first::PROTOCOL => self.first_delta(delta).map(Before::Whole),
            _ => (self.contents.apply(self.version, delta))
                .map(Before::Changes)
                .map_err(|error| error.to_string()),
        };
        match applied {
            Ok(before) => self.propose(version, before),
            Err(why) => Step::Answer(self.refused(version, why)),
        }
    }

    fn take_current(&mut self, current: &v1::Current) -> Step {
        let version = current.version;
        if current.checksum != self.contents.checksum() {
            let error = ApplyError::Checksum {
                version,
                wanted: current.checksum,
                have: self.contents.checksum(),
            };
            return Step::Answer(self.refused(version, error.to_string()));
        }
        if version < self.version {
            return Step::Answer(self.refused(version, self.too_old(version)));
        }
        self.version = version;
        Step::Keep(self.applied())
    }

    fn first_delta(&mut self, delta: &wire::Delta) -> Result<Contents, String> {
        let whole = |error: ApplyError| error.to_string();
        let base = self.contents.message(self.version).map_err(whole)?;
        let delta = retyped(delta)?;
        let next = first::apply(&base, &delta).map_err(whole)?;
        Ok(std::mem::replace(
            &mut self.contents,
            Contents::of_message(&next),
        ))
    }

    fn propose(&mut self, version: u64, before: Before) -> Step {
        self.candidate = Some(Candidate {
            version: self.version,
            before,
        });
        self.version = version;
        Step::Enforce
    }

    /// What to do about a whole policy that is not to be put in force: too old, or there already.
    fn without_enforcing(&mut self, version: u64, same: bool) -> Option<Step> {
        if self.version == 0 {
            return None;
        }
        if same && version >= self.version {
            self.version = version;
            return Some(Step::Keep(self.applied()));
        }
        // Version 1 does not tell contents of the same version apart.
        let newer = match self.protocol {
            first::PROTOCOL => version >= self.version,
            _ => version > self.version,
        };
        (!newer).then(|| Step::Answer(self.refused(version, self.too_old(version))))
    }

    fn too_old(&self, version: u64) -> String {
        let own = self.version;
        match version == own {
            true => format!("version {own} is in force with another content"),
            false => format!("version {version} is older than version {own}, which is in force"),
        }
    }

    fn applied(&self) -> v1::NodeMessage {
        message(node_message::Message::Applied(v1::Applied {
            version: self.version,
            checksum: self.contents.checksum(),
        }))
    }

    fn refused(&self, version: u64, reason: String) -> v1::NodeMessage {
        message(node_message::Message::Refused(v1::Refused {
            version,
            reason,
            enforced_version: self.version,
            enforced_checksum: self.contents.checksum(),
        }))
    }
}

fn message(message: node_message::Message) -> v1::NodeMessage {
    v1::NodeMessage {
        message: Some(message),
    }
}

fn first_contents(snapshot: &wire::Snapshot) -> Result<Contents, String> {
    let snapshot: v1::Snapshot = retyped(snapshot)?;
    if first::checksum(&snapshot) != snapshot.checksum {
        return Err("the checksum does not fit the snapshot".to_owned());
    }
    Ok(Contents::of_message(&snapshot))
}

/// The same bytes as another message: what travels as what it means, and back.
pub fn retyped<T: prost::Message + Default>(message: &impl prost::Message) -> Result<T, String> {
    let encoded = message.encode_to_vec();
    T::decode(encoded.as_slice()).map_err(|error| format!("the message cannot be read: {error}"))
}
