//! `weir learn why`: everything that is known of one proposal.

use std::collections::BTreeMap;

use serde::Serialize;
use weir_api::v1;

use crate::Answer;
use crate::args::Client;
use crate::command::learn::ProposalView;
use crate::error::Failure;
use crate::output::{Output, Page, Tone, View};
use crate::text;

/// Weeks of the calendar, this one included.
const WEEKS: u32 = 8;
const DAY_US: u64 = 24 * 60 * 60 * 1_000_000;

#[derive(Serialize)]
struct Why {
    proposal: ProposalView,
    /// What the policy says of it now.
    allowed: bool,
    decider: String,
    /// Log-odds of a conversation of which nothing is known.
    bias: f64,
    reasons: Vec<ReasonView>,
    /// What ageing left of the confidence.
    left: f64,
    replicas: Vec<ReplicaView>,
    activity: Vec<DayView>,
    /// Days on which it was seen, newest first.
    days: Vec<String>,
    alerts: BTreeMap<String, u64>,
    names: Vec<String>,
    bytes: u64,
    bytes_sent: u64,
    unanswered: u64,
    denied: u64,
    would_deny: u64,
    #[serde(skip)]
    day_numbers: Vec<u32>,
}

#[derive(Serialize)]
struct ReasonView {
    name: String,
    weight: f64,
    amount: f64,
    sentence: String,
}

#[derive(Serialize)]
struct ReplicaView {
    address: String,
    first_day: String,
    last_day: String,
}

#[derive(Serialize)]
struct DayView {
    day: String,
    connections: u64,
    hours: u32,
    denied: u64,
    would_deny: u64,
    #[serde(skip)]
    number: u32,
}

impl View for Why {
    fn table(&self, page: &mut Page) {
        let it = &self.proposal;
        let application = match it.application.as_str() {
            "" => "any",
            name => name,
        };
        page.line(format!(
            "{} {} → {} {application} {}",
            it.id, it.client, it.server, it.service
        ));
        let verb = if self.allowed { "allows" } else { "denies" };
        page.line(format!(
            "{}; the policy {verb} it now: {}",
            it.state, self.decider
        ));
        if !it.rejected_because.is_empty() {
            page.line(format!("rejected {}: {}", it.decided, it.rejected_because));
        }
        if !it.news.is_empty() {
            page.line(format!("since then: {}", it.news.join(", ")));
        }
        page.gap();
        self.reasons(page);
        page.gap();
        page.line(format!(
            "first seen {}, last seen {}, on {}, {}",
            it.first_seen,
            it.last_seen,
            text::count(it.days.into(), "day"),
            text::count(it.connections, "connection"),
        ));
        page.line(format!(
            "{} in both directions, {} of it to the server; {} unanswered, {} denied, {} would have been",
            text::bytes(self.bytes),
            text::bytes(self.bytes_sent),
            self.unanswered,
            self.denied,
            self.would_deny
        ));
        if !self.names.is_empty() {
            page.line(format!("looked up as {}", self.names.join(", ")));
        }
        for (name, count) in &self.alerts {
            let alerts = text::count(*count, "alert");
            page.toned(Tone::Bad, &format!("{alerts} of {name}"));
        }
        self.calendar(page);
        self.replicas(page);
    }
}

impl Why {
    fn reasons(&self, page: &mut Page) {
        let row = |reason: &ReasonView| {
            let tone = if reason.weight < 0.0 {
                Tone::Warning
            } else {
                Tone::Plain
            };
            let cells = vec![
                format!("{:+.2}", reason.weight),
                reason.name.clone(),
                reason.sentence.clone(),
            ];
            (tone, cells)
        };
        let mut rows: Vec<_> = self.reasons.iter().map(row).collect();
        let start = "of which nothing is known".to_owned();
        rows.push((
            Tone::Plain,
            vec![format!("{:+.2}", self.bias), "start".to_owned(), start],
        ));
        page.columns(&["weight", "evidence", "because"], rows, "");
        let odds: f64 = self.bias + self.reasons.iter().map(|reason| reason.weight).sum::<f64>();
        let faded = match self.left {
            left if left < 1.0 => {
                format!(", of which {:.0} % are left by its absence", left * 100.0)
            }
            _ => String::new(),
        };
        page.line(format!(
            "together {odds:+.2}{faded}: confidence {:.3}",
            self.proposal.confidence
        ));
    }

    /// A row for each day of the week, a column for each week; today's is the last.
    fn calendar(&self, page: &mut Page) {
        let Some(&last) = self.day_numbers.first() else {
            return;
        };
        // 1970 began on a Thursday.
        let weekday = |day: u32| (day + 3) % 7;
        let monday = last - weekday(last);
        let first = monday.saturating_sub((WEEKS - 1) * 7);
        page.gap();
        page.line(format!(
            "weeks from {} on: # many, + some, · once, . not seen",
            day_name(first)
        ));
        for (row, name) in ["Mo", "Tu", "We", "Th", "Fr", "Sa", "Su"]
            .iter()
            .enumerate()
        {
            let mark = |week: u32| {
                let day = first + week * 7 + row as u32;
                let activity = self.activity.iter().find(|it| it.number == day);
                match (
                    activity.map(|it| it.connections),
                    self.day_numbers.contains(&day),
                ) {
                    _ if day > last => ' ',
                    (Some(10..), _) => '#',
                    (Some(2..), _) | (None, true) => '+',
                    (Some(_), _) => '·',
                    (None, false) => '.',
                }
            };
            let marks: String = (0..WEEKS).flat_map(|week| [' ', mark(week)]).collect();
            page.line(format!("  {name} {marks}"));
        }
    }

    fn replicas(&self, page: &mut Page) {
        const SHOWN_MAX: usize = 12;
        if self.replicas.is_empty() {
            return;
        }
        page.gap();
        let row = |it: &ReplicaView| {
            let cells = vec![
                it.address.clone(),
                it.first_day.clone(),
                it.last_day.clone(),
            ];
            (Tone::Plain, cells)
        };
        let rows = self.replicas.iter().take(SHOWN_MAX).map(row).collect();
        page.columns(&["replica", "from", "until"], rows, "");
        if self.replicas.len() > SHOWN_MAX {
            page.line(format!("and {} more", self.replicas.len() - SHOWN_MAX));
        }
    }
}

/// Prints everything that is known of a proposal.
pub async fn run(client: &mut Client, id: String, output: &mut Output) -> Result<Answer, Failure> {
    let reply = client
        .learn_why(v1::LearnWhyRequest { id })
        .await?
        .into_inner();
    let reason = |reason: v1::Reason| ReasonView {
        name: reason.name,
        weight: reason.weight,
        amount: reason.amount,
        sentence: reason.sentence,
    };
    let replica = |replica: v1::Replica| ReplicaView {
        address: replica.address,
        first_day: day_name(replica.first_day),
        last_day: day_name(replica.last_day),
    };
    let day = |day: v1::DayActivity| DayView {
        day: day_name(day.day),
        connections: day.connections,
        hours: day.hours.count_ones(),
        denied: day.denied,
        would_deny: day.would_deny,
        number: day.day,
    };
    output.print(&Why {
        proposal: ProposalView::of(reply.proposal.unwrap_or_default()),
        allowed: reply.allowed,
        decider: reply.decider,
        bias: reply.bias,
        reasons: reply.reasons.into_iter().map(reason).collect(),
        left: reply.left,
        replicas: reply.replicas.into_iter().map(replica).collect(),
        activity: reply.activity.into_iter().map(day).collect(),
        days: reply.days.iter().map(|&day| day_name(day)).collect(),
        alerts: reply.alerts.into_iter().collect(),
        names: reply.names,
        bytes: reply.bytes,
        bytes_sent: reply.bytes_sent,
        unanswered: reply.unanswered,
        denied: reply.denied,
        would_deny: reply.would_deny,
        day_numbers: reply.days,
    })?;
    Ok(Answer::Yes)
}

/// "2026-01-31".
fn day_name(day: u32) -> String {
    let time = text::time(u64::from(day) * DAY_US);
    time.split(['T', ' ']).next().unwrap_or_default().to_owned()
}
