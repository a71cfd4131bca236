"""Who is outside: hosts that speak TCP, UDP and ICMP in frames of their own making, through a guest's cards."""

import struct
from ipaddress import ip_address

from tests.netns import raw

ICMP, ICMP6, UDP = 1, 58, 17


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

    def frame(self, other, protocol, content, family=4):
        """A packet's frame; its content has its checksum at `place` filled in."""
        side = self.to(other, 0, family)
        place = {ICMP: 2, ICMP6: 2, UDP: 6}[protocol]
        pseudo = side.source.packed + side.target.packed + struct.pack("!II", len(content), protocol)
        number = raw.checksum((b"" if protocol == ICMP else pseudo) + content)
        content = content[:place] + struct.pack("!H", number) + content[place + 2:]
        kind = raw.ETH_P_IP if family == 4 else raw.ETH_P_IPV6
        return side.ethernet + struct.pack("!H", kind) + side.packet(protocol, content)

    def ping(self, other, number, family=4, answer=False, size=56):
        """An echo request, or its answer."""
        protocol, kinds = (ICMP, (8, 0)) if family == 4 else (ICMP6, (128, 129))
        head = struct.pack("!BBHHH", kinds[answer], 0, 0, 7, number)
        return self.frame(other, protocol, head + b"weir" * (size // 4), family)

    def datagram(self, other, ports, data, family=4):
        return self.frame(other, UDP, struct.pack("!HHHH", *ports, 8 + len(data), 0) + data, family)

    def asks_for(self, other):
        """Who has the other's address, by ARP; whoever answers learns this host's."""
        head = raw.mac(self.mac) + struct.pack("!HHHBBH", 0x0806, 1, 0x0800, 6, 4, 1) + raw.mac(self.mac)
        return b"\xff" * 6 + head + ip_address(self.ipv4).packed + bytes(6) + ip_address(other.ipv4).packed


def passes(frame, sender, receiver, timeout_s=10):
    """Whether a frame comes out at the other end as it went in."""
    sender.card.send(frame)
    return receiver.card.receives(frame, timeout_s)


def converse(client, server, port, request, response, family=4):
    """A connection from its handshake to its end; what each side got of the other."""
    asking, answering = client.to(server, port, family), server.to(client, port, family)
    answering.ports = asking.ports[::-1]
    answering.begin(0x10000)
    asking.send(asking.segment(-1, b"", raw.SYN))
    if not answering.wait(lambda: answering.expected):
        return b"", b""
    answering.send(answering.segment(-1, b"", raw.SYN | raw.ACK))
    if not asking.wait(lambda: asking.expected):
        return b"", b""
    asking.acknowledge()
    asking.say(request)
    asking.said = len(request)
    answering.wait(lambda: len(answering.received) >= len(request))
    for start in range(0, len(response), 1200):
        answering.say(response[start:start + 1200], offset=start)
    answering.said = len(response)
    asking.wait(lambda: len(asking.received) >= len(response) or asking.was_reset)
    answering.finish(len(response))
    asking.wait(lambda: asking.finished or asking.was_reset)
    asking.finish(len(request))
    answering.wait(lambda: answering.finished or answering.was_reset)
    return answering.received, asking.received
