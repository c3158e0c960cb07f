.PHONY: help demo test bench check

help: ## what there is to make
	@sed -n 's/^\([a-z]*\):.*## /  make \1	/p' Makefile

demo: ## bakes examples/demo on this machine, on real parts: everything is installed, started and ended for you (root or sudo)
	@scripts/demo

test: ## the whole ladder: format, lints, laws, rooms, programs, then the real world and the demo
	@scripts/test

bench: ## ratios against named peers, 20 interleaved pairs each, release profile
	@scripts/bench

check: ## format and lints only
	@scripts/test format lints
