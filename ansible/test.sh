#!/usr/bin/env bash
# Runs the playbook against a fresh Debian 12 with systemd, a container of this machine's engine with an engine of its
# own inside, and looks at what came of it: `make test-ansible`. SPINDLE_BINARY is the program that is installed.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")
program=${SPINDLE_BINARY:-${CARGO_TARGET_DIR:-$root/target}/debug/spindle}
tools=${SPINDLE_ANSIBLE_VENV:-$root/target/ansible}
box=spindle-ansible-test-$$
image=spindle-ansible-test/debian
# Every character that a quotation could lose.
# shellcheck disable=SC2016
odd_password='a "b" $c \d `e` 1'

# shellcheck source=scripts/docker-command.sh
. "$root/scripts/docker-command.sh"

say() { printf 'ansible: %3d s: %s\n' "$SECONDS" "$*"; }
fail() {
    printf 'ansible: FAILED: %s\n' "$*" >&2
    # The password in it is this run's alone.
    [ ! -s "$work/output" ] || tail -n 60 "$work/output" >&2
    [ "${#DOCKER[@]}" -eq 0 ] || there journalctl --no-pager -n 40 -u spindle -u spindle-relay >&2 || true
    exit 1
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

# Commands on the server, as its root.
there() { "${DOCKER[@]}" exec -i "$box" "$@"; }

work=$(mktemp -d)
session=
clean_up() {
    [ -z "$session" ] || kill "$session" 2>/dev/null || true
    if [ -n "${SPINDLE_ANSIBLE_KEEP:-}" ]; then
        say "kept: the container $box and $work"
        return
    fi
    rm -rf "$work"
    [ "${#DOCKER[@]}" -gt 0 ] || return 0
    "${DOCKER[@]}" rm --force --volumes "$box" >/dev/null 2>&1 || true
    "${DOCKER[@]}" network rm "$box" >/dev/null 2>&1 || true
    "${DOCKER[@]}" image rm "$image" >/dev/null 2>&1 || true
}

prepare_tools() {
    if ! cmp -s "$here/requirements.txt" "$tools/requirements.txt"; then
        say "installing Ansible in $tools"
        rm -rf "$tools"
        # Debian keeps a part of it in a package of its own.
        if ! python3 -m venv "$tools" >/dev/null 2>&1; then
            as_root apt-get -qq update || true
            as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends python3-venv >/dev/null
            python3 -m venv "$tools"
        fi
        "$tools/bin/pip" install --quiet --requirement "$here/requirements.txt"
        cp "$here/requirements.txt" "$tools/"
    fi
    PATH=$tools/bin:$PATH
}

# Not --privileged, which asks for privileges that a machine that is itself a guest may not have: those that systemd and
# Docker need. The paths that Docker mounts read-only are made writable, as systemd and Docker find them on a server.
start_server() {
    local mtu
    "${DOCKER[@]}" build --quiet --tag "$image" - >"$work/output" 2>&1 <<'DOCKERFILE' || fail "the server's image cannot be built"
FROM debian:bookworm-slim
RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        ca-certificates curl dbus iproute2 openssh-server python3 systemd-sysv \
 && rm -f /usr/sbin/policy-rc.d /etc/apt/apt.conf.d/slim /etc/dpkg/dpkg.cfg.d/slim
STOPSIGNAL SIGRTMIN+3
CMD for at in $(awk '$2 ~ "^/sys" { print $2 }' /proc/mounts); do mount -o remount,bind,rw $at; done; exec /sbin/init
DOCKERFILE
    # A network of its own: on the common one each container that comes or goes can change the bridge's own address, and
    # connections stall until that is noticed. It does not take over the common one's packet size and name servers.
    mtu=$("${DOCKER[@]}" network inspect --format '{{index .Options "com.docker.network.driver.mtu"}}' bridge)
    "${DOCKER[@]}" network create --opt "com.docker.network.driver.mtu=${mtu:-1500}" "$box" >/dev/null
    "${DOCKER[@]}" run --detach --name "$box" --network "$box" --cap-add ALL --cap-drop SYS_RESOURCE --cgroupns private \
        --security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt systempaths=unconfined \
        --device-cgroup-rule 'a *:* rwm' --tmpfs /run --tmpfs /run/lock --tmpfs /tmp:exec \
        --volume /var/lib/docker --volume /var/lib/containerd "$image" >/dev/null
    ssh-keygen -q -t ed25519 -N '' -f "$work/key"
    there install -D -m 600 /dev/stdin /root/.ssh/authorized_keys <"$work/key.pub"
    "${DOCKER[@]}" run --rm debian:bookworm-slim cat /etc/resolv.conf | there tee /etc/resolv.conf >/dev/null
    there install -D -m 644 /dev/stdin /etc/docker/daemon.json <<<'{ "max-concurrent-downloads": 2 }'
    address=$("${DOCKER[@]}" inspect --format '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' "$box")
    for _ in $(seq 100); do
        if there systemctl is-active --quiet ssh.service multi-user.target 2>/dev/null; then return; fi
        sleep 0.2
    done
    fail "systemd does not come up in a container here"
}

write_inventory() {
    "${DOCKER[@]}" save debian:bookworm-slim >"$work/parent.tar"
    cp "$program" "$work/spindle"
    cat >"$work/inventory.yml" <<YAML
# The server of this test.
spindle:
  hosts:
    $address:
      ansible_user: root
      ansible_ssh_private_key_file: $work/key
      ansible_ssh_common_args: -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null
      spindle_binary: $work/spindle
      spindle_publish_address: 0.0.0.0
      spindle_settings: { default_ssh_key: ["$(cat "$work/key.pub")"] }
      spindle_image_archives: [$work/parent.tar]
      spindle_proxy_host: labs.test
      spindle_proxy_tls: internal
YAML
}

# play FILE OPTIONS...: its output goes to $work/output.
play() {
    (cd "$here" && ANSIBLE_FORCE_COLOR=0 ansible-playbook -i "$work/inventory.yml" "$@") >"$work/output" 2>&1 ||
        fail "ansible-playbook $*"
}

# What the API answers to `curl ...`, of which the last is a path, through the proxy and its TLS.
api() {
    local path=${*: -1} answer
    answer=$(curl -sS --fail-with-body --max-time 60 --insecure --resolve "labs.test:443:$address" \
        -u "admin:$password" "${@:1:$#-1}" "https://labs.test/v1$path") || fail "the API answered to $path: $answer"
    printf '%s\n' "$answer"
}

# field NAME: of the object on standard input.
field() { python3 -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"; }

# into OBJECT COMMAND...: over SSH, as the learner.
into() {
    local port
    port=$(field ssh_port <<<"$1")
    shift
    ssh -i "$work/key" -p "$port" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR \
        -o ConnectTimeout=20 "student@$address" "$@"
}

until_well() {
    for _ in $(seq 100); do
        if there curl -sf -o /dev/null http://127.0.0.1:8080/v1/health; then return; fi
        sleep 0.2
    done
    fail "the server does not get well $1"
}

pid_of() { there systemctl show --property MainPID --value "$1"; }

test_install() {
    local made printed
    play site.yml
    printed=$(sed -n 's/.*The password: \([A-Za-z0-9]*\) .*shown this once.*/\1/p' "$work/output")
    made=$(there sed -n 's/^SPINDLE_ADMIN_PASSWORD="\(.*\)"/\1/p' /etc/spindle/admin.env)
    if [ "${#made}" -ne 24 ] || [ "$made" != "$printed" ]; then fail "a password is made, stored and printed"; fi
    [ "$(grep -c "$made" "$work/output")" -eq 1 ] || fail "the password is printed once"
    there grep -q max-concurrent-downloads /etc/docker/daemon.json || fail "Docker's other settings are kept"
    [ "$(there docker info --format '{{.LiveRestoreEnabled}}')" = true ] || fail "containers outlive Docker"
    [ "$(there stat -c '%a %U' /etc/spindle/admin.env)" = "600 root" ] || fail "the password is root's alone"
    password=$made
    alice=$(api -d image=spindle/base -d name=alice /containers)
    [ "$(into "$alice" id -un)" = student ] || fail "the sandbox is reached over SSH"
    into "$alice" spindle-report -v | grep -q 'answer 200$' || fail "the sandbox checks in"
    # Without it the relay would believe the table of addresses; hardening could take it away silently.
    there ls -l "/proc/$(pid_of spindle-relay)/fd" | grep -q pidfd || fail "the relay watches the sandbox's process"
    [ "$(there sed -n 's/^Groups:\s*//p' "/proc/$(pid_of spindle-relay)/status" | wc -w)" -eq 1 ] ||
        fail "the relay has no group but its own"
    there grep -q '^CapBnd:\s*0*400$' "/proc/$(pid_of spindle)/status" || fail "the server has one privilege"
    there systemd-analyze security --no-pager spindle spindle-relay | tail -n 2 >&2
}

test_again() {
    play site.yml
    if ! grep -q 'changed=0 .*failed=0' "$work/output"; then
        grep -B 1 '^changed:' "$work/output" >&2 || true
        fail "a second run changes something"
    fi
    ! grep -q "$password" "$work/output" || fail "the password is printed twice"
}

# Everything is replaced under a session that stays open, in which what is typed comes back, and beside a sandbox that
# nobody uses, whose clock must not notice.
test_upgrade() {
    local server relay quiet
    quiet=$(api -d image=spindle/base -d name=quiet /containers)
    coproc SESSION { into "$alice" -T cat; }
    session=$SESSION_PID
    exchange "before the upgrade"
    server=$(pid_of spindle) relay=$(pid_of spindle-relay)
    printf 'newer' >>"$work/spindle"
    play site.yml --tags install
    [ "$(pid_of spindle)" != "$server" ] || fail "the server is replaced"
    [ "$(pid_of spindle-relay)" != "$relay" ] || fail "the relay is replaced"
    [[ $(there readlink "/proc/$relay/exe") == *deleted* ]] || fail "the old relay still serves the session"
    exchange "after the upgrade"
    [ "$(api /containers/alice | field started_at)" = "$(field started_at <<<"$alice")" ] || fail "it is not started anew"
    [ "$(api /containers/quiet | field stops_at)" = "$(field stops_at <<<"$quiet")" ] || fail "its clock has moved"
    kill "$session"
    session=
}

exchange() {
    local heard
    echo "$1" >&"${SESSION[1]}"
    read -r -t 20 heard <&"${SESSION[0]}" || fail "the session is gone $1"
    [ "$heard" = "$1" ] || fail "the session says $heard"
}

# As docs/OPERATIONS.md has it. What was made after the copy is not forgotten, since its container is there.
test_restore() {
    local copy kept
    there systemctl start spindle-backup.service || fail "the backup"
    copy=$(there sh -c 'ls /var/backups/spindle/spindle-*.db')
    kept=$(api /containers/alice | field ssh_port)
    api -d image=spindle/base -d name=later /containers >/dev/null
    there systemctl stop spindle
    there rm -f /var/lib/spindle/spindle.db /var/lib/spindle/spindle.db-wal /var/lib/spindle/spindle.db-shm
    there install -o spindle -g spindle -m 600 "$copy" /var/lib/spindle/spindle.db
    there systemctl start spindle
    until_well "after the restore"
    [ "$(api /containers/alice | field ssh_port)" = "$kept" ] || fail "the sandbox of before is known again"
    [ "$(into "$(api /containers/alice)" id -un)" = student ] || fail "and reached"
    [ "$(api /containers/later | field status)" = running ] || fail "the sandbox of after the copy is adopted"
}

test_uninstall() {
    local left
    play uninstall.yml
    [ "$(there docker ps --quiet | wc -l)" -eq 3 ] || fail "uninstall.yml alone leaves the sandboxes"
    python3 -c 'import json, sys; print(json.dumps({"spindle_admin_password": sys.argv[1]}))' "$odd_password" >"$work/odd.json"
    play site.yml --extra-vars "@$work/odd.json"
    password=$odd_password
    [ "$(api /containers/alice | field status)" = running ] || fail "and a new installation finds them"
    play uninstall.yml --extra-vars spindle_uninstall_data=true
    left=$(there find / -xdev \( -path /proc -o -path /sys -o -path /var/log/journal \) -prune -o -name "*spindle*" -print || true)
    left+=$(there docker ps --all --quiet) left+=$(there docker network ls --quiet --filter name=spindle)
    left+=$(there docker image ls --quiet 'spindle/*') left+=$(there getent passwd spindle || true)
    left+=$(there getent group spindle || true) left+=$(there systemctl list-units --all --plain --no-legend 'spindle*')
    [ -z "$left" ] || fail "uninstalling left $left"
}

DOCKER=()
trap clean_up EXIT
[ -x "$program" ] || fail "$program is not there: cargo build, or SPINDLE_BINARY=..."
"$root/scripts/images.sh" base >"$work/output" # Sees to the engine, and to the parent of the server's image.
find_docker || fail "no Docker Engine answers"
prepare_tools
say "lint"
(cd "$here" && ansible-lint --nocolor) >"$work/output" 2>&1 || fail "ansible-lint"
say "a fresh server"
start_server
write_inventory
for part in install again upgrade restore uninstall; do
    say "$part"
    "test_$part"
done
say "all passed"
