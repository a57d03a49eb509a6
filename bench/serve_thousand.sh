#!/usr/bin/env bash
# serve_thousand.sh DATA [PGENRM]: the server under a trainer's load on the default model, on a quiet machine, fifteen
# minutes: 1,000 /get_reward calls of one sample at once (all answered within 170 s? the same alone? what share of one
# offline batch's speed?), then ten times as many calls as a second server's queue takes, which holds none (429, and all
# answered in the end?). Then both as OpenRLHF's client calls, which gives up after 5 tries, the second one at a server
# that holds what its queue does not take. Ends with 1 where one of these is not so. Level by PGENRM_CPU.
set -uo pipefail
data=$1 pgenrm=${2:-build/pgenrm} here=$(cd "$(dirname "$0")" && pwd) folder=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$folder"' EXIT

# serve PORT [OPTION...]: starts one and waits until it is ready
serve() {
    "$pgenrm" serve --listen "127.0.0.1:$1" --deadline 170 "${@:2}" 2>"$folder/log" &
    server=$!
    for _ in $(seq 600); do
        grep -q "ready" "$folder/log" && return
        sleep 0.1
    done
    cat "$folder/log"
    exit 1
}

stop() {
    grep VmHWM "/proc/$server/status"
    kill "$server"
    wait "$server"
    server=
}

status=0
uptime
serve 8391
load=("$here/serve_load.py" "$data" --pgenrm "$pgenrm")
"${load[@]}" --url http://127.0.0.1:8391 --calls 1000 --check 30 --offline || status=1
stop
serve 8392 --max-queue 60 --max-held 0
"${load[@]}" --url http://127.0.0.1:8392 --calls 60 --check 0 --over 10 || status=1
stop
serve 8393
"${load[@]}" --url http://127.0.0.1:8393 --calls 1000 --check 0 --like openrlhf || status=1
stop
serve 8394 --max-queue 60
"${load[@]}" --url http://127.0.0.1:8394 --calls 60 --check 0 --over 10 --like openrlhf || status=1
stop
uptime
exit $status
