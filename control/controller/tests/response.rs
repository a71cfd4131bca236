//! Response rules and quarantine over the real endpoints: nodes subscribe, web servers and log servers
//! receive.

mod common;

use std::time::Duration;

use common::Site;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use weir_api::v1;
use weir_controller::Controller;

const WITHIN: Duration = Duration::from_secs(20);

/// One answer for each connection; gives back what was posted.
async fn web_server(answers: Vec<&'static str>) -> (String, tokio::task::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let served = tokio::spawn(async move {
        let mut posted = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            posted.push(read_request(&mut stream).await);
            let answer =
                format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        posted
    });
    (url, served)
}

async fn read_request(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    loop {
        let mut piece = [0; 4096];
        let length = stream.read(&mut piece).await.unwrap();
        text.extend_from_slice(&piece[..length]);
        let request = String::from_utf8_lossy(&text).into_owned();
        let Some((head, body)) = request.split_once("\r\n\r\n") else {
            continue;
        };
        let wanted = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.trim().parse::<usize>().ok())?
        });
        if body.len() >= wanted.unwrap_or_default() {
            return request;
        }
    }
}

async fn post(address: &str, token: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "POST /events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// A port that was free a moment ago.
async fn free_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().to_string()
}

fn rule(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: weir.dev/v1alpha1\nkind: ResponseRule\nmetadata: {{name: {name}, namespace: shop}}\nspec: {spec}\n"
    )
}

const FALCO: &str = r#"{"rule": "Terminal shell in container", "priority": "Critical", "output": "a shell",
    "output_fields": {"k8s.ns.name": "shop", "k8s.pod.name": "photo-db-7d9f5-abcde"}}"#;

#[tokio::test]
async fn what_falco_reports_cuts_off_is_posted_and_logged() {
    let mut site = Site::start().await;
    let (url, web) = web_server(vec!["500 Later", "200 OK"]).await;
    let log = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let log_address = log.local_addr().unwrap();
    std::fs::write(site.path("token"), "secret-of-falco\n").unwrap();
    std::fs::create_dir_all(site.path("secrets")).unwrap();
    std::fs::write(site.path("secrets").join("hook"), "Bearer abc\n").unwrap();
    site.write(
        "rules.yaml",
        &rule(
            "shells",
            &format!(
                "{{when: {{event: {{sources: [falco], severity: high}}}}, actions: [{{quarantine: {{duration: 1h}}}}, \
                 {{webhook: {{url: '{url}', headers: [{{name: Authorization, secretFile: hook}}]}}}}, \
                 {{syslog: {{address: '{log_address}'}}}}]}}"
            ),
        ),
    );
    let events = free_port().await;
    let mut config = site.config();
    config.response = weir_controller::ResponseConfig {
        secrets: site.path("secrets"),
        events_listen: Some(events.clone()),
        events_token: Some(site.path("token")),
    };
    site.stop().await;
    site.controller = Some(Controller::start(config.clone()).await.unwrap());
    let mut operator = site.operator().await;

    assert!(
        post(&events, "guess", FALCO)
            .await
            .starts_with("HTTP/1.1 401")
    );
    assert!(
        post(&events, "secret-of-falco", "{]")
            .await
            .starts_with("HTTP/1.1 400")
    );
    assert!(
        post(&events, "secret-of-falco", "{}")
            .await
            .starts_with("HTTP/1.1 422")
    );
    assert!(
        post(&events, "secret-of-falco", FALCO)
            .await
            .starts_with("HTTP/1.1 200")
    );

    let posted = tokio::time::timeout(WITHIN, web).await.unwrap().unwrap();
    assert_eq!(posted.len(), 2, "the first try met a 500");
    assert_eq!(posted[0], posted[1]);
    assert!(
        posted[1]
            .to_lowercase()
            .contains("authorization: bearer abc")
    );
    assert!(
        posted[1].contains(r#""workload":"shop/photo-db""#),
        "{}",
        posted[1]
    );
    let mut line = [0; 4096];
    let length = tokio::time::timeout(WITHIN, log.recv(&mut line))
        .await
        .unwrap()
        .unwrap();
    let line = String::from_utf8_lossy(&line[..length]);
    assert!(
        line.starts_with("<130>1 20") && line.contains(" weir - event - {"),
        "{line}"
    );

    let quarantined = |reply: v1::QuarantineReply| {
        let views = reply.quarantines.into_iter();
        views
            .map(|view| (view.workload, view.by))
            .collect::<Vec<_>>()
    };
    let wanted = vec![(
        "shop/photo-db".to_owned(),
        "response rule shop/shells".to_owned(),
    )];
    let reply = operator
        .quarantine_list(v1::QuarantineListRequest {})
        .await
        .unwrap();
    assert_eq!(quarantined(reply.into_inner()), wanted);
    let modes = operator
        .mode_get(v1::ModeGetRequest {
            workload: "shop/photo-db".into(),
        })
        .await
        .unwrap();
    assert!(modes.into_inner().workloads[0].quarantined);

    // It survives a restart, and a reading of the directory that knows nothing of it.
    site.stop().await;
    site.controller = Some(Controller::start(config).await.unwrap());
    let mut operator = site.operator().await;
    let reply = operator
        .quarantine_list(v1::QuarantineListRequest {})
        .await
        .unwrap();
    assert_eq!(quarantined(reply.into_inner()), wanted);
    let lift = v1::QuarantineLiftRequest {
        workloads: vec!["shop/photo-db".into()],
        all: false,
    };
    let reply = operator.quarantine_lift(lift).await.unwrap().into_inner();
    assert_eq!(reply.quarantines, []);
    let modes = operator
        .mode_get(v1::ModeGetRequest {
            workload: "shop/photo-db".into(),
        })
        .await
        .unwrap();
    assert!(!modes.into_inner().workloads[0].quarantined);
    site.stop().await;
}

#[tokio::test]
async fn operators_cut_off_whom_there_is_for_as_long_as_they_say() {
    let mut site = Site::start().await;
    let mut operator = site.operator().await;
    let add = |workload: &str, duration_s| v1::QuarantineAddRequest {
        workloads: vec![workload.to_owned()],
        duration_s,
        because: "a test".to_owned(),
    };
    let unknown = operator
        .quarantine_add(add("shop/photo-dbb", 0))
        .await
        .unwrap_err();
    assert_eq!(unknown.code(), tonic::Code::NotFound, "{unknown}");
    operator
        .quarantine_add(add("shop/photo-db", 1))
        .await
        .unwrap();
    let over = async {
        loop {
            let reply = operator
                .quarantine_list(v1::QuarantineListRequest {})
                .await
                .unwrap();
            if reply.into_inner().quarantines.is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(WITHIN, over)
        .await
        .expect("it ends by itself");
    site.stop().await;
}
