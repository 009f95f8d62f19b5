#!/bin/sh
# Starts nothing and enables nothing. A unit that runs is restarted by an upgrade, as what it runs is another file now.
set -e

# what the unit of that user reads, and no other user
chgrp quayctl-serve /etc/quayctl/serve.env
chmod 0640 /etc/quayctl/serve.env

if [ -d /run/systemd/system ]; then
  systemctl daemon-reload || true
  for unit in quayctl-seed quayctl-serve quayctl-mirror; do
    systemctl try-restart "$unit.service" || true
  done
fi
