#!/bin/sh
# Runs our own attacks in the box, and writes "NAME CODE LAST-LINE" to ./results. usage: escapes.sh STAGE NAMES…
# STAGE is 1, or 2 in the second of two boxes, for attacks that prepare the next one.
tries=0
while [ ! -e late.env ]; do
    tries=$((tries + 1)); [ $tries -gt 100 ] && { echo "late.env never came" >&2; exit 3; }
    sleep 0.1
done
. ./early.env
. ./late.env
stage=$1
shift
for name in "$@"; do
    case $name in
        *.py) set -- timeout 80 python3 -B "escapes/$name" "$stage" ;;
        *.sh) set -- timeout 80 sh "escapes/$name" "$stage" ;;
        *) set -- timeout 80 "escapes/built/$name" "$stage" ;;
    esac
    "$@" > said 2>&1
    code=$?
    printf '%s %s %s\n' "$name" "$code" "$(tail -n 1 said | tr -d '\r')" >> results
    # What a pipe to the harness would show, in full.
    sed "s/^/$name: /" said >> said.all
done
echo END >> results
