// webtorrent with its defaults: downloads one torrent (tracker and web seed are in it) and ends without seeding.
import WebTorrent from 'webtorrent';

const [torrent = '', directory = ''] = process.argv.slice(2);
const client = new WebTorrent({ dht: false, lsd: false, utp: false, natUpnp: false, natPmp: false });
client.add(torrent, { path: directory }, (added) => added.on('done', () => process.exit(0)));
