# The two commands of the README are `make demo` and `make test`.
# deps installs what a clean Debian 12 lacks; the Go toolchain is a precondition.

GOLANGCI_VERSION := v2.15.0
GOBIN            := $(shell go env GOPATH)/bin
GOLANGCI         := $(GOBIN)/golangci-lint

.PHONY: all build deps deps-test demo test lint unit fuzz bench clean

all: build

build: bin/mpbox

bin/mpbox: FORCE
	go build -o $@ ./cmd/mpbox
FORCE:

deps:
	./scripts/deps.sh lab

deps-test:
	./scripts/deps.sh test

demo: deps build
	./bin/mpbox lab demo --topology two-path

test: deps-test build lint unit

lint: $(GOLANGCI)
	$(GOLANGCI) run ./...

$(GOLANGCI):
	go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)

# All tests: unit tests, the seeds of every fuzz target, and the integration tests
# on real parts. Packages run one after the other, since labs share two cores.
unit:
	MPBOX_REQUIRE_INTEGRATION=1 go test -race -p 1 -timeout 18m ./...

# Speed and memory against a yardstick, with the load generator in BENCH_DIR, and
# one table of it. ROUNDS, CONNS, SUBFLOWS and PARTS: scripts/bench.sh.
BENCH_DIR ?= ../shared/bench
bench: build
	BENCH_DIR=$(BENCH_DIR) ./scripts/bench.sh

clean:
	rm -rf bin
