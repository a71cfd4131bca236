//! Every metric of the node. `deploy/baremetal/METRICS.md` is made from it.

weir_metrics::table! {
    /// What the node tells.
    pub enum NodeMetric {
        // What it is.
        BuildInfo = Gauge "weir_node_build_info" ["version"] "1; the version is the label.";
        StartTime = Gauge "weir_node_start_time_seconds" [] "When the workers' clock began, in seconds since 1970.";
        ResidentMemory = Gauge "weir_node_resident_memory_bytes" [] "Memory of the process that is in RAM, without hugepages.";
        HugepagesUsed = Gauge "weir_node_hugepages_used" [] "1 where DPDK's memory is hugepages, 0 for ordinary pages.";

        // Frames: received + injected = transmitted + tapped + handed over + dropped + held.
        FramesReceived = Counter "weir_node_frames_received_total" [] "Frames that workers took, from ports and from each other. At every moment received + injected = transmitted + tapped + handed over + dropped + held.";
        FramesInjected = Counter "weir_node_frames_injected_total" [] "Frames made by Weir: resets.";
        FramesTransmitted = Counter "weir_node_frames_transmitted_total" [] "Frames given to a port.";
        FramesTapped = Counter "weir_node_frames_tapped_total" [] "Frames seen on a tap, where every frame ends.";
        FramesHandedOver = Counter "weir_node_frames_handed_over_total" [] "Frames handed to the worker that owns their flow, which counts them as received once more.";
        FramesDropped = Counter "weir_node_frames_dropped_total" ["reason"] "Frames that ended here.";
        FramesHeld = Gauge "weir_node_frames_held" [] "Frames inside: fragments that wait, packets of addresses that nobody knows yet.";
        FramesSpared = Counter "weir_node_frames_spared_total" ["reason"] "Frames that went on although a stage objected, since the mode does not block.";
        FramesRefused = Counter "weir_node_frames_refused_total" [] "Frames that a device gave in a form that cannot be taken.";
        FailModeFrames = Counter "weir_node_fail_mode_frames_total" ["action"] "Frames of lost workers' queues, dropped or forwarded uninspected as the pair's fail mode has it.";

        // Ports.
        PortInfo = Gauge "weir_node_port_info" ["port", "pair", "role", "driver"] "1; what the port is to the node.";
        PortUp = Gauge "weir_node_port_up" ["port"] "1 where the link is up.";
        PortPackets = Counter "weir_node_port_packets_total" ["port", "direction"] "Packets by the port's own count; the direction is receive or transmit.";
        PortBytes = Counter "weir_node_port_bytes_total" ["port", "direction"] "Bytes by the port's own count.";
        PortErrors = Counter "weir_node_port_errors_total" ["port", "direction"] "Packets with errors by the port's own count.";
        PortMissed = Counter "weir_node_port_missed_packets_total" ["port"] "Packets that the card had no room for: workers did not poll in time.";
        PortNoBuffer = Counter "weir_node_port_no_buffer_total" ["port"] "Packets that found no frame buffer free.";
        PairFailOpen = Gauge "weir_node_pair_fail_open" ["pair"] "1 where the pair lets everything pass uninspected when no worker looks, 0 where nothing passes then.";

        // Memory that is bounded.
        FrameBuffers = Gauge "weir_node_frame_buffers" [] "Frame buffers of the pool.";
        FrameBuffersFree = Gauge "weir_node_frame_buffers_free" [] "Frame buffers that are free.";
        ReassemblyBytes = Gauge "weir_node_reassembly_bytes" [] "Memory that stream content waits in.";
        ReassemblyLimit = Gauge "weir_node_reassembly_limit_bytes" [] "Memory that there is for it, over all workers.";
        HeldPackets = Gauge "weir_node_held_packets" [] "Packets that are held for addresses that nobody knows yet.";
        HeldPacketsLimit = Gauge "weir_node_held_packets_limit" [] "So many can be, over all workers.";
        HeldFragments = Gauge "weir_node_held_fragments" [] "Fragments that wait for their datagram.";

        // Flows.
        Flows = Gauge "weir_node_flows" [] "Flows in the tables.";
        FlowsLimit = Gauge "weir_node_flows_limit" [] "Flows that the tables hold.";
        FlowsMade = Counter "weir_node_flows_made_total" [] "Flows that began.";
        FlowsEvicted = Counter "weir_node_flows_evicted_total" [] "Flows that made way for others.";

        // Stages.
        StagePackets = Counter "weir_node_stage_packets_total" ["stage"] "Packets (behind track: stretches of content) that a stage looked at.";
        StageBusy = Counter "weir_node_stage_busy_seconds_total" ["stage"] "Time spent in a stage, over all workers.";
        Residence = Gauge "weir_node_residence_seconds" ["quantile"] "How long packets were inside, since the start, of the slowest worker.";

        // Workers.
        WorkerUp = Gauge "weir_node_worker_up" ["worker", "core"] "1 where the worker runs; 0: it is lost, and its ports follow their fail mode.";
        WorkerPolls = Counter "weir_node_worker_polls_total" ["worker"] "Rounds over its ports.";
        WorkerBusy = Counter "weir_node_worker_busy_seconds_total" ["worker"] "Time spent with packets.";
        WorkerSilent = Gauge "weir_node_worker_silent_seconds" ["worker"] "How long it has made no progress, to a quarter of a second.";

        // What is told, and what of it was lost on the way.
        EventsWaiting = Gauge "weir_node_events_waiting" [] "Events of workers that wait to be read.";
        EventsLimit = Gauge "weir_node_events_limit" [] "So many can wait, over all workers.";
        EventsLost = Counter "weir_node_events_lost_total" ["boundary"] "Events lost: ring (workers told more than was read), controller (it did not take them in time), eve (the file could not be written).";
        BatchesWaiting = Gauge "weir_node_report_batches_waiting" [] "Batches of observations that the controller has not acknowledged.";
        AlarmsSuppressed = Counter "weir_node_alarms_suppressed_total" ["source"] "Alerts above the budget of a worker, or of a signature's threshold: counted, not told.";
        NotLookedFor = Counter "weir_node_not_looked_for_total" ["detector"] "Times that signatures or sensors were not looked for, since there was no memory for it.";
        Alerts = Counter "weir_node_alerts_total" ["kind", "severity"] "Alerts told: threats, signatures, sensors; severity 1 is the highest, 4 stands for all lower ones.";
        Threats = Counter "weir_node_threats_total" ["threat", "blocked"] "Threats told, by their name in the catalogue.";
        Verdicts = Counter "weir_node_verdicts_total" ["wire_action", "mode"] "Denials told, and what monitor and discover say of them: forward, drop or reset on the wire.";

        // Policy.
        PolicyVersion = Gauge "weir_node_policy_version" [] "The version in force; 0 for none.";
        PolicyGeneration = Gauge "weir_node_policy_generation" [] "Counts what workers were given to put in force; each is an epoch in which every flow is asked again.";
        PolicyRules = Gauge "weir_node_policy_rules" [] "Rules in force.";
        PolicyIdentities = Gauge "weir_node_policy_identities" [] "Identities in force.";
        PolicyApplied = Counter "weir_node_policy_applied_total" [] "Policies put in force since the start.";
        PolicyRefused = Counter "weir_node_policy_refused_total" [] "Policies refused since the start; the one before stayed in force.";
        PolicyLastApplied = Gauge "weir_node_policy_last_applied_timestamp_seconds" [] "When a policy was put in force last, in seconds since 1970; 0 since the start not.";
        PolicyLastApplyOk = Gauge "weir_node_policy_last_apply_success" [] "0 where the newest policy was refused.";
        PolicySaved = Gauge "weir_node_policy_saved" [] "0 where the policy in force could not be written to disk: it would not survive a restart.";
        ControllerConnected = Gauge "weir_node_controller_connected" ["stream"] "1 while the stream (policy, observations) to the controller stands; absent where none is configured.";
        CertificateExpiry = Gauge "weir_node_certificate_expiry_timestamp_seconds" [] "When the node's certificate ends, in seconds since 1970.";

        // Signatures and captures.
        SignaturesLoaded = Gauge "weir_node_signatures_loaded" [] "Signatures that are looked for.";
        SignaturesRefused = Gauge "weir_node_signatures_refused" [] "Signatures that are not supported and were left out.";
        CapturesRunning = Gauge "weir_node_captures_running" [] "Captures that packets are being copied for.";
        CaptureBytes = Gauge "weir_node_capture_bytes" [] "Captured packets on disk.";
        CaptureLimit = Gauge "weir_node_capture_limit_bytes" [] "So much of them is kept.";
        CaptureLost = Gauge "weir_node_capture_lost_packets" [] "Packets that the captures which are still kept could not copy in time.";
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn names_follow_the_conventions() {
        let wrong = weir_metrics::reference::misnamed::<NodeMetric>("weir_node_");
        assert_eq!(wrong, Vec::<String>::new());
    }

    #[test]
    fn the_reference_is_true() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let file = root.join("deploy/baremetal/METRICS.md");
        weir_metrics::reference::check::<NodeMetric>(&file, "weir-node").unwrap();
    }
}
