#!/bin/bash
# Installs what bench/target_job.py compares with, into $1 (default ~/.cache/pgenrm-peers): two virtual environments,
# the default model as OpenVINO reads it (exported in fp16) and as llama.cpp reads it (the file itself, Q8_0, BF16).
# About 15 minutes, most of it for compiling llama.cpp. What is there already is kept.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
to=${1:-$HOME/.cache/pgenrm-peers}
model=${PGENRM_MODEL:-${PGENRM_HOME:-${XDG_CACHE_HOME:-$HOME/.cache}/pgenrm}/SmolLM2-135M-Instruct.Q4_1.gguf}
mkdir -p "$to"

if [ ! -d "$to/venv_ov" ]; then
    python3 -m venv "$to/venv_ov.part"
    "$to/venv_ov.part/bin/pip" install -q openvino-genai==2026.4.1 'optimum-intel[openvino]' accelerate gguf
    mv "$to/venv_ov.part" "$to/venv_ov"
fi
if [ ! -d "$to/venv_lc" ]; then
    python3 -m venv "$to/venv_lc.part"
    CMAKE_ARGS="-DGGML_NATIVE=ON" "$to/venv_lc.part/bin/pip" install -q --no-cache-dir llama-cpp-python==0.3.36 gguf
    mv "$to/venv_lc.part" "$to/venv_lc"
fi
if [ "${2:-}" = avx2 ] && [ ! -d "$to/venv_lc_avx2" ]; then
    python3 -m venv "$to/venv_lc_avx2.part"
    CMAKE_ARGS="-DGGML_NATIVE=OFF -DGGML_AVX512=OFF -DGGML_AVX2=ON -DGGML_FMA=ON -DGGML_F16C=ON -DGGML_BMI2=ON" \
        "$to/venv_lc_avx2.part/bin/pip" install -q --no-cache-dir llama-cpp-python==0.3.36 gguf
    mv "$to/venv_lc_avx2.part" "$to/venv_lc_avx2"
fi
if [ ! -d "$to/ov" ]; then
    "$to/venv_ov/bin/python" -m pip --version > /dev/null
    "$to/venv_ov/bin/python" "$here/gguf_to_folder.py" "$model" "$to/hf"
    "$to/venv_ov/bin/python" -m optimum.commands.optimum_cli export openvino -m "$to/hf" \
        --task text-generation-with-past --weight-format fp16 "$to/ov.part"
    mv "$to/ov.part" "$to/ov"
fi
if [ "${2:-}" = avx2 ] && [ ! -d "$to/ov_int8" ]; then
    "$to/venv_ov/bin/python" -m optimum.commands.optimum_cli export openvino -m "$to/hf" \
        --task text-generation-with-past --weight-format int8 "$to/ov_int8.part"
    mv "$to/ov_int8.part" "$to/ov_int8"
fi
ln -sf "$model" "$to/Q4_1.gguf"
for type in q8_0 bf16; do
    [ -f "$to/$type.gguf" ] ||
        "${PGENRM:-$here/../../build/pgenrm}" convert "$to/Q4_1.gguf" --type "$type" --out "$to/$type.gguf"
done
echo "peers are in $to"
