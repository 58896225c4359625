# Thin lines over ./mlflow-stack, which does the work and ends with exact exit codes (make turns each failure into 2).

.DEFAULT_GOAL := help
.PHONY: help up preview destroy init status logs doctor rotate upgrade user backup restore verify-backup gc import ca update sbom scan env engine-stop test lint bench soak venv-test prepare

STACK ?= dev
PYTHON ?= python3
SEED ?= 1
N ?= 25
JOBS ?= 3
SAMPLE ?= 4
# What the commands read from the environment, when it is given on make's command line.
export STACK PYTHON PROVIDERS IMAGES CLI ROLE YES NAME RESET POLICIES POLICY_CONFIG BACK OLDER_THAN DRY
export TO FROM SET KEY_FILE S3_FILE OVERWRITE ARTIFACTS PASSWORD_FILE S3_ENDPOINT S3_CREDENTIALS NETWORK

stack := ./mlflow-stack
venv-test := .venv-test/bin
pytest := $(venv-test)/python -m pytest
# How long a store stands still where time does not matter, clients that do not rest, what takes minutes, and where the
# table of a soak goes.
long := --still-seconds 60 --rest 0 --upgrades --soak-report .local/soak.md
# One waits for downloads, the other for the compiler: together they take little longer than the longer one.
both := $(MAKE) --no-print-directory -j2 venv-test prepare

help: ## this list
	@printf '%s\n\n' 'make TARGET [STACK=dev] [PROVIDERS=packages|vendor] [IMAGES=packages|vendor] [POLICIES=policies]'
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)$$/\1	\2/p' $(MAKEFILE_LIST) | while IFS='	' read -r target text; do \
	    printf '  %-14s %s\n' "$$target" "$$text"; done

up: ## set up what this machine lacks, bring the stack up, say where everything is
	@$(stack) up

preview: ## show what `make up` would change
	@$(stack) preview

destroy: ## say what will be lost, ask (YES=1 where nobody can answer), take the stack away
	@$(stack) destroy

init: ## generate the credentials that are not set, the passphrase and the state folder
	@$(stack) init

status: ## health, versions, sizes and URLs at a glance
	@$(stack) status

logs: ## the log of a container: ROLE=server (default), gateway, gc, migration, minio, postgres
	@$(stack) logs

doctor: ## what is wrong with this machine or stack, and the line that mends it
	@$(stack) doctor

rotate: ## new credentials, all or NAME=bucketUserSecret; data stays readable, and the pause is told
	@$(stack) rotate

upgrade: ## the MLflow that is set (mlflowVersion), else that of this checkout, and the PostgreSQL; back where a step fails
	@$(stack) upgrade

user: ## NAME=ada: a user of MLflow's (auth: basic), with a password that is shown once; RESET=1: a new one
	@$(stack) user

backup: ## TO=/a/folder: a consistent backup of everything, while the stack serves; later ones only add what is new
	@$(stack) backup

restore: ## FROM=/a/folder: bring a backup into a stack (SET=, KEY_FILE=); over data only with OVERWRITE=1
	@$(stack) restore

verify-backup: ## FROM=/a/folder: restore a backup into a stack of its own, compare, take it away again
	@$(stack) verify-backup

gc: ## remove for good what was deleted longer ago than OLDER_THAN=30d, with its objects; DRY=1 only says it
	@$(stack) gc

import: ## FROM=sqlite:///mlflow.db ARTIFACTS=mlruns: bring what another MLflow keeps into an empty stack
	@$(stack) import

ca: ## the root certificate of the stack's own authority (tls: internal), for clients to trust
	@$(stack) ca

update: ## base images with the newest packages, for the next `make up`; BACK=1 takes the ones before again
	@$(stack) update

sbom: ## write what is in each image that the stack runs, as CycloneDX, to .local/sbom
	@$(stack) sbom

scan: ## look for known flaws in each image that the stack runs
	@$(stack) scan

env: ## shell exports for a plain `pulumi`: eval "$(make env)"
	@$(stack) env

test: ## set up what this machine lacks and run the tests, JOBS=3 at a time, and of the longest a SAMPLE=4
	@$(both)
	@tests/prepare.sh
	@$(pytest) --sample $(SAMPLE) --numprocesses $(JOBS)

lint: venv-test ## run every linter and the type checker
	@tests/lint.sh

soak: ## random drills, N=25 of each kind from SEED=1, JOBS=3 at a time; ONLY=17 runs the one that failed again
	@$(both)
	@$(pytest) -m drill tests/stack --drill-seed $(SEED) --drills $(N) $(ONLY:%=--drill %) $(long) --numprocesses $(JOBS)

bench: ## measure the stack beside the usual compose arrangement, in ratios
	@$(both)
	@$(venv-test)/python -m bench

engine-stop: ## stop a Docker daemon that `make up` or `make test` had to start
	@$(stack) engine-stop

prepare:
	@$(stack) prepare

venv-test:
	@$(PYTHON) toolchain/bootstrap.py .venv-test requirements-dev.txt
