#!/usr/bin/env bash
# Tries published packages (benchmarks/strangers.py) in an environment of their own, which lies on top of .venv:
#   benchmarks/strangers.sh [--only silero_vad,ncps]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
place=.strangers
pins=benchmarks/strangers.txt

if ! cmp --silent "$pins" "$place/made-from.txt"; then
  echo "Setting up $place"
  rm -rf "$place"
  below=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  .venv/bin/python -m venv --without-pip "$place"
  .venv/bin/python -m pip --python "$place/bin/python" install --quiet --disable-pip-version-check --no-deps -r "$pins"
  own=$("$place/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  echo "import site; site.addsitedir('$below')" >"$own/below.pth"
  # Its compiled part wants CUDA's libraries; without it torchaudio does the rest.
  rm -f "$own/torchaudio/lib/_torchaudio.so"
  cp "$pins" "$place/made-from.txt"
fi
OMP_NUM_THREADS=1 "$place/bin/python" benchmarks/strangers.py "$@"
