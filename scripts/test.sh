#!/usr/bin/env bash
# Sets everything up, runs all tests, and then makes sure that they left nothing behind. Arguments go to cargo test.
# --second-engine before them: the tests run on a newer engine (second-engine.sh), which is gone afterwards.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")
cd "$root"

# shellcheck source=scripts/docker-command.sh
. "$here/docker-command.sh"
# shellcheck source=scripts/kernel-limits.sh
. "$here/kernel-limits.sh"

say() { printf 'test: %s\n' "$*"; }
fail() {
    printf 'test: %s\n' "$*" >&2
    exit 1
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

# With its library a test sets the clock of the server alone; without it that test says that it is skipped.
ensure_faketime() {
    if compgen -G '/usr/lib/*/faketime/libfaketimeMT.so.1' >/dev/null || ! command -v apt-get >/dev/null; then return; fi
    say "installing faketime"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq update || true
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 install -y \
        --no-install-recommends faketime >/dev/null || say "faketime could not be installed"
}

# fetch PACKAGE FOLDER PROGRAM: a program of the tests' own, from Debian's package, which is unpacked and not installed:
# that would start a service.
fetch() {
    local package=$1 folder=$target/$2 program=$target/$2/$3
    [ ! -x "$program" ] || return 0
    command -v apt-get >/dev/null || return 1
    say "fetching $package"
    mkdir -p "$folder"
    (cd "$folder" && apt-get -qq download "$package" && dpkg-deb --extract "$package"_*.deb . && rm "$package"_*.deb) 2>/dev/null && return 0
    say "$package could not be fetched"
    return 1
}

# Without these the tests that pull, and those of the figures, say that they are skipped.
ensure_programs() {
    if fetch docker-registry registry usr/bin/docker-registry; then
        export SPINDLE_TEST_REGISTRY=$target/registry/usr/bin/docker-registry
    fi
    if fetch prometheus prometheus usr/bin/prometheus; then
        export SPINDLE_TEST_PROMETHEUS=$target/prometheus/usr/bin
    fi
}

# What test deployments have in Docker, one thing a line: kind, id, deployment, name.
things_of_tests() {
    local label='{{.Label "spindle.deployment"}}' filter=label=spindle.deployment
    {
        "${DOCKER[@]}" ps --all --no-trunc --filter "$filter" --format "container {{.ID}} $label {{.Names}}"
        "${DOCKER[@]}" network ls --no-trunc --filter "$filter" --format "network {{.ID}} $label {{.Name}}"
        "${DOCKER[@]}" volume ls --filter "$filter" --format "volume {{.Name}} $label {{.Name}}"
    } | awk '$3 ~ /^test-/' | sort
}

# Servers of a debug build that nobody waits for any more: kind, pid, parent, program.
orphans() {
    local path pid parent program
    for path in /proc/[0-9]*/exe; do
        program=$(readlink "$path" 2>/dev/null) || continue
        [ "${program% (deleted)}" = "$target/debug/spindle" ] || continue
        pid=${path#/proc/}
        pid=${pid%/exe}
        parent=$(awk '/^PPid:/ { print $2 }' "/proc/$pid/status" 2>/dev/null) || continue
        if [ "$parent" = 1 ]; then echo "process $pid orphan $program"; fi
    done
}

leftovers() { { things_of_tests && orphans; } | sort | comm -13 <(printf '%s\n' "$before") -; }

# Removes what was left behind, and names it, but for networks that are Docker's to remove: after many starts and
# removals at once it may go on counting endpoints that are gone, until it is started anew (moby issue 42119).
remove() {
    local kind id rest said
    while read -r kind id rest; do
        if ! said=$(remove_one "$kind" "$id" 2>&1); then
            if [ "$kind" = network ] && [[ $said == *'has active endpoints'* ]] && is_empty "$id"; then
                say "Docker does not let go of the empty network $rest" >&2
                continue
            fi
            say "could not remove $kind $id $rest: $said" >&2
        fi
        echo "$kind $id $rest"
    done
}

remove_one() {
    case $1 in
    container) "${DOCKER[@]}" rm --force --volumes "$2" ;;
    network) "${DOCKER[@]}" network rm "$2" ;;
    volume) "${DOCKER[@]}" volume rm "$2" ;;
    process) kill "$2" ;;
    esac
}

# runner COMMAND: cargo runs the tests with this command.
runner() {
    local triple
    triple=$(rustc -vV | sed -n 's/^host: //p' | tr '[:lower:]-' '[:upper:]_')
    export "CARGO_TARGET_${triple}_RUNNER=$1"
}

# What the tests need is copied to the second engine: the labs for those of the whole product alone.
use_second_engine() {
    local images=(spindle/base spindle/mimic)
    case " $* " in
    '  ' | *' e2e '*) images+=(debian:bookworm-slim spindle/postgres spindle/django spindle/jupyter) ;;
    esac
    trap '"$here/second-engine.sh" down' EXIT
    "$here/second-engine.sh" up "${images[@]}" 9>&-
    DOCKER=("$here/second-engine.sh" run docker)
    runner "$here/second-engine.sh run"
}

is_empty() { [ "$("${DOCKER[@]}" network inspect --format '{{len .Containers}}' "$1")" = 0 ]; }

second=false
if [ "${1:-}" = --second-engine ]; then second=true && shift; fi
[ -d ~/.cargo/bin ] && PATH=$PATH:~/.cargo/bin
command -v cargo >/dev/null || fail "no cargo here: install Rust (https://rustup.rs) first"
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")

# One at a time: a run would take another's sandboxes for its own leftovers.
exec 9>"${TMPDIR:-/tmp}/spindle-test-$(id -u).lock"
flock --nonblock 9 || { say "another run of the tests is under way; waiting for it" && flock 9; }

ensure_faketime 9>&-
ensure_programs
raise_kernel_limits 9>&-
"$here/images.sh" base postgres django jupyter mimic 9>&- # Sees to the engine first.
find_docker || fail "no Docker Engine answers"
if $second; then
    use_second_engine "$@"
elif docker_needs_sudo; then
    say "$(id -un) is not in the group docker: the tests run with sudo, cargo does not"
    runner "sudo --preserve-env"
fi
before=$({ things_of_tests && orphans; } | sort)
if [ -n "$before" ]; then
    say "left behind by an earlier run, and not counted now (make clean-docker removes what is Docker's):"
    printf '%s\n' "$before"
fi

status=0
cargo test --locked "$@" 9>&- || status=$?

# Docker may still be at work on the last removals.
for _ in 1 2 3 4 5 6 7 8 9 10; do
    left=$(leftovers)
    [ -n "$left" ] || break
    sleep 0.5
done
[ -z "$left" ] || left=$(printf '%s\n' "$left" | remove)
if [ -n "$left" ]; then
    say "FAILED: the tests left this behind (removed now):" >&2
    printf '%s\n' "$left" >&2
    [ "$status" -ne 0 ] || status=1
elif [ "$status" -eq 0 ]; then
    say "all passed, nothing left behind"
fi
exit "$status"
