//! A device that DPDK quietly leaves out is an error all the same.

mod common;

use weir_dpdk::{Eal, EalError};

#[test]
fn an_absent_interface_is_named() {
    let device = "net_af_packet0,iface=weir-is-not-here".to_owned();
    let error = Eal::start(&common::options(vec![
        "net_null0".to_owned(),
        device.clone(),
    ]))
    .err();
    let message = error.as_ref().map(ToString::to_string).unwrap_or_default();
    assert!(
        message.contains("net_af_packet0") && message.contains("next:"),
        "{message}"
    );
    let named = matches!(error, Some(EalError::NoPort { device: named, .. }) if named == device);
    assert!(named || message.contains("did not start"), "{message}");
}
