//! Commands and errors by their names.

/// MS-ERREF, 2.3.1: the login goes on.
pub(super) const MORE_PROCESSING: u32 = 0xc000_0016;
/// The answer follows later.
pub(super) const PENDING: u32 = 0x0000_0103;

/// MS-ERREF, 2.3.1.
pub(super) fn status(status: u32) -> &'static str {
    match status {
        0 => "ok",
        PENDING => "pending",
        MORE_PROCESSING => "more_processing_required",
        0xc000_000d => "invalid_parameter",
        0xc000_000f => "no_such_file",
        0xc000_0022 => "access_denied",
        0xc000_0033 => "object_name_invalid",
        0xc000_0034 => "object_name_not_found",
        0xc000_0035 => "object_name_collision",
        0xc000_003a => "object_path_not_found",
        0xc000_0043 => "sharing_violation",
        0xc000_0056 => "delete_pending",
        0xc000_0064 => "no_such_user",
        0xc000_006a => "wrong_password",
        0xc000_006d => "logon_failure",
        0xc000_006e => "account_restriction",
        0xc000_006f => "invalid_logon_hours",
        0xc000_0071 => "password_expired",
        0xc000_0072 => "account_disabled",
        0xc000_007f => "disk_full",
        0xc000_00ba => "file_is_a_directory",
        0xc000_00bb => "not_supported",
        0xc000_00c9 => "network_name_deleted",
        0xc000_00ca => "network_access_denied",
        0xc000_00cc => "bad_network_name",
        0xc000_0103 => "not_a_directory",
        0xc000_015b => "logon_type_not_granted",
        0xc000_0193 => "account_expired",
        0xc000_0203 => "user_session_deleted",
        0xc000_0224 => "password_must_change",
        0xc000_0225 => "not_found",
        0xc000_0234 => "account_locked_out",
        0xc000_0257 => "path_not_covered",
        0xc000_035c => "network_session_expired",
        _ => "other",
    }
}

/// MS-SMB2, 2.2.3 and 2.2.4.
pub(super) fn dialect(number: u16) -> &'static str {
    match number {
        0x0202 => "2.0.2",
        0x0210 => "2.1",
        0x0222 => "2.2.2",
        0x0224 => "2.2.4",
        0x0300 => "3.0",
        0x0302 => "3.0.2",
        0x0310 => "3.1.0",
        0x0311 => "3.1.1",
        // Any of version 2: it is asked again.
        0x02ff => "2.???",
        _ => "other",
    }
}

/// Access that opening a file asks for (MS-SMB2, 2.2.13.1).
pub(super) fn access(mask: u32, creates: bool) -> &'static str {
    // Write data and attributes, append, delete, change owner or permissions; generic write and
    // all; whatever is allowed at most.
    const WRITES: u32 = 0x0000_0156 | 0x000d_0000 | 0x5200_0000;
    if creates || mask & WRITES != 0 {
        "write"
    } else {
        "read"
    }
}
