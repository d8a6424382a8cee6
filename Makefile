# pytheus.h needs no building to be used: this is for its examples and tests. Everything that is
# made lands in build/. Each target first installs the Debian packages that it needs.

.DEFAULT_GOAL := help
.SUFFIXES:
# Targets one after another: they share build/. What they build goes in parallel.
ifeq ($(MAKELEVEL),0)
.NOTPARALLEL:
endif

STRICT := -Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Werror
# Without a comma, which would end the argument of a make function.
ASAN := -O1 -fsanitize=address -fsanitize=undefined -fno-sanitize-recover=all \
    -fno-omit-frame-pointer
TSAN := -O1 -fsanitize=thread
NO_GZIP := -DPYTHEUS_HTTP_NO_GZIP
# Those that have kinds of build of their own; the others are in C99 and C++11.
C_STANDARDS := c11 c17 gnu11
CXX_STANDARDS := c++14 c++17 c++20
MAKEFLAGS += --no-builtin-rules

# ---- sources ----

names = $(sort $(basename $(notdir $(wildcard $1))))
C_TESTS := $(call names,tests/test_*.c)
CXX_TESTS := $(call names,tests/test_*.cc)
TESTS := $(C_TESTS) $(CXX_TESTS)
THREADS := test_threads test_stripes test_backends test_collector_threads test_http_server \
    test_openmetrics test_process test_file test_file_trouble test_redis_shared
# qemu is slow: what another machine could change first.
ARM64_CHOICE := test_number test_text test_metrics test_views
# What other sizes of words and another system could change first.
M32_CHOICE := $(ARM64_CHOICE) test_registry test_threads test_stripes test_backends test_openmetrics \
    test_oom test_churn test_process test_file test_file_trouble test_http
MINGW_CHOICE := test_text test_metrics test_openmetrics test_textfile test_process test_http test_cxx
# They take their registry from tests/fixture.h or tests/backends.h, and run on each of these.
BACKENDS := minimal atomic words words3 bare generating file
ON_BACKENDS := test_metrics test_views test_text test_registry test_timers test_definitions \
    test_errors test_fixes test_threads
# What backends generate has no exemplars, and no times.
WITH_EXEMPLARS := $(filter-out generating,$(BACKENDS))
# Those that know when a series has gone.
ON_FRUGAL_BACKENDS := test_churn
ON_REDIS := $(ON_BACKENDS) $(ON_FRUGAL_BACKENDS)
ON_REDIS_THROUGH := test_timers test_definitions
# What needs libmicrohttpd and zlib, which are there for this machine alone; what can do without zlib.
SERVERS := test_http_server test_http_attacks http quickstart
PACKERS := test_http fuzz_http
# What needs hiredis, likewise.
ON_HIREDIS := $(filter test_redis%,$(TESTS)) redis
EXAMPLES := $(call names,examples/*.c examples/*.cc)
HEADERS := $(wildcard *.h tests/*.h)

# ---- kinds of build: name, C compiler, flags, suffix, standard; in build/NAME/ ----

define kind
build/$1/%$4: tests/%.c $(HEADERS) Makefile | build/include
	$$(call compile,$2 -std=$(or $5,c99),$3)
build/$1/%$4: examples/%.c $(HEADERS) Makefile | build/include
	$$(call compile,$2 -std=$(or $5,c99),$3)
build/$1/%$4: tests/%.cc $(HEADERS) Makefile | build/include
	$$(call compile,$(call cxx,$2) -std=$(or $5,c++11),$3)
build/$1/%$4: examples/%.cc $(HEADERS) Makefile | build/include
	$$(call compile,$(call cxx,$2) -std=$(or $5,c++11),$3)
endef
define compile
	@echo "  $@"
	@mkdir -p $(@D) && rm -f $@
	@$1 $(STRICT) -g -pthread -I. -Itests -idirafter build/include $2 $< -o $@ \
	    -lm $(libraries) $(if $(filter %/number_oracle,$@),-std=c++17)
endef
libraries = $(if $(filter $(SERVERS),$(notdir $@)),-lmicrohttpd -lz) \
    $(if $(filter $(PACKERS),$(notdir $@)),$(if $(findstring NO_GZIP,$2),,-lz)) \
    $(if $(filter $(ON_HIREDIS),$(notdir $@))$(findstring FIXTURE_REDIS,$2),-lhiredis) \
    $(if $(filter %_tls,$(notdir $@)),-lssl -lcrypto)
cxx = $(patsubst %gcc,%g++,$(patsubst %clang,%clang++,$1))

$(eval $(call kind,examples,gcc,-O2 -Wno-error))
$(eval $(call kind,gcc,gcc,-O2))
$(eval $(call kind,clang,clang,-O2))
# Tests that take their registry from tests/backends.h can have Redis behind it.
$(eval $(call kind,redis-gcc,gcc,-O1 -DFIXTURE_REDIS))
$(eval $(call kind,asan-gcc,gcc,$(ASAN)))
$(eval $(call kind,asan-clang,clang,$(ASAN)))
$(eval $(call kind,tsan-gcc,gcc,$(TSAN)))
$(eval $(call kind,tsan-clang,clang,$(TSAN)))
$(eval $(call kind,m32,gcc,-O2 -m32 -isystem /usr/include/x86_64-linux-gnu $(NO_GZIP)))
$(eval $(call kind,arm64,aarch64-linux-gnu-gcc,-O2 -static $(NO_GZIP)))
# isnan() of this system's math.h converts.
$(eval $(call kind,mingw,x86_64-w64-mingw32-gcc,-O1 -Wno-float-conversion $(NO_GZIP),.exe))
$(eval $(call kind,fuzz,clang,$(ASAN) -fsanitize=fuzzer))
$(eval $(call kind,gcc-O0,gcc,-O0))
$(eval $(call kind,clang-O0,clang,-O0))
$(eval $(call kind,gcc-O3,gcc,-O3 -DNDEBUG -D_FORTIFY_SOURCE=2))
$(foreach c,gcc clang,$(foreach s,$(C_STANDARDS) $(CXX_STANDARDS), \
    $(eval $(call kind,$c-$s,$c,-O2,,$s))))

# stb alone, for the compilers that do not look into /usr/include.
build/include:
	@mkdir -p $@ && ln -sfn /usr/include/stb $@/stb

# ---- what runs: commands for tests/run, where "--" waits for all before it ----

each = $(foreach c,$2,"$1$c")
of_kind = $(TESTS:%=build/$1/%)
FOREIGN_TESTS := $(filter-out $(SERVERS) $(ON_HIREDIS),$(TESTS))
# Where addresses are scattered widely, ThreadSanitizer does not start unless this is switched off.
IN_ORDER := $(shell setarch -R true 2>/dev/null && echo setarch -R)

ASAN_GCC := $(call of_kind,asan-gcc)
ASAN_BOTH := $(ASAN_GCC) $(call of_kind,asan-clang)
# Thousands of processes, each of which begins with a sanitizer.
ASAN_QUICK := $(filter-out %/test_file_kills,$(ASAN_GCC))
FUZZ := $(addprefix build/fuzz/,$(call names,tests/fuzz_*.c))
REDIS_TESTS := $(filter test_redis%,$(C_TESTS))
OOM_BOTH := build/gcc/test_oom build/asan-gcc/test_oom
TSAN_GCC := $(THREADS:%=build/tsan-gcc/%)
TSAN_BOTH := $(TSAN_GCC) $(THREADS:%=build/tsan-clang/%)
MATRIX := $(foreach k,clang gcc-O0 clang-O0 gcc-O3,$(call of_kind,$k)) \
    $(foreach c,gcc clang,$(foreach s,$(C_STANDARDS),$(C_TESTS:%=build/$c-$s/%))) \
    $(foreach c,gcc clang,$(foreach s,$(CXX_STANDARDS),$(CXX_TESTS:%=build/$c-$s/%)))
CXX_QUICK := $(CXX_TESTS:%=build/clang-c++20/%)
# The pages that these write are for the judges, which come last.
TEST_BUILDS := $(call of_kind,gcc) build/gcc/number_oracle \
    $(foreach k,gcc clang asan-gcc,$(EXAMPLES:%=build/$k/%)) $(ON_REDIS:%=build/redis-gcc/%)
test_runs := $(call each,PYTHEUS_PAGES=build/pages ,$(call of_kind,gcc) tests/test_examples) \
    build/gcc/number_oracle
on_backend = $(call each,FIXTURE_BACKEND=$1 ,$2)
backend_runs := $(foreach b,$(BACKENDS),$(call on_backend,$b,$(ON_BACKENDS:%=build/gcc/%))) \
    $(foreach b,$(WITH_EXEMPLARS),$(call on_backend,$b,build/gcc/test_openmetrics)) \
    $(foreach b,atomic words words3 file, \
        $(call on_backend,$b,$(ON_FRUGAL_BACKENDS:%=build/gcc/%))) \
    $(foreach b,words file,$(call on_backend,$b,$(ON_BACKENDS:%=build/asan-gcc/%)))
on_redis = $(call each,FIXTURE_BACKEND=$1 tests/on_redis build/redis-gcc/,$2)
redis_runs := $(call on_redis,redis,$(ON_REDIS)) $(call on_redis,redis-through,$(ON_REDIS_THROUGH))
store_runs := $(foreach s,redis-server valkey-server, \
    $(call each,REDIS_SERVER=$s build/gcc/,$(REDIS_TESTS)) \
    $(subst FIXTURE_BACKEND,REDIS_SERVER=$s FIXTURE_BACKEND,$(redis_runs)))
tsan_runs = -- $(call each,$(IN_ORDER) ,$1) \
    $(foreach b,atomic words3 file,"FIXTURE_BACKEND=$b $(IN_ORDER) build/tsan-gcc/test_threads")
judge_runs := -- "tests/promtool_pages build/pages" "tests/judge_pages.py build/pages" \
    "tests/prometheus_roundtrip.py build/pages"
# 10,000 pages in OpenMetrics.
long_pages := rm -rf build/long-pages && mkdir -p build/long-pages && \
    LONG=1 PYTHEUS_PAGES=build/long-pages build/gcc/test_hostile random && \
    tests/judge_pages.py build/long-pages

ifeq ($(shell uname -m),x86_64)
    FOREIGN := m32 arm64 mingw
    ARM64_CPP := arm64-cpp
    M32 := $(FOREIGN_TESTS:%=build/m32/%)
    M32_QUICK := $(M32_CHOICE:%=build/m32/%)
    # qemu neither stops a process after each instruction nor makes namespaces.
    ARM64 := $(patsubst %,build/arm64/%,$(filter-out test_file%,$(FOREIGN_TESTS)))
    ARM64_QUICK := $(ARM64_CHOICE:%=build/arm64/%)
    MINGW := $(FOREIGN_TESTS:%=build/mingw/%.exe)
    MINGW_QUICK := $(MINGW_CHOICE:%=build/mingw/%.exe)
    foreign_runs = $1 $(call each,qemu-aarch64 ,$2) "tests/built $3"
else
    foreign_runs = "echo SKIPPED i386, aarch64, MinGW: only on x86-64; echo 0 passed, 0 failed"
endif

# Two compilers at once, unless the user asked for another number.
JOBS = $(if $(findstring jobserver,$(MAKEFLAGS)),,-j2)
# A program that does not compile fails when it is run, so that everything else still runs.
BUILD = $(MAKE) -sk $(JOBS) --no-print-directory
new_pages = rm -rf build/pages && mkdir -p build/pages
# Groups of packages, see tests/install.
TOOLS := core cpp clang sanitizers system http redis tls

# ---- targets ----

.PHONY: help quickstart demo examples test check check-hosts asan tsan matrix planted oom \
    fuzz native stores bench bench-redis bench-peers contention instructions format-check chroot \
    trixie clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{ printf "make %-14s %s\n", $$1, $$2 }' Makefile

quickstart: ## build a service, start it, show its metrics, leave it running (ONCE=1: stop it)
	@tests/install core http
	@$(MAKE) --no-print-directory build/examples/quickstart
	@examples/quickstart build/examples/quickstart

demo: ## two services behind one page in Redis, and Prometheus (ONCE=1: stop after its answer)
	@tests/install core http redis judges
	@$(MAKE) --no-print-directory build/demo/service
	@examples/demo/run build/demo/service

build/demo/service: examples/quickstart.c examples/demo/redis_backend.c $(HEADERS) | build/include
	@mkdir -p $(@D)
	@gcc -std=c99 $(STRICT) -O2 -pthread -I. -idirafter build/include $(filter %.c,$^) -o $@ \
	    -lmicrohttpd -lz -lhiredis

examples: ## build all examples into build/examples/
	@tests/install core cpp http redis
	+@$(BUILD) $(EXAMPLES:%=build/examples/%)

test: ## build and run all tests; the last line is the sum
	@tests/install $(TOOLS) judges $(FOREIGN)
	+@$(BUILD) $(TEST_BUILDS) $(CXX_QUICK) $(ASAN_QUICK) $(TSAN_GCC) \
	    $(M32_QUICK) $(ARM64_QUICK) $(MINGW_QUICK) || true
	@$(new_pages)
	@tests/run $(test_runs) $(backend_runs) $(redis_runs) $(CXX_QUICK) $(ASAN_QUICK) \
	    $(call foreign_runs,$(M32_QUICK),$(ARM64_QUICK),$(MINGW_QUICK)) tests/compile/run tests/http_shapes \
	    "COMPILERS=quick tests/stb_ds_host/run" $(call tsan_runs,$(TSAN_GCC)) $(judge_runs)

check: export SECONDS_EACH := 14400
check: ## all tests in all builds, the long runs, all hosts, all planted bugs: takes hours
	@tests/install $(TOOLS) judges load memcheck patch $(FOREIGN) $(ARM64_CPP)
	+@$(BUILD) $(TEST_BUILDS) $(ASAN_BOTH) $(TSAN_BOTH) $(MATRIX) $(M32) $(ARM64) $(MINGW) || true
	@$(new_pages)
	@tests/run $(test_runs) $(backend_runs) $(redis_runs) $(ASAN_BOTH) $(MATRIX) $(call foreign_runs,$(M32),$(ARM64),$(MINGW)) \
	    "MEMCHECK=1 tests/test_examples" "tests/compile/run full" tests/http_shapes \
	    tests/stb_ds_host/run tests/planted/run $(call tsan_runs,$(TSAN_BOTH)) $(judge_runs) "$(long_pages)" -- \
	    "tests/prefork_under_load.py build/gcc/prefork" -- \
	    $(call each,LONG=1 ,$(call of_kind,gcc) build/gcc/number_oracle)

check-hosts: ## programs that use stb_ds.h themselves, in eight ways, with all compilers
	@tests/install core cpp clang
	@tests/run tests/stb_ds_host/run

asan: ## all tests under AddressSanitizer and UndefinedBehaviorSanitizer, gcc and clang
	@tests/install $(TOOLS)
	+@$(BUILD) $(ASAN_BOTH) || true
	@tests/run $(ASAN_BOTH)

tsan: ## the thread tests under ThreadSanitizer, gcc and clang
	@tests/install $(TOOLS)
	+@$(BUILD) $(TSAN_BOTH) || true
	@tests/run $(call tsan_runs,$(TSAN_BOTH))

native: ## all tests as gcc builds them, each once
	@tests/install core cpp system http redis tls judges
	+@$(BUILD) $(call of_kind,gcc) || true
	@tests/run $(call of_kind,gcc)

stores: ## all tests that use Redis, with redis-server and with valkey-server (Debian 13)
	@tests/install core redis tls valkey
	+@$(BUILD) $(REDIS_TESTS:%=build/gcc/%) $(ON_REDIS:%=build/redis-gcc/%) || true
	@tests/run $(store_runs)

matrix: ## all tests with every compiler, standard, optimisation and machine
	@tests/install $(TOOLS) $(FOREIGN) $(ARM64_CPP)
	+@$(BUILD) $(call of_kind,gcc) $(MATRIX) $(M32) $(ARM64) $(MINGW) || true
	@tests/run $(call of_kind,gcc) $(MATRIX) $(call foreign_runs,$(M32),$(ARM64),$(MINGW)) "tests/compile/run full"

planted: export SECONDS_EACH := 3600
planted: ## put bugs into the library, one at a time: the tests must see each
	@tests/install $(TOOLS) patch
	@tests/run tests/planted/run

oom: ## let every single allocation fail, plain and under the sanitizers
	@tests/install $(TOOLS)
	+@$(BUILD) $(OOM_BOTH) || true
	@tests/run $(call each,LONG=1 ,$(OOM_BOTH))

fuzz: export SECONDS_EACH := 14400
fuzz: ## feed random bytes to what reads files, for a minute each (FUZZ_SECONDS=600: for ten)
	@tests/install core cpp clang sanitizers
	+@$(BUILD) $(FUZZ) || true
	@tests/run $(call each,tests/fuzz ,$(FUZZ))

include bench/rules.mk

bench: ## time every operation beside the bare one, some 3 minutes (COMPILER=clang)
	@tests/install core report http $(filter clang,$(COMPILER))
	+@$(BUILD) $(BENCH)/bench $(BENCH)/served
	@COMPILER=$(COMPILER) bench/run $(BENCH)/bench $(BENCH)/served

bench-redis: ## the Redis backend beside bare hiredis, and Python doing the same
	@tests/install core report redis
	+@$(BUILD) $(BENCH)/redis
	@BUDGETS=bench/redis.budgets COMPILER=$(COMPILER) tests/on_redis bench/run $(BENCH)/redis \
	    bench/peers/pytheus_redis.py

bench-peers: export SECONDS_MOST := 1500
bench-peers: ## the same beside the clients that Debian has, with plots: 15 to 25 minutes
	@tests/install core report http plots peer-cpp peer-go peer-rust peer-python
	+@$(BUILD) $(BENCH)/bench $(BENCH)/served $(PEERS)
	@bench/run $(BENCH)/bench $(BENCH)/served $(PEERS) \
	    bench/peers/client_python.py bench/peers/client_python_processes.py

contention: ## compare two ways to spread a series over threads, as bench/CONTENTION.md tells
	@tests/install core
	+@$(BUILD) $(CONTENTION_PROGRAMS)
	@$(CONTENTION_PROGRAMS)

instructions: ## count the instructions of the hottest operations (UPDATE=1: keep the new counts)
	@tests/install core memcheck
	+@$(BUILD) build/bench/gcc/instructions
	@bench/instructions build/bench/gcc/instructions

format-check: ## the form of all sources
	@tests/install format
	@tests/format

chroot: ## quickstart and test in a bare Debian 12 (debootstrap; as root)
	@tests/install chroot
	@tests/chroot bookworm "make quickstart ONCE=1" "make test"

trixie: ## quickstart, native and stores in a bare Debian 13 (debootstrap; as root)
	@tests/install chroot
	@tests/chroot trixie "make quickstart ONCE=1" "make native" "make stores"

clean: ## remove build/
	rm -rf --one-file-system build
