//! What NeuVector calls applications.

use weir_l7::registry;

/// Their name, ours. Of several for one of ours the first is written.
const NAMES: [(&str, &str); 34] = [
    ("HTTP", "http"),
    ("SSL", "tls"),
    ("SSH", "ssh"),
    ("DNS", "dns"),
    ("DHCP", "dhcp"),
    ("NTP", "ntp"),
    ("TFTP", "tftp"),
    ("Echo", "echo"),
    ("RTSP", "rtsp"),
    ("SIP", "sip"),
    ("MySQL", "mysql"),
    ("Redis", "redis"),
    ("ZooKeeper", "zookeeper"),
    ("Cassandra", "cassandra"),
    ("MongoDB", "mongodb"),
    ("PostgreSQL", "postgresql"),
    ("Kafka", "kafka"),
    ("Couchbase", "couchbase"),
    ("ActiveMQ", "activemq"),
    ("ElasticSearch", "elasticsearch"),
    ("Memcached", "memcached"),
    ("RabbitMQ", "amqp"),
    ("Radius", "radius"),
    ("VoltDB", "voltdb"),
    ("Consul", "consul"),
    ("Syslog", "syslog"),
    ("etcd", "etcd"),
    ("Spark", "spark"),
    ("Oracle", "oracle"),
    ("TNS", "oracle"),
    ("MSSQL", "mssql"),
    ("TDS", "mssql"),
    ("GRPC", "grpc"),
    ("ICMP", "icmp"),
];

/// Products that are told apart there and speak HTTP.
const PRODUCTS: [&str; 6] = ["apache", "nginx", "jetty", "nodejs", "wordpress", "couchdb"];

/// Our name of theirs; `true` where ours covers more.
pub(crate) fn read(theirs: &str) -> Option<(&'static str, bool)> {
    let named = NAMES
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(theirs));
    if let Some((_, ours)) = named {
        return Some((ours, false));
    }
    let lower = theirs.to_ascii_lowercase();
    if PRODUCTS.contains(&lower.as_str()) {
        return Some(("http", true));
    }
    registry::by_name(&lower).map(|application| (registry::name(application), false))
}

/// Their name of ours.
pub(crate) fn write(ours: &str) -> Option<&'static str> {
    let named = NAMES.iter().find(|(_, name)| *name == ours);
    named.map(|(theirs, _)| *theirs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_of_ours_is_an_application() {
        for (theirs, ours) in NAMES {
            assert!(registry::by_name(ours).is_some(), "{ours}");
            assert_eq!(read(theirs), Some((ours, false)));
            assert!(write(ours).is_some());
        }
        assert_eq!(read("nginx"), Some(("http", true)));
        assert_eq!(read("no such thing"), None);
    }
}
