//! The reference story, decision by decision, and every line of the precedence by example.

use weir_l7::{AppSet, Field, Value, registry};
use weir_policy::spec::*;
use weir_policy::{Application, Certainty, Decider, Question, Snapshot, WireAction};
use weir_wire::{Reason, protocol};

const AI_MODEL: u32 = 1;
const FRONTEND: u32 = 2;
const PHOTO_DB: u32 = 3;
const INTERNET: u32 = 4;

fn identity(id: u32, name: &str, managed: bool) -> IdentitySpec {
    IdentitySpec {
        id,
        name: name.into(),
        labels: vec![],
        managed,
        mode: Mode::Protect,
        quarantined: false,
        ..IdentitySpec::default()
    }
}

fn rule(name: &str, end: End, client: u32, server: u32, application: &str, port: u16) -> RuleSpec {
    RuleSpec {
        id: 0,
        name: name.into(),
        action: Action::Allow,
        end,
        clients: vec![client],
        servers: vec![server],
        applications: vec![application.into()],
        protocols: vec![],
        ports: vec![(port, port)],
        conditions: vec![],
    }
}

/// ai-model → photo-db mysql, ai-model → frontend http with conditions, internet → frontend http.
fn shop() -> SnapshotSpec {
    let api = ConditionSpec {
        field: "http.path".into(),
        patterns: vec![Pattern::Prefix("/api/".into())],
    };
    let mut rules = vec![
        rule(
            "photo-db ingress[0]",
            End::Server,
            AI_MODEL,
            PHOTO_DB,
            "mysql",
            3306,
        ),
        rule(
            "ai-model egress[0]",
            End::Client,
            AI_MODEL,
            PHOTO_DB,
            "mysql",
            3306,
        ),
        rule(
            "frontend ingress[0]",
            End::Server,
            AI_MODEL,
            FRONTEND,
            "http",
            5000,
        ),
        rule(
            "frontend ingress[1]",
            End::Server,
            INTERNET,
            FRONTEND,
            "http",
            80,
        ),
        rule(
            "ai-model egress[1]",
            End::Client,
            AI_MODEL,
            FRONTEND,
            "http",
            5000,
        ),
    ];
    rules[2].conditions = vec![api];
    SnapshotSpec {
        version: 7,
        identities: vec![
            identity(AI_MODEL, "shop/ai-model", true),
            identity(FRONTEND, "shop/frontend", true),
            identity(PHOTO_DB, "shop/photo-db", true),
            identity(INTERNET, "[203.0.113.0/24]", false),
        ],
        rules: numbered(rules),
        ..Default::default()
    }
}

fn numbered(mut rules: Vec<RuleSpec>) -> Vec<RuleSpec> {
    for (id, rule) in (1..).zip(&mut rules) {
        rule.id = id;
    }
    rules
}

fn ask(client: u32, server: u32, port: u16, application: &str) -> Question<'static> {
    let app = registry::by_name(application).unwrap();
    let application = Application::Known(app);
    Question {
        client,
        server,
        protocol: protocol::TCP,
        server_port: port,
        application,
        request: None,
    }
}

fn build(spec: SnapshotSpec) -> Snapshot {
    Snapshot::build(spec).unwrap()
}

#[test]
fn what_was_learned_is_allowed_for_good() {
    let decision = build(shop()).decide(&ask(AI_MODEL, PHOTO_DB, 3306, "mysql"));
    assert_eq!(decision.rule_action, Action::Allow);
    assert_eq!(decision.wire_action, WireAction::Forward);
    assert_eq!(decision.decider, Decider::Rule(0));
    assert_eq!(decision.certainty, Certainty::Final);
    assert_eq!(decision.reason, None);
}

#[test]
fn another_application_on_the_port_is_reset_and_the_nearest_rule_told() {
    let snapshot = build(shop());
    let question = ask(AI_MODEL, PHOTO_DB, 3306, "redis");
    let told = snapshot.explain(&question);
    assert_eq!(told.decision.wire_action, WireAction::Reset);
    assert_eq!(told.decision.reason, Some(Reason::PolicyDefault));
    assert_eq!(told.decider, "default of shop/photo-db");
    assert_eq!(
        told.nearest_sentence,
        "photo-db ingress[0] comes nearest: it is for mysql, not redis"
    );
    let because: Vec<_> = told
        .steps
        .iter()
        .map(|step| (step.rule.as_str(), step.matched, step.because.as_str()))
        .collect();
    assert_eq!(
        because,
        [
            ("quarantine", false, "neither end is quarantined"),
            ("photo-db ingress[0]", false, "it is for mysql, not redis"),
            ("ai-model egress[0]", false, "it is for mysql, not redis"),
            (
                "default of shop/photo-db",
                true,
                "no rule of it allows this connection at the server's end"
            ),
        ]
    );
}

#[test]
fn each_end_needs_a_rule_of_its_own() {
    let mut spec = shop();
    spec.rules.remove(1);
    let decision = build(spec).decide(&ask(AI_MODEL, PHOTO_DB, 3306, "mysql"));
    assert_eq!(
        (decision.rule_action, decision.decider),
        (Action::Deny, Decider::Default(AI_MODEL))
    );
}

#[test]
fn an_unmanaged_end_needs_none() {
    let snapshot = build(shop());
    assert_eq!(
        snapshot
            .decide(&ask(INTERNET, FRONTEND, 80, "http"))
            .decider,
        Decider::Rule(3)
    );
    let out = ask(AI_MODEL, INTERNET, 443, "tls");
    let told = snapshot.explain(&out);
    assert_eq!(told.decision.decider, Decider::Default(AI_MODEL));
    // Of two rules that agree in nothing but the subject, neither is near.
    assert_eq!(told.nearest, None);
    let near = snapshot.explain(&ask(AI_MODEL, INTERNET, 5000, "http"));
    let sentence =
        "ai-model egress[1] comes nearest: its servers are shop/frontend, not [203.0.113.0/24]";
    assert_eq!(near.nearest_sentence, sentence);
    assert_eq!(
        snapshot.decide(&ask(INTERNET, INTERNET, 1, "tls")).decider,
        Decider::Unmanaged
    );
}

#[test]
fn a_port_scan_is_denied_before_the_application_is_known() {
    let mut question = ask(AI_MODEL, PHOTO_DB, 22, "unknown");
    question.application = Application::Candidates(AppSet::ALL);
    let decision = build(shop()).decide(&question);
    assert_eq!(
        (decision.rule_action, decision.certainty),
        (Action::Deny, Certainty::Final)
    );
}

#[test]
fn while_the_application_is_open_the_connection_goes_on() {
    let mut question = ask(AI_MODEL, PHOTO_DB, 3306, "unknown");
    question.application = Application::Candidates(AppSet::ALL);
    let decision = build(shop()).decide(&question);
    assert_eq!(
        (decision.rule_action, decision.certainty),
        (Action::Allow, Certainty::NeedsApplication)
    );
    // A rule for any application at each end settles it at once.
    let mut spec = shop();
    spec.rules
        .iter_mut()
        .for_each(|rule| rule.applications.clear());
    spec.rules[2].conditions.clear();
    let decision = build(spec).decide(&question);
    assert_eq!(
        (decision.rule_action, decision.certainty),
        (Action::Allow, Certainty::Final)
    );
}

#[test]
fn conditions_are_asked_for_each_request() {
    let snapshot = build(shop());
    let question = ask(AI_MODEL, FRONTEND, 5000, "http");
    let before = snapshot.decide(&question);
    assert_eq!(
        (before.rule_action, before.certainty),
        (Action::Allow, Certainty::PerRequest)
    );
    let path = registry::field("http.path").unwrap().index;
    let good = Field {
        index: path,
        value: Value::Bytes(b"/api/v1"),
    };
    let bad = Field {
        index: path,
        value: Value::Bytes(b"/admin"),
    };
    let request = |fields: &[Field<'_>]| {
        snapshot.explain(&Question {
            request: Some(fields),
            ..question
        })
    };
    assert_eq!(request(&[good]).decision.rule_action, Action::Allow);
    let denied = request(&[bad]);
    assert_eq!(
        (denied.decision.rule_action, denied.decision.certainty),
        (Action::Deny, Certainty::PerRequest)
    );
    let sentence =
        "frontend ingress[0] comes nearest: http.path is \"/admin\", the rule has prefix \"/api/\"";
    assert_eq!(denied.nearest_sentence, sentence);
    assert_eq!(
        request(&[good, bad]).decision.rule_action,
        Action::Deny,
        "repeating a field opens nothing"
    );
    assert_eq!(
        request(&[]).decision.rule_action,
        Action::Deny,
        "an absent field counts as empty"
    );
}

#[test]
fn explicit_deny_wins_over_allow() {
    let mut spec = shop();
    let mut deny = rule(
        "photo-db ingress[9]",
        End::Server,
        AI_MODEL,
        PHOTO_DB,
        "mysql",
        3306,
    );
    deny.action = Action::Deny;
    deny.clients.clear();
    spec.rules.push(deny);
    spec.rules = numbered(spec.rules);
    let decision = build(spec).decide(&ask(AI_MODEL, PHOTO_DB, 3306, "mysql"));
    assert_eq!(
        (decision.decider, decision.reason),
        (Decider::Rule(5), Some(Reason::PolicyDenied))
    );
}

#[test]
fn quarantine_drops_in_every_mode() {
    for mode in [Mode::Discover, Mode::Monitor, Mode::Protect] {
        let mut spec = shop();
        spec.identities
            .iter_mut()
            .for_each(|identity| identity.mode = mode);
        spec.identities[2].quarantined = true;
        let decision = build(spec).decide(&ask(AI_MODEL, PHOTO_DB, 3306, "mysql"));
        assert_eq!(decision.decider, Decider::Quarantine(PHOTO_DB));
        assert_eq!(
            (decision.wire_action, decision.mode),
            (WireAction::Drop, mode)
        );
    }
}

#[test]
fn the_more_permissive_mode_wins_and_is_all_that_changes() {
    let question = ask(FRONTEND, PHOTO_DB, 3306, "mysql");
    for (client, server, mode) in [
        (Mode::Protect, Mode::Discover, Mode::Discover),
        (Mode::Monitor, Mode::Protect, Mode::Monitor),
        (Mode::Protect, Mode::Protect, Mode::Protect),
    ] {
        let mut spec = shop();
        spec.identities[1].mode = client;
        spec.identities[2].mode = server;
        let decision = build(spec).decide(&question);
        assert_eq!((decision.rule_action, decision.mode), (Action::Deny, mode));
        assert_eq!(decision.would_deny(), mode != Mode::Protect);
        assert_eq!(decision.reason, Some(Reason::PolicyDefault));
    }
}

#[test]
fn denial_shows_as_declared() {
    let mut spec = shop();
    spec.deny_style = DenyStyle::Drop;
    let tcp = ask(FRONTEND, PHOTO_DB, 3306, "mysql");
    let udp = Question {
        protocol: protocol::UDP,
        ..tcp
    };
    assert_eq!(build(spec).decide(&tcp).wire_action, WireAction::Drop);
    assert_eq!(build(shop()).decide(&tcp).wire_action, WireAction::Reset);
    assert_eq!(build(shop()).decide(&udp).wire_action, WireAction::Drop);
}

#[test]
fn unknown_addresses_have_a_policy_where_nobody_else_judges() {
    let mut spec = shop();
    let stray = ask(UNKNOWN_IDENTITY, INTERNET, 443, "tls");
    let inward = ask(UNKNOWN_IDENTITY, PHOTO_DB, 3306, "mysql");
    assert_eq!(
        build(spec.clone()).decide(&stray).decider,
        Decider::Unmanaged
    );
    spec.unknown = UnknownSpec {
        hold_ms: 0,
        mode: Some(Mode::Protect),
        action: Action::Deny,
    };
    let decision = build(spec.clone()).decide(&stray);
    assert_eq!(
        (decision.decider, decision.reason),
        (Decider::Unknown, Some(Reason::UnknownIdentity))
    );
    assert_eq!(decision.wire_action, WireAction::Reset);
    // Nor does it open anything that rules mention the network of both.
    let within = ask(INTERNET, INTERNET, 443, "tls");
    let decision = build(spec.clone()).decide(&within);
    assert_eq!(
        (decision.decider, decision.wire_action),
        (Decider::Unknown, WireAction::Reset)
    );
    // A managed end judges unknown peers itself: the settings open nothing.
    spec.unknown = UnknownSpec {
        hold_ms: 0,
        mode: Some(Mode::Discover),
        action: Action::Allow,
    };
    let decision = build(spec.clone()).decide(&inward);
    assert_eq!(
        (decision.decider, decision.mode),
        (Decider::Default(PHOTO_DB), Mode::Protect)
    );
    let decision = build(spec.clone()).decide(&stray);
    assert_eq!(
        (decision.rule_action, decision.decider, decision.mode),
        (Action::Allow, Decider::Unknown, Mode::Discover)
    );
    // And its rule may name them.
    spec.rules[0].clients.insert(0, UNKNOWN_IDENTITY);
    assert_eq!(build(spec).decide(&inward).decider, Decider::Rule(0));
}

#[test]
fn an_identity_of_another_version_is_unknown() {
    let snapshot = build(shop());
    assert_eq!(
        snapshot.decide(&ask(99, PHOTO_DB, 3306, "mysql")).decider,
        Decider::Default(PHOTO_DB)
    );
    assert_eq!(snapshot.identity_name(99), "unknown");
    assert_eq!(snapshot.identity_by_name("unknown"), Some(UNKNOWN_IDENTITY));
    assert_eq!(snapshot.identity_by_name("shop/frontend"), Some(FRONTEND));
    assert_eq!(
        snapshot.rule_name(Decider::Rule(99)),
        "rule 99 of another policy version"
    );
}

#[test]
fn frames_that_are_not_ip() {
    let mut spec = shop();
    spec.link = LinkSpec {
        mode: Mode::Protect,
        ether_types: vec![0x88cc],
    };
    let snapshot = build(spec.clone());
    assert_eq!(
        snapshot.link_decision(0x88cc).wire_action,
        WireAction::Forward
    );
    assert_eq!(
        snapshot.link_decision(0x0806).wire_action,
        WireAction::Forward
    );
    let denied = snapshot.link_decision(0x8847);
    assert_eq!(
        (denied.wire_action, denied.reason),
        (WireAction::Drop, Some(Reason::LinkDenied))
    );
    spec.link.mode = Mode::Monitor;
    assert!(build(spec).link_decision(0x8847).would_deny());
}

#[test]
fn a_snapshot_is_shared_between_workers() {
    fn shared<T: Send + Sync + 'static>() {}
    shared::<Snapshot>();
}
