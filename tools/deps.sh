#!/bin/sh
# Installs the Debian 12 packages that are missing; does nothing, fast, when all are there.
# usage: deps.sh run|dev
set -eu

run="gcc make pkg-config libc6-dev libcunit1-dev libcurl4-openssl-dev libgnutls28-dev libjansson-dev
     libmicrohttpd-dev libpq-dev libsqlite3-dev libuv1-dev uthash-dev postgresql-15 util-linux"
dev="clang clang-format clang-tidy gcovr gdb libclang-rt-14-dev prometheus spin valgrind curl"

case "${1:-}" in
run) want=$run ;;
dev) want="$run $dev" ;;
*) echo "usage: deps.sh run|dev" >&2; exit 2 ;;
esac

# shellcheck disable=SC2086
missing=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' $want 2>/dev/null |
  awk -v want="$want" '$2 == "installed" { have[$1] = 1 }
    END { n = split(want, w, /[ \n]+/); for (i = 1; i <= n; i++) if (w[i] != "" && !have[w[i]]) print w[i] }')
[ -z "$missing" ] && exit 0

if [ "$(id -u)" = 0 ]; then as_root=""
elif command -v sudo >/dev/null 2>&1; then as_root="sudo"
else
  echo "missing packages, and neither root nor sudo to install them:" >&2
  echo "  apt-get install" $missing >&2
  exit 1
fi

echo "installing:" $missing
# The tests start servers of their own: the package need not make and start one.
if [ ! -e /etc/postgresql-common/createcluster.conf ]; then
  $as_root mkdir -p /etc/postgresql-common
  echo "create_main_cluster = false" | $as_root tee /etc/postgresql-common/createcluster.conf >/dev/null
fi
$as_root apt-get update -qq
# shellcheck disable=SC2086
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
