#!/usr/bin/env bash
# One prepared run on a GPU, of at most 8 minutes, in the order of what matters most:
#
#   bash benchmarks/speed/gpu.sh OUT [--small]
#
# correctness, the three kernels beside torch.mm and whatever of Liger, QuACK, cut-cross-entropy and
# torch's own operators is installed (bf16, peak memory, equality of two runs), then BestOfN and
# StepSearch beside plain generate. Each part has a time limit and writes its own file into OUT, so
# that a part that fails takes no other with it; the exit status is 1 if one did. --small runs the
# same on a CPU in about a minute. MODEL names a folder for the last part (default: the packaged model).
set -uo pipefail
cd "$(dirname "$0")/../.."

out=${1:?"usage: gpu.sh OUT [--small]"}
small=${2:-}
python=${PYTHON:-python}
mkdir -p "$out"
export PYTHONPATH="$PWD:$PWD/kernels/torch-ext${PYTHONPATH:+:$PYTHONPATH}"
failed=0

# Runs a part: seconds, name, command; its output is kept and shown.
part() {
    local limit=$1 name=$2
    shift 2
    echo "== $name"
    if ! timeout "$limit" "$python" "$@" >"$out/$name.txt" 2>"$out/$name.log"; then
        failed=1
        echo "FAILED: $name"
        tail -q -n 5 "$out/$name.log" "$out/$name.txt"
    fi
    cat "$out/$name.txt"
}

# Runs a kernel's benchmark: seconds, file of the benchmark, name, options.
kernel() {
    local limit=$1 file=$2 name=$3
    shift 3
    part "$limit" "$name" -m "benchmarks.speed.$file" --json "$out/$name.json" "$@"
}

if [ "$small" = --small ]; then
    export TORCHDYNAMO_DISABLE=1 # compiling takes long and is torch's to test
    tests=(kernels/tests/test_kernel_token_logprobs.py)
    how=(--device cpu --rounds 1 --preset tiny --rows 64)
    kernel 60 bench_linear_token_logprobs linear "${how[@]}"
    kernel 60 bench_loss_delta loss_delta "${how[@]}"
    kernel 60 bench_token_logprobs token_logprobs "${how[@]}"
    part 120 sampling -m benchmarks.speed.sampling --n 2 --rounds 1 --max-new-tokens 8
    part 120 correctness -m pytest -q -p no:cacheprovider "${tests[@]}"
    exit "$failed"
fi

part 100 correctness -m pytest -q -p no:cacheprovider -m "not slow" kernels/tests
how=(--dtype bfloat16 --device cuda --rounds 5)
# Hidden 4,096 and 896 to 3,584; vocabularies of 32k, 128k, 152k and 256k.
shapes=(llama-3-8b qwen-2.5-7b qwen-2.5-0.5b llama-3.2-1b llama-2-7b gemma-2-9b)
kernel 70 bench_linear_token_logprobs linear-8192 "${how[@]}" --rows 8192 --preset "${shapes[@]}"
kernel 40 bench_loss_delta loss_delta-8192 "${how[@]}" --rows 8192 --preset "${shapes[@]:0:4}"
kernel 40 bench_linear_token_logprobs linear-2048 "${how[@]}" --rows 2048 --preset "${shapes[@]:0:4}"
kernel 50 bench_linear_token_logprobs linear-32768 "${how[@]}" --rows 32768 --preset "${shapes[@]:0:3}"
kernel 40 bench_token_logprobs token_logprobs-4096 "${how[@]}" --rows 4096 --preset "${shapes[@]}"
part 90 sampling -m benchmarks.speed.sampling --n 16 --rounds 3 ${MODEL:+--model "$MODEL"}
exit "$failed"
