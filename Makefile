# The commands of README.md and CONTRIBUTING.md. What they do is in xtask/.

.PHONY: demo demo-down test check test-api test-e2e test-long

# As the alias `cargo xtask`, but the first compilation, which takes minutes, is seen to go on.
XTASK = cargo run --package xtask --

demo:
	@$(XTASK) demo

demo-down:
	@$(XTASK) demo down

# Everything: what needs a cluster that cannot be had here is skipped, loudly. CI=true makes that a failure.
test:
	@$(XTASK) test

# Everything that needs no cluster.
check:
	@$(XTASK) test check

# Against a real API server.
test-api:
	@$(XTASK) test api

# Against a real node.
test-e2e:
	@$(XTASK) test node

# What takes too long for every run; its last result is in docs/test-long.md.
test-long:
	@$(XTASK) test long
