//! What is answered over HTTP, and that nobody keeps others out.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use weir_metrics::{Listen, Told, ask_readiness, serve, serve_on};
use weir_service::Standing;

struct Daemon(Mutex<Standing>);

impl Told for Daemon {
    fn metrics(&self) -> String {
        "weir_test 1\n# EOF\n".to_owned()
    }

    fn standing(&self) -> Standing {
        self.0.lock().unwrap().clone()
    }
}

fn daemon(standing: Standing) -> Arc<Daemon> {
    Arc::new(Daemon(Mutex::new(standing)))
}

async fn ask(address: std::net::SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let read = stream.read_to_string(&mut answer);
    let read = tokio::time::timeout(Duration::from_secs(20), read).await;
    read.expect("an answer in time").unwrap();
    answer
}

async fn get(address: std::net::SocketAddr, path: &str) -> String {
    ask(address, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await
}

#[tokio::test]
async fn paths_tell_metrics_health_and_readiness() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let told = daemon(Standing::Starting("not yet".into()));
    tokio::spawn(serve_on(listener, told.clone(), std::future::pending()));
    let metrics = get(address, "/metrics").await;
    assert!(metrics.starts_with("HTTP/1.1 200 "), "{metrics}");
    assert!(
        metrics.contains("application/openmetrics-text"),
        "{metrics}"
    );
    assert!(metrics.ends_with("weir_test 1\n# EOF\n"), "{metrics}");
    let stands = |standing| *told.0.lock().unwrap() = standing;
    for (standing, health, ready) in [
        (Standing::Starting("one".into()), 200, 503),
        (Standing::Working("two".into()), 200, 200),
        (Standing::Stuck("three".into()), 503, 503),
    ] {
        stands(standing.clone());
        for (path, expected) in [("/healthz", health), ("/readyz", ready)] {
            let answer = get(address, path).await;
            let begin = format!("HTTP/1.1 {expected} ");
            assert!(answer.starts_with(&begin), "{standing:?} {path}: {answer}");
        }
    }
    assert!(get(address, "/readyz").await.ends_with("three\n"));
    assert!(get(address, "/").await.starts_with("HTTP/1.1 404 "));
    let post = ask(
        address,
        "POST /metrics HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
    )
    .await;
    assert!(post.starts_with("HTTP/1.1 405 "), "{post}");
    let large = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(64 << 10));
    let mut stream = TcpStream::connect(address).await.unwrap();
    let _ = stream.write_all(large.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP/1.1 404"), "a head without bound");
}

#[tokio::test]
async fn who_holds_connections_keeps_nobody_out() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let told = daemon(Standing::Working("works".into()));
    tokio::spawn(serve_on(listener, told, std::future::pending()));
    let mut held = Vec::new();
    for _ in 0..200 {
        held.push(TcpStream::connect(address).await.unwrap());
    }
    assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_place_that_is_taken_is_had_later() {
    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = other.local_addr().unwrap();
    let told = daemon(Standing::Working("works".into()));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(serve(Listen::At(address), told, async {
        let _ = stopped.await;
    }));
    tokio::task::yield_now().await;
    drop(other);
    let mut stream = None;
    for _ in 0..100 {
        match TcpStream::connect(address).await {
            Ok(connected) => {
                stream = Some(connected);
                break;
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
    assert!(stream.is_some(), "nobody listens on {address}");
    assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 200 "));
    stop.send(()).unwrap();
    serving.await.unwrap();
}

#[tokio::test]
async fn whoever_runs_a_command_learns_whether_it_is_ready() {
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let told = daemon(Standing::Starting("waits".into()));
    let serving = tokio::spawn(serve_on(listener, told.clone(), std::future::pending()));
    let asked = || tokio::task::spawn_blocking(move || ask_readiness(address));
    let (is_ready, says) = asked().await.unwrap().unwrap();
    assert_eq!((is_ready, says.contains("waits")), (false, true), "{says}");
    *told.0.lock().unwrap() = Standing::Working("two workers".into());
    let (is_ready, says) = asked().await.unwrap().unwrap();
    assert_eq!((is_ready, says.contains("two workers")), (true, true));
    serving.abort();
    let _ = serving.await;
    assert!(asked().await.unwrap().is_err(), "nobody is there");
}
