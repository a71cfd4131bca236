//! Elasticsearch: its REST interface over HTTP (Elasticsearch Guide, REST APIs).
//!
//! Trusts: nothing. Distrusts: what a request claims. Told by the product header of the answer
//! (since 7.14), by the headers of its client libraries, or by a path of its interface together with
//! an answer in JSON that names no other server. Read as HTTP: no state, no memory.

use super::http::fields;
use crate::{
    Application, ByteSet, EventSink, FieldSpec, Openings, Probe, ProbeInput, Step, Transport,
};
use weir_wire::Direction;

/// The row; its connections are read as HTTP.
#[derive(Default)]
pub struct Elasticsearch;

/// First segments of paths that concern the whole cluster.
const CLUSTER: &[&[u8]] = &[
    b"_alias",
    b"_aliases",
    b"_analyze",
    b"_async_search",
    b"_bulk",
    b"_cat",
    b"_cluster",
    b"_component_template",
    b"_count",
    b"_data_stream",
    b"_field_caps",
    b"_ilm",
    b"_index_template",
    b"_ingest",
    b"_license",
    b"_mapping",
    b"_mget",
    b"_ml",
    b"_msearch",
    b"_nodes",
    b"_pit",
    b"_reindex",
    b"_search",
    b"_snapshot",
    b"_sql",
    b"_tasks",
    b"_template",
    b"_watcher",
    b"_xpack",
];

/// Later segments of paths that concern an index.
const INDEX: &[&[u8]] = &[
    b"_alias",
    b"_aliases",
    b"_analyze",
    b"_async_search",
    b"_bulk",
    b"_count",
    b"_create",
    b"_delete_by_query",
    b"_doc",
    b"_field_caps",
    b"_flush",
    b"_forcemerge",
    b"_mapping",
    b"_mappings",
    b"_mget",
    b"_msearch",
    b"_pit",
    b"_refresh",
    b"_search",
    b"_settings",
    b"_source",
    b"_update",
    b"_update_by_query",
];

/// Whether a path is of its interface.
pub(super) fn is_path(target: &[u8]) -> bool {
    // Every one of its segments begins so.
    if memchr::memchr(b'_', target).is_none() {
        return false;
    }
    let end = target.iter().position(|&byte| byte == b'?');
    let path = &target[..end.unwrap_or(target.len())];
    let mut segments = path.split(|&byte| byte == b'/').skip(1);
    let first = segments.next().unwrap_or_default();
    CLUSTER.contains(&first)
        || !first.starts_with(b"_") && segments.any(|segment| INDEX.contains(&segment))
}

impl Application for Elasticsearch {
    const NAME: &'static str = "elasticsearch";
    const ABOUT: &'static str =
        "Elasticsearch's interface over HTTP (Elasticsearch Guide, REST APIs)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Tcp];
    const PORTS: &'static [u16] = &[9200];
    const FIELDS: &'static [FieldSpec] = &fields::FIELDS;
    const OPENINGS: Openings = Openings {
        to_server: ByteSet::NONE,
        to_client: ByteSet::NONE,
    };
    const REFINES: Option<&'static str> = Some("http");

    /// Only HTTP tells what is carried in it.
    fn probe(_: &ProbeInput<'_>) -> Probe {
        Probe::NotMine
    }

    fn parse(&mut self, _: Direction, _: &[u8], _: &mut dyn EventSink) -> Step {
        Step::Done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_paths_are_known() {
        for path in [
            "/_cluster/health",
            "/_bulk",
            "/logs-*/_search?size=1",
            "/logs/_doc/1",
            "/.kibana/config/_search",
        ] {
            assert!(is_path(path.as_bytes()), "{path}");
        }
        for path in [
            "/",
            "/search",
            "/db/_all_docs",
            "/_utils/",
            "/_session/_search",
            "",
        ] {
            assert!(!is_path(path.as_bytes()), "{path}");
        }
    }
}
