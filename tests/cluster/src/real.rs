//! etcd and kube-apiserver as `setup-envtest` installs them, one pair for each cluster.
//!
//! Trusts the programs of the directory. Everything they write is in the cluster's own directory; they
//! are ended by their process ids when the cluster is dropped, kube-apiserver first.

use std::fmt;
use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use serde_json::json;

use crate::{ASSETS, PATIENCE, client_of};

/// How often a start is tried: somebody else may take a port between our asking and their listening.
const ATTEMPTS: usize = 3;

/// How often it is asked whether the server is ready.
const ASK_EVERY: Duration = Duration::from_millis(100);

/// The token of who may do everything; the server listens on 127.0.0.1 only.
const TOKEN: &str = "weir-tests-admin";

/// Why the real API server did not start.
#[derive(Debug)]
pub struct AssetError(String);

impl fmt::Display for AssetError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for AssetError {}

/// A running pair.
#[derive(Debug)]
pub(crate) struct Processes {
    assets: PathBuf,
    port: u16,
    authority: String,
    // Dropped in this order.
    _apiserver: Process,
    _etcd: Process,
}

/// A program that ends with us.
#[derive(Debug)]
struct Process {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Drop for Process {
    fn drop(&mut self) {
        // By its process id, and without the minute that kube-apiserver gives open watches.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    fn start(
        program: &Path,
        name: &'static str,
        arguments: &[String],
        folder: &Path,
    ) -> Result<Process, AssetError> {
        let log = folder.join(format!("{name}.log"));
        let open = || {
            File::create(&log).map_err(|error| AssetError(format!("{}: {error}", log.display())))
        };
        let output = open()?;
        let copy = output
            .try_clone()
            .map_err(|error| AssetError(format!("{}: {error}", log.display())))?;
        let child = Command::new(program)
            .args(arguments)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(copy)
            .spawn()
            .map_err(|error| {
                AssetError(format!("{} does not start: {error}", program.display()))
            })?;
        Ok(Process { name, child, log })
    }

    /// What it said last, when it has ended.
    fn ended(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok().flatten()?;
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let last = lines[lines.len().saturating_sub(5)..].join("\n");
        Some(format!(
            "{} ended with {status}; its log {} ends:\n{last}",
            self.name,
            self.log.display()
        ))
    }
}

impl Processes {
    pub(crate) fn assets(&self) -> &Path {
        &self.assets
    }

    pub(crate) fn kubeconfig(&self) -> String {
        kubeconfig(self.port, &self.authority)
    }
}

fn kubeconfig(port: u16, authority: &str) -> String {
    let url = format!("https://127.0.0.1:{port}");
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "test", "preferences": {},
        "clusters": [{"name": "test", "cluster": {"server": url, "certificate-authority": authority}}],
        "users": [{"name": "admin", "user": {"token": TOKEN}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin", "namespace": "default"}}],
    })
    .to_string()
}

/// Starts etcd and kube-apiserver and waits until they are ready.
pub(crate) async fn start(assets: &Path, folder: &Path) -> Result<Processes, AssetError> {
    for program in ["etcd", "kube-apiserver"] {
        let path = assets.join(program);
        if !path.is_file() {
            return Err(AssetError(format!(
                "{ASSETS} is {}, where there is no {program}; set it to what `setup-envtest use -p path` prints, or \
                 unset it to use the server in this process",
                assets.display()
            )));
        }
    }
    write_keys(folder)
        .map_err(|error| AssetError(format!("keys in {}: {error}", folder.display())))?;
    let mut last = AssetError("it was not tried".to_owned());
    for attempt in 0..ATTEMPTS {
        let own = folder.join(format!("attempt-{attempt}"));
        std::fs::create_dir_all(&own)
            .map_err(|error| AssetError(format!("{}: {error}", own.display())))?;
        match attempt_start(assets, folder, &own).await {
            Ok(processes) => return Ok(processes),
            Err(error) if error.0.contains("address already in use") => last = error,
            Err(error) => return Err(error),
        }
    }
    Err(last)
}

async fn attempt_start(assets: &Path, keys: &Path, own: &Path) -> Result<Processes, AssetError> {
    let [client, peer, secure] =
        free_ports().map_err(|error| AssetError(format!("no free port: {error}")))?;
    let mut etcd = Process::start(
        &assets.join("etcd"),
        "etcd",
        &etcd_arguments(own, client, peer),
        own,
    )?;
    let arguments = apiserver_arguments(keys, own, client, secure);
    let mut apiserver = Process::start(
        &assets.join("kube-apiserver"),
        "kube-apiserver",
        &arguments,
        own,
    )?;
    let authority = keys.join("authority.crt").display().to_string();
    let connection = client_of(&kubeconfig(secure, &authority)).await;
    let started = Instant::now();
    loop {
        if let Some(why) = etcd.ended().or_else(|| apiserver.ended()) {
            return Err(AssetError(why));
        }
        let request = axum::http::Request::get("/readyz")
            .body(Vec::new())
            .expect("a request");
        if connection
            .request_text(request)
            .await
            .is_ok_and(|text| text == "ok")
        {
            let assets = assets.to_owned();
            return Ok(Processes {
                assets,
                port: secure,
                authority,
                _apiserver: apiserver,
                _etcd: etcd,
            });
        }
        if started.elapsed() > PATIENCE {
            let log = apiserver.log.display();
            return Err(AssetError(format!(
                "kube-apiserver is not ready after {} s; see {log}",
                PATIENCE.as_secs()
            )));
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

/// Ports that nobody listened on a moment ago.
fn free_ports() -> std::io::Result<[u16; 3]> {
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?);
    }
    let port = |position: usize| held[position].local_addr().map(|address| address.port());
    Ok([port(0)?, port(1)?, port(2)?])
}

fn etcd_arguments(own: &Path, client: u16, peer: u16) -> Vec<String> {
    let client = format!("http://127.0.0.1:{client}");
    let peer = format!("http://127.0.0.1:{peer}");
    vec![
        format!("--data-dir={}", own.join("etcd").display()),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=default={peer}"),
        // Nothing of a test outlives it.
        "--unsafe-no-fsync".to_owned(),
    ]
}

fn apiserver_arguments(keys: &Path, own: &Path, etcd: u16, secure: u16) -> Vec<String> {
    let file = |name: &str| keys.join(name).display().to_string();
    vec![
        format!("--etcd-servers=http://127.0.0.1:{etcd}"),
        "--bind-address=127.0.0.1".to_owned(),
        "--advertise-address=127.0.0.1".to_owned(),
        format!("--secure-port={secure}"),
        format!("--cert-dir={}", own.display()),
        format!("--tls-cert-file={}", file("server.crt")),
        format!("--tls-private-key-file={}", file("server.key")),
        format!("--token-auth-file={}", file("tokens.csv")),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        format!("--service-account-key-file={}", file("accounts.pub")),
        format!(
            "--service-account-signing-key-file={}",
            file("accounts.key")
        ),
        "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
        "--authorization-mode=RBAC".to_owned(),
        // Nobody makes a default service account here, without which this plugin refuses every pod.
        "--disable-admission-plugins=ServiceAccount".to_owned(),
        // The endpoints of the server's own service may not be on 127.0.0.1.
        "--endpoint-reconciler-type=none".to_owned(),
        "--allow-privileged=true".to_owned(),
    ]
}

/// Writes what the server needs to show who it is and to know who asks.
fn write_keys(folder: &Path) -> std::io::Result<()> {
    let write = |name: &str, text: String| std::fs::write(folder.join(name), text);
    let authority_key = KeyPair::generate().map_err(std::io::Error::other)?;
    let mut parameters = CertificateParams::new(Vec::new()).map_err(std::io::Error::other)?;
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    write(
        "authority.crt",
        parameters
            .self_signed(&authority_key)
            .map_err(std::io::Error::other)?
            .pem(),
    )?;
    let issuer = Issuer::new(parameters, authority_key);
    let key = KeyPair::generate().map_err(std::io::Error::other)?;
    let names = vec![
        "127.0.0.1".to_owned(),
        "localhost".to_owned(),
        "kubernetes.default.svc".to_owned(),
    ];
    let server = CertificateParams::new(names)
        .and_then(|parameters| parameters.signed_by(&key, &issuer))
        .map_err(std::io::Error::other)?;
    write("server.crt", server.pem())?;
    write("server.key", key.serialize_pem())?;
    let accounts = KeyPair::generate().map_err(std::io::Error::other)?;
    write("accounts.key", accounts.serialize_pem())?;
    write("accounts.pub", accounts.public_key_pem())?;
    write(
        "tokens.csv",
        format!("{TOKEN},admin,admin,\"system:masters\"\n"),
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn program(folder: &Path, name: &str, script: &str) {
        let path = folder.join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn is_alive(id: &str) -> bool {
        Path::new("/proc").join(id.trim()).exists()
    }

    #[tokio::test]
    async fn a_directory_without_the_programs_is_named_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let error = start(folder.path(), folder.path())
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("there is no etcd"), "{error}");
        assert!(error.contains("setup-envtest use -p path"), "{error}");
        program(folder.path(), "etcd", "exec sleep 60");
        let error = start(folder.path(), folder.path())
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("there is no kube-apiserver"), "{error}");
    }

    #[tokio::test]
    async fn what_a_server_that_ends_said_last_is_told_and_etcd_is_ended() {
        let folder = tempfile::tempdir().unwrap();
        let id = folder.path().join("etcd.pid");
        program(
            folder.path(),
            "etcd",
            &format!("echo $$ > {}; exec sleep 60", id.display()),
        );
        let wait = format!("while [ ! -s {} ]; do sleep 0.05; done", id.display());
        program(
            folder.path(),
            "kube-apiserver",
            &format!("{wait}; echo 'Error: unknown flag: --nope' >&2; exit 1"),
        );
        let error = start(folder.path(), folder.path())
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("kube-apiserver ended with exit status: 1"),
            "{error}"
        );
        assert!(error.contains("unknown flag: --nope"), "{error}");
        assert!(
            !is_alive(&std::fs::read_to_string(&id).unwrap()),
            "etcd still runs"
        );
    }

    #[tokio::test]
    async fn a_taken_port_is_tried_again_with_others() {
        let folder = tempfile::tempdir().unwrap();
        let tries = folder.path().join("tries");
        program(
            folder.path(),
            "etcd",
            &format!(
                "echo $* >> {}; echo 'bind: address already in use'; exit 1",
                tries.display()
            ),
        );
        program(folder.path(), "kube-apiserver", "exec sleep 60");
        let error = start(folder.path(), folder.path())
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("address already in use"), "{error}");
        let tries = std::fs::read_to_string(&tries).unwrap();
        let lines: Vec<&str> = tries.lines().collect();
        assert_eq!(lines.len(), ATTEMPTS);
        assert_ne!(lines[0], lines[1]);
    }

    #[test]
    fn a_process_ends_with_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        program(folder.path(), "long", "exec sleep 60");
        let process =
            Process::start(&folder.path().join("long"), "long", &[], folder.path()).unwrap();
        let id = process.child.id().to_string();
        assert!(is_alive(&id));
        drop(process);
        assert!(!is_alive(&id));
    }

    #[test]
    fn the_keys_are_what_the_flags_name() {
        let folder = tempfile::tempdir().unwrap();
        write_keys(folder.path()).unwrap();
        let arguments = apiserver_arguments(folder.path(), folder.path(), 1, 2);
        let files: Vec<&str> = arguments
            .iter()
            .filter_map(|one| one.split_once("-file=").map(|(_, file)| file))
            .collect();
        assert_eq!(files.len(), 5);
        for file in files {
            assert!(
                std::fs::metadata(file).is_ok_and(|found| found.len() > 0),
                "{file}"
            );
        }
        assert!(
            std::fs::read_to_string(folder.path().join("accounts.pub"))
                .unwrap()
                .starts_with("-----BEGIN PUBLIC KEY")
        );
    }
}
