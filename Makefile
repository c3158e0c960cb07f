.PHONY: help demo test test-k8s test-ecs test-multi-platform bench check reference bake dist

help: ## what there is to make
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-20s %s\n", $$1, $$2 }' Makefile

demo: ## bakes examples/demo on this machine, on real parts: everything is installed, started and ended for you (root or sudo)
	@scripts/demo

bake: ## builds and pushes the three images for both architectures: IMAGE_NAME, IMAGE_TAG; WITH=buildx or WITH=bakery
	@scripts/bake $(WITH)

dist: ## the three programs as static ones for both architectures, with checksums, in dist/
	@scripts/dist

test: ## the whole ladder: format, lints, examples, unit, crates, e2e, docs, images, k8s, ecs, multi-platform, demo
	@scripts/test

test-k8s: ## the rung k8s alone, on a cluster of its own or on KUBECONFIG's
	@scripts/test k8s

test-ecs: ## the rung ecs alone, on an emulator of ECS and Secrets Manager that starts real containers
	@scripts/test ecs

test-multi-platform: ## the rung multi-platform alone: one server with ECS and Kubernetes, builds with a task on each
	@scripts/test multi-platform

bench: ## ratios against named peers, 20 interleaved pairs each, and what a thousand tasks ask of Kubernetes and of AWS; release profile
	@scripts/bench

check: ## format, lints and examples only
	@scripts/test format lints examples

reference: ## the pages that are made of the code: .env.example and docs/reference
	@BAKERY_RENEW=1 cargo test --locked -q -p bakery-testkit --test reference
