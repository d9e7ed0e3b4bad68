#!/usr/bin/env bash
# Builds the images named (base, mimic; base alone when none is named) without need of an image registry.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
images=$here/../images
parent=debian:bookworm-slim
suite=bookworm
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

# shellcheck source=scripts/docker-command.sh
. "$here/docker-command.sh"

say() { printf 'images: %s\n' "$*"; }
fail() {
    printf 'images: %s\n' "$*" >&2
    exit 1
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

# The first of this machine's own package sources that has the release; nothing when none has it.
own_mirror() {
    local uri
    command -v apt-get >/dev/null || return 0
    for uri in $(apt-get indextargets --format "\$(REPO_URI)" 'Created-By: Packages' 2>/dev/null | sort -u); do
        case $uri in http://* | https://*) ;; *) continue ;; esac
        uri=${uri%/}
        # The main archive has a release's updates beside it; other archives (security, vendors) do not.
        if curl -fsIo /dev/null --max-time 5 "$uri/dists/$suite/Release" &&
            curl -fsIo /dev/null --max-time 5 "$uri/dists/$suite-updates/Release"; then
            printf '%s\n' "$uri"
            return 0
        fi
    done
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
    mirror=$(own_mirror)
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
}

ensure_parent() {
    if "${DOCKER[@]}" image inspect "$parent" >/dev/null 2>&1; then
        say "$parent is here already"
    elif timeout 20 "${DOCKER[@]}" pull --quiet "$parent" >/dev/null 2>&1; then
        say "$parent was pulled"
    else
        say "$parent is not here and could not be pulled within 20 s"
        bootstrap_parent
        say "$parent was made with debootstrap"
    fi
}

# build FOLDER TARGET TAG...: one image under one or more tags. Prints only what went wrong.
build() {
    local folder=$1 target=$2 tag options=(--target "$2") before after log
    shift 2
    for tag in "$@"; do options+=(--tag "$tag"); done
    before=$("${DOCKER[@]}" image inspect --format '{{.Id}}' "$1" 2>/dev/null || true)
    log=$(mktemp)
    if ! "${DOCKER[@]}" build "${options[@]}" "$images/$folder" >"$log" 2>&1; then
        tail -n 40 "$log" >&2
        rm -f "$log"
        fail "the build of $1 ($target) failed; its last lines are above"
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

build_image() {
    case $1 in
    base) build base base spindle/base:latest ;;
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
    *) fail "there is no image $1; known are base and mimic" ;;
    esac
}

"$here/ensure-engine.sh"
find_docker || fail "no Docker Engine answers"
[ "$#" -gt 0 ] || set -- base
ensure_parent
for name in "$@"; do build_image "$name"; done
