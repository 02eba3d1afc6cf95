#!/bin/sh
# Checks that what docs/reliability.md names to show the outcome of a fault is there to be run.
# usage: check_reliability.sh
#
#   - each row of the table of faults names something
#   - `a_name` is the beginning of a test's name, or all of it, with * for anything; behind "E A" it is
#     there for embedded agents and for agents as processes; `a_1`..`a_3` are three
#   - suites are suites; what is in italics are faults of the simulator, what follows "torture" of it
set -eu

page=docs/reliability.md
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

# Macros make some of the cases: what the compiler sees counts.
for test in tests/unit/test_*.c tests/integration/test_*.c; do
  ${CC:-cc} -std=c17 -D_GNU_SOURCE -I. $(pkg-config --cflags jansson libpq) -E -P "$test"
done | tr '\n' ' ' | grep -oE '\{ *"[a-z0-9_]+", *[a-z0-9_]+ *\}' | sed -E 's/^\{ *"([^"]*)".*/\1/' | sort -u >"$dir/cases"
grep -ohE '^SUITE\([a-z0-9_]+' tests/unit/*.c tests/integration/*.c | sed 's/.*(//' >"$dir/suites"
grep -oE '^  X\([A-Z_]+, "[a-z-]+"' tests/sim/sim.h | sed -E 's/.*"(.*)"/\1/' >"$dir/simulated"
grep -oE '^    \{"[a-z-]+", [0-9]' cli/torture_faults.c | sed -E 's/.*"(.*)".*/\1/' >"$dir/tortures"

awk -F ' [|] ' -v dir="$dir" -v page="$page" '
  function take(file, into, line) {
    while ((getline line <(dir "/" file)) > 0) into[line] = 1
    close(dir "/" file) }
  function wrong(what) { print page ":" FNR ": fault " row ": " what; bad++ }
  # Of a glob: does one of `names` match, with `ending`?
  function is_there(names, glob, ending, name, regex) {
    regex = glob
    gsub(/\*/, ".*", regex)
    for (name in names) if (name ~ ("^" regex ending "$")) return 1
    return 0 }
  function test_is_there(glob, both, ways) {
    named++
    if (!both) { if (!is_there(cases, glob, "(_.*)?")) wrong("there is no test " glob); return }
    if (!(is_there(cases, glob, "(_.*)?_embedded") && is_there(cases, glob, "(_.*)?_agents")) &&
        !(is_there(cases, glob, "(_.*)?_by_call") && is_there(cases, glob, "(_.*)?_over_http")))
      wrong("there is no test " glob " both embedded and with agents") }
  function flush_pending(both, i) {
    for (i = 1; i <= waiting; i++) test_is_there(pending[i], both)
    waiting = 0 }
  # `x1`..`x3`
  function expand(first, last, stem, from, to) {
    stem = first; sub(/[0-9]+$/, "", stem)
    from = substr(first, length(stem) + 1) + 0; sub(/^[a-z]*/, "", last)
    for (to = last + 0; from < to; from++) pending[++waiting] = stem (from + 1) }
  function read_tests(text, token, last, range, tortures_now) {
    waiting = 0; range = 0; tortures_now = 0; last = ""
    while (match(text, /`[^`]*`|[.][.]|;|torture |E A|A/)) {
      token = substr(text, RSTART, RLENGTH)
      text = substr(text, RSTART + RLENGTH)
      if (token == "..") range = 1
      else if (token == ";") { flush_pending(0); tortures_now = 0 }
      else if (token == "torture ") tortures_now = 1
      else if (token == "E A" || token == "A") flush_pending(token == "E A")
      else {
        gsub(/`/, "", token)
        if (tortures_now) { named++
          if (token !~ /^--/ && !is_there(tortures, token, "(-.*)?")) wrong("torture knows no " token) }
        else if (range) { expand(last, token); range = 0 }
        else if (token ~ /^[a-z0-9_*]+$/) pending[++waiting] = last = token
        else if (token ~ /^make /) named++ } }
    flush_pending(0) }
  function read_list(text, pattern, names, what, list, n, i) {
    while (match(text, pattern)) {
      list = substr(text, RSTART, RLENGTH)
      text = substr(text, RSTART + RLENGTH)
      gsub(/^suites? |[*]/, "", list)
      n = split(list, each, ", ")
      for (i = 1; i <= n; i++) { named++
        if (!(each[i] in names)) wrong("there is no " what " " each[i]) } } }
  BEGIN { take("cases", cases); take("suites", suites); take("simulated", simulated); take("tortures", tortures) }
  /^## / { within = $0 == "## Faults" }
  within && /^\| [0-9]+ \|/ {
    row = $1; sub(/^[|] /, "", row)
    proof = $4; sub(/ [|]$/, "", proof)
    named = proof ~ /crash matrix/
    if (row != ++rows) wrong("row " rows " is missing")
    read_tests(proof)
    gsub(/`[^`]*`/, "", proof)
    read_list(proof, "[*][a-z, -]+[*]", simulated, "fault of the simulator")
    read_list(proof, "suites? [a-z_]+(, [a-z_]+)*", suites, "suite")
    if (!named) wrong("nothing shows it") }
  END { if (!rows) { print page ":1: no table of faults is found in it"; bad++ }
        if (!bad) print "docs: each of " rows " faults is shown by something that is there"
        exit bad > 0 }' "$page" >"$dir/out" || { cat "$dir/out" >&2; exit 1; }
cat "$dir/out"
