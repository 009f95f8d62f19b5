#!/bin/sh
# What purge leaves is data: stores, and the secret of a torrent service. A user that owns some stays with it, as its number
# must not become somebody else's.
set -e

forget_user() {
  [ -e "$2" ] && return
  if getent passwd "$1" >/dev/null; then userdel "$1" || true; fi
  if getent group "$1" >/dev/null; then groupdel "$1" || true; fi
}

if [ -d /run/systemd/system ]; then systemctl daemon-reload || true; fi
case "${1:-}" in
  purge | 0)
    forget_user quayctl /var/lib/quayctl
    forget_user quayctl-serve /var/lib/quayctl-serve
    rmdir /etc/quayctl 2>/dev/null || true
    ;;
esac
