# The commands of everyday work; `make` alone lists them.
.DEFAULT_GOAL := help
.PHONY: help run test test-engines test-ansible simulate soak images lint bench clean-docker

# What is run inside the lab images, known by the first line.
image_scripts := $(shell grep -rlE '^\#!/bin/(ba)?sh' images)
shell_scripts := $(wildcard scripts/*.sh) .ci/run $(wildcard src/engine/docker/*.sh) $(image_scripts) \
	$(wildcard ansible/*.sh ansible/roles/spindle/files/*.sh)

help: ## List these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

run: ## Set everything up and start the server on 127.0.0.1:8080
	@scripts/run.sh

test: ## Set everything up and run every test, the ones on a real Docker Engine included
	@scripts/test.sh

test-engines: ## Run contract, engine's story and end-to-end tests on Engine 28 too, which runs beside the machine's own meanwhile
	@scripts/test.sh --second-engine --test contract --test engine_contract --test e2e

test-ansible: ## Run the playbook on a fresh Debian with systemd, in a container, and look at what came of it
	@ansible/test.sh

simulate: ## Run 100,000 random traces against the law of idleness; SPINDLE_SIMULATE_SEED replays one, _TRACES sets how many
	@cargo test --locked --quiet --profile simulate --lib simulator::simulate -- --ignored --exact --nocapture

soak: ## Connect, stop, wake and kill at random for half an hour, 50 sandboxes, and check every byte
	@SPINDLE_SOAK_SECONDS=$${SPINDLE_SOAK_SECONDS:-1800} SPINDLE_SOAK_SANDBOXES=$${SPINDLE_SOAK_SANDBOXES:-50} \
	scripts/test.sh --test soak -- --nocapture

images: ## Build all lab images that can be built here; FRESH=yes: anew, with today's packages
	@scripts/images.sh $(if $(FRESH),--fresh)

lint: ## Check format, clippy, rustdoc, the house rules, the dependencies and the shell scripts
	cargo fmt --check
	cargo clippy --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --document-private-items --locked
	cargo test --locked --test tidy
	@scripts/dependencies.sh
	@if command -v shellcheck >/dev/null; then echo shellcheck; shellcheck -x $(shell_scripts); \
	else echo "shellcheck is not installed: the scripts are not checked"; fi

bench: ## Measure, on this machine's Docker Engine
	@scripts/images.sh base mimic
	cargo bench --locked

clean-docker: ## Remove the containers, networks, volumes and images that are Spindle's, and no others
	@scripts/clean-docker.sh
