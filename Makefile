# The commands of README.md and CONTRIBUTING.md. What they do is in xtask/.

.PHONY: demo demo-down test check test-api test-e2e test-long

demo:
	cargo xtask demo

demo-down:
	cargo xtask demo down

# Everything: what needs a cluster that cannot be had here is skipped, loudly. CI=true makes that a failure.
test:
	cargo xtask test

# Everything that needs no cluster.
check:
	cargo xtask test check

# Against a real API server.
test-api:
	cargo xtask test api

# Against a real node.
test-e2e:
	cargo xtask test node

# What takes too long for every run; its last result is in docs/test-long.md.
test-long:
	cargo xtask test long
