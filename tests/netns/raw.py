"""A TCP client that says each segment as it likes, on a raw link: for what no honest stack would send.

Its addresses belong to nobody else on the host, so that the kernel does not answer for it.
"""

import itertools
import select
import socket
import struct
import time
from ipaddress import ip_address

ETH_P_ALL, ETH_P_IP, ETH_P_IPV6, ETH_P_8021Q = 0x0003, 0x0800, 0x86DD, 0x8100
FIN, SYN, RST, PSH, ACK, URG = 1, 2, 4, 8, 16, 32
TCP, UDP, FRAGMENT = 6, 17, 44
VXLAN_PORT = 4789
PATIENCE_S = 3.0
SEQUENCE_MASK = 0xFFFFFFFF
_ports = itertools.count(20000)
_identifications = itertools.count(1)


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def mac(text):
    return bytes.fromhex(text.replace(":", ""))


class Connection:
    """One connection. `sequence` is the number of its first byte; segments are placed by their offset."""

    def __init__(self, source, target, target_mac, own_mac, port, layer=None, link=None):
        self.source, self.target = ip_address(source), ip_address(target)
        self.ports = (next(_ports), port)
        self.ethernet = mac(target_mac) + mac(own_mac)
        self.layer = layer or Plain()
        self.link = link or self.own_link()
        self.begin(0x7FFFFF00)

    @staticmethod
    def own_link():
        link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        link.bind(("eth0", ETH_P_ALL))
        return link

    def begin(self, sequence):
        """From here on the numbers are those of a connection that begins with this one."""
        self.sequence = sequence + 1 & SEQUENCE_MASK
        self.received, self.expected = b"", 0
        self.finished = self.was_reset = False
        self.clock = 1_000_000
        self.with_timestamps = False

    # What is sent.

    def open(self, timestamps=False, data=b""):
        """The handshake; whether the server answered."""
        self.with_timestamps = timestamps
        for _ in range(3):
            self.send(self.segment(-1, data, SYN))
            if self.wait(lambda: self.expected):
                self.acknowledge()
                return True
        return False

    def acknowledge(self, offset=0):
        self.send(self.segment(offset, b"", ACK))

    def say(self, data, offset=0, **fields):
        """One segment with bytes of the stream from `offset` on."""
        self.send(self.segment(offset, data, ACK | PSH, **fields))

    def finish(self, offset):
        self.send(self.segment(offset, b"", ACK | FIN))

    def segment(self, offset, data=b"", flags=ACK, *, ttl=64, broken=False, urgent=0, timestamp=None, window=65535,
                acknowledgement=None, options=b"", extensions=()):
        """A segment as the bytes behind Ethernet. `broken`: its checksum is wrong."""
        if acknowledgement is None:
            acknowledgement = self.expected if flags & ACK else 0
        if self.with_timestamps:
            self.clock += 1
            options += struct.pack("!BBBBII", 1, 1, 8, 10, self.clock if timestamp is None else timestamp, 0)
        options += b"\1" * (-len(options) % 4)
        number = self.sequence + offset & SEQUENCE_MASK
        header = [*self.ports, number, acknowledgement, 20 + len(options) << 10 | flags, window, 0, urgent]
        packed = struct.pack("!HHIIHHHH", *header) + options + data
        pseudo = self.source.packed + self.target.packed + struct.pack("!II", len(packed), TCP)
        header[6] = checksum(pseudo + packed) ^ (0x5555 if broken else 0)
        packed = struct.pack("!HHIIHHHH", *header) + options + data
        return self.packet(TCP, packed, ttl, extensions)

    def packet(self, protocol, content, ttl=64, extensions=()):
        if self.source.version == 4:
            return self.ipv4(protocol, content, ttl, next(_identifications) & 0xFFFF, 0x4000)
        for number, body in reversed(extensions):
            content, protocol = bytes([protocol]) + body + content, number
        return struct.pack("!IHBB", 6 << 28, len(content), protocol, ttl) + self.source.packed + self.target.packed + content

    def ipv4(self, protocol, content, ttl, identification, place):
        words = [0x4500, 20 + len(content), identification, place, ttl << 8 | protocol, 0]
        addresses = self.source.packed + self.target.packed
        words[5] = checksum(struct.pack("!6H", *words) + addresses)
        return struct.pack("!6H", *words) + addresses + content

    def fragments(self, packet, pieces):
        """The packet in fragments; `pieces` are (first byte, bytes, whether more follow) of its payload."""
        if self.source.version == 4:
            identification = next(_identifications) & 0xFFFF
            return [self.ipv4(packet[9], data, 64, identification, first // 8 | (0x2000 if more else 0)) for first, data, more in pieces]
        identification, protocol = next(_identifications), packet[6]
        headers = [struct.pack("!BBHI", protocol, 0, first | more, identification) for first, _, more in pieces]
        return [self.packet(FRAGMENT, header + data) for header, (_, data, _) in zip(headers, pieces)]

    def payload(self, packet):
        """What a packet's fragments are made of."""
        return packet[20 if self.source.version == 4 else 40:]

    def send(self, packet):
        kind = ETH_P_IP if self.source.version == 4 else ETH_P_IPV6
        self.link.send(self.layer.wrap(self.ethernet + struct.pack("!H", kind) + packet))

    # What is received.

    def wait(self, until, timeout_s=PATIENCE_S):
        """Takes in what the server sends until the condition holds; whether it does."""
        deadline = time.monotonic() + timeout_s
        while not until() and (rest := deadline - time.monotonic()) > 0:
            if select.select([self.link], [], [], rest)[0]:
                self.take(self.layer.unwrap(self.link.recv(65536)))
        return bool(until())

    def take(self, frame):
        segment = self.segment_of(frame[14:], struct.unpack("!H", frame[12:14])[0])
        if segment is None or struct.unpack("!HH", segment[:4]) != self.ports[::-1]:
            return
        number, _, bits = struct.unpack("!IIH", segment[4:14])
        data, flags = segment[(bits >> 12) * 4:], bits & 0x3F
        if flags & RST:
            self.was_reset = True
        elif flags & SYN:
            self.expected = number + 1 & SEQUENCE_MASK
        elif number == self.expected and (data or flags & FIN):
            self.received += data
            self.finished = bool(flags & FIN)
            self.expected = number + len(data) + self.finished & SEQUENCE_MASK
            self.acknowledge(self.said)

    # The offset of the next byte, as far as the acknowledgements of this side tell it.
    said = 0

    def segment_of(self, packet, kind):
        source, target = self.target.packed, self.source.packed
        if kind == ETH_P_IP and self.source.version == 4 and packet[9] == TCP and packet[12:20] == source + target:
            return packet[20:struct.unpack("!H", packet[2:4])[0]]
        if kind == ETH_P_IPV6 and self.source.version == 6 and packet[6] == TCP and packet[8:40] == source + target:
            return packet[40:40 + struct.unpack("!H", packet[4:6])[0]]
        return None

    def close(self):
        self.link.close()


class Plain:
    """Frames as they are."""

    def wrap(self, frame):
        return frame

    def unwrap(self, frame):
        return frame


class Vlan(Plain):
    """Frames with a tag. Of frames that come the kernel has taken it out."""

    def __init__(self, identifier):
        self.tag = struct.pack("!HH", ETH_P_8021Q, identifier)

    def wrap(self, frame):
        return frame[:12] + self.tag + frame[12:]


class Vxlan(Plain):
    """Frames in VXLAN (RFC 7348) over IPv4."""

    HEADERS = 14 + 20 + 8 + 8

    def __init__(self, identifier, source, target, target_mac, own_mac):
        self.header = struct.pack("!II", 0x08000000, identifier << 8)
        self.outer = Connection(source, target, target_mac, own_mac, VXLAN_PORT)
        self.outer.close()

    def wrap(self, frame):
        datagram = struct.pack("!HHHH", 49152, VXLAN_PORT, 8 + len(self.header) + len(frame), 0) + self.header + frame
        return self.outer.ethernet + struct.pack("!H", ETH_P_IP) + self.outer.packet(UDP, datagram)

    def unwrap(self, frame):
        is_vxlan = frame[12:14] == b"\x08\x00" and frame[23] == UDP and frame[36:38] == struct.pack("!H", VXLAN_PORT)
        return frame[self.HEADERS:] if is_vxlan else frame
