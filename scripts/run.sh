#!/usr/bin/env bash
# Sets everything up (engine, lab image, server) and starts the server in the foreground.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")
data=$root/.spindle
cd "$root"

# shellcheck source=scripts/docker-command.sh
. "$here/docker-command.sh"
# shellcheck source=scripts/kernel-limits.sh
. "$here/kernel-limits.sh"

say() { printf 'run: %s\n' "$*"; }
fail() {
    printf 'run: %s\n' "$*" >&2
    exit 1
}

# setting NAME DEFAULT: what the server will use: SPINDLE_NAME, else the key of spindle.toml, else the default.
setting() {
    local variable=SPINDLE_$1 key value=
    key=$(printf '%s' "$1" | tr '[:upper:]' '[:lower:]')
    if [ -n "${!variable:-}" ]; then
        value=${!variable}
    elif [ -f spindle.toml ]; then
        value=$(sed -n "s/^ *$key *= *\"\{0,1\}\([^\"#]*[^\"# ]\)\"\{0,1\} *\(#.*\)\{0,1\}\$/\1/p" spindle.toml | head -n 1)
    fi
    printf '%s\n' "${value:-$2}"
}

# Sets private_key, and SPINDLE_DEFAULT_SSH_KEY unless it is configured already.
choose_key() {
    local public
    private_key=
    [ -z "${SPINDLE_DEFAULT_SSH_KEY:-}" ] || return 0
    # Whatever its form: a text, a list or several lines.
    if [ -f spindle.toml ] && grep -Eq '^ *default_ssh_key *=' spindle.toml; then return 0; fi
    for public in ~/.ssh/id_ed25519.pub ~/.ssh/id_ecdsa.pub ~/.ssh/id_rsa.pub "$data/id_ed25519.pub"; do
        [ -r "$public" ] && break
    done
    if [ ! -r "$public" ]; then
        command -v ssh-keygen >/dev/null || fail "no SSH key in ~/.ssh, and no ssh-keygen to make one: install openssh-client"
        ssh-keygen -q -t ed25519 -N '' -C spindle -f "$data/id_ed25519"
        say "no SSH key in ~/.ssh: made one for this installation alone, $data/id_ed25519"
    fi
    say "every sandbox admits the key $public, beside those that its creator gives"
    SPINDLE_DEFAULT_SSH_KEY=$(cat "$public")
    export SPINDLE_DEFAULT_SSH_KEY
    # Without the private part beside it, ssh finds the key itself.
    if [ -e "${public%.pub}" ]; then private_key=${public%.pub}; fi
}

# The check-in door is on a low port by default, which takes a privilege.
allow_low_port() {
    local port first
    port=$(setting CHECK_IN_PORT 80)
    first=$(cat /proc/sys/net/ipv4/ip_unprivileged_port_start 2>/dev/null || echo 1024)
    [ "$port" -lt "$first" ] || return 0
    say "sudo is needed to let $binary listen on port $port, where sandboxes check in"
    sudo setcap cap_net_bind_service=+ep "$binary" ||
        fail "setcap failed; set SPINDLE_CHECK_IN_PORT to a port of $first or more to do without"
}

print_next_steps() {
    local address port user password publish identity
    address=$(setting ADDRESS 127.0.0.1)
    port=$(setting PORT 8080)
    user=$(setting ADMIN_USER admin)
    password=$(setting ADMIN_PASSWORD spindocker)
    publish=$(setting PUBLISH_ADDRESS 127.0.0.1)
    case $address in 0.0.0.0 | ::) address=127.0.0.1 ;; *:*) address="[$address]" ;; esac
    case $publish in 0.0.0.0 | ::) publish=127.0.0.1 ;; esac
    identity=${private_key:+-i $(printf '%q' "$private_key") }
    # A password of the instructor's own is not shown on the screen.
    if [ "$password" != spindocker ]; then password=YOUR-PASSWORD; fi
    cat <<END

The server answers on http://$address:$port; ^C ends it, sandboxes go on. To be typed in another terminal:

Create a sandbox, and see what it is:
  api=http://$address:$port login='$user:$password'
  box=\$(curl -s -u "\$login" -d image=spindle/base \$api/v1/containers); echo "\$box"
  field() { echo "\$box" | sed -n 's/.*"'\$1'": *"\([^"]*\)".*/\1/p'; }
Log in:
  ssh ${identity}-p \$(field ssh_port) -o HostKeyAlias=\$(field container_id) -o StrictHostKeyChecking=accept-new student@$publish
Check in by hand, inside the sandbox (the image does it each minute):
  spindle-report -v
  exit
List, stop (status=running starts it again), delete:
  curl -s -u "\$login" \$api/v1/containers
  curl -s -u "\$login" -X PATCH -d status=stopped \$api\$(field uri)
  curl -s -u "\$login" -X DELETE \$api\$(field uri)

END
}

[ -d ~/.cargo/bin ] && PATH=$PATH:~/.cargo/bin
command -v cargo >/dev/null || fail "no cargo here: install Rust (https://rustup.rs) first"

"$here/images.sh" base # Sees to the engine first.
find_docker || fail "no Docker Engine answers"

say "building the server"
cargo build --release --locked
binary=${CARGO_TARGET_DIR:-target}/release/spindle

# Private: the key, the database and the sandboxes' tokens lie here.
mkdir -p "$data"
chmod 700 "$data"
raise_kernel_limits
choose_key
SPINDLE_DATABASE=$(setting DATABASE "$data/spindle.db")
export SPINDLE_DATABASE
say "data in $SPINDLE_DATABASE"

start=("$binary" serve)
if [ "$(id -u)" -ne 0 ]; then
    if docker_needs_sudo; then
        say "$(id -un) is not in the group docker: the server runs with sudo"
        start=(sudo --preserve-env "$binary" serve)
    else
        allow_low_port
    fi
fi
print_next_steps
exec "${start[@]}"
