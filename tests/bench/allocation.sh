#!/usr/bin/env bash
# Prints Masar's solver beside LEMON's on the same files: time without reading,
# peak memory, optimum. SIZES="100k 95k" chooses among 10k 100k 95k across 1m.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
go build -trimpath -o "$work/" ./cmd/masar ./tests/bench/instance

lemon=""
if ! command -v g++ >/dev/null; then
  echo "LEMON is left out: there is no g++"
elif ! g++ -O3 -march=native -o "$work/lemon" tests/bench/lemon.cc 2>"$work/g++.log"; then
  echo "LEMON is left out: tests/bench/lemon.cc does not compile here; Debian has it in liblemon-dev"
else
  lemon=yes
fi

printf '%-8s %9s %9s  %-24s %9s %10s  %s\n' instance nodes arcs solver seconds 'memory MB' 'optimum (verified)'
row() { printf '%-8s %9s %9s  %-24s %9s %10s  %s\n' "$@"; }
measure() { # name, arguments of the generator
  local name=$1 file=$work/$1.min
  shift
  "$work/instance" "$@" >"$file"
  local nodes arcs
  read -r _ _ nodes arcs <"$file"
  for workers in 0 1; do
    "$work/masar" matching solve --workers "$workers" "$file" >"$work/out"
    row "$name" "$nodes" "$arcs" "masar$([ "$workers" = 1 ] && echo ', one worker' || true)" \
      "$(awk '$1 == "time" { t = $2; if (sub(/ms$/, "", t)) t /= 1000; else if (sub(/µs$/, "", t)) t /= 1e6; else { if (match(t, /m/)) { split(t, p, "m"); sub(/s$/, "", p[2]); t = 60 * p[1] + p[2] } else sub(/s$/, "", t) } printf "%.3f", t }' "$work/out")" \
      "$(awk '$1 == "memory" { print $2 }' "$work/out")" \
      "$(awk '$1 == "optimum" { print $2 }' "$work/out") ($(awk '$1 == "verifier" { sub(/,$/, "", $2); print $2 }' "$work/out"))"
  done
  if [ -n "$lemon" ]; then
    for algorithm in simplex scaling; do
      local seconds memory cost
      read -r seconds memory cost < <("$work/lemon" "$algorithm" "$file")
      row "$name" "$nodes" "$arcs" "LEMON $algorithm" "$seconds" "$memory" "$cost"
    done
  fi
  rm -f "$file"
}

for size in ${SIZES:-10k 100k 95k across 1m}; do
  case $size in
  10k) measure 10k -candidates 10000 -offers 500 -posts 2000 ;;
  100k) measure 100k -candidates 100000 -offers 5000 -posts 20000 ;;
  95k) measure 95k -candidates 100000 -offers 5000 -posts 95000 ;;
  across) measure across -candidates 100000 -offers 5000 -posts 20000 -across 2 ;;
  1m) measure 1m -candidates 1000000 -offers 50000 -posts 200000 ;;
  *) echo "no size $size" >&2 && exit 2 ;;
  esac
done
