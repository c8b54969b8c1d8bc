#!/usr/bin/env bash
# What only a CUDA card can show, each in under 9 minutes, part by part: what is in OUT already is not done again.
#
#   REFERENCE=clone OUT=benchmarks/results/gpu bash benchmarks/gpu.sh tables     tests that need a card; compare.py
#   FACADES=folder OUT=benchmarks/results/gpu bash benchmarks/gpu.sh quality     whether bf16 costs quality
#
# REFERENCE is a clone of junyanz/pytorch-CycleGAN-and-pix2pix (which imports dominate and wandb), FACADES the data set
# that `i2i data download facades` makes, OUT where results go, RUNS where run folders lie, LIMIT the seconds after
# which no further part is begun or a part is ended. PYTHON is the interpreter that has i2i's requirements.
set -u -o pipefail
cd "$(dirname "$0")/.."
what=${1:-} out=${OUT:-benchmarks/results/gpu} runs=${RUNS:-runs/gpu} limit=${LIMIT:-520}
python=${PYTHON:-$([ -x .venv/bin/python ] && echo .venv/bin/python || echo python3)}
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
mkdir -p "$out" "$runs"
failed=0

left() { echo $((limit - SECONDS)); }

# part NAME NEEDED_SECONDS COMMAND...: unless NAME is done, or too little time is left. Its output is kept.
part() {
  local name=$1 needed=$2
  shift 2
  if [ -e "$out/$name.done" ]; then
    echo "== $name: done before"
  elif [ "$(left)" -lt "$needed" ]; then
    echo "== $name: not begun, $(left) s are left; the same command goes on with it"
    failed=1
  else
    echo "== $name"
    if timeout --signal=INT --kill-after=20 "$(left)" "$@" 2>&1 | tee "$out/$name.txt"; then
      date -u +%F >"$out/$name.done"
    else
      echo "== $name: failed or out of time after $SECONDS s in all"
      failed=1
    fi
  fi
}

versions() {
  "$python" - <<'PY'
import platform, torch, torchvision, timm
print(torch.cuda.get_device_name(), "| torch", torch.__version__, "| CUDA", torch.version.cuda, "| cuDNN",
      torch.backends.cudnn.version(), "| torchvision", torchvision.__version__, "| timm", timm.__version__,
      "| Python", platform.python_version())
PY
}

compare() { # METHOD BATCH NEEDED_SECONDS more
  part "$1-batch$2" "$3" "$python" benchmarks/compare.py --reference "${REFERENCE:?a clone of the reference}" \
    --device cuda --method "$1" --batch "$2" --keep "$out" "${@:4}"
}

case $what in
tables)
  "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available() and "gpu.sh: no CUDA card can be used here.")' || exit 1
  versions | tee "$out/versions.txt"
  part tests 60 "$python" -m pytest -q -n 0 --all -m gpu tests -rs
  compare pix2pix 1 150 --samples 5 --steps 200 --forward 32
  compare cyclegan 1 150 --samples 5 --steps 40 --forward 32
  compare pix2pix 16 100 --samples 2 --steps 50 --alone
  compare cyclegan 16 120 --samples 2 --steps 10 --alone
  ;;
quality)
  versions | tee "$out/versions.txt"
  part quality 120 "$python" benchmarks/precision.py --root "$runs/precision" --results "$out/precision" --device cuda \
    "data.path=${FACADES:?the facades data set}"
  ;;
*)
  echo "gpu.sh: '$what' is neither tables nor quality." >&2
  exit 2
  ;;
esac
exit $failed
