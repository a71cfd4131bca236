//! Connections of one source: how many it holds, how quickly it begins them.
//!
//! Trusts: that every connection that was opened is closed. Memory: two words of a source.

use std::sync::atomic::Ordering::Relaxed;

use crate::{Connection, Evidence, Found, Threat};

use super::clock::Rate;
use super::key::{Kind, sender};
use super::shared::Scene;
use super::syn_flood::{BEGUN, HELD};

/// A connection was made.
pub fn opened(scene: &Scene<'_>, connection: &Connection, found: &mut Found) {
    let source = sender(connection.client);
    let key = scene.key(Kind::Source, source, 0, 0);
    let Some(entry) = scene.shared.sources.touch(key, scene.now_ms) else {
        return;
    };
    let settings = scene.settings();
    let held = entry.word(HELD).fetch_add(1, Relaxed).wrapping_add(1);
    if held >= u64::from(settings.sessions_per_source) {
        // What it holds is given back one by one: not to be forgotten.
        entry.keep(scene.now_ms);
        scene.tell(found, Threat::SessionLimit, source, 0, || {
            Evidence::sign("connections held")
                .counter("held", held)
                .counter("threshold", u64::from(settings.sessions_per_source))
        });
    }
    let rate = Rate::add(entry.word(BEGUN), 1, scene.now_ms, 1000).sliding();
    if rate > settings.session_rate_per_s {
        scene.tell(found, Threat::SessionRate, source, 0, || {
            Evidence::sign("connections begun")
                .counter("per_s", u64::from(rate))
                .counter("threshold_per_s", u64::from(settings.session_rate_per_s))
        });
    }
}

/// A connection is over.
pub fn closed(scene: &Scene<'_>, connection: &Connection) {
    let key = scene.key(Kind::Source, sender(connection.client), 0, 0);
    if let Some(entry) = scene.shared.sources.find(key) {
        // A source that was forgotten meanwhile holds fewer than are given back.
        if entry.word(HELD).fetch_sub(1, Relaxed) == 0 {
            entry.word(HELD).fetch_add(1, Relaxed);
        }
    }
}
