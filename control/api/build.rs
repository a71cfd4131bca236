//! Generates the code of the contract. protox compiles the files, so that no protoc is needed.

use std::env;
use std::path::PathBuf;

use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{FileDescriptorProto, FileDescriptorSet};

/// Where policy is described.
const POLICY: &str = "weir/v1/policy.proto";
/// The messages in it that hold a policy's items.
const HOLDERS: [&str; 2] = ["Snapshot", "Delta"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Asked when run: a build directory may outlive the place it was compiled in.
    let manifest = env::var_os("CARGO_MANIFEST_DIR").ok_or("cargo runs this")?;
    let root = PathBuf::from(manifest).join("../proto");
    let files = [
        POLICY,
        "weir/v1/observations.proto",
        "weir/v1/capture.proto",
        "weir/v1/operator.proto",
    ];
    for file in files {
        println!("cargo:rerun-if-changed={}", root.join(file).display());
    }
    let mut descriptors = protox::compile(files, [&root])?;
    let travelling = travelling(&mut descriptors).ok_or("policy.proto is not as expected")?;
    descriptors.file.push(travelling);
    // Ordered maps: equal messages have equal bytes.
    tonic_prost_build::configure()
        .btree_map(".")
        .bytes(".weir.v1.wire")
        .bytes(".weir.v1.Part")
        .compile_fds(descriptors)?;
    Ok(())
}

/// The messages that carry policy once more, as package `weir.v1.wire`: the same bytes, but with
/// the items of a policy left encoded. Both ends keep items as they came, so that checksums cover
/// fields which this version does not know, and an item is encoded once however many nodes get it.
fn travelling(descriptors: &mut FileDescriptorSet) -> Option<FileDescriptorProto> {
    let policy = (descriptors.file.iter_mut()).find(|file| file.name() == POLICY)?;
    let of_policy = |name: &str| {
        let mut messages = policy.message_type.iter();
        messages.find(|message| message.name() == name).cloned()
    };
    let mut stream = of_policy("ControllerMessage")?;
    for field in &mut stream.field {
        let name = field.type_name().rsplit('.').next().unwrap_or_default();
        if HOLDERS.contains(&name) {
            field.type_name = Some(format!(".weir.v1.wire.{name}"));
        }
    }
    let mut messages = vec![stream];
    for name in HOLDERS {
        let mut holder = of_policy(name)?;
        for field in &mut holder.field {
            if field.r#type() == Type::Message {
                field.set_type(Type::Bytes);
                field.type_name = None;
                // One that is empty is still there.
                field.proto3_optional = Some(field.label() != Label::Repeated);
            }
        }
        messages.push(holder);
    }
    let subscribe = policy.service.first_mut()?.method.first_mut()?;
    subscribe.output_type = Some(".weir.v1.wire.ControllerMessage".to_owned());
    Some(FileDescriptorProto {
        name: Some("weir/v1/wire.proto".to_owned()),
        package: Some("weir.v1.wire".to_owned()),
        dependency: vec![POLICY.to_owned()],
        message_type: messages,
        syntax: Some("proto3".to_owned()),
        ..FileDescriptorProto::default()
    })
}
