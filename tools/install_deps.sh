#!/usr/bin/env bash
# install_deps.sh [clang] [style] [python] [mpi] [postgres] [aarch64]: installs the Debian packages that the build and
# its tests need (and those of the clang build, of the style check, of the tests of the Python package, of training in
# several processes, of the tests of stores in PostgreSQL, of the build for aarch64) and that are not there yet; silent
# when all are.
set -euo pipefail
packages=(build-essential cmake ninja-build pkg-config python3 python3-pip libjansson-dev
          libpcre2-dev libutf8proc-dev libcurl4-openssl-dev nettle-dev libsqlite3-dev zlib1g-dev libmicrohttpd-dev
          libpq-dev libcmocka-dev libjs-chart.js)
foreign=
for group; do
    case $group in
    clang) packages+=(clang) ;;
    style) packages+=(clang-format) ;;
    python) packages+=(python3-cffi python3-numpy) ;;
    mpi) packages+=(libopenmpi-dev openmpi-bin procps) ;;
    postgres) packages+=(postgresql) ;;
    aarch64)
        foreign=arm64
        packages+=(gcc-aarch64-linux-gnu qemu-user
                   {libjansson,libpcre2,libutf8proc,libcurl4-openssl,nettle,libsqlite3,zlib1g}-dev:arm64
                   {libmicrohttpd,libcmocka}-dev:arm64) ;;
    *) echo "install_deps.sh: no group '$group', expected clang, style, python, mpi, postgres or aarch64" >&2; exit 2 ;;
    esac
done
missing=()
for p in "${packages[@]}"; do
    dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'install ok installed' || missing+=("$p")
done
[ ${#missing[@]} -eq 0 ] && exit 0

run=()
[ "$(id -u)" -eq 0 ] || run=(sudo)
echo "installing Debian packages: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
[ -z "$foreign" ] || "${run[@]}" dpkg --add-architecture "$foreign"
log=$(mktemp)
"${run[@]}" apt-get update -q >"$log" 2>&1 || { cat "$log"; exit 1; }
install() {
    "${run[@]}" apt-get install -y -q --no-install-recommends "$@" >"$log" 2>&1 || { cat "$log"; exit 1; }
}
if [[ " ${missing[*]} " == *" postgresql "* ]]; then # its package would make and start a server of its own
    install postgresql-common
    "${run[@]}" sed -i 's/^#\?create_main_cluster.*/create_main_cluster = false/' \
        /etc/postgresql-common/createcluster.conf
fi
install "${missing[@]}"
rm -f "$log"
