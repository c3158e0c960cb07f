.PHONY: help demo test check

help: ## what there is to make
	@sed -n 's/^\([a-z]*\):.*## /  make \1	/p' Makefile

demo: ## bakes examples/demo on this machine, on real parts: everything is installed, started and ended for you (root or sudo)
	@scripts/demo

test: ## the whole ladder: format, lints, laws, rooms, programs, then the real world and the demo
	@scripts/test

check: ## format and lints only
	@scripts/test format lints
