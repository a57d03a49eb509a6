#!/usr/bin/env bash
# fuzz.sh BUILD SECONDS [NAME...]: builds the libFuzzer targets with clang and runs each for SECONDS, one per core at a
# time. New inputs go to BUILD/corpus (not into the repository); a finding is kept in BUILD/findings and makes this
# script fail. tests/fuzz/NAME.dict, where there is one, has the words of NAME's inputs. `body` is every route of the
# server that takes a body, by itself, for SECONDS each; body:v1_personal_score is one of them, by its folder of
# tests/fuzz/corpus/body. JOBS=N runs N at a time; PATIENCE=S: an input may take so long (20).
set -uo pipefail
build=$(realpath -m "$1") seconds=$2 # a target may go to another folder
shift 2
here=$(cd "$(dirname "$0")/.." && pwd) jobs=${JOBS:-$(nproc)}
command -v clang >/dev/null ||
    { apt-get update -q >/dev/null && apt-get install -y -q clang libclang-rt-14-dev >/dev/null; }
CC=clang cmake -G Ninja -S "$here" -B "$build" -DPGR_FUZZ=ON -DPGR_SANITIZE=address,undefined \
    -DCMAKE_BUILD_TYPE=RelWithDebInfo >"$build.log" 2>&1 || { cat "$build.log"; exit 1; }
names=("$@")
[ ${#names[@]} -gt 0 ] || for f in "$here"/tests/fuzz/fuzz_*.c; do n=$(basename "$f" .c); names+=("${n#fuzz_}"); done
runs=()
for n in "${names[@]}"; do
    if [ "$n" = body ]; then for f in "$here"/tests/fuzz/corpus/body/*/; do runs+=("body:$(basename "$f")"); done
    else runs+=("$n"); fi
done
targets=("${names[@]/#/fuzz_}")
cmake --build "$build" --target "${targets[@]%%:*}" || exit 1

mkdir -p "$build/findings"
one() { # TARGET or body:ROUTE
    local target=${1%%:*} as=${1/:/-} of=${1/://}
    local dict=$here/tests/fuzz/$target.dict words=()
    [ ! -f "$dict" ] || words=(-dict="$dict")
    mkdir -p "$build/corpus/$of"
    if UBSAN_OPTIONS=halt_on_error=1 PGENRM_FUZZ_ROUTE=${1#*:} "$build/fuzz_$target" "$build/corpus/$of" \
        "$here/tests/fuzz/corpus/$of" -max_total_time="$seconds" -timeout="${PATIENCE:-20}" "${words[@]}" \
        -rss_limit_mb=4096 -artifact_prefix="$build/findings/$as-" -print_final_stats=1 >"$build/$as.log" 2>&1; then
        echo "fuzz $1: no finding, $(grep -c . <(ls "$build/corpus/$of")) inputs kept," \
            "$(grep number_of_executed_units "$build/$as.log" | tr -s ' ')"
    else
        echo "fuzz $1: FINDING, see $build/$as.log"
        tail -n 30 "$build/$as.log"
        return 1
    fi
}
status=0 running=0
for n in "${runs[@]}"; do
    one "$n" &
    running=$((running + 1))
    if [ $running -ge "$jobs" ]; then wait -n || status=1; running=$((running - 1)); fi
done
while [ $running -gt 0 ]; do wait -n || status=1; running=$((running - 1)); done
exit $status
