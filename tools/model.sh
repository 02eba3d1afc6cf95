#!/bin/sh
# Has SPIN visit every state of the protocol model, and find each bug that can be planted in it.
# usage: model.sh DIRECTORY [LIVES]
set -eu

dir=${1:?usage: model.sh DIRECTORY [LIVES]}
lives=${2:-2}
model=docs/model/two_phase.pml
mkdir -p "$dir"
cp "$model" "$dir/model.pml"
cd "$dir"

passed=0 failed=0
say() { # ok or not, name, text
  if [ "$1" = ok ]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
  printf '%-6s  %-30s  %s\n' "$1" "$2" "$3"
}

# verify NAME COMPILER-FLAGS RUN-FLAGS SPIN-FLAGS: leaves `errors` and `states`
verify() {
  rm -f model.pml.trail pan
  # shellcheck disable=SC2086
  spin -a $4 model.pml >spin.out 2>&1 || { cat spin.out >&2; exit 1; }
  # shellcheck disable=SC2086
  cc -w -O2 -DMEMLIM=12000 -DCOLLAPSE $2 -o pan pan.c
  # shellcheck disable=SC2086
  ./pan -m1000000 $3 >"$1.out" 2>&1 || true
  errors=$(sed -n 's/.*errors: \([0-9]*\)$/\1/p' "$1.out")
  states=$(sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1/p' "$1.out")
  if grep -q "Search not completed\|max search depth too small\|out of memory" "$1.out" &&
     [ "${errors:-0}" = 0 ]; then errors=incomplete; fi
}

verify every-state "-DSAFETY" "-E" "-DLIVES=$lives"
[ "$errors" = 0 ] && verdict=ok || verdict=FAILED
say $verdict every-state "$states states, $errors errors"
if [ "$lives" = 2 ]; then
  verify no-cycle "-DNP" "-l -E" "-DLIVES=$lives"
  [ "$errors" = 0 ] && verdict=ok || verdict=FAILED
  say $verdict no-cycle "$states states, $errors errors"
  for bug in $(grep -o 'BUG_[A-Z][A-Z_]*' model.pml | sort -u); do
    verify "$bug" "-DSAFETY" "-E" "-D$bug"
    broken=$(sed -n 's/^pan:1: assertion violated \(.*\) (at depth.*/\1/p' "$bug.out")
    [ "$errors" = 1 ] && verdict=ok || verdict=FAILED
    say $verdict "$bug" "found: ${broken:-no}"
  done
fi
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
