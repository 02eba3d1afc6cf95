#!/bin/sh
# Checks that the rooms of the tree depend on each other as docs/design.md says.
# usage: check_structure.sh DIRECTORY-OF-OBJECTS
#
# Every violation is told as file:line: rule. Three things are checked: which libraries a room may
# include, which rooms a room may include, and that the two protocol cores are pure, by their text
# and by what their objects leave undefined.
set -eu

objects=${1:?usage: check_structure.sh DIRECTORY-OF-OBJECTS}
rooms="adapters cli common coordinator participant-agent wal"
broken=$(mktemp)
trap 'rm -f "$broken"' EXIT

# All #include lines: file:line:included
includes() {
  find $rooms tests -name '*.[ch]' | sort |
    xargs awk 'match($0, /^[ \t]*#[ \t]*include[ \t]*[<"][^>"]*/) {
      name = substr($0, RSTART, RLENGTH); sub(/^[^<"]*[<"]/, "", name)
      kind = index($0, "<") ? "<" : "\""; print FILENAME ":" FNR ":" kind name }'
}

echo "structure: one place for each library"
# library, who may include it (a pattern for the file's path), and how that is said. The command line
# talks to databases on its own account, to check what the daemons did; tests may do anything.
includes | awk -F: '
  function only(library, allowed, said) {
    if (index(substr($3, 2), library) == 1 && $1 !~ allowed && $1 !~ /^tests\//)
      print $1 ":" $2 ": only " said " includes " library }
  {
    only("libpq-fe.h", "^(adapters|cli)/", "adapters/ (and cli/, for the demonstration)")
    only("sqlite3.h", "^wal/", "wal/")
    only("microhttpd.h", "^common/http_", "common/http_*")
    only("curl/", "^common/http_", "common/http_*")
    only("gnutls/", "^common/(fingerprint|tls|tokens)[.]c$", "common/fingerprint.c, tls.c, tokens.c")
    only("uv.h", "^common/loop[.]c$", "common/loop.c")
  }' >"$broken"

echo "structure: the arrows between rooms point one way"
# Besides: the coordinator hosts agents, so it knows agent.h; its settings name a database and its main
# program says which adapter there is. The command line copies the log and has it rebuilt.
includes | awk -F: '
  BEGIN {
    may["common"] = "^common/"
    may["adapters"] = "^(common|adapters)/"
    may["wal"] = "^(common|wal)/"
    may["participant-agent"] = "^(common|adapters|participant-agent)/"
    may["coordinator"] = "^(common|wal|coordinator)/|^participant-agent/(agent|database)[.]h$"
    may["cli"] = "^(common|cli)/|^coordinator/(rebuild|settings)[.]h$|^wal/backup[.]h$"
  }
  substr($3, 1, 1) == "\"" {
    room = $1; sub(/\/.*/, "", room); name = substr($3, 2)
    if (name !~ /\//) print $1 ":" $2 ": an include names its room: " name
    else if ($1 == "coordinator/main.c" && name == "adapters/adapter.h") next
    else if (room != "tests" && name ~ /^tests\//) print $1 ":" $2 ": only tests/ includes " name
    else if (room != "tests" && name !~ may[room])
      print $1 ":" $2 ": " room "/ may not include " name }' >>"$broken"

echo "structure: the protocol cores are pure"
# A core computes: no allocation, no input or output, no clock, no randomness, no log. The compiler
# turns copies of structs into calls of memcpy and memset; sanitizers and coverage add their own.
pure='^(__assert_fail|__stack_chk_fail|_GLOBAL_OFFSET_TABLE_|memset|memcpy|memmove|memcmp|strcmp|strncmp|strlen)$'
pure="$pure|^(__asan_|__ubsan_|__gcov_|__sanitizer_)"
for core in coordinator/txn participant-agent/branch; do
  for suffix in c h; do
    grep -nE '#[ \t]*include[ \t]*[<"](stdio|stdlib|time|unistd|sys/|errno|pthread|common/(log|clock|loop|http|config))' \
      "$core.$suffix" | sed "s|^\([0-9]*\):.*include *\(.*\)|$core.$suffix:\1: a core does not include \2|"
  done >>"$broken"
  if [ ! -r "$objects/$core.o" ]; then
    echo "$core.c:1: $objects/$core.o is missing: build first" >>"$broken"
    continue
  fi
  nm -u "$objects/$core.o" | awk '{ print $NF }' | grep -vE "$pure" | while read -r symbol; do
    line=$(grep -nE "(^|[^a-z_])$symbol *\(" "$core.c" | head -n 1 | cut -d: -f1)
    echo "$core.c:${line:-1}: a core does not call $symbol"
  done >>"$broken"
done

if [ -s "$broken" ]; then
  cat "$broken" >&2
  echo "structure: $(wc -l <"$broken") violations" >&2
  exit 1
fi
echo "structure: $(includes | wc -l) includes and 2 cores are as they should be"
