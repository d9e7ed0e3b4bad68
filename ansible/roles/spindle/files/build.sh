#!/bin/sh
# Compiles the program in FOLDER/source, with the cargo that root has, else with one of its own from rustup.rs.
set -eu
folder=$1

[ -d ~/.cargo/bin ] && PATH=$PATH:~/.cargo/bin
if ! command -v cargo >/dev/null; then
    export RUSTUP_HOME="$folder/rust" CARGO_HOME="$folder/rust"
    PATH=$PATH:$CARGO_HOME/bin
    if ! command -v cargo >/dev/null; then
        curl --proto '=https' --tlsv1.2 -fsS https://sh.rustup.rs -o "$folder/rustup.sh"
        sh "$folder/rustup.sh" -y --profile minimal --no-modify-path
        rm "$folder/rustup.sh"
    fi
fi
cd "$folder/source"
CARGO_TARGET_DIR=$folder/target exec cargo build --release --locked
