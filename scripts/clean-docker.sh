#!/usr/bin/env bash
# Removes from Docker what is Spindle's, known by its labels, and nothing else: containers, networks, volumes, images.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/docker-command.sh
. "$here/docker-command.sh"

say() { printf 'clean-docker: %s\n' "$*"; }

find_docker || {
    say "no Docker Engine answers: nothing to clean"
    exit 0
}
status=0

# remove WHAT COMMAND... reads names from standard input and removes them one by one, so that one failure stops nothing.
remove() {
    local what=$1 name count=0
    shift
    while read -r name; do
        if "${DOCKER[@]}" "$@" "$name" </dev/null >/dev/null; then count=$((count + 1)); else status=1; fi
    done
    [ "$count" -eq 0 ] || say "removed $what: $count"
}

ours=label=spindle.deployment
remove containers rm --force --volumes < <("${DOCKER[@]}" ps --all --quiet --filter "$ours")
remove networks network rm < <("${DOCKER[@]}" network ls --quiet --filter "$ours")
remove volumes volume rm < <("${DOCKER[@]}" volume ls --quiet --filter "$ours")
# An image that somebody derived from the lab image inherits its label, but not its name: it stays.
remove images image rm < <("${DOCKER[@]}" image ls --filter label=spindle.image --filter 'reference=spindle/*' \
    --format '{{.Repository}}:{{.Tag}}')
say "done"
exit "$status"
