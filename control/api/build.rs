//! Generates the code of the contract. protox compiles the files, so that no protoc is needed.

use std::env;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Asked when run: a build directory may outlive the place it was compiled in.
    let manifest = env::var_os("CARGO_MANIFEST_DIR").ok_or("cargo runs this")?;
    let root = PathBuf::from(manifest).join("../proto");
    let files = [
        "weir/v1/policy.proto",
        "weir/v1/observations.proto",
        "weir/v1/operator.proto",
    ];
    for file in files {
        println!("cargo:rerun-if-changed={}", root.join(file).display());
    }
    let descriptors = protox::compile(files, [&root])?;
    // Ordered maps: equal messages have equal bytes.
    tonic_prost_build::configure()
        .btree_map(".")
        .compile_fds(descriptors)?;
    Ok(())
}
