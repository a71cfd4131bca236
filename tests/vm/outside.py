"""Who is outside: hosts that speak TCP, UDP and ICMP in frames of their own making, through a guest's cards."""

import struct
import time
from ipaddress import ip_address

from tests.netns import raw

from .machine import PATIENCE_S

# Who gets no answer asks again.
AGAIN_S = 5
ICMP, ICMP6, UDP = 1, 58, 17
ETH_P_ARP = 0x0806
ARP_ASKS, ARP_ANSWERS = 1, 2
SOLICITATION, ADVERTISEMENT = 135, 136
# Solicited, and it replaces what was known.
ADVERTISED = 0x60000000
# Of its own and its peer's address as options of neighbour discovery.
OWN_LINK, PEER_LINK = b"\1\1", b"\2\1"


class Host:
    """A host at a card."""

    def __init__(self, card, mac, ipv4, ipv6):
        self.card, self.mac, self.ipv4, self.ipv6 = card, mac, ipv4, ipv6

    @property
    def addresses(self):
        return [self.ipv4, self.ipv6]

    def address(self, family):
        return {4: self.ipv4, 6: self.ipv6}[family]

    def to(self, other, port, family=4):
        """This side of a connection."""
        return raw.Connection(self.address(family), other.address(family), other.mac, self.mac, port, link=self.card.peer)

    def frame(self, other, protocol, content, family=4, ttl=64):
        """A packet's frame; its content has its checksum at `place` filled in."""
        side = self.to(other, 0, family)
        place = {ICMP: 2, ICMP6: 2, UDP: 6}[protocol]
        pseudo = side.source.packed + side.target.packed + struct.pack("!II", len(content), protocol)
        number = raw.checksum((b"" if protocol == ICMP else pseudo) + content)
        content = content[:place] + struct.pack("!H", number) + content[place + 2:]
        kind = raw.ETH_P_IP if family == 4 else raw.ETH_P_IPV6
        return side.ethernet + struct.pack("!H", kind) + side.packet(protocol, content, ttl)

    def ping(self, other, number, family=4, answer=False, size=56):
        """An echo request, or its answer."""
        protocol, kinds = (ICMP, (8, 0)) if family == 4 else (ICMP6, (128, 129))
        head = struct.pack("!BBHHH", kinds[answer], 0, 0, 7, number)
        return self.frame(other, protocol, head + b"weir" * (size // 4), family)

    def datagram(self, other, ports, data, family=4):
        return self.frame(other, UDP, struct.pack("!HHHH", *ports, 8 + len(data), 0) + data, family)

    def asks_for(self, other, family=4):
        """Who has the other's address, asked of everybody; whoever answers learns this host's."""
        if family == 4:
            return self.resolution(ARP_ASKS, "ff:ff:ff:ff:ff:ff", bytes(6), ip_address(other.ipv4).packed)
        target = ip_address(other.ipv6).packed
        group = Host(None, "33:33:ff" + "".join(f":{byte:02x}" for byte in target[-3:]), None,
                     str(ip_address(ip_address("ff02::1:ff00:0").packed[:-3] + target[-3:])))
        return self.discovery(group, SOLICITATION, 0, target, OWN_LINK)

    def neighbour(self, frame):
        """The answer to a frame that asks for an address of this host; None to any other."""
        if frame[12:14] == struct.pack("!H", ETH_P_ARP):
            asks = frame[20:22] == struct.pack("!H", ARP_ASKS) and frame[38:42] == ip_address(self.ipv4).packed
            return self.resolution(ARP_ANSWERS, frame[22:28].hex(":"), frame[22:28], frame[28:32]) if asks else None
        is_discovery = frame[12:14] == struct.pack("!H", raw.ETH_P_IPV6) and frame[20] == ICMP6
        if not is_discovery or frame[54] != SOLICITATION or frame[62:78] != ip_address(self.ipv6).packed:
            return None
        asker = Host(None, frame[6:12].hex(":"), None, str(ip_address(frame[22:38])))
        return self.discovery(asker, ADVERTISEMENT, ADVERTISED, frame[62:78], PEER_LINK)

    def resolution(self, operation, mac, target_mac, target):
        """ARP."""
        own = raw.mac(self.mac)
        head = struct.pack("!HHHBBH", ETH_P_ARP, 1, raw.ETH_P_IP, 6, 4, operation)
        return raw.mac(mac) + own + head + own + ip_address(self.ipv4).packed + target_mac + target

    def discovery(self, other, kind, flags, target, option):
        """Neighbour discovery, with this host's link address."""
        content = struct.pack("!BBHI", kind, 0, 0, flags) + target + option + raw.mac(self.mac)
        return self.frame(other, ICMP6, content, 6, ttl=255)


def passes(frame, sender, receiver, timeout_s=PATIENCE_S):
    """Whether a frame comes out at the other end as it went in; it is sent again while it does not."""
    deadline = time.monotonic() + timeout_s
    while (rest := deadline - time.monotonic()) > 0:
        sender.card.send(frame)
        if receiver.card.receives(frame, min(AGAIN_S, rest)):
            return True
    return False


def converse(client, server, port, request, response, family=4, timeout_s=PATIENCE_S):
    """A connection from its handshake to its end; what each side got of the other. Nothing is sent twice: each
    step has `timeout_s` to come."""
    asking, answering = client.to(server, port, family), server.to(client, port, family)
    answering.ports = asking.ports[::-1]
    answering.begin(0x10000)
    asking.send(asking.segment(-1, b"", raw.SYN))
    if not answering.wait(lambda: answering.expected, timeout_s):
        return b"", b""
    answering.send(answering.segment(-1, b"", raw.SYN | raw.ACK))
    if not asking.wait(lambda: asking.expected, timeout_s):
        return b"", b""
    asking.acknowledge()
    asking.say(request)
    asking.said = len(request)
    answering.wait(lambda: len(answering.received) >= len(request), timeout_s)
    for start in range(0, len(response), 1200):
        answering.say(response[start:start + 1200], offset=start)
    answering.said = len(response)
    asking.wait(lambda: len(asking.received) >= len(response) or asking.was_reset, timeout_s)
    answering.finish(len(response))
    asking.wait(lambda: asking.finished or asking.was_reset, timeout_s)
    asking.finish(len(request))
    answering.wait(lambda: answering.finished or answering.was_reset, timeout_s)
    return answering.received, asking.received
