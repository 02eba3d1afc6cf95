#!/bin/sh
# Runs the fuzz targets for a while, each on its corpus and what it adds to it (kept outside the tree).
# usage: fuzz.sh DIRECTORY SECONDS TARGET...
#
# A finding is left in DIRECTORY/findings; `DIRECTORY/fuzz_TARGET FILE` shows it again. To keep what a long
# run has learnt: fuzz_TARGET -merge=1 tests/fuzz/corpus/TARGET DIRECTORY/corpus/TARGET
set -eu

dir=${1:?usage: fuzz.sh DIRECTORY SECONDS TARGET...}
seconds=${2:?}
shift 2
mkdir -p "$dir/findings"
run() {
  mkdir -p "$dir/corpus/$1"
  status=0
  "$dir/fuzz_$1" -max_total_time="$seconds" -timeout=30 -rss_limit_mb=2048 -max_len=65536 \
    -print_final_stats=1 -artifact_prefix="$dir/findings/$1-" \
    "$dir/corpus/$1" "tests/fuzz/corpus/$1" >"$dir/$1.log" 2>&1 || status=$?
  echo $status >"$dir/$1.status"
}
# All at once: each has its time, whatever part of a processor it gets.
for target in "$@"; do run "$target" & done
wait

passed=0 failed=0
for target in "$@"; do
  log=$dir/$target.log
  if [ "$(cat "$dir/$target.status")" = 0 ]; then
    passed=$((passed + 1)) verdict=ok
  else
    failed=$((failed + 1)) verdict=FAILED
  fi
  printf '%-6s  %-8s  %10s inputs  %6s edges covered\n' "$verdict" "$target" \
    "$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")" \
    "$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -1)"
  [ $verdict = ok ] || tail -40 "$log"
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
