//! The commands (kv_engine, `include/mcbp/protocol/opcode.h`).

use super::binary::{self, Header};

pub(super) const HELLO: u8 = 0x1f;
pub(super) const SELECT_BUCKET: u8 = 0x89;
pub(super) const GET_CLUSTER_CONFIG: u8 = 0xb5;
pub(super) const GET_COLLECTION_ID: u8 = 0xbb;
pub(super) const GET_ERROR_MAP: u8 = 0xfe;

pub(super) fn name(opcode: u8) -> Option<&'static str> {
    if let Some(shape) = binary::command(opcode) {
        return Some(shape.name);
    }
    Some(match opcode {
        HELLO => "hello",
        0x25 => "ioctl_get",
        0x26 => "ioctl_set",
        0x27 => "config_validate",
        0x28 => "config_reload",
        0x29 => "audit_put",
        0x2a => "audit_config_reload",
        0x2b => "shutdown",
        0x2c => "set_bucket_throttle_properties",
        0x2d => "set_bucket_data_limit_exceeded",
        0x2e => "set_node_throttle_properties",
        0x3d => "set_vbucket",
        0x3e => "get_vbucket",
        0x3f => "del_vbucket",
        0x48 => "get_all_vb_seqnos",
        0x50 => "dcp_open",
        0x51 => "dcp_add_stream",
        0x52 => "dcp_close_stream",
        0x53 => "dcp_stream_req",
        0x54 => "dcp_get_failover_log",
        0x55 => "dcp_stream_end",
        0x56 => "dcp_snapshot_marker",
        0x57 => "dcp_mutation",
        0x58 => "dcp_deletion",
        0x59 => "dcp_expiration",
        0x5a => "dcp_flush",
        0x5b => "dcp_set_vbucket_state",
        0x5c => "dcp_noop",
        0x5d => "dcp_buffer_acknowledgement",
        0x5e => "dcp_control",
        0x5f => "dcp_system_event",
        0x60 => "dcp_prepare",
        0x61 => "dcp_seqno_acknowledged",
        0x62 => "dcp_commit",
        0x63 => "dcp_abort",
        0x64 => "dcp_seqno_advanced",
        0x65 => "dcp_oso_snapshot",
        0x80 => "stop_persistence",
        0x81 => "start_persistence",
        0x82 => "set_param",
        0x83 => "get_replica",
        0x85 => "create_bucket",
        0x86 => "delete_bucket",
        0x87 => "list_buckets",
        SELECT_BUCKET => "select_bucket",
        0x8a => "pause_bucket",
        0x8b => "resume_bucket",
        0x91 => "observe_seqno",
        0x92 => "observe",
        0x93 => "evict_key",
        0x94 => "get_locked",
        0x95 => "unlock_key",
        0x96 => "get_failover_log",
        0x97 => "last_closed_checkpoint",
        0xa0 => "get_meta",
        0xa1 => "getq_meta",
        0xa2 => "set_with_meta",
        0xa3 => "setq_with_meta",
        0xa4 => "add_with_meta",
        0xa5 => "addq_with_meta",
        0xa6 => "snapshot_vb_states",
        0xa7 => "vbucket_batch_count",
        0xa8 => "del_with_meta",
        0xa9 => "delq_with_meta",
        0xaa => "create_checkpoint",
        0xac => "notify_vbucket_update",
        0xad => "enable_traffic",
        0xae => "disable_traffic",
        0xb0 => "get_vbuckets",
        0xb1 => "checkpoint_persistence",
        0xb2 => "return_meta",
        0xb3 => "compact_db",
        0xb4 => "set_cluster_config",
        GET_CLUSTER_CONFIG => "get_cluster_config",
        0xb6 => "get_random_key",
        0xb7 => "seqno_persistence",
        0xb8 => "get_keys",
        0xb9 => "collections_set_manifest",
        0xba => "collections_get_manifest",
        GET_COLLECTION_ID => "collections_get_id",
        0xbc => "collections_get_scope_id",
        0xc1 => "set_drift_counter_state",
        0xc2 => "get_adjusted_time",
        0xc5 => "subdoc_get",
        0xc6 => "subdoc_exists",
        0xc7 => "subdoc_dict_add",
        0xc8 => "subdoc_dict_upsert",
        0xc9 => "subdoc_delete",
        0xca => "subdoc_replace",
        0xcb => "subdoc_array_push_last",
        0xcc => "subdoc_array_push_first",
        0xcd => "subdoc_array_insert",
        0xce => "subdoc_array_add_unique",
        0xcf => "subdoc_counter",
        0xd0 => "subdoc_multi_lookup",
        0xd1 => "subdoc_multi_mutation",
        0xd2 => "subdoc_get_count",
        0xd3 => "subdoc_replace_body_with_xattr",
        0xda => "range_scan_create",
        0xdb => "range_scan_continue",
        0xdc => "range_scan_cancel",
        0xf0 => "scrub",
        0xf1 => "isasl_refresh",
        0xf2 => "ssl_certs_refresh",
        0xf3 => "get_cmd_timer",
        0xf4 => "set_ctrl_token",
        0xf5 => "get_ctrl_token",
        0xf6 => "update_user_permissions",
        0xf7 => "rbac_refresh",
        0xf8 => "auth_provider",
        GET_ERROR_MAP => "get_error_map",
        _ => return None,
    })
}

/// Commands that neither read nor change data: how a client finds its way.
pub(super) fn is_session(opcode: u8) -> bool {
    matches!(
        opcode,
        HELLO | GET_CLUSTER_CONFIG | GET_ERROR_MAP | 0xba | 0x5c | 0x5d
    )
}

/// Whether a request's lengths are those of a command that a client may well begin with, or that
/// nobody else's bytes look like.
pub(super) fn fits(opcode: u8, header: &Header, value: usize) -> bool {
    let (key, extras) = (header.key, header.extras);
    match opcode {
        SELECT_BUCKET => extras == 0 && key > 0 && value == 0,
        GET_CLUSTER_CONFIG => matches!(extras, 0 | 16) && key == 0 && value == 0,
        GET_ERROR_MAP => extras == 0 && key == 0 && value == 2,
        0xba | 0x87 => header.body == 0,
        GET_COLLECTION_ID | 0xbc => extras == 0 && (key > 0) != (value > 0),
        0x50 => extras == 8 && key > 0,
        0x5e => extras == 0 && key > 0 && value > 0,
        0x83 | 0x95 => extras == 0 && key > 0 && value == 0,
        0x91 => extras == 0 && key == 0 && value == 8,
        0x94 => matches!(extras, 0 | 4) && key > 0 && value == 0,
        0xa0 | 0xa1 => extras <= 1 && key > 0 && value == 0,
        0xc5..=0xcf | 0xd2 => matches!(extras, 3 | 4 | 7 | 8) && key > 0,
        0xd0 | 0xd1 => matches!(extras, 0 | 1 | 4 | 5) && key > 0 && value > 3,
        _ => false,
    }
}
