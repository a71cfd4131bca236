//! What is probably not meant by a document, as things stand.

use weir_model::{Action, Document, Peer, Problem, Rule, Selector, Service};

use crate::change::Key;
use crate::compilation::{Compilation, Held};
use crate::lists::{Entry, allowlist, selected, written};
use crate::world::workloads;

impl Compilation {
    /// All warnings about a document in force.
    pub(crate) fn warnings_of(&self, key: &Key, held: &Held) -> Vec<Problem> {
        let mut warnings = Self::own_warnings(held).to_vec();
        let tell = &mut |field: &str, message: String, next_step: String| {
            warnings.push(held.located.problem(field, message, next_step));
        };
        match &held.located.value {
            Document::Service(service) => self.warn_of_service(service, tell),
            Document::Mode(document) => {
                let what = "selects no workload, so nothing has this mode";
                self.warn_of_target(key, &document.spec.target, what, tell);
            }
            Document::Sensor(sensor) => {
                let what = "selects no workload, so the sensor looks at nothing";
                let all = Selector::labels(Default::default());
                let target = sensor.spec.target.as_ref().unwrap_or(&all);
                self.warn_of_target(key, target, what, tell);
            }
            Document::ThreatPolicy(policy) => {
                let what = "selects no workload, so the policy holds for nobody";
                self.warn_of_target(key, &policy.spec.target, what, tell);
            }
            other => {
                if let (Some(document), Some(list)) = (allowlist(other), self.lists.get(key)) {
                    let target = &document.spec.target;
                    if self
                        .atoms
                        .get(list.target)
                        .is_none_or(|atom| atom.members().is_empty())
                    {
                        let what = "selects no workload, so the allowlist governs nobody";
                        let advice = self.world.advice(target, &key.namespace);
                        tell("spec.target", what.to_owned(), advice);
                    }
                    for ((.., rule), entry) in written(document).zip(&list.rules) {
                        if entry.is_any() {
                            continue;
                        }
                        let field = &entry.peers_field;
                        for (index, peer) in rule.peers.iter().enumerate() {
                            self.warn_of_peer(key, &format!("{field}[{index}]"), peer, tell);
                        }
                        self.warn_of_parts(entry, rule, tell);
                    }
                }
            }
        }
        warnings
    }

    fn warn_of_service(&self, service: &Service, tell: &mut dyn FnMut(&str, String, String)) {
        let references = &service.spec.workloads;
        for (index, reference) in references.iter().enumerate() {
            let namespace = &service.metadata.namespace;
            let workload = reference.resolve(namespace);
            if self.world.id(&workload).is_some() {
                continue;
            }
            let (field, effect) = match references.len() {
                1 => (
                    "spec.workload".to_owned(),
                    "; its addresses belong to nobody",
                ),
                _ => (format!("spec.workloads[{index}]"), ""),
            };
            let message = format!("names workload {workload}, which does not exist{effect}");
            tell(&field, message, self.world.near(reference, namespace));
        }
        let addresses = service.spec.all_addresses().count();
        if addresses > 0 && workloads(service).len() > 1 {
            tell(
                "spec.workloads",
                "several workloads answer, so that the service's own addresses belong to none of them: \
                 rules that allow these workloads do not allow what is sent there"
                    .to_owned(),
                "name the service in rules for its clients, or give each workload one of its own"
                    .to_owned(),
            );
        }
    }

    fn warn_of_target(
        &self,
        key: &Key,
        target: &Selector,
        what: &str,
        tell: &mut dyn FnMut(&str, String, String),
    ) {
        let atom = self.targets.get(key).and_then(|atom| self.atoms.get(*atom));
        if atom.is_none_or(|atom| atom.members().is_empty()) {
            let advice = self.world.advice(target, &key.namespace);
            tell("spec.target", what.to_owned(), advice);
        }
    }

    fn warn_of_peer(
        &self,
        key: &Key,
        field: &str,
        peer: &Peer,
        tell: &mut dyn FnMut(&str, String, String),
    ) {
        let own = &key.namespace;
        let nobody = |what| {
            self.atoms
                .find(&what)
                .is_none_or(|atom| atom.members().is_empty())
        };
        match peer {
            Peer::Workload(selector) if nobody(selected(selector, own)) => {
                let message = "selects no workload, so this peer matches nobody";
                tell(field, message.to_owned(), self.world.advice(selector, own));
            }
            Peer::Service(service) if self.world.serving(&service.resolve(own)).is_empty() => {
                let message = "names no service that has a workload, so this peer matches nobody";
                let advice = self.world.service_advice(service, own);
                tell(field, message.to_owned(), advice);
            }
            _ => {}
        }
    }

    /// What is open stays as narrow as written, what is denied as wide.
    fn warn_of_parts(
        &self,
        entry: &Entry,
        rule: &Rule,
        tell: &mut dyn FnMut(&str, String, String),
    ) {
        let mut peers = rule.peers.iter();
        let Some(first) = peers.position(|peer| matches!(peer, Peer::Network { .. })) else {
            return;
        };
        let effect = match entry.action() {
            Action::Allow => "it is not allowed by this rule",
            Action::Deny => "all of it is denied by this rule",
        };
        for id in entry.partial(&self.atoms) {
            let Some(member) = self.world.members.get(&id) else {
                continue;
            };
            let name = &member.name;
            tell(
                &format!("{}[{first}].cidr", entry.peers_field),
                format!(
                    "the rule's networks hold only some of the addresses of workload {name}: {effect}"
                ),
                "name the workload, or networks that hold all or none of its addresses".to_owned(),
            );
        }
    }
}
