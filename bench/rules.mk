# How the programs of the benchmark are made. Part of the Makefile.

COMPILER := gcc
BENCH := build/bench/$(COMPILER)
BENCH_PARTS := library bench operations labels text growth beside processes
BENCH_HEADERS := pytheus.h pytheus_file.h tests/reader.h $(wildcard bench/*.h)
BENCH_FLAGS := -D_GNU_SOURCE -g -O2 -pthread -I. -Itests -idirafter build/include
PEERS := $(addprefix build/bench/peers/,prometheus_cpp client_golang rust/release/rust-prometheus \
    numbers)

$(BENCH)/%.o: bench/%.c $(BENCH_HEADERS) Makefile bench/rules.mk | build/include
	@mkdir -p $(@D)
	@$(COMPILER) -std=c99 $(STRICT) $(BENCH_FLAGS) -c $< -o $@

$(BENCH)/bench: $(BENCH_PARTS:%=$(BENCH)/%.o)
$(BENCH)/instructions: $(BENCH)/instructions.o $(BENCH)/library.o
$(BENCH)/bench $(BENCH)/instructions:
	@echo "  $@"
	@$(COMPILER) -pthread $^ -o $@ -lm

$(BENCH)/served: bench/served.c $(BENCH)/library.o pytheus_http.h $(BENCH_HEADERS) bench/rules.mk
	@echo "  $@"
	@$(COMPILER) -std=c99 $(STRICT) $(BENCH_FLAGS) $< $(BENCH)/library.o -o $@ -lmicrohttpd -lz -lm

$(BENCH)/redis: bench/redis.c pytheus_redis.h $(BENCH_HEADERS) Makefile bench/rules.mk | build/include
	@echo "  $@"
	@mkdir -p $(@D)
	@$(COMPILER) -std=c99 $(STRICT) $(BENCH_FLAGS) $< -o $@ -lhiredis -lm

build/bench/peers/prometheus_cpp: PEER_LIBRARIES := -lprometheus-cpp-core -lz
build/bench/peers/%: bench/peers/%.cc bench/harness.h bench/rules.mk
	@echo "  $@"
	@mkdir -p $(@D)
	@g++ -std=c++17 -Wall -Wextra $(BENCH_FLAGS) $< -o $@ $(PEER_LIBRARIES)

# With what Debian brings, and nothing from the network.
build/bench/peers/client_golang: bench/peers/client_golang.go bench/rules.mk
	@echo "  $@"
	@mkdir -p $(@D)
	@GO111MODULE=off GOPATH=/usr/share/gocode GOCACHE=$(CURDIR)/build/bench/go /usr/bin/go build \
	    -o $@ $<

# A copy, because cargo writes beside the sources.
build/bench/peers/rust/release/rust-prometheus: $(wildcard bench/peers/rust/*) bench/rules.mk
	@echo "  $@"
	@mkdir -p build/bench/peers/rust && cp bench/peers/rust/* build/bench/peers/rust/
	@cd build/bench/peers/rust && CARGO_HOME=home RUSTC=/usr/bin/rustc /usr/bin/cargo build \
	    --quiet --release --offline --target-dir . \
	    --config 'source.crates-io.replace-with="debian"' \
	    --config 'source.debian.directory="/usr/share/cargo/registry"'

# The comparison of designs for series that several threads count in.
CONTENTION := build/bench/contention
CONTENTION_PROGRAMS := $(addprefix $(CONTENTION)/,contention library.so initial_exec.so)
CONTENTION_PARTS := bench/contention/loops.c bench/library.c
CONTENTION_LIBRARY := -fPIC -shared -Wl,-Bsymbolic

$(CONTENTION)/library.so: CONTENTION_FLAGS := $(CONTENTION_LIBRARY)
$(CONTENTION)/initial_exec.so: CONTENTION_FLAGS := $(CONTENTION_LIBRARY) -ftls-model=initial-exec
$(CONTENTION)/contention: CONTENTION_FLAGS := bench/contention/contention.c
$(CONTENTION)/%: $(CONTENTION_PARTS) bench/contention/contention.c $(BENCH_HEADERS) \
    $(wildcard bench/contention/*.h) bench/rules.mk | build/include
	@echo "  $@"
	@mkdir -p $(@D)
	@gcc -std=c99 $(STRICT) $(BENCH_FLAGS) -Ibench $(CONTENTION_PARTS) $(CONTENTION_FLAGS) -o $@ \
	    -lm -ldl
