#!/usr/bin/env bash
# Measures what DESIGN asks for, each beside its bare limit in the same run.
set -euo pipefail
cd "$(dirname "$0")/.."
time=${BENCHTIME:-2s}
bench() { # package, pattern, time
  printf '\n== %s\n' "$1"
  go test -run '^$' -bench "$2" -benchtime "${3:-$time}" -timeout 20m "$1"
}
bench ./pkg/docstore .
bench ./pkg/outbox .
bench ./pkg/bus .
bench ./services/candidates .
bench ./services/indicators 'Fold|TenMillion' 1x
bench ./services/matching .
bench ./services/matching/allocation .
SIZES="${SIZES:-10k 100k 95k across}" tests/bench/allocation.sh
