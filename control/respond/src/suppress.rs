//! What is kept quiet, and until when.

use std::collections::BTreeMap;

use weir_model::{Suppress, SuppressKey};

use crate::event::Event;

/// Things kept quiet; of more, those that would end first are let go.
pub const SUPPRESSED_MAX: usize = 65_536;

/// What equals what, for one rule.
type Key = (String, Vec<String>);

/// What was kept quiet, and how often.
#[derive(Clone, Debug)]
pub(crate) struct Quiet {
    /// The event that was acted on.
    pub(crate) first: Event,
    /// How many came after it.
    pub(crate) repeated: u64,
    until_unix_s: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Suppressed {
    quiet: BTreeMap<Key, Quiet>,
}

impl Suppressed {
    /// Whether an event is the same again. Where it is not, what equals it is kept quiet from now
    /// on.
    pub(crate) fn is_repeated(
        &mut self,
        rule: &str,
        suppress: &Suppress,
        event: &Event,
        now_unix_s: u64,
    ) -> bool {
        let key = (rule.to_owned(), key(suppress, event));
        if let Some(quiet) = self.quiet.get_mut(&key)
            && now_unix_s < quiet.until_unix_s
        {
            quiet.repeated += 1;
            return true;
        }
        if self.quiet.len() >= SUPPRESSED_MAX {
            self.forget_one();
        }
        let length_s = suppress.duration.map_or(u64::MAX, |span| span.seconds());
        let quiet = Quiet {
            first: event.clone(),
            repeated: 0,
            until_unix_s: now_unix_s.saturating_add(length_s),
        };
        self.quiet.insert(key, quiet);
        false
    }

    /// What has been quiet long enough, by rule.
    pub(crate) fn ended(&mut self, now_unix_s: u64) -> Vec<(String, Quiet)> {
        let mut ended = Vec::new();
        self.quiet.retain(|(rule, _), quiet| {
            let going_on = now_unix_s < quiet.until_unix_s;
            if !going_on && quiet.repeated > 0 {
                ended.push((rule.clone(), quiet.clone()));
            }
            going_on
        });
        ended
    }

    /// Rules that are gone keep nothing quiet.
    pub(crate) fn keep(&mut self, mut stands: impl FnMut(&str) -> bool) {
        self.quiet.retain(|(rule, _), _| stands(rule));
    }

    fn forget_one(&mut self) {
        let soonest = self
            .quiet
            .iter()
            .min_by_key(|(_, quiet)| quiet.until_unix_s);
        if let Some(key) = soonest.map(|(key, _)| key.clone()) {
            self.quiet.remove(&key);
        }
    }
}

fn key(suppress: &Suppress, event: &Event) -> Vec<String> {
    const USUAL: [SuppressKey; 3] = [SuppressKey::Name, SuppressKey::Client, SuppressKey::Server];
    let keys = match suppress.key.is_empty() {
        true => &USUAL,
        false => suppress.key.as_slice(),
    };
    let part = |key: &SuppressKey| match key {
        SuppressKey::Name => event.name.clone(),
        SuppressKey::Client => event.client.shown(),
        SuppressKey::Server => event.server.shown(),
        SuppressKey::Application => event.application.clone(),
        SuppressKey::Node => event.node.clone(),
    };
    keys.iter().map(part).collect()
}
