#!/usr/bin/env bash
# list_skips.sh BUILD: names and counts the tests that the last ctest run skipped (ctest itself hides what passing programs print).
set -euo pipefail
log=$1/Testing/Temporary/LastTest.log
awk '/^"/ { program = $1 } /^skipped: / { seen[program " " substr($0, 10)] = 1 } /\[  SKIPPED \] [a-z]/ { seen[program " " $4] = 1 }
     END { n = 0; for (s in seen) { gsub("\"", "", s); sub(" ", ": ", s); print "skipped: " s; n++ }
           print n " tests skipped" (n ? " (golden_default: needs the default model, make model)" : "") }' "$log"
