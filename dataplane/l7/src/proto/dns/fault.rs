//! What is wrong with a message, also where nobody here reads it: names that lead in a circle, names
//! and records longer than they may be.

use super::message::{Walk, has_name};
use super::name;
use crate::violation;

/// Records that are walked.
const RECORDS_MAX: u32 = 4_096;

/// The first fault of a message.
pub(super) fn find(message: &[u8]) -> Result<(), &'static str> {
    const MALFORMED: &str = violation::DNS_MALFORMED;
    let (header, mut walk) = Walk::new(message).ok_or(MALFORMED)?;
    let (questions, records) = header.counts();
    for number in 0..(questions + records).min(RECORDS_MAX) {
        name::judge(message, walk.position())?;
        if number < questions {
            walk.question().ok_or(MALFORMED)?;
            continue;
        }
        let record = match walk.record() {
            Some(record) => record,
            None if walk.is_cut_in_data() => return Err(violation::DNS_LONG_RECORD),
            None => return Err(MALFORMED),
        };
        if has_name(record.kind) {
            name::judge(message, record.data_at)?;
        }
    }
    Ok(())
}
