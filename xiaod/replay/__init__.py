r"""SeedLink replay server, versions 3 and 4: miniSEED files become a station network that real clients accept.

In: miniSEED files or folders, or the word ``example`` (the event shipped with ObsPy). Out: a server of SeedLink
3.1 and 4.0 on a TCP port, with TLS where it is given a certificate. It serves records (of 512 bytes by default) at the
pace at which a datalogger fills them, faster, or as fast as the clients read. Used for demonstrations, tests, soak runs
and throughput measurements.

The signal path, one file each::

    records  example  repack  header     miniSEED in any shape -> version 2 records of one length
    packet  cycle  schedule              streams and packets of one cycle; which record packet k carries, when it is due
    ring  playback                       sequence numbers, back-data, resumption; the running clock
    protocol  selection  session  info   bytes from a client -> commands -> requests; replies
    selection4  info4  packet4           what differs in SeedLink 4
    link  connection  server             sockets
    config  faults                       settings, and faults made on purpose

>>> import asyncio
>>> async def hello() -> bytes:
...     async with ReplayServer(ReplayConfig(inputs=("example",), port=0)) as server:
...         reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
...         writer.write(b"HELLO\r\n")
...         line = await reader.readline()
...         writer.close()
...         return line
>>> asyncio.run(hello()).split()[:2]
[b'SeedLink', b'v4.0']
"""

from xiaod.replay.config import AddressError, ReplayConfig, ReplayError
from xiaod.replay.faults import Faults, Outage
from xiaod.replay.server import ReplayServer, serve

__all__ = ["AddressError", "Faults", "Outage", "ReplayConfig", "ReplayError", "ReplayServer", "serve"]
