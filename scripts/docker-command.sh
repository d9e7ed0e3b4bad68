# Sourced by the scripts beside it: sets DOCKER, the words with which this user reaches the engine.
# shellcheck shell=bash

# Prints the server's version; fails when no engine answers. Older and newer clients disagree about the exit
# status of `docker info` without a server, so the version itself is looked at.
engine_version() {
    local version
    version=$(timeout 15 "$@" info --format '{{.ServerVersion}}' 2>/dev/null) || return 1
    [ -n "$version" ] && printf '%s\n' "$version"
}

# DOCKER=(docker), or (sudo docker) for a user who may not open the engine's socket. Fails when neither answers.
find_docker() {
    DOCKER=(docker)
    engine_version docker >/dev/null && return 0
    [ "$(id -u)" -ne 0 ] && [ -z "${DOCKER_HOST:-}" ] && command -v sudo >/dev/null || return 1
    engine_version sudo docker >/dev/null || return 1
    DOCKER=(sudo docker)
}

# True when the engine answers only to root and this user is not root.
docker_needs_sudo() {
    [ "${DOCKER[0]}" = sudo ]
}
