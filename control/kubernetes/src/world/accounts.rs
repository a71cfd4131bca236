//! Service accounts: whether those that workloads run as are there.
//!
//! No policy depends on it. A pod that is watched may come before its account, and one whose account was
//! deleted runs on with tokens that are void: its workload keeps its name and says so. Where accounts may
//! not be seen, all of them are taken to be there. Memory: a name for each.

use std::sync::Arc;

use super::World;
use crate::facts::{ObjectName, Watched};
use crate::names::Name;

impl World {
    pub(super) fn upsert_account(&mut self, name: &ObjectName) {
        let (key, listed) = (self.key(name), self.list(Watched::ServiceAccount).number);
        if self.accounts.insert(key.clone(), listed).is_none() {
            self.touch_running_as(&key);
        }
    }

    pub(super) fn remove_account(&mut self, key: &Name) {
        if self.accounts.remove(key).is_some() {
            self.touch_running_as(key);
        }
    }

    /// Whether the account that a workload runs as is known not to be there.
    pub(super) fn lacks_account(&self, namespace: &Arc<str>, account: &Arc<str>) -> bool {
        let name = (namespace.clone(), account.clone());
        self.accounts_known && !self.accounts.contains_key(&name)
    }

    /// The workloads of the namespace that run as the account say something else now.
    fn touch_running_as(&mut self, (namespace, account): &Name) {
        if !self.accounts_known {
            return;
        }
        let Some(namespace) = self.namespaces.get(namespace) else {
            return;
        };
        let running = namespace.workloads.iter().copied().filter(|number| {
            let workload = self.workloads.get(*number);
            workload.and_then(|it| it.account()).as_ref() == Some(account)
        });
        let running: Vec<u32> = running.collect();
        self.touched_workloads.extend(running);
    }

    pub(super) fn touch_all(&mut self) {
        let all: Vec<u32> = self.workloads.iter().map(|(number, _)| number).collect();
        self.touched_workloads.extend(all);
    }
}
