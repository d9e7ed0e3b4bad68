#!/bin/sh
# Writes its first argument to every terminal of the container that this runs in, and prints on how many, and how many are
# stopped. Straight to the terminals: a container has no record of who is logged in, by which `wall` would find them.
# Whose reader has stopped the terminal (Ctrl-S) blocks the writer, which is ended after a second; then nothing of this is
# left.
# shellcheck disable=SC2086 # Process ids are words.
timer='' writers='' reached=0 stopped=0
trap 'kill -KILL $writers' ALRM
trap 'kill -KILL $writers; kill $timer' EXIT
(
    trap exit TERM
    trap 'kill $!' EXIT
    sleep 1 &
    wait $!
    kill -ALRM $$
) &
timer=$!
for terminal in /dev/pts/[0-9]*; do
    [ -c "$terminal" ] || continue
    # In a process of its own, which leads no session: so the terminal never becomes its own.
    (printf '%s' "$1" >"$terminal") &
    writers="$writers $!"
done
for writer in $writers; do
    # What was killed, or is about to be, was blocked.
    if wait "$writer"; then reached=$((reached + 1)); elif [ "$?" -gt 128 ]; then stopped=$((stopped + 1)); fi
done
echo "$reached $stopped"
