#!/usr/bin/env bash
# fuzz.sh BUILD SECONDS [NAME...]: builds the libFuzzer targets with clang and runs each for SECONDS, one per core at a
# time. New inputs go to BUILD/corpus (not into the repository); a finding is kept in BUILD/findings and makes this
# script fail. tests/fuzz/NAME.dict, where there is one, has the words of NAME's inputs.
set -uo pipefail
build=$1 seconds=$2
shift 2
here=$(cd "$(dirname "$0")/.." && pwd)
command -v clang >/dev/null ||
    { apt-get update -q >/dev/null && apt-get install -y -q clang libclang-rt-14-dev libomp-14-dev >/dev/null; }
CC=clang cmake -G Ninja -S "$here" -B "$build" -DPGR_FUZZ=ON -DPGR_SANITIZE=address,undefined \
    -DCMAKE_BUILD_TYPE=RelWithDebInfo >"$build.log" 2>&1 || { cat "$build.log"; exit 1; }
names=("$@")
[ ${#names[@]} -gt 0 ] || for f in "$here"/tests/fuzz/fuzz_*.c; do n=$(basename "$f" .c); names+=("${n#fuzz_}"); done
targets=("${names[@]/#/fuzz_}")
cmake --build "$build" --target "${targets[@]}" || exit 1

mkdir -p "$build/findings"
one() {
    local dict=$here/tests/fuzz/$1.dict words=()
    [ ! -f "$dict" ] || words=(-dict="$dict")
    mkdir -p "$build/corpus/$1"
    if UBSAN_OPTIONS=halt_on_error=1 "$build/fuzz_$1" "$build/corpus/$1" "$here/tests/fuzz/corpus/$1" \
        -max_total_time="$seconds" -timeout=20 "${words[@]}" \
        -rss_limit_mb=4096 -artifact_prefix="$build/findings/$1-" -print_final_stats=1 >"$build/$1.log" 2>&1; then
        echo "fuzz $1: no finding, $(grep -c . <(ls "$build/corpus/$1")) inputs kept," \
            "$(grep number_of_executed_units "$build/$1.log" | tr -s ' ')"
    else
        echo "fuzz $1: FINDING, see $build/$1.log"
        tail -n 30 "$build/$1.log"
        return 1
    fi
}
status=0 running=0
for n in "${names[@]}"; do
    one "$n" &
    running=$((running + 1))
    if [ $running -ge "$(nproc)" ]; then wait -n || status=1; running=$((running - 1)); fi
done
while [ $running -gt 0 ]; do wait -n || status=1; running=$((running - 1)); done
exit $status
