#!/bin/bash
# start.sh GROUP: starts chappe for one group of the comparison and returns when it is ready.
#   CHAPPE   the program (default: chappe on the PATH)
#   USERS    accounts user0.. with passwords password0.. (default 2000)
# All is kept below /tmp/chappe-bench; the accounts are imported once for each USERS and copied from then on.
set -eu
CHAPPE=${CHAPPE:-chappe}
USERS=${USERS:-2000}
GROUP=${1:-sip}
BASE=/tmp/chappe-bench
ulimit -n "$(ulimit -Hn)"
mkdir -p "$BASE"

TRUSTED='trusted = ["127.0.0.1/32"]'
[ "$GROUP" = auth ] && TRUSTED='trusted = []'
cat > "$BASE/chappe.toml" <<TOML
domains = ["bench.test"]
data_dir = "$BASE/data"
[sip]
listen = ["udp://127.0.0.1:16360", "tcp://127.0.0.1:16360", "tls://127.0.0.1:16361"]
$TRUSTED
[sip.authentication]
nonce_lifetime = "1h"
[sip.limits]
# A closed loop leaves 32 s of finished transactions behind.
max_transactions = 10000000
[http]
listen = ["http://127.0.0.1:16380"]
[limits]
connections_per_peer = 100000
[message]
# The deferred messages are counted as fast as they can be delivered.
drain_rate = 100000
[msrp]
listen = ["tcp://127.0.0.1:16355", "tls://127.0.0.1:16356"]
[msrp.session]
per_user = 100000
[management]
listen = "http://127.0.0.1:16390"
[log]
level = "warn"
TOML

"$(dirname "$0")/stop.sh"
rm -rf "$BASE/data"
accounts="$BASE/accounts-$USERS"
if [ ! -d "$accounts" ]; then
  seq 0 $((USERS - 1)) | sed 's/.*/user&@bench.test,password&/' > "$BASE/users.csv"
  "$CHAPPE" account import "$BASE/users.csv" --config "$BASE/chappe.toml" > "$BASE/import.log"
  mv "$BASE/data" "$accounts"
fi
cp -r "$accounts" "$BASE/data"
setsid "$CHAPPE" serve --config "$BASE/chappe.toml" > "$BASE/out" 2> "$BASE/log" < /dev/null &
pid=$!
for _ in $(seq 1 600); do
  grep -qs '^ready' "$BASE/out" && break
  kill -0 "$pid" 2>/dev/null || { tail -5 "$BASE/log" >&2; exit 1; }
  sleep 0.1
done
echo "$pid" > "$BASE/pid"
