//! Endpoints: how they are written, and sockets that others hold or left behind.

use weir_api::{Endpoint, EndpointError, TlsFiles};

#[test]
fn endpoints_are_read_as_they_are_printed() {
    for text in [
        "unix:/run/weir/controller.sock",
        "http://127.0.0.1:7443",
        "https://[::1]:1",
        "controller:7443",
    ] {
        assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
    }
    assert_eq!(
        "unix:///a".parse::<Endpoint>().unwrap(),
        Endpoint::Unix("/a".into())
    );
}

#[test]
fn what_is_no_endpoint_is_refused() {
    for text in [
        "",
        "unix:",
        "ftp://a:1",
        "host",
        "host:",
        ":1",
        "host:70000",
        "::1:80",
        "http://",
        "http://a/b:1",
    ] {
        let error = text.parse::<Endpoint>().expect_err(text);
        assert!(error.to_string().contains("write unix:/path"), "{error}");
    }
}

#[tokio::test]
async fn a_dead_socket_is_replaced_a_live_one_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("controller.sock");
    let endpoint = Endpoint::Unix(path.clone());
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "a dead process leaves its socket");
    let listener = endpoint.listen().await.unwrap();
    assert!(matches!(
        endpoint.listen().await,
        Err(EndpointError::InUse { .. })
    ));
    drop(listener);
    assert!(!path.exists(), "a living one takes it away");
}

#[tokio::test]
async fn a_file_in_the_way_is_not_removed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("precious");
    std::fs::write(&path, "data").unwrap();
    assert!(matches!(
        Endpoint::Unix(path.clone()).listen().await,
        Err(EndpointError::Listen { .. })
    ));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "data");
}

#[tokio::test]
async fn a_port_in_use_is_told() {
    let first = "127.0.0.1:0"
        .parse::<Endpoint>()
        .unwrap()
        .listen()
        .await
        .unwrap();
    assert!(matches!(
        first.endpoint().listen().await,
        Err(EndpointError::InUse { .. })
    ));
}

#[tokio::test]
async fn nobody_there_is_told() {
    let endpoint = Endpoint::Unix("/nonexistent/controller.sock".into());
    let error = endpoint.connect(None, None).await.unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("cannot reach unix:/nonexistent/controller.sock"),
        "{error}"
    );
}

#[tokio::test]
async fn contradicting_tls_settings_are_told() {
    let files = TlsFiles {
        ca: "/a".into(),
        certificate: "/b".into(),
        key: "/c".into(),
    };
    for (text, tls) in [
        ("unix:/a", Some(&files)),
        ("http://a:1", Some(&files)),
        ("https://a:1", None),
    ] {
        let error = text
            .parse::<Endpoint>()
            .unwrap()
            .connect(tls, None)
            .await
            .unwrap_err();
        assert!(matches!(error, EndpointError::Scheme { .. }), "{error}");
    }
    let error = "https://a:1"
        .parse::<Endpoint>()
        .unwrap()
        .connect(Some(&files), None)
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("cannot read the certificate /b"),
        "{error}"
    );
    let error = TlsFiles::from_options(Some("/a".into()), None, Some("/c".into())).unwrap_err();
    assert!(
        error.to_string().contains("the certificate is missing"),
        "{error}"
    );
}
