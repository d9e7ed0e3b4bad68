#!/usr/bin/env bash
# Makes sure that a Docker Engine answers on this machine: does nothing if one does, else installs and starts it.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=scripts/docker-command.sh
. "$here/docker-command.sh"

log_file=/var/log/spindle-dockerd.log
pid_file=/var/run/docker.pid
deadline=60 # Seconds that a freshly started engine has to answer.

say() { printf 'engine: %s\n' "$*"; }
fail() {
    printf 'engine: %s\n' "$*" >&2
    exit 1
}

has_systemd() { [ -d /run/systemd/system ] && command -v systemctl >/dev/null; }

# apt-get, patient with another run of apt that holds the locks.
apt() {
    local try output
    for try in 1 2 3 4 5 6; do
        if output=$(DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 "$@" 2>&1 9>&-); then
            return 0
        fi
        case $output in *'Could not get lock'* | *'Unable to lock'*) ;; *) break ;; esac
        [ "$try" -eq 6 ] || sleep 10
    done
    printf '%s\n' "$output" | tail -n 20 >&2
    return 1
}

install_packages() {
    local wanted=()
    command -v dockerd >/dev/null || wanted+=(docker.io)
    command -v iptables >/dev/null || wanted+=(iptables)
    command -v debootstrap >/dev/null || wanted+=(debootstrap)
    command -v curl >/dev/null || wanted+=(curl ca-certificates)
    command -v ssh >/dev/null || wanted+=(openssh-client)
    if [ "${#wanted[@]}" -gt 0 ]; then
        command -v apt-get >/dev/null || fail "no Docker Engine answers, and without apt-get it cannot be installed: install Docker yourself"
        say "installing ${wanted[*]}"
        apt update || say "apt-get update had errors; trying with the lists that there are"
        apt install -y --no-install-recommends "${wanted[@]}" || fail "apt-get could not install ${wanted[*]}"
    fi
    # Newer releases keep the client in a package of its own.
    if ! command -v docker >/dev/null; then
        say "installing docker-cli"
        apt install -y --no-install-recommends docker-cli || fail "apt-get could not install docker-cli"
    fi
}

# The process that the pid file names, if it is alive and is dockerd.
running_dockerd() {
    local pid
    pid=$(cat "$pid_file" 2>/dev/null) || return 1
    [ -n "$pid" ] && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = dockerd ] || return 1
    printf '%s\n' "$pid"
}

daemon_json_sets() { grep -qs "\"$1\"" /etc/docker/daemon.json; }

start_dockerd() {
    local options=() device mtu pid
    if pid=$(running_dockerd); then
        say "dockerd runs already as process $pid; waiting for it to answer"
        return
    fi
    # A pid that another program has taken since makes dockerd refuse to start.
    rm -f "$pid_file"
    # A restart of dockerd must not stop the containers. An option given twice is refused, hence the look at the file.
    daemon_json_sets live-restore || options+=(--live-restore)
    # A bridge that sends larger packets than the way out carries makes downloads in containers hang.
    device=$(awk '$2 == "00000000" && $8 == "00000000" { print $1; exit }' /proc/net/route)
    mtu=$(cat "/sys/class/net/${device:-none}/mtu" 2>/dev/null || echo 1500)
    if [ "$mtu" -lt 1500 ] && ! daemon_json_sets mtu; then options+=("--mtu=$mtu"); fi
    say "starting dockerd ${options[*]} in the background, log in $log_file"
    # Not our terminal, not our lock (descriptor 9), not our process group.
    setsid nohup dockerd "${options[@]}" >>"$log_file" 2>&1 </dev/null 9>&- &
    disown
}

start_engine() {
    if has_systemd; then
        say "starting docker.service"
        systemctl enable --quiet docker.service 2>/dev/null || true
        systemctl start docker.service || true
    else
        start_dockerd
    fi
}

wait_for_engine() {
    local waited=0 version
    while [ "$waited" -lt $((deadline * 5)) ]; do
        if version=$(engine_version docker); then
            say "Docker Engine $version answers"
            return 0
        fi
        if ! has_systemd && [ "$waited" -gt 25 ] && ! running_dockerd >/dev/null; then break; fi
        sleep 0.2
        waited=$((waited + 1))
    done
    if has_systemd; then
        journalctl -u docker.service -n 30 --no-pager >&2 || true
    else
        tail -n 30 "$log_file" >&2 || true
    fi
    fail "no Docker Engine answers; the end of its log is above"
}

main_as_root() {
    touch "$log_file"
    # One at a time: two runs side by side would start two engines.
    exec 9>/run/spindle-engine.lock
    flock 9
    if engine_version docker >/dev/null; then return 0; fi
    install_packages
    if engine_version docker >/dev/null; then return 0; fi
    start_engine
    wait_for_engine
}

if [ "${1:-}" != --as-root ] && find_docker 2>/dev/null; then
    : # An engine answers.
elif [ -n "${DOCKER_HOST:-}" ]; then
    fail "DOCKER_HOST is $DOCKER_HOST, and no engine answers there"
elif [ "$(id -u)" -eq 0 ]; then
    main_as_root
else
    command -v sudo >/dev/null || fail "no Docker Engine answers; run this once as root, or install sudo"
    say "no Docker Engine answers yet; sudo is needed to set one up"
    sudo bash "$here/ensure-engine.sh" --as-root
    find_docker || fail "the engine was started, but does not answer $(id -un)"
fi

if [ "${1:-}" != --as-root ] && [ "$(id -u)" -ne 0 ] && docker_needs_sudo; then
    say "$(id -un) is not in the group docker: sudo is used for docker"
fi
