//! AYIYA, anything in anything (draft-massar-v6ops-ayiya-02), port 5072: IPv6 of tunnel brokers.
//!
//! Opened where the header's closed lists hold, it forwards, and what follows is IPv6. The signature
//! is not checked: its secret is the broker's.

use crate::bytes::at;
use crate::foreign::ipv6_at;
use crate::protocol;
use crate::tunnel::Inside;

/// Lengths and methods, next header, time.
const HEADER_LENGTH: usize = 8;
/// None, integer, text.
const IDENTITY_TYPE_MAX: u8 = 2;
/// None, MD5, SHA1, UMAC.
const HASH_MAX: u8 = 3;
/// None, shared secret, public key.
const AUTHENTICATION_MAX: u8 = 2;
const FORWARD: u8 = 1;
const ECHO_AND_FORWARD: u8 = 3;

/// Looks for the header at `start`; `message` ends with the UDP payload.
pub(crate) fn open(message: &[u8], start: usize) -> Option<Inside> {
    let header: &[u8; HEADER_LENGTH] = at(message, start)?;
    let nibbles = |byte: u8| (byte >> 4, byte & 15);
    let (identity_power, identity_type) = nibbles(header[0]);
    let (signature_words, hash) = nibbles(header[1]);
    let (authentication, operation) = nibbles(header[2]);
    let fits = identity_type <= IDENTITY_TYPE_MAX
        && hash <= HASH_MAX
        && authentication <= AUTHENTICATION_MAX
        && matches!(operation, FORWARD | ECHO_AND_FORWARD)
        && header[3] == protocol::IPV6;
    let lengths = (1 << identity_power) + usize::from(signature_words) * 4;
    fits.then(|| ipv6_at(message, start + HEADER_LENGTH + lengths))?
}
