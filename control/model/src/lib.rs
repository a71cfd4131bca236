//! What a person writes: workloads, allowlists, modes
