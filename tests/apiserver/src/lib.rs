//! A Kubernetes API server for tests, in this process.
