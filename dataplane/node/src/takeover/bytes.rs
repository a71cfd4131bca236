//! An estate in bytes: fixed records, numbers from the lowest byte on.
//!
//! ```text
//! magic 8 · format 4 · length of what follows the checksum 8 · SHA-1 of that 20
//! run of the machine · uptime in ms · version · ports · workers: number, last flow, names, flows
//! ```
//!
//! Distrusts: every byte. A file that is cut, longer than it says, of another format or damaged anywhere is
//! refused as a whole, and so is what no node would have written. Memory: no more than a few times the file's own
//! length, whatever counts it claims.

use sha1::{Digest, Sha1};
use weir_flow::{FlowKey, KEPT_BYTES, Life, TcpConnection};
use weir_l7::{AppId, Confidence};

use super::estate::{Estate, Left, LeftFlow, LeftName, LeftStanding};
use super::file::Moment;
use crate::announced::{Control, Part};
use crate::connection::MARKS;

const MAGIC: &[u8; 8] = b"WEIRFLOW";
/// Counts up whenever a byte means something else.
pub const FORMAT: u32 = 1;
const HEAD_BYTES: usize = 8 + 4 + 8 + 20;
/// Bytes of a text at most.
const TEXT_BYTES_MAX: usize = 4096;
/// Workers and ports at most.
const LIST_MAX: usize = 1024;

/// What is wrong with bytes that should be an estate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// It was written by a node that writes otherwise.
    #[error("it is of format {found}, and this node reads format {FORMAT}")]
    Format {
        /// Its format.
        found: u32,
    },
    /// It is not what was written.
    #[error("{0}")]
    Damaged(&'static str),
}

const CUT: Unreadable = Unreadable::Damaged("it ends too early");
const SENSELESS: Unreadable = Unreadable::Damaged("it holds what no node would have written");

/// An estate in bytes, and when it was left.
pub fn write(estate: &Estate, left_at: &Moment) -> Vec<u8> {
    let mut body = Vec::with_capacity(4096 + estate.flows() * 176);
    text(&left_at.run, &mut body);
    body.extend(left_at.uptime_ms.to_le_bytes());
    text(&estate.version, &mut body);
    body.extend((estate.ports.len() as u32).to_le_bytes());
    for port in &estate.ports {
        text(port, &mut body);
    }
    body.extend((estate.workers.len() as u32).to_le_bytes());
    for left in &estate.workers {
        write_left(left, &mut body);
    }
    let mut bytes = Vec::with_capacity(HEAD_BYTES + body.len());
    bytes.extend(MAGIC);
    bytes.extend(FORMAT.to_le_bytes());
    bytes.extend((body.len() as u64).to_le_bytes());
    bytes.extend(Sha1::digest(&body));
    bytes.extend(body);
    bytes
}

fn text(text: &str, bytes: &mut Vec<u8>) {
    let end = text.floor_char_boundary(TEXT_BYTES_MAX);
    bytes.extend((end as u32).to_le_bytes());
    bytes.extend(&text.as_bytes()[..end]);
}

fn write_left(left: &Left, bytes: &mut Vec<u8>) {
    bytes.extend(left.worker.to_le_bytes());
    bytes.extend(left.last_number.to_le_bytes());
    bytes.extend((left.names.len() as u32).to_le_bytes());
    for name in &left.names {
        bytes.extend(name.address.to_le_bytes());
        bytes.extend(name.identity.to_le_bytes());
        bytes.extend(name.left_us.to_le_bytes());
    }
    bytes.extend((left.flows.len() as u32).to_le_bytes());
    for flow in &left.flows {
        write_flow(flow, bytes);
    }
}

const IS_LOW: u16 = 1;
const REVERSED: u16 = 2;
const ACKNOWLEDGED: u16 = 4;
const GRANTED: u16 = 8;
const NEXT: [u16; 2] = [16, 32];
const REST: [u16; 2] = [64, 128];
const TURNED: u16 = 256;
const FLAGS: u16 = 511;

/// One flow.
pub fn write_flow(flow: &LeftFlow, bytes: &mut Vec<u8>) {
    let turned = flow.part_of.is_some_and(|part| part.turned);
    let flags = [
        (flow.initiator_is_low, IS_LOW),
        (flow.reversed, REVERSED),
        (flow.acknowledged, ACKNOWLEDGED),
        (flow.granted_by.is_some(), GRANTED),
        (flow.next[0].is_some(), NEXT[0]),
        (flow.next[1].is_some(), NEXT[1]),
        (flow.rest_in[0].is_some(), REST[0]),
        (flow.rest_in[1].is_some(), REST[1]),
        (turned, TURNED),
    ];
    let flags = flags
        .iter()
        .fold(0, |all, &(is, bit)| if is { all | bit } else { all });
    for word in flow.key.words() {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend(flow.number.to_le_bytes());
    for count in flow.packets.iter().chain(&flow.bytes) {
        bytes.extend(count.to_le_bytes());
    }
    bytes.extend(flow.tcp.kept());
    for word in [flow.granted_by, flow.next[0], flow.next[1]] {
        bytes.extend(word.unwrap_or(0).to_le_bytes());
    }
    bytes.extend(flow.marks.to_le_bytes());
    bytes.extend(flow.alarms.to_le_bytes());
    for rest in flow.rest_in {
        bytes.extend(rest.unwrap_or(0).to_le_bytes());
    }
    bytes.extend(flags.to_le_bytes());
    bytes.push(flow.life as u8);
    bytes.push(flow.standing as u8);
    bytes.push(match flow.confidence {
        None => 0,
        Some(Confidence::None) => 1,
        Some(Confidence::Port) => 2,
        Some(Confidence::Content) => 3,
    });
    let part = flow.part_of;
    for app in [
        flow.application,
        flow.carried,
        flow.reader,
        part.map(|part| part.application),
        part.map(|part| part.control.application),
    ] {
        bytes.push(app.map_or(0, |app| app.number() + 1));
    }
    bytes.push(part.map_or(0, |part| part.control.protocol));
    let port = part.map_or(0, |part| part.control.server_port);
    bytes.extend(port.to_le_bytes());
}

/// The estate of these bytes, and when it was left.
pub fn read(bytes: &[u8]) -> Result<(Estate, Moment), Unreadable> {
    let mut head = Reader(bytes);
    if head.array()? != *MAGIC {
        return Err(Unreadable::Damaged("it is no file of connections"));
    }
    let found = u32::from_le_bytes(head.array()?);
    if found != FORMAT {
        return Err(Unreadable::Format { found });
    }
    let length = u64::from_le_bytes(head.array()?);
    let checksum: [u8; 20] = head.array()?;
    let body = head.0;
    if length != body.len() as u64 {
        return Err(Unreadable::Damaged("it is longer or shorter than it says"));
    }
    if Sha1::digest(body).as_slice() != checksum {
        return Err(Unreadable::Damaged("its checksum is wrong"));
    }
    let mut reader = Reader(body);
    let left_at = Moment {
        run: reader.text()?,
        uptime_ms: u64::from_le_bytes(reader.array()?),
    };
    let version = reader.text()?;
    let ports = (0..reader.count(4)?)
        .map(|_| reader.text())
        .collect::<Result<Vec<_>, _>>()?;
    let workers = (0..reader.count(18)?)
        .map(|_| read_left(&mut reader))
        .collect::<Result<Vec<_>, _>>()?;
    if !reader.0.is_empty() || ports.len() > LIST_MAX || workers.len() > LIST_MAX {
        return Err(SENSELESS);
    }
    let estate = Estate {
        version,
        ports,
        workers,
    };
    Ok((estate, left_at))
}

fn read_left(reader: &mut Reader<'_>) -> Result<Left, Unreadable> {
    let worker = u16::from_le_bytes(reader.array()?);
    let last_number = u64::from_le_bytes(reader.array()?);
    let mut names = Vec::new();
    for _ in 0..reader.count(28)? {
        names.push(LeftName {
            address: u128::from_le_bytes(reader.array()?),
            identity: u32::from_le_bytes(reader.array()?),
            left_us: u64::from_le_bytes(reader.array()?),
        });
    }
    let mut flows = Vec::new();
    for _ in 0..reader.count(FLOW_BYTES)? {
        flows.push(read_flow(reader)?);
    }
    Ok(Left {
        worker,
        last_number,
        names,
        flows,
    })
}

/// Bytes of a flow.
const FLOW_BYTES: usize = 48 + 8 + 32 + KEPT_BYTES + 12 + 4 + 16 + 5 + 5 + 3;

fn read_flow(reader: &mut Reader<'_>) -> Result<LeftFlow, Unreadable> {
    let mut words = [0; 6];
    for word in &mut words {
        *word = reader.long()?;
    }
    let number = reader.long()?;
    let packets = [reader.long()?, reader.long()?];
    let bytes = [reader.long()?, reader.long()?];
    let tcp = TcpConnection::from_kept(&reader.array()?).ok_or(SENSELESS)?;
    let kept = [reader.word()?, reader.word()?, reader.word()?];
    let marks = u16::from_le_bytes(reader.array()?);
    let alarms = u16::from_le_bytes(reader.array()?);
    let rest_in = [reader.long()?, reader.long()?];
    let flags = u16::from_le_bytes(reader.array()?);
    let [life, standing, confidence] = reader.array()?;
    let apps: [u8; 5] = reader.array()?;
    let [application, carried, reads, part, control] = apps.map(app);
    let [protocol] = reader.array()?;
    let server_port = u16::from_le_bytes(reader.array()?);
    let is = |bit: u16| flags & bit != 0;
    let flow = LeftFlow {
        key: FlowKey::from_words(words).ok_or(SENSELESS)?,
        initiator_is_low: is(IS_LOW),
        life: life_of(life)?,
        number,
        packets,
        bytes,
        tcp,
        marks,
        alarms,
        standing: standing_of(standing)?,
        application: application?,
        carried: carried?,
        confidence: confidence_of(confidence)?,
        granted_by: is(GRANTED).then_some(kept[0]),
        part_of: part?.zip(control?).map(|(application, spoken)| Part {
            application,
            control: Control {
                protocol,
                server_port,
                application: spoken,
            },
            turned: is(TURNED),
        }),
        reader: reads?,
        reversed: is(REVERSED),
        rest_in: [0, 1].map(|side| is(REST[side]).then_some(rest_in[side])),
        acknowledged: is(ACKNOWLEDGED),
        next: [0, 1].map(|side| is(NEXT[side]).then_some(kept[1 + side])),
    };
    let is_sensible = marks & !MARKS == 0 && flags & !FLAGS == 0 && packets != [0, 0];
    is_sensible.then_some(flow).ok_or(SENSELESS)
}

fn app(byte: u8) -> Result<Option<AppId>, Unreadable> {
    let known = |number| AppId::from_number(number).ok_or(SENSELESS);
    byte.checked_sub(1).map(known).transpose()
}

fn life_of(byte: u8) -> Result<Life, Unreadable> {
    let lives = [
        Life::Opening,
        Life::Established,
        Life::Closing,
        Life::Closed,
    ];
    lives.get(usize::from(byte)).copied().ok_or(SENSELESS)
}

fn standing_of(byte: u8) -> Result<LeftStanding, Unreadable> {
    use LeftStanding::{Denied, Inspected, Settled, Stopped};
    let standings = [Inspected, Settled, Denied, Stopped];
    standings.get(usize::from(byte)).copied().ok_or(SENSELESS)
}

fn confidence_of(byte: u8) -> Result<Option<Confidence>, Unreadable> {
    let all = [Confidence::None, Confidence::Port, Confidence::Content];
    let known = |place: u8| all.get(usize::from(place)).copied().ok_or(SENSELESS);
    byte.checked_sub(1).map(known).transpose()
}

/// Bytes that are still to be read.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Unreadable> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(CUT)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn word(&mut self) -> Result<u32, Unreadable> {
        self.array().map(u32::from_le_bytes)
    }

    fn long(&mut self) -> Result<u64, Unreadable> {
        self.array().map(u64::from_le_bytes)
    }

    /// How many follow, of at least so many bytes each: no more than there can be.
    fn count(&mut self, bytes_each: usize) -> Result<usize, Unreadable> {
        let count = self.word()? as usize;
        (count <= self.0.len() / bytes_each)
            .then_some(count)
            .ok_or(CUT)
    }

    fn text(&mut self) -> Result<String, Unreadable> {
        let length = self.word()? as usize;
        if length > TEXT_BYTES_MAX {
            return Err(SENSELESS);
        }
        let (text, rest) = self.0.split_at_checked(length).ok_or(CUT)?;
        self.0 = rest;
        String::from_utf8(text.to_vec()).map_err(|_| SENSELESS)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use weir_l7::registry;

    use super::*;

    /// A flow out of numbers.
    fn flow(seed: u64) -> LeftFlow {
        let at = |shift: u32| (seed >> shift) as u8;
        let apps = registry::applications();
        let app = |shift| apps.get(usize::from(at(shift))).map(|row| row.id);
        let some = |bit: u32, word: u32| (seed >> bit & 1 == 1).then_some(word);
        LeftFlow {
            key: FlowKey::from_words([1, seed >> 1, 2, seed, seed >> 7, seed & 0xff]).unwrap(),
            initiator_is_low: at(3) & 1 == 1,
            life: life_of(at(4) & 3).unwrap(),
            number: seed,
            packets: [1, seed],
            bytes: [seed, 2],
            tcp: TcpConnection::default(),
            marks: at(9).into(),
            alarms: at(10).into(),
            standing: standing_of(at(11) & 3).unwrap(),
            application: app(12),
            carried: app(13),
            confidence: confidence_of(at(14) & 3).unwrap(),
            granted_by: some(15, 7),
            part_of: app(17).map(|application| Part {
                application,
                control: Control {
                    protocol: 6,
                    server_port: 21,
                    application,
                },
                turned: at(18) & 1 == 1,
            }),
            reader: app(19),
            reversed: at(20) & 1 == 1,
            rest_in: [some(21, 9).map(u64::from), some(22, 0).map(u64::from)],
            acknowledged: at(23) & 1 == 1,
            next: [some(24, 1), some(25, u32::MAX)],
        }
    }

    fn estate(seeds: &[u64]) -> Estate {
        let name = |&seed: &u64| LeftName {
            address: u128::from(seed) << 32,
            identity: seed as u32,
            left_us: seed,
        };
        let left = |worker| Left {
            worker,
            last_number: 9,
            names: seeds.iter().map(name).collect(),
            flows: seeds.iter().copied().map(flow).collect(),
        };
        Estate {
            version: "0.1.0".into(),
            ports: vec!["eth0 of pair uplink".into()],
            workers: vec![left(0), left(1)],
        }
    }

    fn moment() -> Moment {
        Moment {
            run: "a1".into(),
            uptime_ms: 5,
        }
    }

    /// As if a node had written this body.
    fn sealed(body: &[u8]) -> Vec<u8> {
        let head = [&MAGIC[..], &FORMAT.to_le_bytes()].concat();
        let length = (body.len() as u64).to_le_bytes();
        [&head[..], &length, &Sha1::digest(body), body].concat()
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_was_written(seeds in prop::collection::vec(any::<u64>(), 0..6)) {
            let bytes = write(&estate(&seeds), &moment());
            prop_assert_eq!(read(&bytes), Ok((estate(&seeds), moment())));
            prop_assert!(bytes.len() <= 512 + 2 * seeds.len() * (230 + 28));
        }

        #[test]
        fn every_damaged_byte_and_every_cut_is_noticed(seeds in prop::collection::vec(any::<u64>(), 0..3), place in any::<prop::sample::Index>(), bit in 0_u8..8) {
            let mut bytes = write(&estate(&seeds), &moment());
            let place = place.index(bytes.len());
            prop_assert!(read(&bytes[..place]).is_err());
            bytes[place] ^= 1_u8 << bit;
            prop_assert!(read(&bytes).is_err());
        }

        /// Behind a checksum that is right: no panic, no more memory than the file, and nothing that cannot be kept.
        #[test]
        fn nothing_that_a_writer_could_do_is_believed_blindly(seeds in prop::collection::vec(any::<u64>(), 0..3), damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6), noise in prop::collection::vec(any::<u8>(), 0..64)) {
            let whole = write(&estate(&seeds), &moment());
            let mut body = whole[HEAD_BYTES..].to_vec();
            for (place, byte) in damage {
                let place = place.index(body.len());
                body[place] = byte;
            }
            for body in [body, noise] {
                if let Ok((estate, at)) = read(&sealed(&body)) {
                    prop_assert_eq!(read(&write(&estate, &at)), Ok((estate, at)));
                }
            }
        }
    }

    #[test]
    fn another_format_is_told() {
        let mut bytes = write(&estate(&[]), &moment());
        bytes[8] = 2;
        assert_eq!(read(&bytes), Err(Unreadable::Format { found: 2 }));
    }
}
