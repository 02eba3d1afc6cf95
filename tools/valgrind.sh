#!/bin/sh
# Runs the demonstration with its daemons under valgrind: first with the agents hosted in assentd, then
# with agents of their own. Nobody is killed, so that each daemon ends by SIGTERM and reports.
# usage: valgrind.sh BUILD-DIRECTORY
set -eu

build=${1:?usage: valgrind.sh BUILD-DIRECTORY}
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT

check_logs() { # how many daemons there were
  found=0
  for log in "$logs"/*.log; do
    found=$((found + 1))
    if ! grep -q 'ERROR SUMMARY: 0 errors' "$log"; then
      cat "$log" >&2
      echo "valgrind: $(sed -n 's/.*Command: //p' "$log" | cut -c1-80): errors, or no report" >&2
      exit 1
    fi
  done
  if [ "$found" != "$1" ]; then
    echo "valgrind: $found reports for $1 daemons" >&2
    exit 1
  fi
  rm -f "$logs"/*.log
  echo "valgrind: $1 daemons ended without errors and without leaks"
}

run() { # how many daemons, options of the demo
  daemons=$1
  shift
  ASSENT_DAEMON_WRAPPER="$(command -v valgrind) --leak-check=full --error-exitcode=99 --log-file=$logs/%p.log" \
    "$build/assent" demo --kills 0 --transfers 200 --clients 8 "$@"
  check_logs "$daemons"
}

run 1
run 3 --agents
