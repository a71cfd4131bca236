//! Rules that open more than before: allowed by none of the old rules, or no longer denied.

use weir_model::{Action, Allowlist, Document, DomainPattern, Peer, Rule, Stage};

use super::Weakening;
use super::cover::{self, Scope};

/// An allowlist whose rules hold.
struct Governing<'a> {
    title: String,
    namespace: &'a str,
    target: Scope<'a>,
    allowlist: &'a Allowlist,
}

/// One of its rules.
struct Placed<'a> {
    of: &'a Governing<'a>,
    direction: &'static str,
    index: usize,
    rule: &'a Rule,
}

/// `unknown_denied`: whether unknown addresses were denied among themselves.
pub(super) fn weakening(
    old: &[Document],
    new: &[Document],
    unknown_denied: bool,
) -> Vec<Weakening> {
    let (old, new) = (governing(old), governing(new));
    let (before, after) = (placed(&old), placed(&new));
    let mut found = Vec::new();
    for rule in after
        .iter()
        .filter(|rule| rule.rule.action == Action::Allow)
    {
        if !before.iter().any(|wide| wide.covers(rule)) {
            let what = rule.opens(&before);
            found.push(rule.weakening(what));
        }
    }
    for rule in before
        .iter()
        .filter(|rule| rule.rule.action == Action::Deny)
    {
        if !after.iter().any(|wide| wide.covers(rule)) {
            let what = "denied what no rule denies as widely now";
            found.push(rule.weakening(what.to_owned()));
        }
    }
    moved(&before, &after, &mut found);
    if unknown_denied {
        no_longer_unknown(&old, &new, &mut found);
    }
    found
}

/// What a rule names is not unknown any more, and between ends that nobody manages only the policy for
/// unknown addresses judges.
fn no_longer_unknown(old: &[Governing<'_>], new: &[Governing<'_>], found: &mut Vec<Weakening>) {
    for of in new {
        let known = |name: &Peer| {
            let mut others = old.iter().flat_map(Governing::named);
            others.any(|other| cover::peer((&whole(other), ""), (name, "")))
        };
        for name in of.named().filter(|name| !known(&whole(name))) {
            let name = match name {
                Peer::Domain(domain) => domain.to_string(),
                Peer::Network { cidr, .. } => cidr.to_string(),
                _ => continue,
            };
            let what = format!("names {name}, whose addresses are no longer unknown and denied");
            found.push(Weakening::new(&of.title, "", what));
        }
    }
}

/// What a rule leaves out of a network it names all the same.
fn whole(peer: &Peer) -> Peer {
    match peer {
        Peer::Network { cidr, .. } => Peer::Network {
            cidr: *cidr,
            except: Vec::new(),
        },
        other => other.clone(),
    }
}

fn governing<'a>(documents: &'a [Document]) -> Vec<Governing<'a>> {
    let of = |document: &'a Document| match document {
        Document::Allowlist(allowlist) | Document::ClusterAllowlist(allowlist)
            if allowlist.spec.stage != Some(Stage::Draft) =>
        {
            Some(Governing {
                title: Document::title(document),
                namespace: &allowlist.metadata.namespace,
                target: Scope::of(&allowlist.spec.target, &allowlist.metadata.namespace),
                allowlist,
            })
        }
        _ => None,
    };
    documents.iter().filter_map(of).collect()
}

fn placed<'a>(governing: &'a [Governing<'a>]) -> Vec<Placed<'a>> {
    let mut rules = Vec::new();
    for of in governing {
        let spec = &of.allowlist.spec;
        for (direction, written) in [("ingress", &spec.ingress), ("egress", &spec.egress)] {
            let each = written.iter().enumerate();
            rules.extend(each.map(|(index, rule)| Placed {
                of,
                direction,
                index,
                rule,
            }));
        }
    }
    rules
}

impl Governing<'_> {
    /// Networks and domains that the allowlist names anywhere: they are not unknown to it.
    fn named(&self) -> impl Iterator<Item = &Peer> {
        let spec = &self.allowlist.spec;
        let rules = spec.ingress.iter().chain(&spec.egress);
        rules
            .flat_map(|rule| &rule.peers)
            .filter(|peer| matches!(peer, Peer::Network { .. } | Peer::Domain(_)))
    }

    /// Whether whatever is unknown to `narrow` is unknown to this: it names no more.
    fn unknown_covers(&self, narrow: &Self) -> bool {
        self.named().all(|name| {
            let mut others = narrow.named();
            others.any(|other| cover::peer((other, ""), (name, "")))
        })
    }
}

impl Placed<'_> {
    /// Whether this rule applies wherever the narrow one does, and says the same.
    fn covers(&self, narrow: &Self) -> bool {
        self.rule.action == narrow.rule.action
            && self.direction == narrow.direction
            && self.of.target.covers(&narrow.of.target)
            && self.covers_peers(narrow)
            && cover::applications(self.rule, narrow.rule)
            && cover::list(&self.rule.protocols, &narrow.rule.protocols)
            && cover::ports(&self.rule.ports, &narrow.rule.ports)
            && cover::conditions(&self.rule.when, &narrow.rule.when)
    }

    fn covers_peers(&self, narrow: &Self) -> bool {
        let peers = &self.rule.peers;
        let far = narrow.of.namespace;
        narrow.rule.peers.iter().all(|peer| match peer {
            Peer::Unknown => peers.iter().any(|wide| match wide {
                Peer::Any => true,
                Peer::Unknown => self.of.unknown_covers(narrow.of),
                _ => false,
            }),
            Peer::Domain(_) if cover::whole_families(self.rule) => true,
            peer => {
                let covers = |wide| cover::peer((wide, self.of.namespace), (peer, far));
                peers.iter().any(covers)
            }
        })
    }

    /// In words, compared with the rule that stood in its place.
    fn opens(&self, before: &[Placed<'_>]) -> String {
        let place = |rule: &&Placed<'_>| {
            (rule.of.title.as_str(), rule.direction, rule.index)
                == (self.of.title.as_str(), self.direction, self.index)
        };
        let new = "allows what no rule allowed before".to_owned();
        let Some(old) = before.iter().find(place) else {
            return new;
        };
        if old.rule.action == Action::Deny {
            return "allows what it denied before".to_owned();
        }
        let wider = [
            ("target", old.of.target.covers(&self.of.target)),
            ("peers", old.covers_peers(self)),
            ("applications", cover::applications(old.rule, self.rule)),
            (
                "protocols",
                cover::list(&old.rule.protocols, &self.rule.protocols),
            ),
            ("ports", cover::ports(&old.rule.ports, &self.rule.ports)),
            (
                "conditions",
                cover::conditions(&old.rule.when, &self.rule.when),
            ),
        ];
        let wider: Vec<&str> = wider
            .into_iter()
            .filter(|(_, covered)| !covered)
            .map(|(name, _)| name)
            .collect();
        match wider.as_slice() {
            [] => new,
            wider => format!("allows more than before: wider {}", wider.join(", ")),
        }
    }

    fn weakening(&self, what: String) -> Weakening {
        let field = format!("{}[{}]", self.direction, self.index);
        Weakening::new(&self.of.title, &field, what)
    }

    fn domains(&self) -> impl Iterator<Item = &DomainPattern> {
        self.rule.peers.iter().filter_map(|peer| match peer {
            Peer::Domain(domain) => Some(domain),
            _ => None,
        })
    }

    /// Whether it means addresses by network, or those that nobody knows, and not domains as well.
    fn by_address(&self) -> bool {
        let mut peers = self.rule.peers.iter();
        peers.any(|peer| matches!(peer, Peer::Network { .. } | Peer::Unknown))
            && !cover::whole_families(self.rule)
    }
}

/// An address of a domain that some rule names is that domain's for every rule, and one of a network, or
/// unknown, once none does: rules that mean addresses gain and lose it, wherever they stand.
fn moved(before: &[Placed<'_>], after: &[Placed<'_>], found: &mut Vec<Weakening>) {
    let by_address = |action| {
        let mut rules = after.iter();
        rules.find(|rule| rule.rule.action == action && rule.by_address())
    };
    let known = |rules: &[Placed<'_>], domain: &DomainPattern| {
        let mut others = rules.iter().flat_map(Placed::domains);
        others.any(|other| other.contains(domain))
    };
    if let Some(deny) = by_address(Action::Deny) {
        for domain in after.iter().flat_map(Placed::domains) {
            if !known(before, domain) {
                let what =
                    format!("does not hold for the addresses of {domain}, which is named now");
                found.push(deny.weakening(what));
            }
        }
    }
    if let Some(allow) = by_address(Action::Allow) {
        for domain in before.iter().flat_map(Placed::domains) {
            if !known(after, domain) {
                let what =
                    format!("holds for the addresses of {domain} too, which is no longer named");
                found.push(allow.weakening(what));
            }
        }
    }
}
