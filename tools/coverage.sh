#!/bin/sh
# Builds with coverage, runs all tests and short demonstrations, tells lines and branches by file, and
# makes pages of it.
# usage: coverage.sh BUILD-DIRECTORY
#
# A process that is killed with SIGKILL (fault tests, crash points) writes no counts: what only such a
# process ran counts as not run. Branches of assert() are left out: one side is a bug.
set -eu

build=${1:?usage: coverage.sh BUILD-DIRECTORY}
make="${MAKE:-make} --no-print-directory BUILD=$build COVERAGE=1 SANITIZE= CC=gcc"

if [ -d "$build" ]; then find "$build" -name '*.gcda' -delete; fi
$make -j2 CFLAGS='-O0 -g' test-programs
failed=0
"$build/test/unit" >"$build/unit.log" 2>&1 || failed=1
ASSENT_BUILD="$build/test" "$build/test/integration" >"$build/integration.log" 2>&1 || failed=1
for agents in '' --agents; do
  # shellcheck disable=SC2086
  "$build/test/assent" demo --transfers 300 --kills 2 $agents >"$build/demo.log" 2>&1 || failed=1
done
tail -n 8 "$build/unit.log" "$build/integration.log" "$build/demo.log"

rm -rf "$build/html"
mkdir -p "$build/html"
gcovr --root . --exclude tests/ --exclude-branches-by-pattern '.*assert\(.*' \
  --csv "$build/coverage.csv" --html-details "$build/html/index.html" "$build/test/obj"

echo
awk -F, '
  function share(part, whole) { return whole ? sprintf("%5.1f%%", 100 * part / whole) : "     -" }
  function row(name, l, lt, b, bt) {
    printf "%-44s %6d %6d %s  %6d %6d %s\n", name, l, lt, share(l, lt), b, bt, share(b, bt) }
  NR == 1 { for (i = 1; i <= NF; i++) column[$i] = i
            printf "%-44s %6s %6s %6s  %6s %6s %6s\n", "file", "lines", "of", "", "branch", "of", ""; next }
  { l = $column["line_covered"]; lt = $column["line_total"]
    b = $column["branch_covered"]; bt = $column["branch_total"]
    row($column["filename"], l, lt, b, bt)
    lines += l; all_lines += lt; branches += b; all_branches += bt }
  END { row("total", lines, all_lines, branches, all_branches) }' "$build/coverage.csv"
echo "Daemons killed with SIGKILL write no counts; those that end by SIGTERM do."
echo "Pages: $build/html/index.html"
if [ "$failed" = 1 ]; then echo "coverage: tests failed" >&2; fi
exit "$failed"
