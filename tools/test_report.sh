#!/usr/bin/env bash
# test_report.sh BUILD LABEL: what the last ctest run in BUILD did, test by test: ctest counts programs and hides what
# passing ones print. Names the skipped tests and the skipped parts of tests, then "LABEL: N passed, N failed, N
# skipped", which is also kept in BUILD/LABEL.report. A program that is not cmocka's, or did not end well, is one test.
set -euo pipefail
awk -v label="$2" '
    function close_program() {
        if (program != "" && !ended_well && !bad) failed++
        if (program != "" && ended_well && !counted) passed++
        program = ""
    }
    / Testing: / { close_program(); program = $3; counted = bad = ended_well = 0 }
    /^\[  PASSED  \] [0-9]/ { passed += $4; counted = 1 }
    /^\[  FAILED  \] [0-9]/ { failed += $4; bad = 1 }
    /^\[  SKIPPED \] [0-9]/ { skipped += $4 }
    /^\[  SKIPPED \] [a-zA-Z_]/ { if (!seen[program, $4]++) print "skipped: " program " " $4 }
    /^skipped: / { if (!seen[program, $0]++) { print "skipped: " program ", in part: " substr($0, 10); skipped++ } }
    /^Test Passed\./ { ended_well = 1 }
    END { close_program(); printf "%s: %d passed, %d failed, %d skipped\n", label, passed, failed, skipped }
' "$1/Testing/Temporary/LastTest.log" | tee "$1/$2.report"
