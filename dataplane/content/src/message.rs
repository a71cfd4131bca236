//! One message: its codings undone, then its parts.

use std::ops::ControlFlow;

use crate::coding::Chain;
use crate::mime::Mime;
use crate::{Limits, Outcome, Part, PartKind, Sink};

/// Where a message is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// No message.
    #[default]
    Closed,
    /// Nothing was given yet.
    Begun,
    /// The body has begun.
    Body,
    /// Ended, or given up.
    Over,
}

#[derive(Default)]
pub(crate) struct Message {
    state: State,
    chain: Chain,
    mime: Mime,
}

impl Message {
    pub(crate) fn begin(&mut self, chain: Chain, media_type: &[u8]) {
        self.state = State::Begun;
        self.chain = chain;
        self.mime.begin(media_type);
    }

    pub(crate) fn is_open(&self) -> bool {
        self.state != State::Closed
    }

    /// Ends the message; returns its codings.
    pub(crate) fn close(&mut self) -> Chain {
        self.state = State::Closed;
        std::mem::take(&mut self.chain)
    }

    pub(crate) fn piece(
        &mut self,
        bytes: &[u8],
        ends: bool,
        limits: &Limits,
        sink: &mut impl Sink,
    ) -> Outcome {
        if self.state == State::Over {
            return Outcome::Over;
        }
        let Self { state, chain, mime } = self;
        let (mut done, read) = chain.piece(bytes, limits, &mut |piece| {
            give(state, mime, piece, sink);
            ControlFlow::Continue(())
        });
        if done.is_continue() && ends {
            done = chain.end();
        }
        if let ControlFlow::Break(fault) = done
            && let Some(first) = chain.read_plain(fault)
        {
            if wants_parts(mime, sink) {
                mime.restart(sink);
            }
            give(state, mime, first, sink);
            give(state, mime, bytes.get(read..).unwrap_or_default(), sink);
            done = match ends {
                true => chain.end(),
                false => ControlFlow::Continue(()),
            };
        }
        let over = ends || done.is_break();
        if over {
            if wants_parts(mime, sink) {
                mime.end(sink);
            }
            body(state, &[], true, sink);
            self.state = State::Over;
        }
        match done {
            ControlFlow::Break(outcome) => outcome,
            ControlFlow::Continue(()) if over => Outcome::Whole,
            ControlFlow::Continue(()) => Outcome::More,
        }
    }
}

/// Gives decoded bytes: as the body, and in parts.
fn give(state: &mut State, mime: &mut Mime, bytes: &[u8], sink: &mut impl Sink) {
    body(state, bytes, false, sink);
    if wants_parts(mime, sink) {
        mime.piece(bytes, sink);
    }
}

/// Whether somebody looks at what this content is made of. Most are no mail and have no parts: reading JSON for names of
/// files was a sixth of the instructions of HTTP with 1,000 signatures.
fn wants_parts(mime: &Mime, sink: &impl Sink) -> bool {
    sink.wants_parts() && (sink.wants_fields() || mime.may_have_files())
}

/// Gives a piece of the body.
fn body(state: &mut State, bytes: &[u8], ends: bool, sink: &mut impl Sink) {
    if bytes.is_empty() && !ends {
        return;
    }
    let begins = *state == State::Begun;
    *state = State::Body;
    sink.part(&Part {
        kind: PartKind::Body,
        name: &[],
        bytes,
        begins,
        ends,
    });
}
