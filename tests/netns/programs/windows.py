"""Windows' file sharing and remote procedure calls, by impacket:

windows.py serve SMB_PORT RPC_PORT DIRECTORY   shares the directory as "public"; answers calls about a workstation
windows.py smb ADDRESS PORT FILE               prints a file of the share
windows.py rpc ADDRESS PORT                    prints what platform the workstation says it is
"""

import sys
import threading
from io import BytesIO

from impacket.dcerpc.v5 import transport, wkst
from impacket.smbconnection import SMBConnection
from impacket.smbserver import SimpleSMBServer, WKSTServer

PATIENCE_S = 15
SHARE = "public"


def serve(smb_port, rpc_port, directory):
    calls = WKSTServer()
    calls.setListenPort(rpc_port)
    threading.Thread(target=calls.run, daemon=True).start()
    shares = SimpleSMBServer("127.0.0.1", smb_port)
    shares.addShare(SHARE.upper(), directory)
    shares.setSMB2Support(True)
    shares.start()


def smb(address, port, name):
    connection = SMBConnection(address, address, sess_port=port, timeout=PATIENCE_S)
    connection.login("model", "model")
    content = BytesIO()
    connection.getFile(SHARE, name, content.write)
    print(content.getvalue().decode())


def rpc(address, port):
    calls = transport.DCERPCTransportFactory(f"ncacn_ip_tcp:{address}[{port}]")
    calls.set_connect_timeout(PATIENCE_S)
    endpoint = calls.get_dce_rpc()
    endpoint.connect()
    endpoint.bind(wkst.MSRPC_UUID_WKST)
    answer = wkst.hNetrWkstaGetInfo(endpoint, 0x64)
    print("platform", answer["WkstaInfo"]["WkstaInfo100"]["wki100_platform_id"])


match sys.argv[1:]:
    case ["serve", smb_port, rpc_port, directory]:
        serve(int(smb_port), int(rpc_port), directory)
    case ["smb", address, port, name]:
        smb(address, int(port), name)
    case ["rpc", address, port]:
        rpc(address, int(port))
    case _:
        sys.exit(__doc__)
