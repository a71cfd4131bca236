//! Safe use of DPDK: environment, memory pools, ports
