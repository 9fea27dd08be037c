# SPDX-License-Identifier: Apache-2.0
# Thin aliases of build.py, for fingers that type make.

PROFILE ?= vm

.DEFAULT_GOAL := help
.PHONY: help build check test bench reproduce verify up down clean

help: ## show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /make \1\t/' | expand -t 18

build: ## build and sign the image of PROFILE (default vm)
	./build.py --profile $(PROFILE)

check: ## lint, types and fast tests (under a minute)
	./build.py check

test: ## everything that can be tested here, VMs included
	./build.py test

bench: ## measure builds, sizes, boots and clusters
	./build.py bench

reproduce: ## build PROFILE again from its recorded packages and compare
	./build.py reproduce --profile $(PROFILE)

verify: ## verify the artefacts of PROFILE against the development key
	./build.py verify out/$(PROFILE) --key keys/dev/release.pub

up: ## start two local VMs
	./build.py vm up --nodes 2

down: ## end the local VMs and remove their disks
	./build.py vm down --purge

clean: ## remove artefacts and cache (never keys)
	rm -rf out .cache
