#!/bin/sh
# Runs each fuzz target for a while, on its corpus and what it adds to it (kept outside the tree).
# usage: fuzz.sh DIRECTORY SECONDS TARGET...
#
# A finding is left in DIRECTORY/findings; `DIRECTORY/fuzz_TARGET FILE` shows it again. To keep what a long
# run has learnt: fuzz_TARGET -merge=1 tests/fuzz/corpus/TARGET DIRECTORY/corpus/TARGET
set -eu

dir=${1:?usage: fuzz.sh DIRECTORY SECONDS TARGET...}
seconds=${2:?}
shift 2
passed=0 failed=0
mkdir -p "$dir/findings"
for target in "$@"; do
  mkdir -p "$dir/corpus/$target"
  log=$dir/$target.log
  if "$dir/fuzz_$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=65536 \
      -print_final_stats=1 -artifact_prefix="$dir/findings/$target-" \
      "$dir/corpus/$target" "tests/fuzz/corpus/$target" >"$log" 2>&1; then
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
