//! Mirrored frames within GRE: ERSPAN types I, II and III (draft-foschiano-erspan-03).
//!
//! Type I has no header of its own and is told from type II by GRE's sequence number, which it lacks.
//! The session names no network: a VLAN tag of the mirrored frame does.

use crate::bytes::{at, be16};
use crate::ether_type;
use crate::foreign::ip_at;
use crate::gre::Header;
use crate::tunnel::Inside;

const TYPE_2_LENGTH: usize = 8;
const TYPE_3_LENGTH: usize = 12;
/// What follows the header of type III where its last bit is set.
const PLATFORM_LENGTH: usize = 8;
const TYPE_2_VERSION: u8 = 1;
const TYPE_3_VERSION: u8 = 2;
/// Type III: what was mirrored.
const FRAME_ETHERNET: u16 = 0;
const FRAME_IP: u16 = 2;

/// What the GRE header carries.
pub(crate) fn open(scope: &[u8], gre: &Header) -> Option<Inside> {
    match gre.carried {
        ether_type::ERSPAN if !gre.has_sequence => Some(Inside::Ethernet(gre.inner, None)),
        ether_type::ERSPAN => {
            let header: &[u8; TYPE_2_LENGTH] = at(scope, gre.inner)?;
            (header[0] >> 4 == TYPE_2_VERSION)
                .then_some(Inside::Ethernet(gre.inner + TYPE_2_LENGTH, None))
        }
        ether_type::ERSPAN_3 => {
            let header: &[u8; TYPE_3_LENGTH] = at(scope, gre.inner)?;
            if header[0] >> 4 != TYPE_3_VERSION {
                return None;
            }
            let flags = be16(header, 10);
            let platform = usize::from(flags & 1) * PLATFORM_LENGTH;
            let inner = gre.inner + TYPE_3_LENGTH + platform;
            match flags >> 10 & 0x1f {
                FRAME_ETHERNET => Some(Inside::Ethernet(inner, None)),
                FRAME_IP => ip_at(scope, inner),
                _ => None,
            }
        }
        _ => None,
    }
}
