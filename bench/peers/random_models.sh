#!/bin/bash
# Random models in the shape of published ones, as all engines of bench/target_job.py read them:
# $1/SHAPE/{ov,q8_0.gguf,bf16.gguf} ($1: default ~/.cache/pgenrm-peers, where install.sh put the peers). Shapes: those
# of tools/random_llama.py, default qwen3-0.6b and llama-3.2-1b: 4.5 and 8.7 GB of disk together with what is deleted at
# the end, half an hour at most. What is there is kept.
#
#     bench/peers/random_models.sh
#     bench/target_job.py --files ~/.cache/pgenrm-peers/qwen3-0.6b --only "pgenrm int8,openvino bf16,llama.cpp q8_0" \
#         --tokens 64 --repeats 1
#
# (and the same with llama-3.2-1b; every engine of a run is in memory with its KV cache, so not all at once in 24 GB)
set -eu
here=$(cd "$(dirname "$0")" && pwd)
to=${1:-$HOME/.cache/pgenrm-peers}
shift || true
pgenrm=${PGENRM:-$here/../../build/pgenrm}
for shape in "${@:-qwen3-0.6b llama-3.2-1b}"; do for name in $shape; do
    folder=$to/$name
    mkdir -p "$folder"
    if [ ! -f "$folder/bf16.gguf" ] || [ ! -f "$folder/q8_0.gguf" ] || [ ! -d "$folder/ov" ]; then
        [ -f "$folder/hf/model.safetensors.index.json" ] ||
            "$to/venv_ov/bin/python" "$here/../../tools/random_llama.py" "$folder/hf" --shape "$name"
    fi
    for type in bf16 q8_0; do
        [ -f "$folder/$type.gguf" ] || "$pgenrm" convert "$folder/hf" --type "$type" --out "$folder/$type.gguf"
    done
    if [ ! -d "$folder/ov" ]; then
        "$to/venv_ov/bin/python" -m optimum.commands.optimum_cli export openvino -m "$folder/hf" \
            --task text-generation-with-past --weight-format fp16 "$folder/ov.part"
        mv "$folder/ov.part" "$folder/ov"
    fi
    rm -rf "$folder/hf"
    echo "$folder is ready"
done; done
