//! A start that fails says what, why and what next.

mod common;

use weir_dpdk::Eal;

#[test]
fn an_unknown_device_is_named_with_what_to_do() {
    let options = common::options(vec!["net_nonsense0".to_owned()]);
    let message = Eal::start(&options)
        .err()
        .map(|error| error.to_string())
        .unwrap_or_default();
    for part in ["net_nonsense0", "DPDK:", "next: check the device"] {
        assert!(message.contains(part), "{message}");
    }
    let again = Eal::start(&options)
        .err()
        .map(|error| error.to_string())
        .unwrap_or_default();
    assert!(again.contains("new process"), "{again}");
}
