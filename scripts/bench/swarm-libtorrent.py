# libtorrent with its defaults: downloads one torrent (tracker and web seed are in it) and ends without seeding; with
# `seed` it stays.
import sys
import time

import libtorrent as lt

torrent, directory, address, *more = sys.argv[1:]
session = lt.session({
    "listen_interfaces": address + ":" + (more[0] if more else "6881"),
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    # Over loopback it would settle on uTP, a tenth as fast.
    "enable_outgoing_utp": not more,
    "enable_incoming_utp": not more,
    # Else it takes no web seed with a query on a private address.
    "ssrf_mitigation": False,
})
handle = session.add_torrent({"ti": lt.torrent_info(torrent), "save_path": directory})
while not handle.status().is_seeding or "seed" in more:
    time.sleep(0.02)
