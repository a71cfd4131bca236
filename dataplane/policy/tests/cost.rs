//! What a decision costs does not grow with rules and identities that do not concern the pair, and
//! it allocates nothing.

use weir_l7::{AppSet, Field, Value, registry};
use weir_policy::spec::*;
use weir_policy::{Application, Memo, Question, Snapshot};

fn rule(id: u32, end: End, clients: Vec<u32>, servers: Vec<u32>) -> RuleSpec {
    RuleSpec {
        id,
        name: format!("rule {id}"),
        action: Action::Allow,
        end,
        clients,
        servers,
        applications: vec!["http".into()],
        protocols: vec![],
        ports: vec![],
        conditions: vec![ConditionSpec {
            field: "http.path".into(),
            patterns: vec![Pattern::Exact("/".into()), Pattern::Glob("/a*b?c".into())],
        }],
    }
}

/// Three rules that concern 1 → 2, and `others` identities with rules among themselves and with 2.
fn snapshot(others: u32) -> Snapshot {
    let identities = (1..=2 + others).map(|id| IdentitySpec {
        id,
        name: format!("shop/w{id}"),
        labels: vec![],
        managed: true,
        mode: Mode::Protect,
        quarantined: false,
        ..IdentitySpec::default()
    });
    let mut rules = vec![
        rule(1, End::Server, vec![1], vec![2]),
        rule(2, End::Server, vec![], vec![2]),
        rule(3, End::Client, vec![1], vec![2]),
    ];
    for other in 0..others {
        let (id, me, next) = (4 + 3 * other, 3 + other, 3 + (other + 1) % others);
        rules.push(rule(id, End::Server, vec![me], vec![2]));
        rules.push(rule(
            id + 1,
            End::Client,
            vec![me],
            vec![next.min(me), next.max(me) + u32::from(me == next)],
        ));
        rules.push(rule(id + 2, End::Client, vec![1], vec![me]));
    }
    for rule in &mut rules {
        rule.servers.retain(|&id| id <= 2 + others);
    }
    let addresses = (1..=2 + others).map(|id| AddressSpec {
        network: 0xffff_0a00_0000 | u128::from(id),
        prefix_bits: 128,
        zone: None,
        identity: id,
    });
    let addresses = addresses.collect();
    let names = vec![NameSpec {
        pattern: "*.example.com".into(),
        identity: 1,
    }];
    let identities = identities.collect();
    Snapshot::build(SnapshotSpec {
        identities,
        rules,
        addresses,
        names,
        ..Default::default()
    })
    .unwrap()
}

fn question<'a>(request: Option<&'a [Field<'a>]>) -> Question<'a> {
    let application = Application::Known(registry::by_name("http").unwrap());
    Question {
        client: 1,
        server: 2,
        protocol: 6,
        server_port: 80,
        application,
        request,
    }
}

#[test]
fn only_rules_of_the_pair_are_looked_at() {
    for others in [0, 10, 3000] {
        let steps = snapshot(others).explain(&question(None)).steps;
        let considered = steps
            .iter()
            .filter(|step| step.rule.starts_with("rule"))
            .count();
        // The three of the pair, and the closing step in the name of one of them.
        assert_eq!(considered, 4, "beside {others} others");
    }
}

#[test]
fn answers_allocate_nothing() {
    let snapshot = snapshot(100);
    let index = registry::field("http.path").unwrap().index;
    let fields = [
        Field {
            index,
            value: Value::Bytes(b"/aaaabbbbc"),
        },
        Field {
            index,
            value: Value::Number(12),
        },
        Field {
            index,
            value: Value::Address("2001:db8::1".parse().unwrap()),
        },
    ];
    let open = Question {
        application: Application::Candidates(AppSet::ALL),
        ..question(None)
    };
    let mut memo = Memo::new();
    let allocations = allocation_counter::measure(|| {
        std::hint::black_box(memo.decide(&snapshot, &question(Some(&fields))));
        std::hint::black_box(memo.decide(&snapshot, &open));
        std::hint::black_box(snapshot.decide(&question(Some(&fields))));
        std::hint::black_box(snapshot.decide(&open));
        std::hint::black_box(snapshot.nearest(&question(Some(&fields)), &snapshot.decide(&open)));
        std::hint::black_box(snapshot.identity_of(3, 0xffff_0a00_0001));
        std::hint::black_box(snapshot.name_identity(b"WWW.example.com"));
        std::hint::black_box(snapshot.link_decision(0x88cc));
    });
    assert_eq!(allocations.count_total, 0);
}
