"""How the generator and what is tested are joined: the devices of each, by the name of what the tested side has."""


def devices(link, directory):
    """(of the generator, of what is tested, whether what is tested listens)."""
    sockets = [directory / f"{link}-{number}" for number in range(2)]
    return MAKERS[link](sockets)


def _virtio_user(sockets):
    return _vhost_side(sockets), _virtio_side(sockets), False


def _vhost(sockets):
    return _virtio_side(sockets), _vhost_side(sockets), True


def _vhost_side(sockets):
    return [f"net_vhost{number},iface={socket},queues=1" for number, socket in enumerate(sockets)]


def _virtio_side(sockets):
    return [f"net_virtio_user{number},path={socket},queues=1,queue_size=1024" for number, socket in enumerate(sockets)]


def _memif(sockets):
    def side(role):
        return [
            f"net_memif{number},role={role},socket={socket},socket-abstract=no,rsize=10,id={number}"
            for number, socket in enumerate(sockets)
        ]

    return side("server"), side("client"), False


MAKERS = {"virtio-user": _virtio_user, "vhost": _vhost, "memif": _memif}
# Else virtio-user passes nothing, and says nothing.
EAL = ["--single-file-segments"]
