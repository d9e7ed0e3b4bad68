#!/bin/sh
# Loads the images in a file of `docker save`, and prints `changed` if Docker had not all of them.
set -eu

tags() { docker image ls --no-trunc --format '{{.ID}} {{.Repository}}:{{.Tag}}' | sort; }

before=$(tags)
docker load --quiet --input "$1"
[ "$before" = "$(tags)" ] || echo changed
