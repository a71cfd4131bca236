//! Defragmentation: every frame comes back exactly once, what is whole equals what was sent, and what
//! is damaged panics nowhere.

use bolero::{TypeGenerator, check};
use weir_flow::{Defragmenter, FragmentLimits, FragmentOutcome};
use weir_wire::{DecodeOptions, Packet, Reason, Segment, decode, decode_datagram};

use crate::frames::{ethernet, ipv4, ipv6, slow_checksum, udp};
use crate::{ITERATIONS, TEST_TIME};

/// Datagrams, and the order in which their fragments arrive.
#[derive(Clone, Debug, TypeGenerator)]
struct Story {
    datagrams: [Datagram; 3],
    #[generator(bolero::generator::produce_with::<Vec<Arrival>>().len(0usize..80))]
    arrivals: Vec<Arrival>,
}

#[derive(Clone, Copy, Debug, TypeGenerator)]
struct Datagram {
    is_ipv4: bool,
    /// Before the Fragment header of IPv6.
    has_options: bool,
    #[generator(1u16..4000)]
    length: u16,
    /// Fragments carry this many times eight bytes.
    #[generator(1u8..=190)]
    units: u8,
}

#[derive(Clone, Copy, Debug, TypeGenerator)]
struct Arrival {
    datagram: u8,
    fragment: u8,
    /// A byte of the frame that arrives changed; only one in 16 is.
    damage: Option<(u8, u16, u8)>,
    /// Time passes.
    wait_us: u16,
}

/// A datagram cut up.
struct Sent {
    whole: Vec<u8>,
    fragments: Vec<Vec<u8>>,
    arrived: Vec<bool>,
}

const FRAGMENTS_MAX: usize = 64;
const OPTIONS: DecodeOptions = DecodeOptions {
    tunnels_max: 0,
    verify_ipv4_checksum: true,
    foreign_tunnels: false,
};

impl Sent {
    fn new(datagram: Datagram, id: u8) -> Self {
        let payload: Vec<u8> = (0..datagram.length)
            .map(|place| ((place * 7) >> 3) as u8)
            .collect();
        let upper = udp(1000 + u16::from(id), 2000, &payload);
        let unit = usize::from(datagram.units) * 8;
        let unit = unit.max(upper.len().div_ceil(FRAGMENTS_MAX).next_multiple_of(8));
        let pieces = || {
            upper
                .chunks(unit)
                .enumerate()
                .map(|(index, piece)| (index * unit, piece))
        };
        let more = |offset: usize, piece: &[u8]| offset + piece.len() < upper.len();
        let (whole, fragments): (_, Vec<_>) = if datagram.is_ipv4 {
            let fragments =
                pieces().map(|(offset, piece)| fragment_v4(id, offset, more(offset, piece), piece));
            (
                ethernet(&[], 0x0800, &ipv4(17, &upper)),
                fragments.collect(),
            )
        } else {
            let options: &[u8] = if datagram.has_options {
                &[44, 0, 1, 4, 0, 0, 0, 0]
            } else {
                &[]
            };
            let mut before = options.to_vec();
            if let [next, ..] = &mut before[..] {
                *next = 17;
            }
            let first = |behind: u8| if datagram.has_options { 0 } else { behind };
            let whole = ipv6(first(17), &[&before[..], &upper].concat());
            let fragments = pieces().map(|(offset, piece)| {
                let field = (offset as u16 | u16::from(more(offset, piece))).to_be_bytes();
                let header = [17, 0, field[0], field[1], 0, 0, 0, id];
                ethernet(
                    &[],
                    0x86dd,
                    &ipv6(first(44), &[options, &header, piece].concat()),
                )
            });
            (ethernet(&[], 0x86dd, &whole), fragments.collect())
        };
        let arrived = vec![false; fragments.len()];
        Self {
            whole,
            fragments,
            arrived,
        }
    }

    /// What must come of an undamaged fragment.
    fn expected(&mut self, index: usize) -> FragmentOutcome {
        if std::mem::replace(&mut self.arrived[index], true) {
            return FragmentOutcome::Drop(Reason::FragmentRepeated);
        }
        if self.arrived.contains(&false) {
            return FragmentOutcome::Held;
        }
        self.arrived.fill(false);
        FragmentOutcome::Complete
    }

    fn check_whole(&self, datagram: &[u8]) {
        if datagram[0] >> 4 == 4 {
            assert_eq!(slow_checksum(&datagram[..20]), 0, "the header's checksum");
        }
        let sent = decode(&self.whole, &OPTIONS).expect("sent in one piece it is right");
        let found = decode_datagram(datagram, Segment::None, 0, &OPTIONS)
            .expect("put together it is right");
        assert_eq!(found.payload(datagram), sent.payload(&self.whole));
        let ends = |packet: &Packet| {
            (
                packet.source,
                packet.destination,
                packet.source_port,
                packet.protocol,
            )
        };
        assert_eq!(ends(&found), ends(&sent));
    }
}

fn fragment_v4(id: u8, offset: usize, more: bool, piece: &[u8]) -> Vec<u8> {
    let mut packet = ipv4(17, piece);
    packet[4..6].copy_from_slice(&u16::from(id).to_be_bytes());
    let field = (offset / 8) as u16 | if more { 0x2000 } else { 0 };
    packet[6..8].copy_from_slice(&field.to_be_bytes());
    packet[10..12].fill(0);
    let sum = slow_checksum(&packet[..20]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    ethernet(&[], 0x0800, &packet)
}

/// Hands out numbers as handles, and sees that each comes back once.
#[derive(Default)]
struct Handles {
    given: usize,
    back: Vec<usize>,
}

impl Handles {
    fn give(&mut self) -> usize {
        self.given += 1;
        self.given - 1
    }

    fn check(mut self) {
        self.back.sort_unstable();
        assert!(
            self.back.iter().copied().eq(0..self.given),
            "a frame is lost or came back twice"
        );
    }
}

fn run(story: &Story) {
    let limits = FragmentLimits {
        datagrams: 8,
        bytes: 1 << 16,
        timeout_us: 400_000,
        ..FragmentLimits::default()
    };
    let mut defragmenter = Defragmenter::new(limits, [1, 2]);
    let mut sent: Vec<Sent> = (1..)
        .zip(story.datagrams)
        .map(|(id, datagram)| Sent::new(datagram, id))
        .collect();
    let mut handles = Handles::default();
    let (mut now_us, mut undisturbed) = (0, true);
    for arrival in &story.arrivals {
        now_us += u64::from(arrival.wait_us);
        // Once a datagram's time may be over the outcome depends on when it began.
        undisturbed &= now_us < limits.timeout_us;
        defragmenter.expire(now_us, |handle| handles.back.push(handle));
        let count = sent.len();
        let datagram = &mut sent[usize::from(arrival.datagram) % count];
        let index = usize::from(arrival.fragment) % datagram.fragments.len();
        let mut frame = datagram.fragments[index].clone();
        if let Some((_, place, value)) = arrival.damage.filter(|(rare, ..)| rare % 16 == 0) {
            let place = usize::from(place) % frame.len();
            undisturbed &= frame[place] == value;
            frame[place] = value;
        }
        let Ok(packet) = decode(&frame, &OPTIONS) else {
            continue;
        };
        if packet.fragment.is_none() {
            continue;
        }
        let outcome = defragmenter.fragment(handles.give(), &frame, &packet, 0, now_us);
        if undisturbed {
            assert_eq!(outcome, datagram.expected(index));
        }
        if outcome == FragmentOutcome::Complete {
            match undisturbed {
                true => datagram.check_whole(defragmenter.datagram()),
                false => drop(decode_datagram(
                    defragmenter.datagram(),
                    Segment::None,
                    0,
                    &OPTIONS,
                )),
            }
        }
        defragmenter.take_fragments(|handle| handles.back.push(handle));
        assert_eq!(defragmenter.held() + handles.back.len(), handles.given);
    }
    defragmenter.drain_all(|handle| handles.back.push(handle));
    assert_eq!(defragmenter.held(), 0);
    handles.check();
}

#[test]
fn fragments() {
    check!()
        .with_type::<Story>()
        .with_test_time(TEST_TIME)
        .with_iterations(ITERATIONS)
        .for_each(run);
}
