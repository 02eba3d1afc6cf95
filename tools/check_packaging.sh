#!/bin/sh
# Checks what is shipped for Prometheus and Grafana: promtool takes the sample configuration and the
# alerts, each alert's tests hold, every expression of the dashboard can be read, and no metric is
# named that the code does not write.
# usage: check_packaging.sh
set -eu

rules=packaging/prometheus/assent.rules.yml
dashboard=packaging/grafana/assent.json
if ! command -v promtool >/dev/null 2>&1; then
  echo "packaging: promtool is missing (Debian's package prometheus): make deps-dev installs it" >&2
  exit 1
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

quietly() { # command...: its output only when it fails
  "$@" >"$work/output" 2>&1 || { cat "$work/output" >&2; exit 1; }
}

echo "packaging: promtool takes configuration, alerts and their tests"
quietly promtool check config packaging/prometheus/prometheus.yml
quietly promtool check rules "$rules"
quietly promtool test rules packaging/prometheus/assent.rules.test.yml
sed -n 's/.*- alert: //p' "$rules" | while read -r alert; do
  grep -q "$alert" packaging/prometheus/assent.rules.test.yml ||
    echo "$rules:1: no test of $alert"
done >"$work/untested"
if [ -s "$work/untested" ]; then cat "$work/untested" >&2; exit 1; fi

# A JSON string is one of YAML's, too: the dashboard's expressions become rules that promtool reads.
echo "packaging: promtool reads each expression of the dashboard"
{
  printf 'groups:\n  - name: dashboard\n    rules:\n'
  sed -n 's/^ *"expr": \(".*"\),\{0,1\}$/\1/p' "$dashboard" | sed 's/\$__rate_interval/5m/g' |
    awk '{ printf "      - {record: \"panel:%d\", expr: %s}\n", NR, $0 }'
} >"$work/panels.yml"
quietly promtool check rules "$work/panels.yml"

echo "packaging: every metric named is one that the code writes"
grep -ohE '\bassent_[a-z_]+' "$rules" packaging/prometheus/assent.rules.test.yml "$dashboard" |
  sed -E 's/_(bucket|sum|count)$//' | sort -u | while read -r name; do
  grep -rqF "\"$name\"" common coordinator participant-agent --include='*.c' ||
    echo "packaging: $name is no metric of the code's"
done >"$work/unknown"
if [ -s "$work/unknown" ]; then cat "$work/unknown" >&2; exit 1; fi
echo "packaging: $(grep -c 'alert: ' "$rules") alerts and $(grep -c record: "$work/panels.yml") expressions are as they should be"
