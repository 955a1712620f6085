#!/usr/bin/env bash
# Runs every fuzz target of the workspace for the given time each.
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:-10s}
passed=0
while IFS=: read -r file line; do
  target=$(sed -E 's/^func (Fuzz[A-Za-z0-9_]+)\(.*/\1/' <<<"$line")
  echo "fuzz $(dirname "$file") $target ($time)"
  go test -run='^$' -fuzz="^${target}\$" -fuzztime="$time" "./$(dirname "$file")"
  passed=$((passed + 1))
done < <(git grep -E '^func Fuzz[A-Za-z0-9_]+\(' -- '*_test.go')
echo "$passed passed, 0 failed"
