#!/usr/bin/env bash
# run_tests.sh BUILD LABEL [ARGUMENT OF CTEST...]: passes the tests that are built in BUILD, one program per core at a
# time, and reports them under LABEL (test_report.sh). Exit status: ctest's.
set -uo pipefail
build=$1 label=$2
shift 2
rm -f "$build/Testing/Temporary/LastTest.log" # or a run that is ended early is reported as the last one
ctest --test-dir "$build" --output-on-failure -j "${JOBS:-$(nproc)}" --no-tests=error "$@" |
    grep -vE '^ *(Start +[0-9]+:|[0-9]+/[0-9]+ .* Passed )'
status=${PIPESTATUS[0]} # ctest's, whatever grep found
"$(dirname "$0")/test_report.sh" "$build" "$label"
exit "$status"
