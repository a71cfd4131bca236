//! The Kubernetes API server: where workloads and policy come from, and where their state is shown.
