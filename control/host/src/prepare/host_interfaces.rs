//! What host interfaces need: the modules that they are made with, and the right to use vhost-net. Without
//! vhost-net they are TAPs, so that its absence is no failure.

use super::action::Action;
use super::plan::{Looked, account};

const VHOST_NET: &str = "/dev/vhost-net";
const TUN: &str = "/dev/net/tun";

impl Looked<'_> {
    pub(super) fn plan_host_interfaces(&mut self) {
        if self.request.wanted.host_interfaces.is_empty() {
            return;
        }
        if !self.machine.exists(TUN) {
            self.plan_module("tun");
        }
        let there = self.machine.exists(VHOST_NET);
        if !there && !self.has_module("vhost_net") {
            let says =
                "no vhost-net in this kernel: host interfaces will be TAPs, which carry less";
            return self.plan.kept.push(says.to_owned());
        }
        if !there {
            self.plan_module("vhost_net");
        }
        self.plan_vhost_owner();
    }

    /// The group that has it, kvm, keeps it.
    fn plan_vhost_owner(&mut self) {
        let owner = self.request.owner.as_ref();
        let Some((name, (user, _))) =
            owner.and_then(|name| Some((name, account(self.machine, name)?)))
        else {
            return;
        };
        let (now, group) = self.machine.owner(VHOST_NET).unwrap_or((0, 0));
        if now == user {
            let says = format!("{VHOST_NET}: of user {name} already");
            return self.plan.kept.push(says);
        }
        self.plan.actions.push(Action::Give {
            path: VHOST_NET.to_owned(),
            name: name.clone(),
            user,
            group,
        });
    }

    fn plan_module(&mut self, module: &str) {
        let module = module.to_owned();
        self.plan.actions.push(Action::Load { module });
    }

    /// Whether the kernel has a module that could be loaded.
    fn has_module(&self, module: &str) -> bool {
        let release = self.machine.word("/proc/sys/kernel/osrelease");
        let path = format!("/lib/modules/{}/modules.dep", release.unwrap_or_default());
        let modules = self.machine.peek(&path).unwrap_or_default();
        modules.contains(&format!("/{module}.ko"))
    }
}
