#!/bin/sh
# Downloads quayctl @VERSION@ for this machine, compares it with its checksum, and puts it into place.
#   sh install.sh --from URL [--to FOLDER]
#     URL       the folder with the files of the release: https, or http on this machine
#     FOLDER    default: /usr/local/bin, or ~/.local/bin for whoever may not write there
# The checksums come from the same place as the program: they find what was damaged on the way, not who published it.
set -eu

version=@VERSION@

fail() {
  echo "install.sh: $1" >&2
  exit 1
}

main() {
  from='' to=''
  while [ $# -gt 0 ]; do
    case "$1" in
      --from | --to)
        [ $# -ge 2 ] || fail "$1 wants a value"
        if [ "$1" = --from ]; then from=$2; else to=$2; fi
        shift 2
        ;;
      *) fail "unknown argument $1; see the head of this file" ;;
    esac
  done
  case "$from" in
    https://?* | http://127.0.0.1[:/]* | http://localhost[:/]* | 'http://[::1]'*) ;;
    '') fail '--from URL says where the files of the release are' ;;
    *) fail "--from $from: expected https, or http on this machine" ;;
  esac
  from=${from%/}
  name=quayctl-$version-$(platform)
  [ -n "$to" ] || to=$(default_folder)
  mkdir -p "$to"

  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  trap 'exit 1' HUP INT TERM
  fetch "$from/SHA256SUMS" "$work/SHA256SUMS"
  wanted=$(awk -v name="$name" '$2 == name { print $1 }' "$work/SHA256SUMS")
  [ -n "$wanted" ] || fail "the release has no $name"
  fetch "$from/$name" "$work/quayctl"
  found=$(sum "$work/quayctl")
  [ "$found" = "$wanted" ] || fail "$name was damaged on the way: its SHA-256 is $found, not $wanted"

  chmod 755 "$work/quayctl"
  # Beside its place first, then by rename: nobody ever runs half a file, and one that runs is not written to.
  cp -p "$work/quayctl" "$to/.quayctl-$$"
  mv -f "$to/.quayctl-$$" "$to/quayctl"
  echo "$to/quayctl is quayctl $version"
  case "$name" in
    *-darwin-*) echo 'Built, not tested on macOS. Sign it before the first start: codesign --force --sign - '"$to/quayctl" ;;
  esac
  case ":$PATH:" in
    *":$to:"*) ;;
    *) echo "$to is not on your PATH" ;;
  esac
}

platform() {
  case "$(uname -s)" in
    Linux) os=linux ;;
    Darwin) os=darwin ;;
    *) fail "there is no quayctl for $(uname -s); npm install -g quayctl runs where Node 22.19 does" ;;
  esac
  case "$(uname -m)" in
    x86_64 | amd64) architecture=amd64 ;;
    aarch64 | arm64) architecture=arm64 ;;
    *) fail "there is no quayctl for $(uname -m); npm install -g quayctl runs where Node 22.19 does" ;;
  esac
  echo "$os-$architecture"
}

default_folder() {
  if [ -w /usr/local/bin ]; then echo /usr/local/bin; else echo "$HOME/.local/bin"; fi
}

fetch() {
  if command -v curl >/dev/null; then
    curl -fsSL --retry 3 -o "$2" "$1" || fail "$1 cannot be downloaded"
  elif command -v wget >/dev/null; then
    wget -q -O "$2" "$1" || fail "$1 cannot be downloaded"
  else
    fail 'neither curl nor wget is here'
  fi
}

sum() {
  if command -v sha256sum >/dev/null; then sha256sum "$1"; else shasum -a 256 "$1"; fi | cut -d' ' -f1
}

# Read to its end before anything runs: a download of this file that breaks off runs nothing.
main "$@"
