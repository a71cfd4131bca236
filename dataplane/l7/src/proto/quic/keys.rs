//! The protection of Initial packets, whose keys everybody can derive (RFC 9001, 5; RFC 9369, 3.3).

use arrayvec::ArrayVec;
use ring::aead::{self, quic};
use ring::hkdf;

use super::header::{Form, Long};

/// An Initial that is longer is not read: clients fill a datagram of the internet.
const PACKET_BYTES_MAX: usize = 4_096;
const KEY_BYTES: usize = 16;
const SECRET_BYTES: usize = 32;
const SAMPLE_BYTES: usize = 16;
/// The sample lies where it would if the number had this many bytes.
const NUMBER_BYTES_MAX: usize = 4;

/// A packet in the clear.
pub(super) type Clear = ArrayVec<u8, PACKET_BYTES_MAX>;

struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

fn salt(version: u32) -> Option<[u8; 20]> {
    Some(match version {
        // RFC 9001, 5.2.
        1 | 0xff00_0021..=0xff00_0022 => [
            0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17, 0x9a, 0xe6, 0xa4, 0xc8,
            0x0c, 0xad, 0xcc, 0xbb, 0x7f, 0x0a,
        ],
        // RFC 9369, 3.3.1.
        0x6b33_43cf => [
            0x0d, 0xed, 0xe3, 0xde, 0xf7, 0x00, 0xa6, 0xdb, 0x81, 0x93, 0x81, 0xbe, 0x6e, 0x26,
            0x9d, 0xcb, 0xf9, 0xbd, 0x2e, 0xd9,
        ],
        // Its drafts.
        0x709a_50c4 | 0xff02_0000 => [
            0xa7, 0x07, 0xc2, 0x03, 0xa5, 0x9b, 0x47, 0x18, 0x4a, 0x1d, 0x62, 0xca, 0x57, 0x04,
            0x06, 0xea, 0x7a, 0xe3, 0xe5, 0xd3,
        ],
        // Drafts 29 to 32.
        0xff00_001d..=0xff00_0020 => [
            0xaf, 0xbf, 0xec, 0x28, 0x99, 0x93, 0xd2, 0x4c, 0x9e, 0x97, 0x86, 0xf1, 0x9c, 0x61,
            0x11, 0xe0, 0x43, 0x90, 0xa8, 0x99,
        ],
        // Drafts 23 to 28, and mvfst's of them.
        0xff00_0017..=0xff00_001c | 0xface_b002..=0xface_b0ff => [
            0xc3, 0xee, 0xf7, 0x12, 0xc7, 0x2e, 0xbb, 0x5a, 0x11, 0xa7, 0xd2, 0x43, 0x2b, 0xb4,
            0x63, 0x65, 0xbe, 0xf9, 0xf5, 0x02,
        ],
        // Drafts 21 and 22.
        0xff00_0016 | 0xface_b000..=0xface_b001 => [
            0x7f, 0xbc, 0xdb, 0x0e, 0x7c, 0x66, 0xbb, 0xe9, 0x19, 0x3a, 0x96, 0xcd, 0x21, 0x51,
            0x9e, 0xbd, 0x7a, 0x02, 0x64, 0x4a,
        ],
        // Google's Q050, T050 and T051.
        0x5130_3530 => [
            0x50, 0x45, 0x74, 0xef, 0xd0, 0x66, 0xfe, 0x2f, 0x9d, 0x94, 0x5c, 0xfc, 0xdb, 0xd3,
            0xa7, 0xf0, 0xd3, 0xb5, 0x6b, 0x45,
        ],
        0x5430_3530 => [
            0x7f, 0xf5, 0x79, 0xe5, 0xac, 0xd0, 0x72, 0x91, 0x55, 0x80, 0x30, 0x4c, 0x43, 0xa2,
            0x36, 0x7c, 0x60, 0x48, 0x83, 0x10,
        ],
        0x5430_3531 => [
            0x7a, 0x4e, 0xde, 0xf4, 0xe7, 0xcc, 0xee, 0x5f, 0xa4, 0x50, 0x6c, 0x19, 0x12, 0x4f,
            0xc8, 0xcc, 0xda, 0x6e, 0x03, 0x3d,
        ],
        _ => return None,
    })
}

/// HKDF-Expand-Label without a context (RFC 8446, 7.1).
fn expand<const N: usize>(secret: &hkdf::Prk, label: &[u8]) -> Option<[u8; N]> {
    let length = u16::try_from(N).ok()?.to_be_bytes();
    let label_length = [u8::try_from(6 + label.len()).ok()?];
    let info = [&length[..], &label_length, b"tls13 ", label, &[0]];
    let mut key = [0; N];
    secret
        .expand(&info, Length(N))
        .and_then(|okm| okm.fill(&mut key))
        .ok()?;
    Some(key)
}

/// Takes the protection off an Initial packet. `connection`: the id that the client chose first.
pub(super) fn open(
    datagram: &[u8],
    packet: &Long<'_>,
    connection: &[u8],
    from_server: bool,
) -> Option<Clear> {
    let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, &salt(packet.version)?);
    let label: &[u8] = if from_server {
        b"server in"
    } else {
        b"client in"
    };
    let secret = expand::<SECRET_BYTES>(&salt.extract(connection), label)?;
    let secret = hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, &secret);
    let labels: [&[u8]; 3] = match packet.form {
        Form::Two => [b"quicv2 hp", b"quicv2 key", b"quicv2 iv"],
        _ => [b"quic hp", b"quic key", b"quic iv"],
    };
    let header_key = expand::<KEY_BYTES>(&secret, labels[0])?;
    let key = expand::<KEY_BYTES>(&secret, labels[1])?;
    let mut nonce = expand::<{ aead::NONCE_LEN }>(&secret, labels[2])?;

    let mut clear = Clear::new();
    clear
        .try_extend_from_slice(datagram.get(..packet.end)?)
        .ok()?;
    let sample_at = packet.number_at + NUMBER_BYTES_MAX;
    let sample = datagram.get(sample_at..sample_at + SAMPLE_BYTES)?;
    let header_key = quic::HeaderProtectionKey::new(&quic::AES_128, &header_key).ok()?;
    let [first_mask, number_mask @ ..] = header_key.new_mask(sample).ok()?;
    let first = clear.first_mut()?;
    *first ^= first_mask & 0x0f;
    let number_bytes = usize::from(*first & 3) + 1;
    let content_at = packet.number_at + number_bytes;
    let number = clear.get_mut(packet.number_at..content_at)?;
    for (byte, mask) in number.iter_mut().zip(number_mask) {
        *byte ^= mask;
    }
    for (to, byte) in nonce.iter_mut().rev().zip(number.iter().rev()) {
        *to ^= byte;
    }
    let (header, content) = clear.split_at_mut_checked(content_at)?;
    let key = aead::UnboundKey::new(&aead::AES_128_GCM, &key).ok()?;
    let nonce = aead::Nonce::assume_unique_for_key(nonce);
    let length = aead::LessSafeKey::new(key)
        .open_in_place(nonce, aead::Aad::from(&*header), content)
        .ok()?
        .len();
    clear.truncate(content_at + length);
    clear.drain(..content_at);
    Some(clear)
}
