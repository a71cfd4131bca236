//! A cluster's API server as a program, for tests and demonstrations that are no Rust:
//! `weir-apiserver --kubeconfig-out FILE`.
//!
//! With `KUBEBUILDER_ASSETS` the real one, otherwise the one of `weir_apiserver`: see `weir_cluster`. It
//! serves on 127.0.0.1 and has never heard of Weir: CRDs are applied by who uses it. The kubeconfig is
//! written once it answers, whole or not at all, and is of who may do everything. SIGTERM or SIGINT ends
//! it, and what it kept is gone.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs, io};

use tokio::signal::unix::{SignalKind, signal};
use weir_cluster::Cluster;

const USAGE: &str = "usage: weir-apiserver --kubeconfig-out FILE";

#[tokio::main]
async fn main() -> ExitCode {
    let Some(out) = asked(env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match serve(&out).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("weir-apiserver: {}: {error}", out.display());
            ExitCode::FAILURE
        }
    }
}

/// The file that is asked for; none where something else was said.
fn asked(mut words: impl Iterator<Item = String>) -> Option<PathBuf> {
    let out = (words.next()? == "--kubeconfig-out").then(|| words.next())??;
    words.next().is_none().then(|| out.into())
}

async fn serve(out: &Path) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let cluster = tokio::select! {
        cluster = Cluster::bare() => cluster,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    let whole = out.with_extension("part");
    fs::write(&whole, cluster.kubeconfig())?;
    fs::rename(&whole, out)?;
    println!("ready: {}", out.display());
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
