#!/bin/sh
# Checks that what a user can set or call is documented, and that nothing else is.
# usage: check_docs.sh API-DOCS-PROGRAM
#
#   - each key of a daemon's configuration is in its sample file, in its section, with its default as
#     the value (a key that may be left out is commented out: ";key = value"), and no other key is
#   - each path a daemon serves is in the page about its API
#   - the description of the public API has each of its routes, and no other, and each field that is read
#     or written there; the page about it is made from that
set -eu

api_docs=${1:?usage: check_docs.sh API-DOCS-PROGRAM}

broken=$(mktemp)
table=$(mktemp)
trap 'rm -f "$broken" "$table"' EXIT

# The rows of a table of struct config_key as "section key default", macros expanded; NULL as "-".
keys_of() {
  ${CC:-cc} -std=c17 -D_GNU_SOURCE -I. $(pkg-config --cflags jansson libpq) -E -P "$1" | tr '\n' ' ' |
    grep -oE '\{ *"[a-z_.*]+", *"[a-z_]+", *CONFIG_[A-Z]+, *__builtin_offsetof *\([^)]*\), *("[^"]*"|\(\(void \*\) ?0\))' |
    sed -E 's/^\{ *"([^"]*)", *"([^"]*)".*\), *"([^"]*)"$/\1 \2 \3/; t; s/^\{ *"([^"]*)", *"([^"]*)".*/\1 \2 -/'
}

check_sample() { # source, sample
  echo "docs: the keys of $1 are those of $2"
  keys_of "$1" >"$table"
  if [ ! -s "$table" ]; then echo "$1:1: no table of keys is found in it" >>"$broken"; fi
  if [ ! -r "$2" ]; then echo "$2:1: is missing" >>"$broken"; return; fi
  awk -v sample="$2" '
    FNR == NR { otherwise[$1, $2] = $3; next }
    /^\[/ { section = $0; sub(/^\[/, "", section); sub(/\].*/, "", section)
            sub(/\..*/, ".*", section) }
    /^;? ?[a-z_]+ = / {
      line = $0; sub(/^;? ?/, "", line); key = line; sub(/ = .*/, "", key)
      value = line; sub(/^[a-z_]+ = /, "", value)
      if (!((section, key) in otherwise))
        print sample ":" FNR ": there is no key [" section "] " key
      else if (otherwise[section, key] != "-" && otherwise[section, key] != value)
        print sample ":" FNR ": the default of [" section "] " key " is " otherwise[section, key]
      seen[section, key] = 1 }
    END { for (name in otherwise) if (!(name in seen)) {
            split(name, part, SUBSEP); print sample ":1: [" part[1] "] " part[2] " is missing" } }
  ' "$table" "$2" | sort >>"$broken"
  keys=$((${keys:-0} + $(wc -l <"$table")))
}

check_routes() { # source, page
  echo "docs: the paths of $1 are in $2"
  grep -nE '\{"[A-Z]+", *"/' "$1" | sed -E 's|^([0-9]+):.*\{"([A-Z]+)", *"([^"]*)".*|\1 \2 \3|' >"$table"
  if [ ! -s "$table" ]; then echo "$1:1: no routes are found in it" >>"$broken"; fi
  if [ ! -r "$2" ]; then echo "$2:1: is missing" >>"$broken"; return; fi
  while read -r line method path; do
    # The whole path: not as the beginning of a longer one.
    grep -F "$method $path" "$2" | awk -v want="$method $path" '
      { rest = $0
        while ((at = index(rest, want)) > 0) {
          rest = substr(rest, at + length(want))
          if (rest !~ /^[\/a-z{]/) found = 1 } }
      END { exit !found }' ||
      echo "$1:$line: $method $path is not in $2" >>"$broken"
  done <"$table"
  routes=$((${routes:-0} + $(wc -l <"$table")))
}

# A path and a method each begin a line of their own, at their depth.
check_openapi() { # source, description
  echo "docs: the routes of $1 are those of $2"
  grep -ohE '\{"[A-Z]+", *"/[^"]*", *[a-z]' coordinator/routes*.c | sed -E 's/^\{"([A-Z]+)", *"([^"]*)".*/\1 \2/' |
    sort >"$table"
  awk '
    /^  "paths": \{/ { within = 1 } /^  \},?$/ { within = 0 }
    within && /^    "\/.*": \{/ { path = $0; sub(/^ *"/, "", path); sub(/".*/, "", path) }
    within && /^      "[a-z]+": \{/ { method = $0; sub(/^ *"/, "", method); sub(/".*/, "", method)
                                     print toupper(method) " " path }' "$2" | sort |
    diff "$table" - | sed -nE "s|^< (.*)|$1:1: \\1 is not in $2|p; s|^> (.*)|$2:1: \\1 is not served|p" >>"$broken"
}

# A field that is written, json_key(w, "name"), or read, {"name", JSON_KIND_..., is a property of a schema:
# a line of its own, at their depth.
check_fields() { # description, source...
  description=$1
  shift
  echo "docs: the fields of the public API are in $description"
  grep -nE '(json_key|write_[a-z]+)\(&?w, "|\{"[a-z_]+", JSON_KIND_' "$@" |
    grep -vE 'json_write_string\(&?w, "' |
    sed -nE 's/^([^:]*:[0-9]+):.*\(&?w, "([a-z_]+)".*/\1 \2/p; s/^([^:]*:[0-9]+):.*\{"([a-z_]+)", JSON_KIND_.*/\1 \2/p' >"$table"
  if [ ! -s "$table" ]; then echo "$1:1: no fields are found in it" >>"$broken"; fi
  awk -v description="$description" '
    FNR == NR { if (/^          "[a-z_]+": \{/) { name = $1; gsub(/[":]/, "", name); described[name] = 1 } next }
    !($2 in described) { print $1 ": the field " $2 " is not in " description }
  ' "$description" "$table" >>"$broken"
  fields=$(sed 's/.* //' "$table" | sort -u | wc -l)
}

check_page() { # description, page
  echo "docs: $2 is made from $1"
  "$api_docs" "$1" | cmp -s - "$2" || echo "$2:1: is out of date: make api-docs" >>"$broken"
}

check_sample coordinator/settings.c docs/assentd.ini
check_sample participant-agent/settings.c docs/assent-agent.ini
check_routes coordinator/routes.c docs/api.md
check_routes participant-agent/routes.c docs/agent-api.md
check_openapi coordinator/routes.c coordinator/openapi.json
check_fields coordinator/openapi.json coordinator/requests.c common/statement_json.c common/problem.c \
  coordinator/answer.c coordinator/events.c coordinator/listing.c coordinator/render.c coordinator/routes*.c \
  coordinator/drain.c
check_page coordinator/openapi.json docs/api.md

if [ -s "$broken" ]; then
  cat "$broken" >&2
  echo "docs: $(wc -l <"$broken") differences between code and documentation" >&2
  exit 1
fi
echo "docs: $keys keys, $routes routes and $fields fields are documented"
