#!/usr/bin/env bash
# Installs the Debian packages that the build needs and that are not there yet; silent when all are.
set -euo pipefail
packages=(build-essential cmake ninja-build pkg-config python3 python3-pip libdnnl-dev libjansson-dev libpcre2-dev libutf8proc-dev libcurl4-openssl-dev nettle-dev libsqlite3-dev zlib1g-dev libcmocka-dev)
missing=()
for p in "${packages[@]}"; do
    dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'install ok installed' || missing+=("$p")
done
[ ${#missing[@]} -eq 0 ] && exit 0

run=()
[ "$(id -u)" -eq 0 ] || run=(sudo)
echo "installing Debian packages: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
"${run[@]}" apt-get update -q >"$log" 2>&1 || { cat "$log"; exit 1; }
"${run[@]}" apt-get install -y -q --no-install-recommends "${missing[@]}" >"$log" 2>&1 || { cat "$log"; exit 1; }
rm -f "$log"
