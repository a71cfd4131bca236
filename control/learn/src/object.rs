//! A profile's way into an object of the cluster, and back.
//!
//! What comes back was written by Weir, or by whoever may write Weir's objects: it is bounded again, and
//! of conversations that belong to another workload, or come from the future, nothing is believed.
//!
//! An object has a bounded number of bytes. What finds no room is what says least: first what nobody
//! decided of, then what was not recognised, then what was seen longest ago. Which that is follows from the
//! profile alone, so that controllers with the same knowledge write the same object.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use serde::Serialize;
use weir_model::{
    LearnedActivity, LearnedConfidence, LearnedConversation, LearnedDays, LearnedDecision,
    LearnedPoint, LearnedReplica, LearnedStatus, LearnedVerdict,
};

use crate::days::DAY_US;
use crate::profile::home;
use crate::{
    Confidence, Conversation, ConversationKey, DayCounts, Days, Decision, Learned, PointCounts,
    Profile, Span, Verdict,
};

/// The largest number that every reader of JSON keeps.
const NUMBER_MAX: u64 = (1 << 53) - 1;
/// The longest name of an end, and of anything else, as the schema has them.
const END_CHARS_MAX: usize = 320;
const TEXT_CHARS_MAX: usize = 256;
/// For the summary, and what the API server adds.
const SUMMARY_BYTES: usize = 8 * 1024;

/// The evidence of a workload, as much as an object takes; its summary is left empty.
pub fn evidence(profile: &Profile) -> LearnedStatus {
    let whole = LearnedStatus::BYTES_MAX - SUMMARY_BYTES;
    let mut latest: Vec<&Decision> = profile.decisions.iter().collect();
    latest.sort_by_key(|decision| (Reverse(decision.at_us), &decision.key));
    let decisions = latest.iter().map(|decision| written_decision(decision));
    let mut room = whole / 2;
    let decisions = fitting(decisions, LearnedStatus::DECISIONS_MAX, &mut room);
    room += whole - whole / 2;
    let decided: BTreeSet<&ConversationKey> = latest
        .iter()
        .take(decisions.len())
        .map(|decision| &decision.key)
        .collect();
    let mut ranked: Vec<&Learned> = profile.conversations.iter().collect();
    ranked.retain(|learned| is_writable(learned));
    ranked.sort_by_cached_key(|Learned { key, seen }| {
        let is_decided = decided.contains(key);
        let says = (
            is_decided,
            seen.confidence,
            seen.days.last(),
            seen.days.count(),
        );
        (Reverse(says), key.clone())
    });
    let conversations = ranked.iter().map(|learned| written(learned));
    let conversations = fitting(conversations, LearnedStatus::CONVERSATIONS_MAX, &mut room);
    let left_out = profile.conversations.len() - conversations.len();
    let decisions_left_out = profile.decisions.len() - decisions.len();
    let mut status = LearnedStatus {
        workload: profile.workload.clone(),
        conversations,
        left_out: left_out as u64,
        decisions,
        decisions_left_out: decisions_left_out as u64,
        formerly: profile.formerly.clone(),
        ..LearnedStatus::default()
    };
    status
        .conversations
        .sort_by(|one, other| key(one).cmp(&key(other)));
    status.decisions.sort_by_cached_key(decision_key);
    status
}

/// What an object says of this workload, as far as it can be believed at this time.
pub fn from_status(workload: &str, status: LearnedStatus, now_us: u64) -> Profile {
    let learned = |written: LearnedConversation| {
        let key = owned_key(&written);
        let believed = home(&key) == workload
            && written.last_seen_us <= now_us.saturating_add(DAY_US)
            && written.first_seen_us <= written.last_seen_us
            && written.days.recent != 0;
        believed.then(|| Learned {
            key,
            seen: read(written),
        })
    };
    let conversations = status.conversations.into_iter();
    let decisions = status.decisions.iter().map(|written| Decision {
        at_us: written.at_us.min(now_us),
        verdict: match written.verdict {
            LearnedVerdict::Accepted => Verdict::Accepted,
            LearnedVerdict::Rejected => Verdict::Rejected,
        },
        key: decision_key(written),
        reason: written.reason.clone(),
        basis: written.basis.clone(),
    });
    let formerly = status.formerly.into_iter();
    let raw = Profile {
        workload: workload.to_owned(),
        conversations: conversations
            .take(LearnedStatus::CONVERSATIONS_MAX)
            .filter_map(learned)
            .collect(),
        decisions: decisions
            .take(LearnedStatus::DECISIONS_MAX)
            .filter(|decision| home(&decision.key) == workload)
            .collect(),
        formerly: formerly
            .take(LearnedStatus::FORMERLY_MAX)
            .filter(|(_, at_us)| *at_us <= now_us.saturating_add(DAY_US))
            .collect(),
    };
    let mut profile = Profile {
        workload: workload.to_owned(),
        ..Profile::default()
    };
    profile.merge(&raw);
    profile
}

/// As many of the first as there is room for.
fn fitting<T: Serialize>(
    items: impl Iterator<Item = T>,
    number_max: usize,
    room: &mut usize,
) -> Vec<T> {
    let mut fitting = Vec::new();
    for item in items.take(number_max) {
        let bytes = serde_json::to_vec(&item).map_or(usize::MAX, |text| text.len() + 1);
        let Some(left) = room.checked_sub(bytes) else {
            break;
        };
        *room = left;
        fitting.push(item);
    }
    fitting
}

/// Whether the schema lets it pass: one name that is too long would keep the whole object out.
fn is_writable(Learned { key, seen }: &Learned) -> bool {
    let fits = |text: &str, most: usize| text.chars().count() <= most;
    !seen.days.is_empty()
        && fits(&key.client, END_CHARS_MAX)
        && fits(&key.server, END_CHARS_MAX)
        && fits(&key.application, TEXT_CHARS_MAX)
        && seen.names.iter().all(|name| fits(name, TEXT_CHARS_MAX))
        && seen
            .points
            .iter()
            .all(|point| fits(&point.node, TEXT_CHARS_MAX))
}

fn written(Learned { key, seen }: &Learned) -> LearnedConversation {
    let number = |count: u64| count.min(NUMBER_MAX);
    let (last, recent, older) = seen.days.parts();
    let points = seen.points.iter().map(|point| LearnedPoint {
        node: point.node.clone(),
        zone: point.zone,
        connections: number(point.connections),
        bytes: number(point.bytes),
        bytes_sent: number(point.bytes_sent),
        denied: number(point.denied),
        would_deny: number(point.would_deny),
    });
    let activity = seen.activity.days().iter().map(|day| LearnedActivity {
        day: day.day,
        hours: day.hours,
        connections: number(day.connections),
        denied: number(day.denied),
        would_deny: number(day.would_deny),
    });
    let replica = |(address, Span { first, last })| LearnedReplica {
        address,
        first,
        last,
    };
    let alert_names = seen.alert_names.iter();
    LearnedConversation {
        client: key.client.clone(),
        server: key.server.clone(),
        application: key.application.clone(),
        port: key.port,
        protocol: key.protocol,
        first_seen_us: number(seen.first_seen_us),
        last_seen_us: number(seen.last_seen_us),
        connections: number(seen.connections),
        unanswered: number(seen.unanswered),
        bytes: number(seen.bytes),
        bytes_sent: number(seen.bytes_sent),
        denied: number(seen.denied),
        would_deny: number(seen.would_deny),
        alerts: number(seen.alerts),
        alert_names: alert_names
            .map(|(name, count)| (name.clone(), number(*count)))
            .collect(),
        first_alert_us: number(seen.first_alert_us),
        last_alert_us: number(seen.last_alert_us),
        days: LearnedDays {
            last,
            recent,
            older,
        },
        activity: activity.collect(),
        client_replicas: seen.client_replicas.iter().map(replica).collect(),
        points: points.collect(),
        resolved: number(seen.resolved),
        names: seen.names.clone(),
        confidence: match seen.confidence {
            Confidence::None => LearnedConfidence::None,
            Confidence::Port => LearnedConfidence::Port,
            Confidence::Content => LearnedConfidence::Content,
        },
        from_start: seen.from_start,
    }
}

fn read(written: LearnedConversation) -> Conversation {
    let points = written.points.into_iter().map(|point| PointCounts {
        connections: point.connections,
        node: point.node,
        zone: point.zone,
        bytes: point.bytes,
        bytes_sent: point.bytes_sent,
        denied: point.denied,
        would_deny: point.would_deny,
    });
    let activity = written.activity.iter().map(|day| DayCounts {
        day: day.day,
        hours: day.hours & 0xff_ffff,
        connections: day.connections,
        denied: day.denied,
        would_deny: day.would_deny,
    });
    let replica = |it: &LearnedReplica| {
        let (first, last) = (it.first, it.last);
        (it.address, Span { first, last })
    };
    let LearnedDays {
        last,
        recent,
        older,
    } = written.days;
    let conversation = Conversation {
        connections: written.connections,
        unanswered: written.unanswered,
        bytes: written.bytes,
        bytes_sent: written.bytes_sent,
        denied: written.denied,
        would_deny: written.would_deny,
        alerts: written.alerts,
        alert_names: written.alert_names,
        first_alert_us: written.first_alert_us,
        last_alert_us: written.last_alert_us,
        first_seen_us: written.first_seen_us,
        last_seen_us: written.last_seen_us,
        days: Days::of(last, recent, older),
        activity: activity.collect(),
        client_replicas: written.client_replicas.iter().map(replica).collect(),
        points: points.collect(),
        resolved: written.resolved,
        names: written.names,
        confidence: match written.confidence {
            LearnedConfidence::None => Confidence::None,
            LearnedConfidence::Port => Confidence::Port,
            LearnedConfidence::Content => Confidence::Content,
        },
        from_start: written.from_start,
    };
    conversation.bounded()
}

fn written_decision(decision: &Decision) -> LearnedDecision {
    let key = decision.key.clone();
    LearnedDecision {
        client: key.client,
        server: key.server,
        application: key.application,
        port: key.port,
        protocol: key.protocol,
        at_us: decision.at_us.min(NUMBER_MAX),
        verdict: match decision.verdict {
            Verdict::Accepted => LearnedVerdict::Accepted,
            Verdict::Rejected => LearnedVerdict::Rejected,
        },
        reason: decision.reason.clone(),
        basis: decision.basis.clone(),
    }
}

fn key(written: &LearnedConversation) -> (&str, &str, &str, u16, u8) {
    let LearnedConversation {
        client,
        server,
        application,
        port,
        protocol,
        ..
    } = written;
    (client, server, application, *port, *protocol)
}

fn owned_key(written: &LearnedConversation) -> ConversationKey {
    let (client, server, application, port, protocol) = key(written);
    ConversationKey {
        client: client.to_owned(),
        server: server.to_owned(),
        application: application.to_owned(),
        port,
        protocol,
    }
}

fn decision_key(written: &LearnedDecision) -> ConversationKey {
    ConversationKey {
        client: written.client.clone(),
        server: written.server.clone(),
        application: written.application.clone(),
        port: written.port,
        protocol: written.protocol,
    }
}
