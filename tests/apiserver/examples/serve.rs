//! Serves until interrupted: `cargo run -p weir-apiserver --example serve`, then `kubectl --kubeconfig …`.

use std::io;

use weir_apiserver::{ApiServer, Options};

#[tokio::main]
async fn main() -> io::Result<()> {
    let server = ApiServer::start(Options::default()).await?;
    println!(
        "http://{}\n{}",
        server.address(),
        server.kubeconfig("admin")
    );
    tokio::signal::ctrl_c().await
}
