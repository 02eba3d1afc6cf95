#!/bin/sh
# Plants each bug of tests/mutants in a copy of the tree and has the simulator find it.
# usage: mutants.sh DIRECTORY [NAME...]
#
# A mutant is a patch; its first line says what is wrong with it. It is caught when a seed breaks an
# invariant: `invariant` is the one that most of the failing seeds broke (0: an assertion of the code's
# own), `seeds` how many it took, in the median, from one failing seed to the next. A mutant that survives
# all seeds is a hole in the checks; a patch that does not apply has been overtaken by the code and must
# be made anew, also when others are asked for. The exit status tells whether all were caught.
set -eu

dir=${1:?usage: mutants.sh DIRECTORY [NAME...]}
shift
STAGES='1-500 501-2000 2001-6000 6001-20000'
SEEDS_MAX=20000
ROOMS='adapters common coordinator participant-agent wal'
patches=$(pwd)/tests/mutants
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
tree=$dir/tree

say() { [ ! -t 2 ] || printf '\r\033[K%s' "$*" >&2; }

copy_tree() {
  rm -rf "${tree:?}"
  mkdir -p "$tree/tests"
  # shellcheck disable=SC2086
  cp -r Makefile $ROOMS "$tree"
  cp -r tests/sim "$tree/tests"
}

build() { make --no-print-directory -C "$tree" -j2 BUILD=out out/test/sim >"$dir/build.log" 2>&1; }

# seeds FROM TO: the failures, as "seed invariant", in the order of seeds
seeds() {
  "$tree/out/test/sim" --json --from "$1" --seeds $(($2 - $1 + 1)) 2>/dev/null | grep '^{' |
    grep -o '"seed":[0-9]*,"invariant":[0-9]*' | tr -c '0-9\n' ' ' | sort -n || true
}

hunt() {
  : >"$dir/found"
  for stage in $STAGES; do
    say "$1: seeds $stage"
    seeds "${stage%-*}" "${stage#*-}" >"$dir/found"
    [ ! -s "$dir/found" ] || return 0
  done
  return 1
}

most_broken() {
  awk '{ n[$2]++ } END { for (i in n) if (n[i] > most) { most = n[i]; which = i } print which }' "$dir/found"
}

median_gap() {
  awk '{ print $1 - last; last = $1 }' "$dir/found" | sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'
}

row() {
  say ''
  printf '%-28s  %9s  %6s  %s\n' "$@"
}

# try NAME: one line of the table; false: not caught
try() {
  patch=$dir/patch
  cp "$patches/$1.patch" "$patch"
  story=$(head -1 "$patch")
  if ! applies "$1"; then
    row "$1" - - "THE PATCH DOES NOT APPLY: $story"
    return 1
  fi
  say "$1: building"
  patch -s -p0 -F0 -d "$tree" <"$patch"
  caught=0
  if ! build; then
    cat "$dir/build.log" >&2
    row "$1" - - "DOES NOT COMPILE: $story"
  elif hunt "$1"; then
    row "$1" "$(most_broken)" "$(median_gap)" "$story"
    caught=1
  else
    row "$1" - - "SURVIVES $SEEDS_MAX SEEDS: $story"
  fi
  heal
  [ "$caught" = 1 ]
}

# Puts back what the patch has changed. (Taken back as a patch it may end up in another place.)
heal() {
  sed -n 's/^+++ \([^[:space:]]*\).*/\1/p' "$patch" | while read -r file; do cp "$file" "$tree/$file"; done
}

applies() { patch -s -p0 -F0 --dry-run -d "$tree" <"$patches/$1.patch" >"$dir/patch.log" 2>&1; }

copy_tree
say 'building'
build || { cat "$dir/build.log" >&2; exit 1; }
all=$(cd "$patches" && for each in *.patch; do echo "${each%.patch}"; done)
# shellcheck disable=SC2086
[ $# -gt 0 ] || set -- $all
passed=0 failed=0
row mutant invariant seeds 'what is wrong with it'
for name in $all; do
  case " $* " in *" $name "*) continue ;; esac
  if ! applies "$name"; then
    row "$name" - - "THE PATCH DOES NOT APPLY: $(head -1 "$patches/$name.patch")"
    failed=$((failed + 1))
  fi
done
for name; do
  if try "$name"; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
