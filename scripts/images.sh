#!/usr/bin/env bash
# Builds the images named (base, postgres, django, jupyter, mongo, mimic) and those they stand on; without a name all
# lab images that can be built here. None but mongo needs an image registry. --fresh before the names: anew, from the
# packages of today; without it what Docker has from before is used.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
images=$here/../images
parent=debian:bookworm-slim
suite=bookworm
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

# shellcheck source=scripts/docker-command.sh
. "$here/docker-command.sh"
# shellcheck source=scripts/debian-mirror.sh
. "$here/debian-mirror.sh"

say() { printf 'images: %s\n' "$*"; }
fail() {
    printf 'images: %s\n' "$*" >&2
    exit 1
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

# Writes the sources of a fresh root file system: the mirror it was made from, and its updates where they exist.
write_sources() {
    local root=$1 mirror=$2 security
    {
        echo "deb $mirror $suite main"
        if curl -fsIo /dev/null --max-time 5 "$mirror/dists/$suite-updates/Release"; then
            echo "deb $mirror $suite-updates main"
        fi
        security=${mirror%/}-security
        if curl -fsIo /dev/null --max-time 5 "$security/dists/$suite-security/Release"; then
            echo "deb $security $suite-security main"
        fi
    } | as_root tee "$root/etc/apt/sources.list" >/dev/null
}

# Takes out what no container needs, and tells apt and dpkg to keep it out.
make_slim() {
    local root=$1 folder
    as_root tee "$root/etc/dpkg/dpkg.cfg.d/slim" >/dev/null <<'SLIM'
path-exclude /usr/share/doc/*
path-include /usr/share/doc/*/copyright
path-exclude /usr/share/man/*
path-exclude /usr/share/info/*
path-exclude /usr/share/locale/*
path-exclude /usr/share/lintian/*
SLIM
    as_root tee "$root/etc/apt/apt.conf.d/slim" >/dev/null <<'SLIM'
APT::Install-Recommends "false";
Acquire::Languages "none";
Acquire::GzipIndexes "true";
DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/*.bin || true"; };
SLIM
    # Packages must not start their services while an image is built.
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$root/usr/sbin/policy-rc.d" >/dev/null
    as_root chmod 755 "$root/usr/sbin/policy-rc.d"
    as_root find "$root/usr/share/doc" -type f ! -name copyright -delete
    as_root find "$root/usr/share/doc" -type d -empty -delete
    for folder in usr/share/man usr/share/info usr/share/locale usr/share/lintian var/lib/apt/lists var/cache/apt var/log tmp; do
        if [ -d "$root/$folder" ]; then as_root find "$root/$folder" -mindepth 1 -delete; fi
    done
    as_root find "$root/var/cache/debconf" "$root/var/lib/dpkg" -maxdepth 1 -name '*-old' -delete
    as_root rm -rf "$root/debootstrap" "$root/etc/resolv.conf" "$root/etc/hostname"
    # An empty machine-id is filled in by whoever boots; one shared by all containers would not identify anything.
    as_root truncate --size 0 "$root/etc/machine-id"
}

bootstrap_parent() {
    local root mirror options=(--variant=minbase) log
    if [ ! -e "$keyring" ] || ! command -v debootstrap >/dev/null; then
        command -v apt-get >/dev/null || fail "cannot make $parent: debootstrap and Debian's keyring are missing"
        say "installing debootstrap and Debian's keyring"
        as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq update || true
        as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 install -y \
            --no-install-recommends debootstrap debian-archive-keyring >/dev/null
    fi
    root=$(mktemp -d "${TMPDIR:-/var/tmp}/spindle-debian.XXXXXX")
    log=$(mktemp)
    # shellcheck disable=SC2064 # The values of now are meant.
    trap "$(declare -f as_root); as_root rm -rf --one-file-system '$root'; rm -f '$log'" EXIT
    mirror=$(own_mirror "$suite")
    say "making $parent with debootstrap from ${mirror:-the default mirror}"
    if ! as_root debootstrap "${options[@]}" "--keyring=$keyring" "$suite" "$root" ${mirror:+"$mirror"} >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        as_root tail -n 20 "$root/debootstrap/debootstrap.log" >&2 2>/dev/null || true
        fail "debootstrap failed; its last lines are above"
    fi
    [ -n "$mirror" ] || mirror=$(awk '$1 == "deb" { print $2; exit }' "$root/etc/apt/sources.list")
    write_sources "$root" "${mirror%/}"
    make_slim "$root"
    as_root tar -C "$root" --numeric-owner --one-file-system -c . |
        "${DOCKER[@]}" import --change 'CMD ["bash"]' - "$parent" >/dev/null
    as_root rm -rf --one-file-system "$root"
    rm -f "$log"
}

is_here() { "${DOCKER[@]}" image inspect "$1" >/dev/null 2>&1; }

ensure_parent() {
    if ! $fresh && is_here "$parent"; then
        say "$parent is here already"
    elif timeout 20 "${DOCKER[@]}" pull --quiet "$parent" >/dev/null 2>&1; then
        say "$parent was pulled"
    else
        say "$parent is not here and could not be pulled within 20 s"
        bootstrap_parent
        say "$parent was made with debootstrap"
    fi
}

# One of pip's settings on this machine, from its variables or its files; nothing if it is not set.
pip_setting() {
    local variable=PIP_${1^^}
    variable=${variable//-/_}
    if [ -n "${!variable:-}" ]; then
        printf '%s\n' "${!variable}"
    else
        pip config get "global.$1" 2>/dev/null || python3 -m pip config get "global.$1" 2>/dev/null || true
    fi
}

# Where this machine finds PyPI, if not at its own address, as files beside the Dockerfile: pip.conf, and ca.pem with the
# authorities that vouch for it. Nothing of it is written into images/.
hand_in_pip() {
    local key value
    [ -z "${handed:-}" ] || return 0
    handed=$(mktemp -d)
    trap 'rm -rf "$handed"' EXIT
    echo '[global]' >"$handed/pip.conf"
    for key in index-url extra-index-url trusted-host proxy; do
        value=$(pip_setting "$key")
        [ -z "$value" ] || echo "$key = ${value//$'\n'/ }" >>"$handed/pip.conf"
    done
    value=$(pip_setting cert)
    value=${value:-${REQUESTS_CA_BUNDLE:-}}
    if [ -r "$value" ]; then
        cp "$value" "$handed/ca.pem"
        echo 'cert = /build/ca.pem' >>"$handed/pip.conf"
    fi
    chmod 644 "$handed"/*
}

# Without a pip here the build itself finds out.
reaches_pypi() {
    ! command -v pip >/dev/null || pip --retries 0 --timeout 15 index versions pip >/dev/null 2>&1
}

# build_from FOLDER OPTION...: docker build, with what this machine hands in where it is wanted.
build_from() {
    local folder=$images/$1
    shift
    case $folder in
    */django | */jupyter)
        tar --owner=0 --group=0 --numeric-owner -c -C "$folder" . -C "$handed" . | "${DOCKER[@]}" build "$@" -
        ;;
    *) "${DOCKER[@]}" build "$@" "$folder" ;;
    esac
}

# build FOLDER TARGET TAG...: one image under one or more tags. Prints only what went wrong.
build() {
    local folder=$1 target=$2 tag options=() before after log
    shift 2
    [ -z "$target" ] || options+=(--target "$target")
    if $fresh; then options+=(--no-cache); fi
    for tag in "$@"; do options+=(--tag "$tag"); done
    before=$("${DOCKER[@]}" image inspect --format '{{.Id}}' "$1" 2>/dev/null || true)
    log=$(mktemp)
    if ! build_from "$folder" "${options[@]}" >"$log" 2>&1; then
        tail -n 40 "$log" >&2
        rm -f "$log"
        fail "the build of $1${target:+ ($target)} failed; its last lines are above"
    fi
    rm -f "$log"
    after=$("${DOCKER[@]}" image inspect --format '{{.Id}}' "$1")
    if [ "$before" = "$after" ]; then
        say "$* unchanged"
        return
    fi
    say "$* built"
    # The version before would stay as an image without a name; one that a container still uses does.
    [ -z "$before" ] || "${DOCKER[@]}" image rm "$before" >/dev/null 2>&1 || true
}

# need NAME: why this image cannot be built here; nothing if it can.
need() {
    case $1 in
    django | jupyter)
        # With one that was built before, Docker's cache may do.
        is_here "spindle/$1" || reaches_pypi || echo "PyPI is not in reach"
        ;;
    mongo)
        is_here mongo:7 ||
            timeout 20 "${DOCKER[@]}" manifest inspect mongo:7 >/dev/null 2>&1 ||
            echo "mongo:7 is not here, and no registry that has it is in reach"
        ;;
    esac
}

build_image() {
    case $1 in
    base) build base base spindle/base:latest ;;
    postgres | django | jupyter | mongo) build "$1" '' "spindle/$1:latest" ;;
    mimic)
        build mimic latest spindle/mimic:latest spindle/mimic:twin
        build mimic bare spindle/mimic:bare
        build mimic many spindle/mimic:many
        build mimic greeter spindle/mimic:greeter
        build mimic proxied spindle/mimic:proxied
        build mimic udp spindle/mimic:udp
        build mimic broken spindle/mimic:broken
        build mimic empty spindle/mimic:empty
        ;;
    esac
}

fresh=false
if [ "${1:-}" = --fresh ]; then fresh=true && shift; fi
for name in "$@"; do
    case $name in
    base | postgres | django | jupyter | mongo | mimic) ;;
    *) fail "there is no image $name; known are base, postgres, django, jupyter, mongo and mimic" ;;
    esac
done
"$here/ensure-engine.sh"
find_docker || fail "no Docker Engine answers"
all=false
[ "$#" -gt 0 ] || { all=true && set -- base postgres django jupyter mongo; }
ensure_parent
# All but mimic stand on it, or take the reporter from it.
[ "$*" = mimic ] || build_image base
for name in "$@"; do
    case $name in
    base) continue ;;
    django | jupyter) hand_in_pip ;;
    esac
    lacking=$(need "$name")
    if [ -z "$lacking" ]; then
        build_image "$name"
    elif $all; then
        say "spindle/$name is skipped: $lacking"
    else
        fail "spindle/$name cannot be built: $lacking"
    fi
done
