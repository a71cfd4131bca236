//! Every metric of the controller. `deploy/baremetal/METRICS.md` is made from it.

weir_metrics::table! {
    /// What the controller tells.
    pub enum ControllerMetric {
        BuildInfo = Gauge "weir_controller_build_info" ["version", "source"] "1; the version and the kind of source (files, kubernetes) are the labels.";
        ResidentMemory = Gauge "weir_controller_resident_memory_bytes" [] "Memory of the process that is in RAM.";
        Ready = Gauge "weir_controller_ready" [] "1 where /readyz says so.";
        CertificateExpiry = Gauge "weir_controller_certificate_expiry_timestamp_seconds" [] "When the certificate that nodes are shown ends, in seconds since 1970.";

        // Source and policy.
        SourceSynced = Gauge "weir_controller_source_synced" [] "1 when the source has been read as a whole.";
        WatchFailures = Counter "weir_controller_watch_failures_total" [] "Watches of the API server that failed and were begun anew.";
        Documents = Gauge "weir_controller_documents" ["kind", "standing"] "Documents of the source: enforced by every node that needs them, pending, unresolved (they name what is not there), refused (the last good state holds).";
        Problems = Gauge "weir_controller_problems" ["severity"] "What `weir status` lists: errors and warnings, the first of each kind.";
        PolicyVersion = Gauge "weir_controller_policy_version" [] "The version given out last.";
        Publish = Histogram "weir_controller_publish_seconds" [] "From what a source told to what was given out: guardrails, compiling, writing down.";
        PublishFailures = Counter "weir_controller_publish_failures_total" [] "Times that nothing could be given out: mistakes in files, or the store failed.";
        Waiting = Gauge "weir_controller_publish_waiting" ["what"] "What waits for the store: changes that are compiled and not given out, documents that are not written down.";

        // Nodes.
        Nodes = Gauge "weir_controller_nodes" ["state"] "Nodes: connected, of these behind (not at the newest version) and refusing it, and absent (known, not connected here).";
        NodeRecordsLost = Gauge "weir_controller_node_records_lost" [] "Records that nodes say they lost before they arrived here, since the nodes started.";
        Push = Histogram "weir_controller_push_seconds" [] "From a version given out to a node's word that every worker enforces it; of nodes that were connected when it was given out, otherwise since they came.";

        // Several controllers.
        Leader = Gauge "weir_controller_leader" [] "1 where this controller leads; without a cluster always.";
        LeaderKnown = Gauge "weir_controller_leader_known" [] "1 where somebody leads as far as this controller knows.";

        // Admission.
        Reviews = Histogram "weir_controller_webhook_review_seconds" ["what", "verdict"] "Admission reviews by what is asked about (policy, services, workloads) and the verdict (allowed, refused, failed).";

        // Learning and what is kept.
        Conversations = Gauge "weir_controller_conversations" [] "Conversations that were learned.";
        LearnedWorkloads = Gauge "weir_controller_learned_workloads" ["state"] "Workloads of which conversations were learned: ready (enough is known to protect them) or learning; looked at once a minute.";
        Alerts = Counter "weir_controller_alerts_total" ["what"] "Alerts of nodes: raised, refused (not as the contract says), forgotten (made way for newer ones).";
        StoreBytes = Gauge "weir_controller_store_bytes" [] "Size of the store.";
        StoreUsable = Gauge "weir_controller_store_usable" [] "0 where the store cannot be written: what is new waits in memory.";
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn names_follow_the_conventions() {
        let wrong = weir_metrics::reference::misnamed::<ControllerMetric>("weir_controller_");
        assert_eq!(wrong, Vec::<String>::new());
    }

    #[test]
    fn the_reference_is_true() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let file = root.join("deploy/baremetal/METRICS.md");
        weir_metrics::reference::check::<ControllerMetric>(&file, "weir-controller").unwrap();
    }
}
