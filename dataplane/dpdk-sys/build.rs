//! Finds libdpdk, writes the bindings for what Weir uses of it, and compiles the C file that gives
//! DPDK's inline functions a symbol.

use std::env;
use std::path::PathBuf;
use std::process::{Command, exit};

/// The first release with everything used here (`rte_dev_name`).
const OLDEST_VERSION: &str = "22.11";

/// The libraries the bindings need. pkg-config would name fifty more; their drivers are plugins that
/// DPDK loads by itself. `rte_net_ring` is one of them and named because it is called directly.
const LIBRARIES: [&str; 6] = [
    "rte_eal",
    "rte_ethdev",
    "rte_mbuf",
    "rte_mempool",
    "rte_net_ring",
    "rte_ring",
];

/// Functions with a symbol of their own in libdpdk, and those of shim.c.
const FUNCTIONS: [&str; 35] = [
    "rte_dev_name",
    "rte_dev_probe",
    "rte_dev_remove",
    "rte_eal_cleanup",
    "rte_eal_get_runtime_dir",
    "rte_eal_init",
    "rte_eth_dev_adjust_nb_rx_tx_desc",
    "rte_eth_dev_close",
    "rte_eth_dev_configure",
    "rte_eth_dev_get_name_by_port",
    "rte_eth_dev_info_get",
    "rte_eth_dev_is_valid_port",
    "rte_eth_dev_set_mtu",
    "rte_eth_dev_socket_id",
    "rte_eth_dev_start",
    "rte_eth_dev_stop",
    "rte_eth_find_next_owned_by",
    "rte_eth_from_rings",
    "rte_eth_link_get_nowait",
    "rte_eth_macaddr_get",
    "rte_eth_promiscuous_enable",
    "rte_eth_rx_queue_setup",
    "rte_eth_stats_get",
    "rte_eth_tx_queue_setup",
    "rte_get_tsc_hz",
    "rte_mempool_avail_count",
    "rte_mempool_free",
    "rte_pktmbuf_free_bulk",
    "rte_pktmbuf_pool_create",
    "rte_ring_create",
    "rte_ring_free",
    "rte_strerror",
    "rte_thread_register",
    "rte_thread_unregister",
    "weir_.*",
];

/// Only ever behind a pointer; their fields are read by the offsets in shim.h, which hold in every
/// release, whereas the fields themselves move into unions.
const OPAQUE: [&str; 4] = ["rte_device", "rte_mbuf", "rte_mempool", "rte_ring"];

fn main() {
    for file in ["build.rs", "shim/shim.c", "shim/shim.h"] {
        println!("cargo:rerun-if-changed={file}");
    }
    println!("cargo:rerun-if-env-changed=PKG_CONFIG_PATH");
    let library = pkg_config::Config::new()
        .atleast_version(OLDEST_VERSION)
        .cargo_metadata(false)
        .probe("libdpdk")
        .unwrap_or_else(|error| {
            fail(&format!(
                "libdpdk {OLDEST_VERSION} or later with its headers was not found by pkg-config.\n{error}\n\
                 Debian, Ubuntu: apt-get install dpdk libdpdk-dev pkg-config libclang-dev\n\
                 Fedora:         dnf install dpdk-devel pkgconf clang-devel\n\
                 Built from source: set PKG_CONFIG_PATH to the directory of libdpdk.pc"
            ))
        });
    for path in &library.link_paths {
        println!("cargo:rustc-link-search=native={}", path.display());
    }
    println!("cargo:version={}", library.version);

    let flags = compiler_flags();
    compile_shim(&flags);
    // After the shim, which needs them: linkers read libraries from left to right.
    for name in LIBRARIES {
        println!("cargo:rustc-link-lib={name}");
    }
    write_bindings(&flags);
}

/// All flags of libdpdk.pc, `-include rte_config.h` and `-march` too, which the crate does not report.
fn compiler_flags() -> Vec<String> {
    let program = env::var("PKG_CONFIG").unwrap_or_else(|_| "pkg-config".to_owned());
    let output = Command::new(&program)
        .args(["--cflags", "libdpdk"])
        .output()
        .unwrap_or_else(|error| fail(&format!("{program} --cflags libdpdk: {error}")));
    if !output.status.success() {
        fail(&format!(
            "{program} --cflags libdpdk: {}",
            String::from_utf8_lossy(&output.stderr)
        ));
    }
    String::from_utf8_lossy(&output.stdout)
        .split_whitespace()
        .map(str::to_owned)
        .collect()
}

fn compile_shim(flags: &[String]) {
    let mut build = cc::Build::new();
    // Optimised in every profile: these few lines run once per burst and packet.
    build
        .file("shim/shim.c")
        .include("shim")
        .std("gnu11")
        .opt_level(3)
        .warnings(false);
    for flag in flags {
        build.flag(flag);
    }
    build.compile("weir_dpdk_shim");
}

fn write_bindings(flags: &[String]) {
    let mut builder = bindgen::Builder::default()
        .header("shim/shim.h")
        .clang_args(flags)
        .allowlist_function(format!("^({})$", FUNCTIONS.join("|")))
        .allowlist_var("^(WEIR_.*|RTE_ETH_NAME_MAX_LEN)$")
        .allowlist_type("^(rte_eth_rx_mq_mode|weir_mbuf_offsets)$")
        .default_enum_style(bindgen::EnumVariation::Consts)
        .prepend_enum_name(false)
        .layout_tests(false)
        .derive_default(true)
        .generate_comments(false)
        .formatter(bindgen::Formatter::None);
    for name in OPAQUE {
        builder = builder.opaque_type(name);
    }
    let bindings = builder.generate().unwrap_or_else(|error| {
        fail(&format!(
            "the headers of libdpdk could not be read: {error}\n\
             libclang is needed for it: apt-get install libclang-dev (or set LIBCLANG_PATH)"
        ))
    });
    let Some(directory) = env::var_os("OUT_DIR") else {
        fail("OUT_DIR is not set: build.rs is run by cargo");
    };
    let path = PathBuf::from(directory).join("bindings.rs");
    if let Err(error) = bindings.write_to_file(&path) {
        fail(&format!("{}: {error}", path.display()));
    }
}

fn fail(message: &str) -> ! {
    eprintln!("dpdk-sys: {message}");
    exit(1)
}
