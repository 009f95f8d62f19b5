#!/bin/sh
# Makes the users of the three units, before files belong to their groups. No password, no shell, no home that is made.
set -e

make_user() {
  getent group "$1" >/dev/null || groupadd --system "$1"
  getent passwd "$1" >/dev/null ||
    useradd --system --gid "$1" --home-dir "$2" --no-create-home --shell /usr/sbin/nologin "$1"
}

make_user quayctl /var/lib/quayctl
make_user quayctl-serve /var/lib/quayctl-serve
