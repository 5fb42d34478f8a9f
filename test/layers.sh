#!/usr/bin/env bash
# layers.sh - fails if an include crosses a layer: each foreign library has its adapters, the extension and the streamer share no C.
# SPDX-License-Identifier: PostgreSQL
set -eu
cd "$(dirname "$0")/.."
shopt -s nullglob
bad=0

includes() { grep -HnE '^[[:space:]]*#[[:space:]]*include' "$@" || true; }

# $1: pattern of the header, $2…: the only files of the streamer that may include it
only() {
  local pattern=$1 line file
  shift
  while IFS= read -r line; do
    file=$(basename "${line%%:*}")
    case " $* " in
      *" $file "*) ;;
      *) echo "layers: ${line} (only $* may)"; bad=1 ;;
    esac
  done < <(includes streamer/*.c streamer/*.h | grep -E "[<\"]${pattern}[\">]")
}

# $1: what, $2: pattern, $3…: files that must not include it
never() {
  local what=$1 pattern=$2 line
  shift 2
  [ $# -gt 0 ] || return 0
  while IFS= read -r line; do
    echo "layers: ${line} ($what)"
    bad=1
  done < <(includes "$@" | grep -E "$pattern")
}

present() {                     # the files of the modules named
  local module file
  for module in "$@"; do
    for file in "streamer/$module.c" "streamer/$module.h"; do
      if [ -e "$file" ]; then echo "$file"; fi
    done
  done
}

# loop.c is the one event loop, which the library owns; its header shows nothing of it
only 'libwebsockets\.h' server.c http_parts.h http.c http_request.c http_response.c http_stream.c loop.c writer.c http_page.c library_memory.c
# pg.h is the adapter's header: it shows libpq, so it is under the same rule
only '(libpq-fe|libpq/.*)\.h' wal.c query.c upkeep.c maintain.c pg.c pg.h check.c
only 'pg\.h' wal.c query.c upkeep.c maintain.c pg.c
only 'jsmn\.h' json.c
only 'jwt\.h' token.c
only 'openssl/.*\.h' pem.c tls.c library_memory.c receiver.c
only 'arpa/inet\.h' address.c
only 'zlib\.h' zip.c

mapfile -t pure < <(present buffer json json_string text options option_value conninfo log metrics snapshot tables record change change_parts tombstone render message token auth request origin plugin map chance memory files presence topics relay rights posted)
mapfile -t -O ${#pure[@]} pure < <(present keys pem keyfiles rates zip)
mapfile -t -O ${#pure[@]} pure < <(present verdicts departed history client_stats process)
mapfile -t middle < <(present feed arrivals ring transaction frame hub routes batch session session_pull page resume realtime bindings offer connection channel asking work checkpoints concern standing gap decoder bridging feed_parts)
mapfile -t -O ${#pure[@]} pure < <(present reader wal2json pgoutput clock operand pattern filter convert inbound)
mapfile -t -O ${#middle[@]} middle < <(present pages describe)
mapfile -t -O ${#middle[@]} middle < <(present judge judge_parts question queue projection hub_parts delivery)
mapfile -t -O ${#middle[@]} middle < <(present rooms entrance sending)
mapfile -t -O ${#middle[@]} middle < <(present address admission stream tls)
never "level 0 is pure: no sockets" '<(sys/socket|netinet/.*|arpa/.*|sys/epoll|poll)\.h>' ${pure[@]+"${pure[@]}"}
never "level 0 knows nothing above it" '"(feed|hub|session|wal|query|upkeep|maintain|pg|server|http)\.h"' ${pure[@]+"${pure[@]}"}
never "level 1 reaches level 2 only by callbacks" '"(wal|query|upkeep|maintain|pg|server|http)\.h"' ${middle[@]+"${middle[@]}"}
mapfile -t theirs < <(for f in streamer/*.h; do basename "$f"; done)
for header in ${theirs[@]+"${theirs[@]}"}; do
  [ -e "extension/$header" ] || never "the extension includes nothing of the streamer" "\"(\.\./streamer/)?${header//./\\.}\"" extension/*.c extension/*.h
done
never "the streamer includes nothing of the extension" '"\.\./extension/|"(postgres|fmgr)\.h"' streamer/*.c streamer/*.h

files=(streamer/*.c streamer/*.h extension/*.c extension/*.h)
if [ $bad != 0 ]; then echo "layers: FAILED"; exit 1; fi
echo "layers: ${#files[@]} files, no include out of place"
