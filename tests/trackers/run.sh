#!/usr/bin/env bash
# Reads back what each run tracker was told, each in an environment of its own, whose pins may clash with the others':
#   tests/trackers/run.sh [tensorboard|wandb|mlflow|trackio ...]
# The environments lie on top of .venv: a tracker's own versions win, and PyTorch need not be installed four times more.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
[ $# -gt 0 ] || set -- tensorboard wandb mlflow trackio
below=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')

for name in "$@"; do
  place=.trackers/$name
  pins=tests/trackers/$name.txt
  if ! cmp --silent "$pins" "$place/made-from.txt"; then
    echo "Setting up $place"
    rm -rf "$place"
    # Without pip, for with it would come an old setuptools that hides that of .venv.
    .venv/bin/python -m venv --without-pip "$place"
    .venv/bin/python -m pip --python "$place/bin/python" install --quiet --disable-pip-version-check --no-deps -r "$pins"
    own=$("$place/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    echo "import site; site.addsitedir('$below')" >"$own/below.pth"
    cp "$pins" "$place/made-from.txt"
  fi
  OMP_NUM_THREADS=1 "$place/bin/python" -m pytest -q -p no:cacheprovider -p no:xdist "tests/trackers/check_$name.py"
done
