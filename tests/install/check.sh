#!/usr/bin/env bash
# check.sh BUILD: installs the built tree into a folder of its own and uses it as a stranger would: examples/score.c,
# copied out of the tree, compiled by its own first lines' command with pkg-config, linked shared and static, judges the
# bundled request with the tiny model of the tests; every installed header compiles alone in C and C++; the shared
# library has its soname and exports the functions that the headers declare, no more and no less.
# From the environment: CC, NM, CMAKE, PKG_CONFIG; RUN: what runs a program (an emulator), SANITIZE: what the library
# was built with.
set -euo pipefail
build=$1 source=$(cd "$(dirname "$0")/../.." && pwd)
: "${CC:=cc}" "${NM:=nm}" "${CMAKE:=cmake}" "${PKG_CONFIG:=pkg-config}" "${RUN:=}" "${SANITIZE:=}"
work=$(mktemp -d /tmp/pgenrm-install-XXXXXX)
trap 'rm -rf "$work"' EXIT
flags=(-std=c11 -Wall -Wextra -Werror ${SANITIZE:+-fsanitize=$SANITIZE})

wrong() {
    echo "install: $1" >&2
    exit 1
}

"$CMAKE" --install "$build" --prefix "$work/usr" >"$work/log" 2>&1 ||
    { cat "$work/log"; wrong "cmake --install failed"; }
pc=$(find "$work/usr" -name pgenrm.pc)
lib=$(dirname "$(dirname "$pc")")
# the .pc's prefix is the configured one; what was installed elsewhere is found there
pkg() { PKG_CONFIG_PATH=$(dirname "$pc") "$PKG_CONFIG" --define-variable=prefix="$work/usr" "$@" pgenrm; }
cd "$work"
cp "$source/examples/score.c" .

# A program says where it found the library; both print two scores.
judge() {
    LD_LIBRARY_PATH=$lib $RUN ./"$1" "$source/tests/golden/tiny-llama.gguf" "$source/examples/request.json" >"$1.out" ||
        wrong "$1 failed"
    [ "$(grep -c '^response [01]: ' "$1.out")" = 2 ] || { cat "$1.out"; wrong "$1 printed no line for both responses"; }
}
# shellcheck disable=SC2046 # flags are words
"$CC" "${flags[@]}" score.c $(pkg --cflags --libs) -o shared || wrong "score.c does not link with the shared library"
judge shared
read -ra static <<<"$(pkg --static --cflags --libs)"
"$CC" "${flags[@]}" score.c "${static[@]/#-lpgenrm/-l:libpgenrm.a}" -o static ||
    wrong "score.c does not link with the static library"
judge static
cmp -s shared.out static.out || wrong "the shared and the static library score differently"

needs() { LC_ALL=C "${READELF:-readelf}" -d "$1"; }
soname=$(needs "$lib/libpgenrm.so" | sed -n 's/.*SONAME.*\[\(.*\)\]/\1/p')
[ "$soname" = "libpgenrm.so.$(pkg --modversion | cut -d. -f1)" ] || wrong "soname is '$soname'"
needs shared | grep -q "NEEDED.*\[$soname\]" || wrong "the program linked shared does not ask for $soname"
needs static | grep -q 'NEEDED.*libpgenrm' && wrong "the program linked static asks for libpgenrm.so"

for header in "$work"/usr/include/*.h; do
    echo "#include <$(basename "$header")>" | "$CC" "${flags[@]}" -Iusr/include -fsyntax-only -xc - ||
        wrong "$header does not compile alone in C"
    echo "#include <$(basename "$header")>" | "$CC" -Wall -Wextra -Werror -Iusr/include -fsyntax-only -xc++ - ||
        wrong "$header does not compile alone in C++"
done

# A declaration has no space before its bracket, and no comment or macro is left after the preprocessor.
for header in "$work"/usr/include/*.h; do "$CC" -E -P "$header" -Iusr/include; done |
    grep -oE '\bpgr_[a-z0-9_]+\(' | tr -d '(' | sort -u >declared
"$NM" -D --defined-only "$lib/libpgenrm.so" | awk '{ print $NF }' | sort -u >exported
diff declared exported >difference ||
    { cat difference; wrong "the exported symbols (>) are not the declared functions (<)"; }
echo "install: shared and static programs agree; $(wc -l <exported) functions exported, all declared"
