#!/usr/bin/env bash
# Checks what Spindle depends on: licences, sources, duplicates (deny.toml), and that each dependency is used. Builds
# the tools for it once, into target/tools.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# No registry has current binaries of them, so they are built.
tools=(cargo-deny@0.20.2 cargo-machete@0.9.2)

say() { printf 'dependencies: %s\n' "$*"; }

# Unoptimised and without debug information: building them takes much longer than running them.
build() {
    say "building $1"
    CARGO_PROFILE_DEV_DEBUG=none cargo install --quiet --locked --debug --root "$folder" --target-dir "$folder/build" "$1"
}

[ -d ~/.cargo/bin ] && PATH=$PATH:~/.cargo/bin
folder=$(realpath -m "${CARGO_TARGET_DIR:-target}")/tools
there=$(cargo install --list --root "$folder")
for tool in "${tools[@]}"; do
    grep -qxF "${tool/@/ v}:" <<<"$there" || build "$tool"
done
rm -rf "$folder/build"

PATH=$folder/bin:$PATH
cargo deny --locked check -D warnings bans licenses sources
# The metadata name the tests' dependencies too.
cargo machete --with-metadata
