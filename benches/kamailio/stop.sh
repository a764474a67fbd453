#!/bin/bash
# Stops what start.sh started.
BASE=/tmp/chappe-bench
[ -f "$BASE/pid" ] || exit 0
pid=$(cat "$BASE/pid")
kill "$pid" 2>/dev/null || true
for _ in $(seq 1 150); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
kill -9 "$pid" 2>/dev/null || true
rm -f "$BASE/pid"
