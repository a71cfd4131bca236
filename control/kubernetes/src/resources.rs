//! What is watched, as the API server names it.

use weir_model::{GROUP, Kind, VERSION};

use crate::facts::Watched;
use crate::watch::Target;

/// Weir's kinds that are not watched as objects: namespaces are the cluster's own, and profiles are
/// what Weir itself writes.
const NOT_WATCHED: [Kind; 2] = [Kind::Namespace, Kind::LearnedProfile];

/// One kind of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Resource {
    /// Of the cluster.
    Cluster(Watched),
    /// Of Weir.
    Custom(Kind),
}

impl Resource {
    /// All kinds of Weir that are watched where the server has them.
    pub(crate) fn customs() -> impl Iterator<Item = Kind> {
        let kinds = Kind::ALL.into_iter();
        kinds.filter(|kind| !NOT_WATCHED.contains(kind))
    }

    /// Without it Weir would take away what holds, or govern nobody: until it is seen, what was last
    /// known holds.
    pub(crate) fn is_essential(self) -> bool {
        matches!(
            self,
            Self::Cluster(Watched::Pod) | Self::Custom(Kind::Allowlist)
        )
    }

    pub(crate) fn target(self) -> Target {
        let (group, plural) = self.names();
        let path = match (self, group) {
            (Self::Custom(kind), _) => format!("/apis/{GROUP}/{VERSION}/{}", kind.plural()),
            (_, "") => format!("/api/v1/{plural}"),
            (_, group) => format!("/apis/{group}/v1/{plural}"),
        };
        let metadata = matches!(
            self,
            Self::Cluster(
                Watched::Namespace | Watched::ServiceAccount | Watched::ReplicaSet | Watched::Job
            )
        );
        Target {
            path,
            kind: self.kind(),
            metadata,
        }
    }

    /// As kubectl has it: "replicasets.apps".
    pub(crate) fn title(self) -> String {
        match self.names() {
            ("", plural) => plural.to_owned(),
            (group, plural) => format!("{plural}.{group}"),
        }
    }

    fn kind(self) -> &'static str {
        match self {
            Self::Custom(kind) => kind.name(),
            Self::Cluster(watched) => match watched {
                Watched::Pod => "Pod",
                Watched::Namespace => "Namespace",
                Watched::Service => "Service",
                Watched::EndpointSlice => "EndpointSlice",
                Watched::Node => "Node",
                Watched::ServiceAccount => "ServiceAccount",
                Watched::ReplicaSet => "ReplicaSet",
                Watched::Deployment => "Deployment",
                Watched::StatefulSet => "StatefulSet",
                Watched::DaemonSet => "DaemonSet",
                Watched::Job => "Job",
                Watched::CronJob => "CronJob",
            },
        }
    }

    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Custom(kind) => (GROUP, kind.plural()),
            Self::Cluster(watched) => match watched {
                Watched::Pod => ("", "pods"),
                Watched::Namespace => ("", "namespaces"),
                Watched::Service => ("", "services"),
                Watched::EndpointSlice => ("discovery.k8s.io", "endpointslices"),
                Watched::Node => ("", "nodes"),
                Watched::ServiceAccount => ("", "serviceaccounts"),
                Watched::ReplicaSet => ("apps", "replicasets"),
                Watched::Deployment => ("apps", "deployments"),
                Watched::StatefulSet => ("apps", "statefulsets"),
                Watched::DaemonSet => ("apps", "daemonsets"),
                Watched::Job => ("batch", "jobs"),
                Watched::CronJob => ("batch", "cronjobs"),
            },
        }
    }
}
