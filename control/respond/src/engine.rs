//! Events against rules.

use std::collections::{BTreeMap, VecDeque};

use weir_model::{
    Capture, CaptureOf, Namespaces, OnEvent, OnSensor, OnThreat, OnViolation, ResponseAction,
    ResponseRule, Selector, Side, Syslog, Trigger, Webhook,
};

use crate::capture::Subject;
use crate::event::{Event, EventKind, Facts, Party};
use crate::suppress::Suppressed;

/// More rules than this are not looked at.
pub const RULES_MAX: usize = 1_000;
/// Workloads that one rule cuts off within [`QUARANTINE_WINDOW_S`].
pub const QUARANTINES_PER_RULE_MAX: usize = 5;
/// Seconds.
pub const QUARANTINE_WINDOW_S: u64 = 600;

/// The rules, and what is kept quiet.
#[derive(Debug, Default)]
pub struct Engine {
    /// By full name. Those that only keep quiet come first when events are looked at.
    rules: BTreeMap<String, ResponseRule>,
    suppressed: Suppressed,
    /// When each rule cut whom off, the newest last.
    cut_off: BTreeMap<String, VecDeque<(u64, String)>>,
}

/// Something to be done.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    /// The rule that says so: "shop/cut-off".
    pub rule: String,
    /// What it is about.
    pub event: Event,
    /// How often the same came again since, where this tells of the end of a silence.
    pub repeated: u64,
    /// What to do.
    pub action: OrderAction,
}

/// What to do.
#[derive(Clone, Debug, PartialEq)]
pub enum OrderAction {
    /// Cut the workload off.
    Quarantine {
        /// "shop/photo-db"
        workload: String,
        /// For so many seconds; none: until somebody lifts it.
        duration_s: Option<u64>,
    },
    /// The rule has cut off as many as it may: told, not done.
    Withheld {
        /// "shop/photo-db"
        workload: String,
    },
    /// Post a message.
    Post(Webhook),
    /// Send a line.
    Log(Syslog),
    /// Keep packets.
    Capture {
        /// Whose.
        subject: Subject,
        /// How many.
        limits: Capture,
    },
}

impl Engine {
    /// Takes these rules in place of those of before; what is kept quiet by rules that stand stays so.
    pub fn set_rules<'a>(&mut self, rules: impl IntoIterator<Item = &'a ResponseRule>) {
        let rules = rules.into_iter().take(RULES_MAX);
        self.rules = rules
            .map(|rule| (rule.metadata.full_name(), rule.clone()))
            .collect();
        let rules = &self.rules;
        self.suppressed.keep(|rule| rules.contains_key(rule));
        self.cut_off.retain(|rule, _| rules.contains_key(rule));
    }

    /// What has to be done about an event.
    pub fn take(&mut self, event: &Event, facts: &impl Facts, now_unix_s: u64) -> Vec<Order> {
        let mut matching = Vec::new();
        for (name, rule) in &self.rules {
            let over = rule
                .spec
                .expires
                .is_some_and(|end| end.unix_s() <= now_unix_s);
            if over || !triggered(&rule.spec.when, event) {
                continue;
            }
            if let Some(ends) = ends(rule, event, facts) {
                matching.push((name.clone(), rule.clone(), ends));
            }
        }
        let quiet = |rule: &ResponseRule| rule.spec.actions.is_empty();
        matching.sort_by_key(|(_, rule, _)| !quiet(rule));
        let mut orders = Vec::new();
        for (name, rule, ends) in matching {
            let repeated = match &rule.spec.suppress {
                // For as long as the rule holds.
                Some(suppress) if quiet(&rule) && suppress.duration.is_none() => true,
                Some(suppress) => self
                    .suppressed
                    .is_repeated(&name, suppress, event, now_unix_s),
                None => false,
            };
            if repeated {
                if quiet(&rule) {
                    return Vec::new();
                }
                continue;
            }
            for action in &rule.spec.actions {
                orders.extend(self.order(&name, action, event, &ends, now_unix_s));
            }
        }
        orders
    }

    /// Summaries of what was kept quiet and is no longer.
    pub fn sweep(&mut self, now_unix_s: u64) -> Vec<Order> {
        let mut orders = Vec::new();
        for (name, quiet) in self.suppressed.ended(now_unix_s) {
            let Some(rule) = self.rules.get(&name) else {
                continue;
            };
            for action in &rule.spec.actions {
                let action = match action {
                    ResponseAction::Webhook(webhook) => OrderAction::Post(webhook.clone()),
                    ResponseAction::Syslog(syslog) => OrderAction::Log(syslog.clone()),
                    ResponseAction::Quarantine(_) | ResponseAction::Capture(_) => continue,
                };
                orders.push(Order {
                    rule: name.clone(),
                    event: quiet.first.clone(),
                    repeated: quiet.repeated,
                    action,
                });
            }
        }
        orders
    }

    fn order(
        &mut self,
        rule: &str,
        action: &ResponseAction,
        event: &Event,
        ends: &Ends,
        now_unix_s: u64,
    ) -> Option<Order> {
        let action = match action {
            ResponseAction::Webhook(webhook) => OrderAction::Post(webhook.clone()),
            ResponseAction::Syslog(syslog) => OrderAction::Log(syslog.clone()),
            ResponseAction::Capture(capture) => {
                let flow = match capture.of {
                    CaptureOf::Flow => Subject::flow_of(event),
                    CaptureOf::Workload => None,
                };
                let workload = || ends.party(ends.side(), event).workload.clone();
                OrderAction::Capture {
                    subject: flow.or_else(|| workload().map(Subject::Workload))?,
                    limits: capture.clone(),
                }
            }
            ResponseAction::Quarantine(quarantine) => {
                let side = quarantine.side.unwrap_or(ends.side());
                let workload = ends.party(side, event).workload.clone()?;
                match self.may_cut_off(rule, &workload, now_unix_s) {
                    true => OrderAction::Quarantine {
                        workload,
                        duration_s: quarantine.duration.map(|span| span.seconds()),
                    },
                    false => OrderAction::Withheld { workload },
                }
            }
        };
        Some(Order {
            rule: rule.to_owned(),
            event: event.clone(),
            repeated: 0,
            action,
        })
    }

    fn may_cut_off(&mut self, rule: &str, workload: &str, now_unix_s: u64) -> bool {
        let recent = self.cut_off.entry(rule.to_owned()).or_default();
        while recent
            .front()
            .is_some_and(|(time, _)| time.saturating_add(QUARANTINE_WINDOW_S) <= now_unix_s)
        {
            recent.pop_front();
        }
        if recent.iter().any(|(_, known)| known == workload) {
            return true;
        }
        if recent.len() >= QUARANTINES_PER_RULE_MAX {
            return false;
        }
        recent.push_back((now_unix_s, workload.to_owned()));
        true
    }
}

/// Which ends a rule's target selected.
struct Ends {
    client: bool,
    server: bool,
}

impl Ends {
    /// Of both the one that began it.
    fn side(&self) -> Side {
        match (self.client, self.server) {
            (false, true) => Side::Server,
            _ => Side::Client,
        }
    }

    fn party<'a>(&self, side: Side, event: &'a Event) -> &'a Party {
        match side {
            Side::Server => &event.server,
            Side::Client => &event.client,
            Side::Either => match self.side() {
                Side::Server => &event.server,
                _ => &event.client,
            },
        }
    }
}

/// The ends that the rule's target and side select; none where neither is.
fn ends(rule: &ResponseRule, event: &Event, facts: &impl Facts) -> Option<Ends> {
    let own = rule.metadata.namespace.as_str();
    let everybody = Selector::Labels {
        labels: weir_model::LabelSelector::default(),
        namespaces: Namespaces::Own,
    };
    let target = rule.spec.target.as_ref().unwrap_or(&everybody);
    let selects = |party: &Party| {
        let metadata = party
            .workload
            .as_deref()
            .and_then(|name| facts.workload(name));
        metadata.is_some_and(|metadata| {
            target.selects(own, metadata, |namespace| facts.namespace(namespace))
        })
    };
    let ends = Ends {
        client: rule.spec.side != Side::Server && selects(&event.client),
        server: rule.spec.side != Side::Client && selects(&event.server),
    };
    (ends.client || ends.server).then_some(ends)
}

fn triggered(trigger: &Trigger, event: &Event) -> bool {
    let severe = |least: Option<weir_model::Severity>| {
        least.is_none_or(|least| event.severity <= least.level())
    };
    match (trigger, event.kind) {
        (
            Trigger::Threat(OnThreat { names, severity }),
            EventKind::Threat | EventKind::Signature,
        ) => named(names, event) && severe(*severity),
        (
            Trigger::Violation(OnViolation {
                results,
                applications,
            }),
            EventKind::Violation { result },
        ) => {
            (results.is_empty() || results.contains(&result))
                && (applications.is_empty() || applications.contains(&event.application))
        }
        (
            Trigger::Sensor(OnSensor {
                class,
                names,
                severity,
            }),
            EventKind::Sensor { class: fired },
        ) => class.is_none_or(|class| class == fired) && named(names, event) && severe(*severity),
        (
            Trigger::Event(OnEvent {
                sources,
                names,
                severity,
            }),
            EventKind::Outside { source },
        ) => {
            (sources.is_empty() || sources.contains(&source))
                && named(names, event)
                && severe(*severity)
        }
        _ => false,
    }
}

/// Whether one of the names is the event's: its name, its name without a namespace, or its number.
fn named(names: &[String], event: &Event) -> bool {
    let short = event.name.rsplit('/').next().unwrap_or_default();
    let number = event.id.map(|id| id.to_string());
    let is = |name: &String| {
        fits(name, &event.name) || fits(name, short) || number.as_ref() == Some(name)
    };
    names.is_empty() || names.iter().any(is)
}

/// `*` stands for any run. Linear in the text for each piece of the name.
fn fits(name: &str, text: &str) -> bool {
    let mut pieces = name.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let mut last = None;
    for piece in pieces {
        if let Some(middle) = last.replace(piece) {
            let Some((_, after)) = rest.split_once(middle) else {
                return false;
            };
            rest = after;
        }
    }
    last.map_or(rest.is_empty(), |end| rest.ends_with(end))
}
