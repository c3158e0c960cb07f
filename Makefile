.PHONY: help demo test test-k8s test-ecs test-both bench check reference bake dist

help: ## what there is to make
	@sed -n 's/^\([a-z0-9-]*\):.*## /  make \1	/p' Makefile

demo: ## bakes examples/demo on this machine, on real parts: everything is installed, started and ended for you (root or sudo)
	@scripts/demo

bake: ## builds and pushes the three images for both architectures: IMAGE_NAME, IMAGE_TAG; WITH=buildx or WITH=bakery
	@scripts/bake $(WITH)

dist: ## the three programs as static ones for both architectures, with checksums, in dist/
	@scripts/dist

test: ## the whole ladder: format, lints, examples, laws, rooms, programs, then the real world, Kubernetes, AWS and the demo
	@scripts/test

test-k8s: ## the Kubernetes rung alone, on a cluster of its own or on KUBECONFIG's
	@scripts/test k8s

test-ecs: ## the AWS rung alone, on an emulator of ECS and Secrets Manager that starts real containers
	@scripts/test ecs

test-both: ## the rung of both alone: one server with ECS and Kubernetes, builds with an entry on each
	@scripts/test both

bench: ## ratios against named peers, 20 interleaved pairs each, and what a thousand tasks ask of Kubernetes and of AWS; release profile
	@scripts/bench

check: ## format, lints and examples only
	@scripts/test format lints examples

reference: ## the pages that are made of the code: .env.example and docs/reference
	@BAKERY_RENEW=1 cargo test --locked -q -p bakery-testkit --test reference
