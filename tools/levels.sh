#!/usr/bin/env bash
# levels.sh: the levels of kernels (PGENRM_CPU) that this machine's CPU has, lowest first.
set -euo pipefail
levels=ref
has() { for flag; do grep -qw -m1 "$flag" /proc/cpuinfo || return 1; done; }
if has avx2 fma; then levels+=" avx2"; fi
if has avx512f avx512bw avx512dq avx512vl; then levels+=" avx512"; fi
if has avx512_bf16 amx_tile amx_bf16; then levels+=" amx"; fi
echo "$levels"
