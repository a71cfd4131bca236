//! The policy against a slow, obvious reading of its specification: every rule of the plain data is
//! looked at, candidate by candidate.

use std::net::IpAddr;

use proptest::prelude::*;
use weir_l7::{AppId, AppSet, Field, Value, registry};
use weir_policy::spec::*;
use weir_policy::{Application, Certainty, Decider, Memo, Question, Snapshot};

/// What the oracle answers: action, mode, decider, certainty.
type Answer = (Action, Mode, Decider, Certainty);

fn oracle(spec: &SnapshotSpec, question: &Question<'_>) -> Answer {
    let identity = |id: u32| spec.identities.iter().find(|identity| identity.id == id);
    let managed = |id: u32| identity(id).is_some_and(|identity| identity.managed);
    // The server's end is asked first.
    let ends = [
        (End::Server, question.server),
        (End::Client, question.client),
    ];
    let mut judges: Vec<(End, u32, bool)> = ends
        .iter()
        .filter(|end| managed(end.1))
        .map(|&(end, id)| (end, id, false))
        .collect();
    let mut mode = judges
        .iter()
        .map(|judge| identity(judge.1).unwrap().mode)
        .min()
        .unwrap_or(Mode::Discover);
    if judges.is_empty()
        && let Some(given) = spec.unknown.mode
    {
        judges = ends.iter().map(|&(end, id)| (end, id, true)).collect();
        mode = given;
    }
    for (_, id) in ends {
        if identity(id).is_some_and(|identity| identity.quarantined) {
            return (
                Action::Deny,
                mode,
                Decider::Quarantine(id),
                Certainty::Final,
            );
        }
    }
    // Where all that are managed run elsewhere, it is for the nodes there to judge.
    let here = |judge: &(End, u32, bool)| judge.2 || !identity(judge.1).unwrap().elsewhere;
    if !judges.iter().any(here) {
        return (Action::Allow, mode, Decider::Unmanaged, Certainty::Final);
    }
    let (action, decider, certainty) = match question.application {
        Application::Known(app) => known(spec, question, &judges, app),
        Application::Candidates(set) => {
            candidates(spec, question, &judges, set.with(AppId::UNKNOWN))
        }
        Application::OneOf(set) => return one_of(spec, question, &judges, set, mode),
    };
    (action, mode, decider, certainty)
}

/// Rules of one end that name the pair, the protocol, the port and the application, with their index.
fn rules_for<'a>(
    spec: &'a SnapshotSpec,
    question: &Question<'_>,
    end: End,
    app: AppId,
) -> impl Iterator<Item = (u32, &'a RuleSpec)> {
    let (client, server) = (question.client, question.server);
    let (protocol, port) = (question.protocol, question.server_port);
    (0u32..).zip(&spec.rules).filter(move |(_, rule)| {
        rule.end == end
            && (rule.clients.is_empty() || rule.clients.contains(&client))
            && (rule.servers.is_empty() || rule.servers.contains(&server))
            && (rule.protocols.is_empty() || rule.protocols.contains(&protocol))
            && (rule.ports.is_empty()
                || rule
                    .ports
                    .iter()
                    .any(|ports| ports.0 <= port && port <= ports.1))
            && (rule.applications.is_empty()
                || rule
                    .applications
                    .iter()
                    .any(|name| registry::refines(app, registry::by_name(name).unwrap())))
    })
}

fn known(
    spec: &SnapshotSpec,
    question: &Question<'_>,
    judges: &[(End, u32, bool)],
    app: AppId,
) -> (Action, Decider, Certainty) {
    let bites = |rule: &RuleSpec| question.request.is_some_and(|request| holds(rule, request));
    let may = |rule: &RuleSpec| question.request.is_none_or(|request| holds(rule, request));
    let default = |&(_, id, unknown): &(End, u32, bool)| {
        if unknown {
            Decider::Unknown
        } else {
            Decider::Default(id)
        }
    };
    let default_allows = |judge: &(End, u32, bool)| judge.2 && spec.unknown.action == Action::Allow;
    let of = |action: Action| move |(_, rule): &(u32, &RuleSpec)| rule.action == action;
    let denies: Vec<(u32, &RuleSpec)> = judges
        .iter()
        .flat_map(|judge| rules_for(spec, question, judge.0, app))
        .filter(of(Action::Deny))
        .collect();
    let first = |rules: &[(u32, &RuleSpec)], fits: &dyn Fn(&RuleSpec) -> bool| {
        rules
            .iter()
            .filter(|(_, rule)| fits(rule))
            .map(|(index, _)| *index)
            .min()
    };
    let plain = |rule: &RuleSpec| rule.conditions.is_empty();
    let hopeless = judges.iter().any(|judge| {
        !default_allows(judge)
            && !rules_for(spec, question, judge.0, app).any(|rule| of(Action::Allow)(&rule))
    });
    // Explicit deny.
    if let Some(rule) = first(&denies, &plain) {
        return (Action::Deny, Decider::Rule(rule), Certainty::Final);
    }
    if let Some(rule) = first(&denies, &|rule| !plain(rule) && bites(rule)) {
        let certainty = if hopeless {
            Certainty::Final
        } else {
            Certainty::PerRequest
        };
        return (Action::Deny, Decider::Rule(rule), certainty);
    }
    // Explicit allow, or the default.
    let mut depends = !denies.is_empty();
    let mut deciders = Vec::new();
    let mut lacking: Option<(Decider, bool)> = None;
    for judge in judges {
        let allows: Vec<_> = rules_for(spec, question, judge.0, app)
            .filter(of(Action::Allow))
            .collect();
        if let Some(rule) = first(&allows, &plain) {
            deciders.push(Decider::Rule(rule));
        } else if default_allows(judge) {
            deciders.push(Decider::Unknown);
        } else if let Some(rule) = first(&allows, &may) {
            depends = true;
            deciders.push(Decider::Rule(rule));
        } else {
            let never = allows.is_empty();
            depends = true;
            // Of two ends that lack, one that could never allow decides for good.
            if lacking.is_none() || (never && lacking.is_some_and(|(_, before)| !before)) {
                lacking = Some((default(judge), never));
            }
        }
    }
    match lacking {
        Some((decider, _)) => (
            Action::Deny,
            decider,
            if hopeless {
                Certainty::Final
            } else {
                Certainty::PerRequest
            },
        ),
        None => (
            Action::Allow,
            deciders[0],
            if depends {
                Certainty::PerRequest
            } else {
                Certainty::Final
            },
        ),
    }
}

/// Denied when every case is, or when a deny of any case is meant for the request at hand. Which
/// rule decides, and for how long, is not said here.
fn one_of(
    spec: &SnapshotSpec,
    question: &Question<'_>,
    judges: &[(End, u32, bool)],
    set: AppSet,
    mode: Mode,
) -> Answer {
    let hopeless = set
        .iter()
        .all(|app| known(spec, question, judges, app).0 == Action::Deny);
    let bites = |rule: &RuleSpec| {
        !rule.conditions.is_empty() && question.request.is_some_and(|request| holds(rule, request))
    };
    let denied = judges.iter().any(|judge| {
        set.iter().any(|app| {
            rules_for(spec, question, judge.0, app)
                .any(|(_, rule)| rule.action == Action::Deny && bites(rule))
        })
    });
    let action = match hopeless || denied {
        true => Action::Deny,
        false => Action::Allow,
    };
    (
        action,
        mode,
        Decider::Unmanaged,
        Certainty::NeedsApplication,
    )
}

fn candidates(
    spec: &SnapshotSpec,
    question: &Question<'_>,
    judges: &[(End, u32, bool)],
    set: AppSet,
) -> (Action, Decider, Certainty) {
    let question = &Question {
        request: None,
        ..*question
    };
    let answers: Vec<_> = set
        .iter()
        .map(|app| known(spec, question, judges, app))
        .collect();
    if answers.iter().all(|answer| answer.0 == Action::Deny) {
        // An explicit deny of any candidate names it; else the first end that lacks one for any.
        let rule = answers.iter().filter_map(|answer| match answer.1 {
            Decider::Rule(rule) => Some(rule),
            _ => None,
        });
        let defaults = judges.iter().map(|&(_, id, unknown)| {
            if unknown {
                Decider::Unknown
            } else {
                Decider::Default(id)
            }
        });
        let decider = rule.min().map(Decider::Rule);
        let decider = decider.or_else(|| {
            defaults
                .into_iter()
                .find(|default| answers.iter().any(|answer| answer.1 == *default))
        });
        return (Action::Deny, decider.unwrap(), Certainty::Final);
    }
    if answers
        .iter()
        .all(|answer| *answer == answers[0] && answer.2 == Certainty::Final)
    {
        return answers[0];
    }
    // Provisional: the server's (else the client's) first rule without conditions for a candidate.
    let judge = judges[0];
    let allows = |plain: bool| {
        set.iter()
            .flat_map(|app| rules_for(spec, question, judge.0, app))
            .filter(|(_, rule)| rule.action == Action::Allow && rule.conditions.is_empty() == plain)
            .map(|(index, _)| Decider::Rule(index))
            .min_by_key(|decider| match decider {
                Decider::Rule(index) => *index,
                _ => u32::MAX,
            })
    };
    let default_allows = judge.2 && spec.unknown.action == Action::Allow;
    let decider = allows(true).or_else(|| {
        if default_allows {
            Some(Decider::Unknown)
        } else {
            allows(false)
        }
    });
    (Action::Allow, decider.unwrap(), Certainty::NeedsApplication)
}

fn holds(rule: &RuleSpec, request: &[Field<'_>]) -> bool {
    // What could not be read may be what a deny is meant for.
    if request.is_empty() && rule.action == Action::Deny {
        return true;
    }
    rule.conditions.iter().all(|condition| {
        let index = registry::field(&condition.field).unwrap().index;
        let mut texts: Vec<String> = request
            .iter()
            .filter(|field| field.index == index)
            .map(|field| text(field.value))
            .collect();
        if texts.is_empty() {
            texts.push(String::new());
        }
        let matches = |text: &String| {
            condition.patterns.iter().any(|pattern| match pattern {
                Pattern::Exact(whole) => text == whole,
                Pattern::Prefix(start) => text.starts_with(start),
                Pattern::Suffix(end) => text.ends_with(end),
                Pattern::Glob(glob) => glob_matches(glob.as_bytes(), text.as_bytes()),
            })
        };
        match rule.action {
            Action::Allow => texts.iter().all(matches),
            Action::Deny => texts.iter().any(matches),
        }
    })
}

fn glob_matches(glob: &[u8], text: &[u8]) -> bool {
    match (glob.split_first(), text.split_first()) {
        (None, rest) => rest.is_none(),
        (Some((b'*', rest)), _) => (0..=text.len()).any(|skip| glob_matches(rest, &text[skip..])),
        (Some((wanted, glob)), Some((found, text))) => {
            (*wanted == b'?' || wanted == found) && glob_matches(glob, text)
        }
        (Some(_), None) => false,
    }
}

fn text(value: Value<'_>) -> String {
    match value {
        Value::Bytes(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
        Value::Number(number) => number.to_string(),
        Value::Address(address) => address.to_string(),
        Value::Name(name) => name.to_string(),
    }
}

// Worlds small enough that questions hit rules often: five identities, five applications.

const APPLICATIONS: [&str; 5] = ["unknown", "http", "tls", "mysql", "redis"];
const PATHS: [&str; 5] = ["", "/", "/api/v1", "/api/v2", "10"];

fn any_mode() -> impl Strategy<Value = Mode> {
    prop_oneof![
        Just(Mode::Discover),
        Just(Mode::Monitor),
        Just(Mode::Protect)
    ]
}

fn any_action() -> impl Strategy<Value = Action> {
    prop_oneof![3 => Just(Action::Allow), 1 => Just(Action::Deny)]
}

fn any_identity(id: u32) -> impl Strategy<Value = IdentitySpec> {
    (
        prop::bool::weighted(0.7),
        any_mode(),
        prop::bool::weighted(0.05),
        prop::bool::weighted(0.3),
    )
        .prop_map(
            move |(managed, mode, quarantined, elsewhere)| IdentitySpec {
                id,
                name: format!("shop/w{id}"),
                labels: vec![],
                managed,
                mode,
                quarantined,
                elsewhere,
                ..IdentitySpec::default()
            },
        )
}

fn some_of<T: Clone + Ord + std::fmt::Debug + 'static>(
    values: Vec<T>,
    most: usize,
) -> impl Strategy<Value = Vec<T>> {
    prop::sample::subsequence(values, 0..=most).prop_map(|mut chosen| {
        chosen.sort();
        chosen
    })
}

fn any_pattern() -> impl Strategy<Value = Pattern> {
    prop_oneof![
        prop::sample::select(&PATHS[..]).prop_map(|text| Pattern::Exact(text.into())),
        Just(Pattern::Prefix("/api".into())),
        Just(Pattern::Suffix("1".into())),
        Just(Pattern::Glob("/*v?".into())),
    ]
}

fn any_condition() -> impl Strategy<Value = ConditionSpec> {
    (
        prop::sample::select(vec!["http.path", "http.method"]),
        prop::collection::vec(any_pattern(), 1..3),
    )
        .prop_map(|(field, patterns)| ConditionSpec {
            field: field.into(),
            patterns,
        })
}

fn any_rule() -> impl Strategy<Value = RuleSpec> {
    let names: Vec<String> = APPLICATIONS.iter().map(|name| name.to_string()).collect();
    (
        any_action(),
        any::<bool>(),
        (some_of((0..=5).collect(), 2), some_of((0..=5).collect(), 2)),
        some_of(names, 2),
        prop_oneof![3 => Just(vec![]), 1 => Just(vec![6u8]), 1 => Just(vec![6u8, 17])],
        prop_oneof![2 => Just(vec![]), 1 => Just(vec![(80u16, 80u16)]), 1 => Just(vec![(0, 79), (81, 9000)])],
        prop_oneof![3 => Just(vec![]), 2 => prop::collection::vec(any_condition(), 1..3)],
    )
        .prop_map(|(action, server, (clients, servers), applications, protocols, ports, conditions)| RuleSpec {
            id: 0,
            name: String::new(),
            action,
            end: if server { End::Server } else { End::Client },
            clients,
            servers,
            applications: if conditions.is_empty() { applications } else { vec!["http".into()] },
            protocols,
            ports,
            conditions,
        })
}

fn any_spec() -> impl Strategy<Value = SnapshotSpec> {
    let identities = (1..=5).map(any_identity).collect::<Vec<_>>();
    let unknown = (prop::option::of(any_mode()), any_action());
    (
        identities,
        prop::collection::vec(any_rule(), 0..40),
        unknown,
    )
        .prop_map(|(identities, mut rules, (mode, action))| {
            for (id, rule) in (1..).zip(&mut rules) {
                rule.id = id;
                rule.name = format!("rule {id}");
            }
            let action = if mode.is_none() {
                Action::Allow
            } else {
                action
            };
            SnapshotSpec {
                identities,
                rules,
                unknown: UnknownSpec {
                    hold_ms: 0,
                    mode,
                    action,
                },
                ..Default::default()
            }
        })
}

fn any_application() -> impl Strategy<Value = Application> {
    let app =
        prop::sample::select(&APPLICATIONS[..]).prop_map(|name| registry::by_name(name).unwrap());
    prop_oneof![
        2 => app.clone().prop_map(Application::Known),
        1 => prop::collection::vec(app.clone(), 1..4).prop_map(|apps| Application::OneOf(apps.into_iter().collect())),
        1 => prop::collection::vec(app, 0..4).prop_map(|apps| Application::Candidates(apps.into_iter().collect())),
        1 => Just(Application::Candidates(AppSet::ALL)),
    ]
}

type Ask = (u32, u32, u8, u16, Application, Option<Vec<(bool, u8)>>);

fn any_question() -> impl Strategy<Value = Ask> {
    let fields = prop::option::of(prop::collection::vec((any::<bool>(), 0u8..6), 0..4));
    (
        0u32..=6,
        0u32..=6,
        prop::sample::select(vec![6u8, 17, 132]),
        prop::sample::select(vec![80u16, 3306]),
        any_application(),
        fields,
    )
}

fn request(fields: &[(bool, u8)]) -> Vec<Field<'static>> {
    let index = |path: bool| {
        registry::field(if path { "http.path" } else { "http.method" })
            .unwrap()
            .index
    };
    let value = |choice: u8| match choice {
        5 => Value::Address(IpAddr::from([10, 0, 0, 1])),
        4 => Value::Number(10),
        0 => Value::Name("/api/v1"),
        other => Value::Bytes(PATHS[usize::from(other)].as_bytes()),
    };
    fields
        .iter()
        .map(|&(path, choice)| Field {
            index: index(path),
            value: value(choice),
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn decides_as_the_specification_reads(spec in any_spec(), asks in prop::collection::vec(any_question(), 40)) {
        let snapshot = Snapshot::build(spec.clone()).unwrap();
        let mut memo = Memo::new();
        for (client, server, protocol, server_port, application, fields) in asks {
            let fields = fields.map(|fields| request(&fields));
            let question =
                Question { client, server, protocol, server_port, application, request: fields.as_deref() };
            let decision = snapshot.decide(&question);
            for request in [None, Some(&[][..]), fields.as_deref(), fields.as_deref()] {
                let question = Question { request, ..question };
                prop_assert_eq!(memo.decide(&snapshot, &question), snapshot.decide(&question), "{:?} {:#?}", question, spec);
            }
            let found = (decision.rule_action, decision.mode, decision.decider, decision.certainty);
            let normal = |id: u32| if id > 5 { 0 } else { id };
            let known_ends = Question { client: normal(client), server: normal(server), ..question };
            let wanted = oracle(&spec, &known_ends);
            if let Application::OneOf(_) = application {
                prop_assert_eq!((found.0, found.1), (wanted.0, wanted.1), "{:?} {:#?}", question, spec);
            } else {
                prop_assert_eq!(found, wanted, "{:?} {:#?}", question, spec);
            }
            prop_assert_eq!(snapshot.explain(&question).decision, decision);
        }
    }

    /// What is final while the application is open is what each application gets, request or not.
    #[test]
    fn final_answers_hold(spec in any_spec(), asks in prop::collection::vec(any_question(), 20)) {
        let snapshot = Snapshot::build(spec).unwrap();
        for (client, server, protocol, server_port, application, fields) in asks {
            let question = Question { client, server, protocol, server_port, application, request: None };
            let early = snapshot.decide(&question);
            if early.certainty != Certainty::Final {
                continue;
            }
            let fields = fields.map(|fields| request(&fields));
            for app in application.possible().iter() {
                let later = Question { application: Application::Known(app), request: fields.as_deref(), ..question };
                prop_assert_eq!(snapshot.decide(&later).rule_action, early.rule_action);
            }
        }
    }
}
