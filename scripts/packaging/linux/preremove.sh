#!/bin/sh
# Debian says `remove` and `upgrade`, RPM 0 and 1: units end when the package goes, not when a newer one comes.
set -e

case "${1:-}" in
  remove | deconfigure | 0)
    if [ -d /run/systemd/system ]; then
      for unit in quayctl-seed quayctl-serve quayctl-mirror; do
        systemctl --no-reload disable --now "$unit.service" || true
      done
    fi
    ;;
esac
