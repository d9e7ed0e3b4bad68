#!/usr/bin/env bash
# A newer Docker Engine beside the machine's own, to run the tests on.
#
#   second-engine.sh up [IMAGE...]    start it, and copy these images of the machine's engine to it
#   second-engine.sh run COMMAND...   run a command where it can reach the engine's containers, with DOCKER_HOST set and
#                                     the docker client of that engine
#   second-engine.sh down             end it, and remove all but the packages that were fetched
#
# The engine has a network and a mount namespace of its own, so neither meets the other's bridges, firewall or files. (In
# a mere chroot `docker exec` would enter the host's files.) Its packages come from a newer release of Debian at the
# machine's own mirror; they are unpacked below target/second-engine and never installed. Remove that folder to fetch
# them anew. Its containers reach nothing beyond their host. It needs root, or sudo.
#
#   SPINDLE_ENGINE_SUITE    that release of Debian (default: forky, which has Engine 28; trixie has 26)
#   SPINDLE_ENGINE_CONFIG   the engine's daemon.json (default: {}); {"features": {"containerd-snapshotter": true}} gives
#                           it the image store of Engine 29
set -euo pipefail

self=$(realpath "${BASH_SOURCE[0]}")
here=$(dirname "$self")
# shellcheck source=scripts/debian-mirror.sh
. "$here/debian-mirror.sh"

say() { printf 'second engine: %s\n' "$*"; }
fail() {
    printf 'second engine: %s\n' "$*" >&2
    exit 1
}

if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || fail "it needs root: run this as root, or install sudo"
    exec sudo --preserve-env env "PATH=$PATH" bash "$self" "$@"
fi

suite=${SPINDLE_ENGINE_SUITE:-forky}
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
# What the engine runs, and what it takes to build its namespaces.
packages=(docker.io docker-cli iptables procps kmod iproute2 mount bash coreutils)

base=$(realpath -m "${CARGO_TARGET_DIR:-$here/../target}/second-engine")
root=$base/$suite # Its file system, read by it alone.
data=$base/data
log=$base/log
# Sockets have short names, and a folder for each checkout.
run=/run/spindle-engine-$(printf '%s' "$base" | cksum | cut -d ' ' -f 1)
tmp=${TMPDIR:-/tmp}

# Before one of the machine's own commands: it runs in the engine's network.
beside=(nsenter "--net=$run/ns/net" env "DOCKER_HOST=unix://$run/docker.sock" "PATH=$run/bin:$PATH")

answers() {
    [ -S "$run/docker.sock" ] && [ -n "$("${beside[@]}" timeout 15 docker info --format '{{.ServerVersion}}' 2>/dev/null)" ]
}

# The newest packages of the suite with all that they need, into a fresh root file system. Nothing of them is configured,
# since nothing but the engine runs there.
fetch() {
    local apt=$base/apt mirror deb
    [ ! -e "$root/fetched" ] || return 0
    [ -e "$keyring" ] || fail "Debian's keyring is missing: apt-get install debian-archive-keyring"
    mirror=$(own_mirror "$suite")
    [ -n "$mirror" ] ||
        fail "the newer engine cannot be had: none of this machine's package sources has Debian's release $suite, or none answers"
    say "fetching the packages of $suite"
    rm -rf "$apt" "$root"
    mkdir -p "$apt"/{lists,archives}/partial "$root"
    : >"$apt/status" # As if nothing were installed: so all that is needed is fetched.
    echo "deb [signed-by=$keyring] $mirror $suite main" >"$apt/sources.list"
    cat >"$apt/apt.conf" <<END
Dir::State "$apt"; Dir::State::status "$apt/status"; Dir::State::lists "$apt/lists";
Dir::Cache "$apt"; Dir::Cache::archives "$apt/archives";
Dir::Etc::SourceList "$apt/sources.list"; Dir::Etc::SourceParts "/dev/null";
Dir::Etc::Preferences "/dev/null"; Dir::Etc::PreferencesParts "/dev/null";
APT::Install-Recommends "false"; APT::Sandbox::User "root"; Acquire::Languages "none"; Acquire::Retries "3";
DPkg::Post-Invoke ""; DPkg::Pre-Install-Pkgs "";
END
    APT_CONFIG=$apt/apt.conf apt-get -qq update || fail "the lists of $suite could not be had from this machine's mirror"
    APT_CONFIG=$apt/apt.conf apt-get -qq --download-only install "${packages[@]}" ||
        fail "the packages of $suite could not be had from this machine's mirror"
    # The first one has the links from /bin to /usr/bin, which the others write through.
    for deb in "$apt"/archives/{base-files_,}*.deb; do dpkg-deb --extract "$deb" "$root"; done
    ln -sf xtables-nft-multi "$root/usr/sbin/iptables"
    ln -sf xtables-nft-multi "$root/usr/sbin/ip6tables"
    rm -rf "$apt"
    touch "$root/fetched"
}

# Both namespaces, each held by a file, and in the second one the engine's file system in place of the machine's. What
# both sides must find at one path is there in both: the socket, the engine's data, and what the tests share with it.
make_namespaces() {
    mkdir -p "$run/ns" "$data"
    mount -t tmpfs -o size=64k tmpfs "$run/ns"
    mount --make-private "$run/ns" # The kernel takes no other place for such a file.
    touch "$run/ns/net" "$run/ns/mnt"
    # shellcheck disable=SC2016 # The words are for the shell inside.
    unshare --net="$run/ns/net" --mount="$run/ns/mnt" --propagation private bash -ec '
        root=$1
        shift
        mount --bind "$root" "$root"
        mount --rbind /proc "$root/proc"
        mount --rbind /dev "$root/dev"
        mount -t sysfs sysfs "$root/sys" # It shows the interfaces of the network in which it is mounted.
        mount --rbind /sys/fs/cgroup "$root/sys/fs/cgroup"
        mount -t tmpfs -o mode=755 tmpfs "$root/run"
        for shared in "$@"; do
            mkdir -p "$root$shared"
            mount --bind "$shared" "$root$shared"
        done
        mkdir -p "$root/machine"
        cd "$root"
        pivot_root . machine
        cd /
        PATH=/usr/sbin:/usr/bin
        umount --lazy /machine
        ip link set lo up
    ' - "$root" "$run" "$data" "$tmp"
}

# Programs that the tests look for by name: the client as old as the engine, by its own libc, with the machine's files; and
# the engine itself, for the tests that start one of their own.
write_programs() {
    local libc
    libc=$(compgen -G "$root/usr/lib/*/ld-linux*.so.*" | head -n 1)
    mkdir -p "$run/bin"
    printf '#!/bin/sh\nexec %q --library-path %q %q "$@"\n' "$libc" "${libc%/*}" "$root/usr/bin/docker" >"$run/bin/docker"
    printf '#!/bin/sh\nexec nsenter --mount=%q env -C / PATH=/usr/sbin:/usr/bin dockerd "$@"\n' "$run/ns/mnt" \
        >"$run/bin/dockerd"
    chmod 755 "$run/bin"/*
}

start() {
    local version
    printf '%s\n' "${SPINDLE_ENGINE_CONFIG:-{\}}" >"$run/daemon.json"
    # Of the machine's own files it sees none.
    setsid nohup nsenter --net="$run/ns/net" --mount="$run/ns/mnt" env -C / PATH=/usr/sbin:/usr/bin \
        dockerd --config-file "$run/daemon.json" --data-root "$data" --exec-root "$run/exec" \
        --pidfile "$run/pid" --host "unix://$run/docker.sock" >"$log" 2>&1 </dev/null &
    for _ in $(seq 300); do
        if answers; then
            version=$("${beside[@]}" docker version --format '{{.Server.Version}}')
            say "Docker Engine $version answers, beside the machine's own; its log is $log"
            return 0
        fi
        kill -0 $! 2>/dev/null || break
        sleep 0.2
    done
    tail -n 20 "$log" >&2
    fail "it does not answer; the end of its log is above"
}

# Images go by archive: what would be built anew there would be another image.
copy() {
    local name tag wanted=()
    for name in "$@"; do
        docker image inspect "$name" >/dev/null || fail "the machine's engine has no $name to copy"
        while read -r tag; do
            [ "$(docker image inspect --format '{{.Id}}' "$tag")" = \
                "$("${beside[@]}" docker image inspect --format '{{.Id}}' "$tag" 2>/dev/null)" ] || wanted+=("$tag")
        done < <(docker image ls --filter "reference=$name" --format '{{.Repository}}:{{.Tag}}')
    done
    [ "${#wanted[@]}" -gt 0 ] || return 0
    say "copying ${wanted[*]}"
    docker image save "${wanted[@]}" | "${beside[@]}" docker image load --quiet >/dev/null
}

up() {
    if ! answers; then
        down
        mkdir -p "$base"
        fetch
        trap down EXIT
        make_namespaces
        write_programs
        start
    fi
    trap down EXIT
    copy "$@"
    trap - EXIT
}

# The processes that see the engine's files. One that has ended sees none, though its parent may not have noticed.
left() {
    local ours
    ours=$(stat -Lc %i "$run/ns/mnt" 2>/dev/null) || return 0
    { stat -Lc '%i %n' /proc/[0-9]*/ns/mnt 2>/dev/null || true; } | awk -F '[ /]' -v ours="$ours" '$1 == ours { print $4 }'
}

down() {
    local pid containers
    [ -d "$run" ] || return 0
    if answers; then
        mapfile -t containers < <("${beside[@]}" docker ps --all --quiet)
        [ "${#containers[@]}" -eq 0 ] || "${beside[@]}" docker rm --force --volumes "${containers[@]}" >/dev/null || true
    fi
    pid=$(cat "$run/pid" 2>/dev/null) || pid=
    if [ -n "$pid" ] && left | grep -qx "$pid"; then
        kill "$pid"
        for _ in $(seq 150); do
            [ -n "$(left)" ] || break
            sleep 0.2
        done
    fi
    while read -r pid; do kill -KILL "$pid" || true; done < <(left)
    umount --quiet "$run"/ns/{net,mnt} || true
    umount --quiet "$run/ns" || true
    rm -rf --one-file-system "$run" "$data"
    say "gone"
}

verb=${1:-}
[ "$#" -eq 0 ] || shift
case $verb in
up) up "$@" ;;
run)
    [ -e "$run/ns/net" ] || fail "it is not there: $0 up"
    exec "${beside[@]}" "$@"
    ;;
down) down ;;
*) fail "what is wanted: up, run or down" ;;
esac
