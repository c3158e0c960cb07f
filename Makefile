.PHONY: help demo test test-k8s test-ecs test-multi-platform bench fuzz check reference bake dist

help: ## lists the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-20s %s\n", $$1, $$2 }' Makefile

demo: ## builds examples/demo on this machine with real parts, which it installs, starts and ends (root or sudo)
	@scripts/demo

bake: ## builds and pushes the three images for both architectures: IMAGE_NAME, IMAGE_TAG; WITH=buildx or WITH=bakery
	@scripts/bake $(WITH)

dist: ## builds the three static programs for both architectures into dist/, with checksums
	@scripts/dist

test: ## runs all rungs of the ladder: format, lints, examples, unit, crates, e2e, docs, images, k8s, ecs, multi-platform, demo
	@scripts/test

test-k8s: ## runs the rung k8s, on a cluster that it starts or on the one of KUBECONFIG
	@scripts/test k8s

test-ecs: ## runs the rung ecs, on an emulator of ECS and Secrets Manager that starts real containers
	@scripts/test ecs

test-multi-platform: ## runs the rung multi-platform: one server with ECS and Kubernetes, builds with a task on each
	@scripts/test multi-platform

bench: ## compares Bakery with named peers, 20 interleaved pairs each, and counts the requests of a thousand tasks to Kubernetes and AWS
	@scripts/bench

fuzz: ## feeds generated input to what reads files of users, 10 minutes for each target of fuzz/targets
	@scripts/fuzz

check: ## runs the rungs format, lints and examples
	@scripts/test format lints examples

reference: ## renews the pages that are generated from the code: .env.example and docs/reference
	@BAKERY_RENEW=1 cargo test --locked -q -p bakery-testkit --test reference
