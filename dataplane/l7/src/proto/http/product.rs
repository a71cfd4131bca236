//! What software answers, and which application is carried as HTTP, by what headers say.

use arrayvec::ArrayVec;

use super::names::Name;

/// Headers of a response that name software.
#[derive(Clone, Copy, Default)]
pub(crate) struct Evidence<'a> {
    pub(crate) server: Option<&'a [u8]>,
    powered_by: Option<&'a [u8]>,
    elasticsearch: bool,
    consul: bool,
    etcd: bool,
    wordpress: bool,
    couchdb: bool,
    /// Which of the headers of etcd's answers to browsers were seen.
    cross_origin: u8,
    /// How much of the end of a head as Node.js writes it was seen.
    node: u8,
}

/// Software and, where told, its version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Product<'a> {
    pub(crate) name: &'static str,
    pub(crate) version: Option<&'a [u8]>,
}

/// Servers by the first word of their Server header, in lower case.
const SERVERS: &[(&[u8], &str)] = &[
    (b"apache", "apache"),
    (b"apache-coyote", "tomcat"),
    (b"caddy", "caddy"),
    (b"cloudflare-nginx", "nginx"),
    (b"couchdb", "couchdb"),
    (b"cowboy", "cowboy"),
    (b"envoy", "envoy"),
    (b"gunicorn", "gunicorn"),
    (b"jetty", "jetty"),
    (b"kestrel", "kestrel"),
    (b"lighttpd", "lighttpd"),
    (b"microsoft-iis", "iis"),
    (b"nginx", "nginx"),
    (b"node.js", "nodejs"),
    (b"nodejs", "nodejs"),
    (b"openresty", "openresty"),
    (b"simplehttp", "python"),
    (b"tengine", "tengine"),
    (b"uvicorn", "uvicorn"),
    (b"werkzeug", "werkzeug"),
];

/// What runs behind a server, by the first word of X-Powered-By, in lower case.
const POWERED_BY: &[(&[u8], &str)] = &[
    (b"asp.net", "asp.net"),
    (b"express", "nodejs"),
    (b"jetty", "jetty"),
    (b"next.js", "nodejs"),
    (b"php", "php"),
];

/// Date, Connection and Keep-Alive without a count, in this order: so Node.js ends its heads, where
/// no Server header speaks against it.
const NODE_WHOLE: u8 = 3;
const WORD_BYTES_MAX: usize = 16;

impl<'a> Evidence<'a> {
    /// Takes note of a header.
    pub(crate) fn take(&mut self, name: Name, value: &'a [u8]) {
        self.node = match (self.node, name) {
            (0 | 1, Name::Date) => 1,
            (1, Name::Connection) if value == b"keep-alive" => 2,
            (2, Name::KeepAlive) if !value.contains(&b',') => NODE_WHOLE,
            (NODE_WHOLE, _) => NODE_WHOLE,
            _ => 0,
        };
        match name {
            Name::Link => self.wordpress |= contains(value, b"https://api.w.org/"),
            Name::Server => self.server = Some(value),
            Name::Pingback => self.wordpress |= value.ends_with(b"/xmlrpc.php"),
            Name::PoweredBy => self.powered_by = Some(value),
            Name::Etcd => self.etcd = true,
            Name::RedirectBy => self.wordpress |= value.eq_ignore_ascii_case(b"wordpress"),
            Name::Consul => self.consul = true,
            Name::ElasticProduct => {
                self.elasticsearch |= value.eq_ignore_ascii_case(b"elasticsearch");
            }
            Name::CouchRequest => self.couchdb = true,
            Name::AllowMethods => {
                self.cross_origin |= u8::from(value == b"POST, GET, OPTIONS, PUT, DELETE");
            }
            Name::AllowHeaders => {
                self.cross_origin |= u8::from(value == b"accept, content-type, authorization") << 1;
            }
            _ => {}
        }
    }

    /// The application that is carried as HTTP.
    pub(crate) fn application(&self) -> Option<&'static str> {
        match () {
            () if self.elasticsearch => Some("elasticsearch"),
            () if self.consul => Some("consul"),
            () if self.etcd => Some("etcd"),
            () => None,
        }
    }

    /// The application of an answer whose request was for what only that has.
    pub(crate) fn application_asked(
        &self,
        asked: Option<&'static str>,
        content_type: Option<&[u8]>,
    ) -> Option<&'static str> {
        const JSON: [&[u8]; 2] = [b"application/json", b"application/vnd.elasticsearch+json"];
        let is_json = |kind: &[u8]| JSON.iter().any(|&json| kind.starts_with(json));
        let fits = match asked {
            Some("elasticsearch") => content_type.is_some_and(is_json),
            Some("etcd") => self.cross_origin == 3,
            _ => false,
        };
        let asked = asked.filter(|_| fits && self.server.is_none());
        self.application().or(asked)
    }

    /// The server, then what runs behind it.
    pub(crate) fn products(&self) -> ArrayVec<Product<'a>, 3> {
        let named = [
            self.server.and_then(|server| named(server, SERVERS)),
            self.powered_by.and_then(|by| named(by, POWERED_BY)),
            self.behind().map(|name| Product {
                name,
                version: None,
            }),
        ];
        let mut products = ArrayVec::<Product<'a>, 3>::new();
        for product in named.into_iter().flatten() {
            if products.iter().all(|other| other.name != product.name) {
                // Never more than were named.
                let _ = products.try_push(product);
            }
        }
        products
    }

    fn behind(&self) -> Option<&'static str> {
        match () {
            () if self.wordpress => Some("wordpress"),
            () if self.couchdb => Some("couchdb"),
            () if self.application().is_some() => self.application(),
            () if self.node == NODE_WHOLE && self.server.is_none() => Some("nodejs"),
            () if self
                .server
                .is_some_and(|server| server.starts_with(b"ecstatic-")) =>
            {
                Some("nodejs")
            }
            () => None,
        }
    }
}

/// `nginx/1.2.3 (…)`, `Jetty(9.4.51)`, `Apache`: the name is one of the list, the version follows.
fn named<'a>(value: &'a [u8], list: &[(&[u8], &'static str)]) -> Option<Product<'a>> {
    let end = value
        .iter()
        .position(|byte| matches!(byte, b'/' | b'(' | b' ' | b',' | b';'))
        .unwrap_or(value.len());
    let (word, rest) = value.split_at(end);
    let mut lower = ArrayVec::<u8, WORD_BYTES_MAX>::new();
    lower.try_extend_from_slice(word).ok()?;
    lower.make_ascii_lowercase();
    let (_, name) = list.iter().find(|(word, _)| **word == lower[..])?;
    let version = rest.strip_prefix(b"/").or_else(|| rest.strip_prefix(b"("));
    let version = version.and_then(|version| {
        let end = version
            .iter()
            .position(|byte| matches!(byte, b' ' | b')' | b',' | b';' | b'('))
            .unwrap_or(version.len());
        let version = &version[..end];
        version
            .first()
            .is_some_and(u8::is_ascii_digit)
            .then_some(version)
    });
    Some(Product { name, version })
}

pub(crate) fn contains(text: &[u8], part: &[u8]) -> bool {
    memchr::memmem::find(text, part).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(headers: &[(&str, &str)]) -> (Vec<String>, Option<&'static str>) {
        let mut evidence = Evidence::default();
        for (name, value) in headers {
            evidence.take(Name::of(name.as_bytes()), value.as_bytes());
        }
        let products = evidence.products();
        let products = products.iter().map(|product| {
            let version = product.version.unwrap_or_default();
            format!("{} {}", product.name, version.escape_ascii())
        });
        (products.collect(), evidence.application())
    }

    #[test]
    fn servers_are_known_by_name_and_version() {
        for (server, product) in [
            ("nginx/1.22.1", "nginx 1.22.1"),
            ("nginx", "nginx "),
            ("Apache/2.4.57 (Debian) mod_wsgi/4.9", "apache 2.4.57"),
            ("Apache", "apache "),
            ("Apache-Coyote/1.1", "tomcat 1.1"),
            ("Jetty(9.4.51.v20230217)", "jetty 9.4.51.v20230217"),
            ("CouchDB/3.3.2 (Erlang OTP/25)", "couchdb 3.3.2"),
        ] {
            assert_eq!(told(&[("Server", server)]).0, [product]);
        }
        for server in [
            "",
            "Apachee/1",
            "my nginx",
            "gws",
            "a-name-longer-than-any-of-the-list",
        ] {
            assert!(told(&[("Server", server)]).0.is_empty(), "{server}");
        }
    }

    #[test]
    fn what_runs_behind_a_server_is_told_too() {
        let link = "<https://a.example/wp-json/>; rel=\"https://api.w.org/\"";
        assert_eq!(
            told(&[
                ("server", "nginx"),
                ("x-powered-by", "PHP/8.2.1"),
                ("link", link)
            ]),
            (
                vec!["nginx ".into(), "php 8.2.1".into(), "wordpress ".into()],
                None
            )
        );
        assert_eq!(
            told(&[("X-Powered-By", "Express")]),
            (vec!["nodejs ".into()], None)
        );
        let node = [
            ("Date", "d"),
            ("Connection", "keep-alive"),
            ("Keep-Alive", "timeout=5"),
        ];
        assert_eq!(told(&node).0, ["nodejs "]);
        assert!(told(&[node[0], node[2], node[1]]).0.is_empty());
        assert_eq!(
            told(&[("X-elastic-product", "Elasticsearch")]),
            (vec!["elasticsearch ".into()], Some("elasticsearch"))
        );
        assert_eq!(told(&[("X-Consul-Index", "7")]).1, Some("consul"));
        assert_eq!(told(&[("X-Etcd-Cluster-Id", "7")]).1, Some("etcd"));
    }
}
