#!/usr/bin/env bash
# try.sh [FOLDER]: the package as a stranger meets it: installed into a fresh virtual environment with pip, one verdict,
# the examples, mypy, and a wheel that a second environment installs; says how long each took. GRPO runs where TRL names
# a Python with torch and trl (TRL=~/venv/bin/python). What is made lies below FOLDER (a new one in /tmp), whose
# output.log has what the steps printed.
set -euo pipefail
cd "$(dirname "$0")/.."
work=${1:-$(mktemp -d /tmp/pgenrm-python-XXXXXX)}
mkdir -p "$work"
log=$work/output.log
: >"$log"
unset PGENRM_BUILD PYTHONPATH
step() {
    local start=$SECONDS name=$1
    shift
    echo "== $name: $*" >>"$log"
    "$@" >>"$log" 2>&1 || { tail -30 "$log"; echo "try.sh: $name failed: $*"; exit 1; }
    echo "$name: $((SECONDS - start)) s"
}

step "a fresh environment" python3 -m venv "$work/venv"
step "pip install ./python" "$work/venv/bin/pip" install ./python
cd "$work" # nothing of the tree is imported from here on
source=$OLDPWD
python=$work/venv/bin/python
step "import" "$python" -c 'import pgenrm; print(pgenrm.__version__)'
for example in score_one label_dpo bench_own; do
    step "example $example" "$python" "$source/python/examples/$example.py"
done
if [ -n "${TRL:-}" ]; then
    step "example grpo_trl" env PYTHONPATH="$("$python" -c 'import site; print(site.getsitepackages()[0])')" \
        "$TRL" "$source/python/examples/grpo_trl.py"
fi
step "mypy and build" "$work/venv/bin/pip" install mypy types-cffi build
step "mypy --strict" "$work/venv/bin/mypy" --config-file "$source/python/pyproject.toml" --strict \
    "$source/python/src/pgenrm"
step "python -m build (a source distribution, a wheel of it)" "$python" -m build "$source/python" --outdir "$work/dist"
step "a second environment" python3 -m venv "$work/second"
step "the wheel installed" "$work/second/bin/pip" install "$work"/dist/*.whl
step "the wheel imported" "$work/second/bin/python" -c 'import pgenrm; print(pgenrm.Judge)'
ls -l "$work"/dist/*.whl
