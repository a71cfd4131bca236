"""The table of evasions: ways to say something so that who listens in between hears something else.

Each plays `data` on an open raw.Connection, as the last of what it does. `decoy` is what a listener is to
believe instead: other bytes of the same length for an attack; the bytes themselves when the same
shape is played with harmless content, since an honest sender repeats what it said.
"""

import time
from dataclasses import dataclass
from typing import Callable

from .raw import ACK, PSH, RST, SYN, URG

HOP_BY_HOP, DESTINATION_OPTIONS = 0, 60
# Six bytes of padding (PadN): with next header and length an extension header of eight bytes.
PADDING = bytes([0, 1, 4, 0, 0, 0, 0])
MD5_OPTION = bytes([19, 18]) + bytes(16)
WINDOW_BYTES = 66_000


@dataclass(frozen=True)
class Evasion:
    name: str
    play: Callable
    families: tuple = (4, 6)
    # Of the handshake.
    timestamps: bool = False
    # The network in which it is played.
    network: str = "eth0"
    # Played once for each of these.
    variants: tuple = (None,)
    # Whether an honest sender may do this: then it passes with harmless content.
    is_harmless: bool = True


TABLE = []


def evasion(name, **options):
    def enter(play):
        TABLE.append(Evasion(name, play, **options))
        return play

    return enter


@evasion("control: in one segment")
def plain(connection, data, decoy, _variant):
    connection.say(data)


@evasion("in two segments, cut at every offset", variants=tuple(range(1, 56)))
def two_segments(connection, data, decoy, cut):
    connection.say(data[:cut])
    connection.say(data[cut:], cut)


@evasion("in N segments, a byte each")
def single_bytes(connection, data, decoy, _variant):
    for offset in range(len(data)):
        connection.say(data[offset:offset + 1], offset)


@evasion("out of order: the last segment first")
def backwards(connection, data, decoy, _variant):
    for offset in reversed(range(0, len(data), 7)):
        connection.say(data[offset:offset + 7], offset)


@evasion("out of order: every second segment first")
def interleaved(connection, data, decoy, _variant):
    starts = list(range(0, len(data), 5))
    for offset in starts[1::2] + starts[0::2]:
        connection.say(data[offset:offset + 5], offset)


@evasion("overlapping: waiting bytes are said again, otherwise", variants=(1, 8, 20))
def overlapping(connection, data, decoy, first):
    connection.say(decoy[first:], first)
    connection.say(data)


@evasion("overlapping: the other bytes come last", variants=(1, 8, 20))
def overlapping_last(connection, data, decoy, first):
    connection.say(data[first:], first)
    connection.say(decoy)


@evasion("overlapping: segments that share a byte")
def sharing(connection, data, decoy, _variant):
    for offset in range(0, len(data), 6):
        connection.say(data[max(0, offset - 1):offset + 6], max(0, offset - 1))


@evasion("retransmission with other bytes")
def retransmission(connection, data, decoy, _variant):
    connection.say(data[:10])
    connection.say(decoy[:10])
    connection.say(data[10:], 10)


@evasion("decoy with a bad checksum")
def bad_checksum(connection, data, decoy, _variant):
    connection.say(decoy, broken=True)
    connection.say(data)


@evasion("decoy with a small time to live", variants=(1, 2))
def short_lived(connection, data, decoy, ttl):
    connection.say(decoy, ttl=ttl)
    connection.say(data)


@evasion("urgent byte within, which the socket takes out", is_harmless=False)
def urgent(connection, data, decoy, _variant):
    inserted = data[:30] + b"!" + data[30:]
    connection.say(inserted[:20])
    connection.send(connection.segment(20, inserted[20:], ACK | PSH | URG, urgent=11))


@evasion("decoy with an old timestamp (PAWS)", timestamps=True)
def old_timestamp(connection, data, decoy, _variant):
    connection.say(decoy, timestamp=1)
    connection.say(data)


@evasion("decoy out of the window", variants=(-70_000, 1 << 20, 1 << 31))
def out_of_window(connection, data, decoy, offset):
    connection.say(decoy, offset)
    connection.say(data)


@evasion("decoy without the ACK flag")
def without_ack(connection, data, decoy, _variant):
    connection.send(connection.segment(0, decoy, PSH))
    connection.say(data)


@evasion("decoy that acknowledges what was not sent")
def impossible_acknowledgement(connection, data, decoy, _variant):
    connection.say(decoy, acknowledgement=connection.expected + 5_000_000 & 0xFFFFFFFF)
    connection.say(data)


@evasion("decoy with an MD5 signature nobody asked for")
def signed(connection, data, decoy, _variant):
    connection.say(decoy, options=MD5_OPTION)
    connection.say(data)


@evasion("decoy in the SYN of the same connection")
def data_in_syn(connection, data, decoy, _variant):
    connection.send(connection.segment(-1, decoy, SYN))
    connection.say(data)


@evasion("keep-alive probe with a byte of its own")
def keep_alive_probe(connection, data, decoy, _variant):
    connection.say(data[:20])
    connection.say(b"#", 19)
    connection.say(data[20:], 20)


@evasion("RST with a wrong number", variants=(100, -3, 40_000))
def wrong_reset(connection, data, decoy, offset):
    connection.send(connection.segment(offset, b"", RST))
    connection.say(data)


@evasion("FIN with a wrong number", variants=(100, 40_000))
def wrong_finish(connection, data, decoy, offset):
    connection.finish(offset)
    connection.say(data)


@evasion("SYN within the living connection")
def syn_within(connection, data, decoy, _variant):
    connection.say(data[:10])
    connection.send(connection.segment(500, b"", SYN))
    connection.say(data[10:], 10)


@evasion("a closed connection's ports again")
def ports_again(connection, data, decoy, _variant):
    connection.finish(0)
    connection.said = 1
    connection.wait(lambda: connection.finished)
    connection.acknowledge(1)
    time.sleep(0.05)
    connection.said = 0
    connection.begin(0x10000000)
    connection.open()
    connection.say(data)


@evasion("66 KB out of order before the first byte")
def much_out_of_order(connection, data, decoy, _variant):
    another = b"GET /another HTTP/1.1\r\nHost: shop\r\nX-Padding: " + b"x" * 1300 + b"\r\n\r\n"
    for offset in range(len(data), WINDOW_BYTES, len(another)):
        connection.say(another, offset)
    connection.say(data)


@evasion("second request of a kept-alive connection")
def second_request(connection, data, decoy, _variant):
    first = b"GET /one HTTP/1.1\r\nHost: shop\r\n\r\n"
    connection.say(first)
    connection.wait(lambda: connection.received)
    connection.received = b""
    connection.say(data, len(first))


@evasion("pipelined behind another request")
def pipelined(connection, data, decoy, _variant):
    connection.say(b"HEAD /one HTTP/1.1\r\nHost: shop\r\n\r\n" + data)


@evasion("extension headers of IPv6", families=(6,))
def extension_headers(connection, data, decoy, _variant):
    around = ((HOP_BY_HOP, PADDING), (DESTINATION_OPTIONS, PADDING))
    connection.say(data[:9], extensions=around)
    connection.say(data[9:], 9, extensions=around[1:])


def hidden(connection, data, decoy, _variant):
    connection.say(decoy[:30], broken=True)
    connection.say(data[30:], 30)
    connection.say(data[:30])


for device in ("vlan7", "vxlan42"):
    evasion(f"decoy and disorder within {device}", network=device)(hidden)


def cut(payload, size):
    """A packet's payload in pieces: (first byte, bytes, whether more follow)."""
    return [(first, payload[first:first + size], first + size < len(payload)) for first in range(0, len(payload), size)]


# Of the fragments' order: each is a permutation of three.
ORDERS = ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))
FRAGMENTS = []


def fragmented(name, **options):
    def enter(play):
        FRAGMENTS.append(Evasion(name, play, **options))
        return play

    return enter


@fragmented("fragments in every order", variants=ORDERS)
def fragments_ordered(connection, data, decoy, order):
    packet = connection.segment(0, data, ACK | PSH)
    pieces = cut(connection.payload(packet), 32)[:3]
    last = pieces[2]
    pieces[2] = (last[0], connection.payload(packet)[last[0]:], False)
    for fragment in connection.fragments(packet, [pieces[index] for index in order]):
        connection.send(fragment)


@fragmented("fragments of eight bytes behind the header")
def fragments_small(connection, data, decoy, _variant):
    packet = connection.segment(0, data, ACK | PSH)
    payload = connection.payload(packet)
    pieces = [(0, payload[:24], True), *((first + 24, data, more) for first, data, more in cut(payload[24:], 8))]
    for fragment in connection.fragments(packet, pieces):
        connection.send(fragment)


@fragmented("fragments that overlap, first other bytes", variants=(False, True))
def fragments_overlapping(connection, data, decoy, reverse):
    packet = connection.segment(0, data, ACK | PSH)
    payload = connection.payload(packet)
    false = payload[:20] + decoy
    pieces = [(0, payload[:32], True), (32, false[32:64], True), (32, payload[32:64], True), (64, payload[64:], False)]
    if reverse:
        pieces[1], pieces[2] = pieces[2], pieces[1]
    for fragment in connection.fragments(packet, pieces):
        connection.send(fragment)
