# `make run` and `make test` work on a fresh Debian 12 with Rust, as root or with sudo.
.PHONY: help run build web test soak conformance licences fmt clippy clean tools-build tools-test

ARGS ?=

help:                      ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 26

run: build                 ## build, and start a server for trials (ARGS="--accounts 20" and the like)
	@exec "$$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/release/chappe" testbed $(ARGS)

build: tools-build web     ## the release binary, with the web client
	cargo build --release --locked --bin chappe

web:                       ## the web client (without Node the binary has a page instead)
	@cargo xtask web

test: tools-test           ## everything that CI runs
	@cargo xtask ci

soak: tools-test           ## the long tests, some minutes
	@cargo xtask soak

conformance: tools-test    ## the black-box suites against a server of their own
	@cargo xtask conformance

licences:                  ## licences and banned crates of the dependencies
	@cargo xtask licences

fmt:                       ## format the sources
	cargo fmt --all

clippy:                    ## lints
	cargo clippy --workspace --all-targets --locked -- -D warnings

clean:                     ## remove what was built
	cargo clean
	rm -rf e2e/js/node_modules web/node_modules web/dist/app

tools-build:
	@scripts/install.sh build

tools-test:
	@scripts/install.sh build test
