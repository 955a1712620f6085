# Everything a developer does, by name. `make help` lists it.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

DATA         ?= data
LISTEN       ?= 127.0.0.1:8080
KAFKA_LISTEN ?= 127.0.0.1:9092
N            ?= 2500
SEED         ?= 1

# Pinned tools, built by Go on first use.
GOFUMPT     := go run mvdan.cc/gofumpt@v0.12.0
STATICCHECK := go run honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOTESTSUM   := go run gotest.tools/gotestsum@v1.13.0
BUF         := go run github.com/bufbuild/buf/cmd/buf@v1.75.0
PROTOC_GEN_GO := google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12

# The workspace's modules, as patterns that go test and go vet take.
MODULES  = $(shell go list -m -f '{{.Dir}}')
PACKAGES = $(patsubst %,%/...,$(MODULES))

# The race detector needs a C compiler.
RACE := $(if $(shell command -v $${CC:-cc} 2>/dev/null),-race,)

.PHONY: help up demo build images boards test test-servers test-cluster chart fuzz bench lint format generate check-generated tidy clean

help: ## Show this list.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

up: build ## Run the whole platform here (DATA=dir LISTEN=addr KAFKA_LISTEN=addr).
	@exec bin/masar up --data "$(DATA)" --listen "$(LISTEN)" --kafka-listen "$(KAFKA_LISTEN)"

demo: build ## Load a synthetic cohort into the running platform, or start one (N=people SEED=n).
	@exec bin/masar demo --data "$(DATA)" --people "$(N)" --seed "$(SEED)" --listen "$(LISTEN)" --kafka-listen "$(KAFKA_LISTEN)"

build: ## Build bin/masar and the five services' own programs.
	@mkdir -p bin
	@CGO_ENABLED=0 go build -trimpath -tags timetzdata -o bin/ ./cmd/masar $(foreach s,candidates employers indicators matching notifications,./services/$(s)/cmd/$(s))

images: ## Build the container images into bin/images, without Docker (IMAGES="--archive --arch amd64 --push HOST").
	@go run ./deploy/images $(IMAGES)

boards: ## Build the script that draws the boards (npm; its result is committed).
	@cd dashboards/page && npm ci --no-audit --no-fund && npm run build

test: ## Run every test that needs nothing else; totals at the end.
	@mkdir -p bin && rm -f bin/flaky.txt
	@$(GOTESTSUM) --format pkgname-and-test-fails --format-hide-empty-pkg --rerun-fails=2 --rerun-fails-max-failures=4 --rerun-fails-report=bin/flaky.txt --packages="$(PACKAGES)" -- $(RACE) -timeout 25m
	@if [ -s bin/flaky.txt ]; then echo "passed only when run again:"; cat bin/flaky.txt; fi

SERVER_TESTS = $(GOTESTSUM) --format pkgname-and-test-fails --rerun-fails=2
test-servers: build ## Run the suites against Apache Kafka and a MongoDB-wire server started here, and generated requests against the API.
	@tests/servers/with-kafka.sh $(SERVER_TESTS) --packages="./pkg/bus/... ./pkg/embedded/..." -- -count=1 -timeout 15m
	@tests/servers/with-mongo.sh $(SERVER_TESTS) --packages="./pkg/docstore/... ./pkg/outbox/..." -- -count=1 -timeout 15m
	@tests/servers/with-kafka.sh tests/servers/with-mongo.sh $(SERVER_TESTS) --packages=./tests -- -count=1 -timeout 15m -run TestProcesses
	@tests/servers/api.sh bin/masar
	@tests/servers/sdmx.sh bin/masar

FUZZTIME ?= 10s
fuzz: ## Fuzz every decoder for a short while (FUZZTIME=10s).
	@tests/fuzz.sh $(FUZZTIME)

chart: ## Lint, validate and score the Helm chart; render its golden files.
	@tests/chart.sh

test-cluster: ## Install the chart on a real Kubernetes node started here (root; builds it once, 10 minutes), and try it.
	@tests/cluster/run.sh

bench: ## Measure, side by side with the bare limit in the same run.
	@tests/bench.sh

# proto/baseline.binpb is the contracts as last published: buf build -o baseline.binpb
lint: ## gofumpt, go vet, staticcheck, buf lint and breaking changes of the contracts.
	@out=$$($(GOFUMPT) -l $(MODULES)); if [ -n "$$out" ]; then echo "not formatted (make format):"; echo "$$out"; exit 1; fi
	@go vet $(PACKAGES)
	@$(STATICCHECK) $(PACKAGES)
	@cd proto && $(BUF) lint && $(BUF) breaking --against baseline.binpb

format: ## Format the code.
	@$(GOFUMPT) -l -w $(MODULES)

generate: ## Generate code from the contracts in proto/, and the descriptions of the API and of the indicators.
	@GOBIN=$(CURDIR)/bin go install $(PROTOC_GEN_GO)
	@cd proto && PATH="$(CURDIR)/bin:$$PATH" $(BUF) generate
	@go generate ./pkg/telemetry
	@go run ./cmd/masar openapi >bin/openapi.json && mv bin/openapi.json docs/openapi.json
	@go run ./cmd/masar indicators docs >bin/indicators.md && mv bin/indicators.md docs/indicators.md
	@rm -rf deploy/helm/masar/files && mkdir -p deploy/helm/masar/files/alerts deploy/helm/masar/files/boards
	@cp dashboards/*.json deploy/helm/masar/files/boards/ && cp dashboards/alerts/*.yaml deploy/helm/masar/files/alerts/

check-generated: generate ## Fail where committed generated code is stale.
	@git diff --exit-code -- proto docs pkg/telemetry deploy

tidy: ## Tidy every module (a test-only dependency upstream is not always served: -e).
	@go work sync; for m in $(MODULES); do (cd $$m && GOWORK=off go mod tidy -e); done

clean: ## Remove what make built (never ./data).
	@rm -rf bin
