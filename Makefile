# Assent. `make help` lists what there is to do here. Everything built goes to $(BUILD).
CC       ?= cc
SANITIZE ?=
COVERAGE ?=
AGENTS   ?= 0
V        ?= 0
Q        := $(if $(filter 1,$(V)),,@)
# Each way of building has a directory of its own, so that switching needs no clean.
comma    := ,
BUILD    ?= build$(if $(SANITIZE),/$(subst $(comma),-,$(SANITIZE)))$(if $(COVERAGE),/coverage)

# ---- flags ------------------------------------------------------------------------------------------
PACKAGES := gnutls jansson libcurl libmicrohttpd libuv sqlite3 libpq
# Instrumented builds give gcc false alarms: there a warning is no error.
WARNINGS := $(if $(SANITIZE)$(COVERAGE),,-Werror) -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wstrict-prototypes \
            -Wmissing-prototypes -Wvla -Wformat=2 -Wundef -Wcast-qual -Wwrite-strings -Wswitch-enum
HARDEN   := -fstack-protector-strong -fPIE $(if $(SANITIZE)$(COVERAGE),,-D_FORTIFY_SOURCE=2)
CFLAGS   ?= -O2 -g
# Assertions stay in release builds (NDEBUG is never set): a bug must stop, not go on with money.
ALL_CFLAGS = -std=c17 -D_GNU_SOURCE -I. $(shell pkg-config --cflags $(PACKAGES)) $(WARNINGS) $(HARDEN) \
             $(CFLAGS) $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-omit-frame-pointer -fno-sanitize-recover=all) \
             $(if $(COVERAGE),--coverage -fprofile-update=atomic)
ALL_LDFLAGS = -pie -Wl,-z,relro,-z,now $(LDFLAGS) $(if $(SANITIZE),-fsanitize=$(SANITIZE)) \
              $(if $(COVERAGE),--coverage)
LIBS      = $(shell pkg-config --libs $(PACKAGES)) -lm -pthread

# ---- what is built from what ------------------------------------------------------------------------
# A source named main.c is a program's; all others of a room are its library.
room      = $(filter-out %/main.c,$(wildcard $(1)/*.c))
COMMON   := $(call room,common)
AGENT    := $(call room,participant-agent) $(call room,adapters) $(COMMON)
DAEMON   := $(call room,coordinator) $(call room,wal) $(AGENT)
# With the coordinator's library: backup and recovery of its log are commands.
CLI      := $(call room,cli) $(DAEMON)
UNIT     := $(wildcard tests/unit/*.c) $(wildcard tests/lib/*.c)
INTEG    := $(wildcard tests/integration/*.c) $(wildcard tests/lib/*.c)
# With a runner of its own.
FACTS    := $(wildcard tests/facts/*.c) tests/lib/fault_vfs.c
MATRIX   := $(wildcard tests/crash-matrix/*.c) $(filter-out tests/lib/suite.c,$(wildcard tests/lib/*.c))

# The simulator: the code under test as it is, on models of what is below it.
SIM_BELOW := $(wildcard common/http_*.c) common/clock.c common/crash_point.c common/daemon.c common/door.c common/log.c common/loop.c \
             common/random.c common/tls.c common/tokens.c common/trace_settings.c common/config.c common/config_value.c common/statement_file.c coordinator/settings.c \
             $(wildcard coordinator/rebuild*.c) \
             participant-agent/database.c participant-agent/settings.c participant-agent/state.c
SIM      := $(wildcard tests/sim/*.c) $(filter-out $(SIM_BELOW),$(DAEMON)) common/http_uri.c common/clock.c
SIM      := $(filter-out wal/%,$(SIM)) wal/calls.c wal/job.c wal/record.c
SIM_WRAP := clock_wall_us clock_monotonic_us txn_step branch_step agent_fence

objects   = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))
# Test builds have the named crash points compiled in.
testobjs  = $(patsubst %.c,$(BUILD)/test/obj/%.o,$(1))
PROGRAMS := $(addprefix $(BUILD)/,assentd assent-agent assent)
TESTS    := $(addprefix $(BUILD)/test/,assentd assent-agent assent unit integration facts crash-matrix)

.DEFAULT_GOAL := all
.PHONY: all
all: $(PROGRAMS) $(BUILD)/assent-fault.so ## build the three programs into build/

$(BUILD)/assentd:      $(call objects,$(DAEMON) coordinator/main.c)
$(BUILD)/assent-agent: $(call objects,$(AGENT) participant-agent/main.c)
$(BUILD)/assent:       $(call objects,$(CLI) cli/main.c)
$(BUILD)/test/assentd:      $(call testobjs,$(DAEMON) coordinator/main.c)
$(BUILD)/test/assent-agent: $(call testobjs,$(AGENT) participant-agent/main.c)
$(BUILD)/test/assent:       $(call testobjs,$(CLI) cli/main.c)
$(BUILD)/test/unit:         $(call testobjs,$(sort $(UNIT) $(DAEMON) $(call room,cli)))
$(BUILD)/test/integration:  $(call testobjs,$(sort $(INTEG) $(DAEMON) $(call room,cli)))
$(BUILD)/test/facts:        $(call testobjs,$(FACTS) $(CLI))
$(BUILD)/test/crash-matrix: $(call testobjs,$(sort $(MATRIX) $(DAEMON) $(call room,cli)))

$(BUILD)/test/sim:          $(call testobjs,$(SIM))
$(BUILD)/test/sim: private ALL_LDFLAGS += $(addprefix -Wl$(comma)--wrap=,$(SIM_WRAP))

# One script on the model database and on PostgreSQL.
MODEL    := $(addprefix $(BUILD)/test/transcript-,model postgres)
$(BUILD)/test/transcript-model:    $(call testobjs,$(filter-out %/main.c,$(SIM)) tests/twin/transcript.c tests/twin/on_model.c)
$(BUILD)/test/transcript-model: private ALL_LDFLAGS += $(addprefix -Wl$(comma)--wrap=,$(SIM_WRAP))
$(BUILD)/test/transcript-postgres: $(call testobjs,$(sort $(AGENT) $(CLI)) tests/twin/transcript.c tests/twin/on_postgres.c)

$(PROGRAMS) $(TESTS) $(MODEL) $(BUILD)/test/sim:
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $(filter %.o,$^) $(LIBS) $(if $(findstring /test/,$@),-lcunit)

# For LD_PRELOAD; beside the programs, so that `assent torture` and the tests find it.
FAULTS   := $(BUILD)/assent-fault.so $(BUILD)/test/assent-fault.so
$(FAULTS): tests/fault/preload.c
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	$(Q)$(CC) $(filter-out --coverage,$(ALL_CFLAGS)) -U_FORTIFY_SOURCE -fPIC \
	  $(if $(SANITIZE),-fno-sanitize=all -DFAULT_NO_MALLOC) -shared -Wl,-z,relro,-z,now -o $@ $<

$(BUILD)/obj/coordinator/embedded.o $(BUILD)/test/obj/coordinator/embedded.o: coordinator/openapi.json $(wildcard coordinator/console/*)

$(BUILD)/obj/%.o: %.c
	@mkdir -p $(@D)
	@echo "  CC    $<"
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/test/obj/%.o: %.c
	@mkdir -p $(@D)
	@echo "  CC    $< (test)"
	$(Q)$(CC) $(ALL_CFLAGS) -DASSENT_CRASH_POINTS -MMD -MP -c -o $@ $<

-include $(shell find $(BUILD)/obj $(BUILD)/test/obj -name '*.d' 2>/dev/null)

# ---- tests ------------------------------------------------------------------------------------------
.PHONY: test unit integration facts
test: deps ## run all tests (real PostgreSQL servers in a temporary directory)
	$(Q)$(MAKE) --no-print-directory -j2 test-programs
	$(Q)$(BUILD)/test/unit
	$(Q)ASSENT_BUILD=$(BUILD)/test $(BUILD)/test/integration

unit: $(BUILD)/test/unit ## run the unit tests only
	$(Q)$(BUILD)/test/unit $(ONLY)

integration: test-programs ## run the integration tests only; ONLY=name narrows
	$(Q)ASSENT_BUILD=$(BUILD)/test $(BUILD)/test/integration $(ONLY)

facts: deps $(BUILD)/test/facts ## what the code leans on, shown on real servers; PG=14..18 or PG="16 18" fetches those
	$(Q)sh tools/facts.sh $(BUILD)/test/facts "$(PG)"

.PHONY: crash-matrix
crash-matrix: deps ## every crash point x participants x outcome x mode, killed there; ONLY=C5/agents narrows
	$(Q)$(MAKE) --no-print-directory -j2 test-programs
	$(Q)ASSENT_BUILD=$(BUILD)/test $(BUILD)/test/crash-matrix $(ONLY)

SEEDS ?= 10000
.PHONY: sim
sim: deps ## simulate whole runs with faults of every kind; SEEDS=n, ARGS=...
	$(Q)$(MAKE) --no-print-directory -j2 $(BUILD)/test/sim
	$(Q)$(BUILD)/test/sim --seeds $(SEEDS) --known tests/sim/seeds/known.txt $(ARGS)

.PHONY: mutants
mutants: deps ## plant known bugs, one after the other: the simulator must find each; ONLY=name
	$(Q)sh tools/mutants.sh $(BUILD)/mutants $(ONLY)

.PHONY: twin
twin: deps ## compare the simulator's model database with PostgreSQL, answer by answer
	$(Q)$(MAKE) --no-print-directory -j2 $(MODEL)
	$(Q)$(BUILD)/test/transcript-postgres >$(BUILD)/test/postgres.txt
	$(Q)$(BUILD)/test/transcript-model >$(BUILD)/test/model.txt
	$(Q)diff -u --label PostgreSQL --label model $(BUILD)/test/postgres.txt $(BUILD)/test/model.txt
	@echo "twin: $$(wc -l <$(BUILD)/test/model.txt) answers are PostgreSQL's"

# ---- the demonstration ------------------------------------------------------------------------------
.PHONY: demo
demo: deps ## two databases, thousands of transfers, the coordinator killed in between
	$(Q)$(MAKE) --no-print-directory -j2 all
	$(Q)$(BUILD)/assent demo $(if $(filter-out 0,$(AGENTS)),--agents) $(ARGS)

.PHONY: torture
torture: deps ## the same while everything is broken at random, all promises checked; ARGS="--seconds 600"
	$(Q)$(MAKE) --no-print-directory -j2 all
	$(Q)$(BUILD)/assent torture $(if $(filter-out 0,$(AGENTS)),--agents) $(ARGS)

# ---- checks -----------------------------------------------------------------------------------------
ROOMS   := adapters bench cli common coordinator participant-agent tools wal $(patsubst %/,%,$(wildcard tests/*/))
SOURCES := $(foreach room,$(ROOMS),$(wildcard $(room)/*.[ch]))
SCRIPTS := $(wildcard tools/*.sh) .ci/run
CHECKS  := check-format check-scripts check-docs check-packaging check-gcc check-structure check-clang check-tidy

.PHONY: check $(CHECKS) everything test-programs tidy
check: deps-dev ## format, both compilers, clang-tidy, structure, documentation: all without a test run
	$(Q)$(MAKE) --no-print-directory -k -j1 $(CHECKS) || { echo "check: failed"; exit 1; }
	@echo "check: passed ($(words $(CHECKS)) checks)"

check-format:
	@echo "format: clang-format finds nothing to change"
	$(Q)clang-format --dry-run -Werror $(SOURCES)
	@echo "format: $(words $(SOURCES)) files are formatted"

.PHONY: format
format: ## lay all sources out as check-format wants them
	$(Q)clang-format -i $(SOURCES)

check-scripts:
	@echo "scripts: the shell can read them"
	$(Q)for script in $(SCRIPTS); do $$(sed -n '1s/^#!//p' $$script) -n $$script || exit 1; done
	@echo "scripts: $(words $(SCRIPTS)) are well formed"

check-docs: $(BUILD)/api-docs
	$(Q)sh tools/check_docs.sh $<
	$(Q)sh tools/check_reliability.sh

$(BUILD)/api-docs: $(call objects,tools/api_docs.c)
	@echo "  LINK  $@"
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ -ljansson

.PHONY: api-docs
api-docs: $(BUILD)/api-docs ## write docs/api.md anew, from coordinator/openapi.json
	$(Q)$< coordinator/openapi.json >docs/api.md

check-packaging:
	$(Q)sh tools/check_packaging.sh

everything: $(PROGRAMS) $(TESTS) $(FAULTS) $(BUILD)/test/sim $(addprefix $(BUILD)/,bench bench-growth bench-guard bench-overload bench-recovery bench-count.so)
test-programs: $(TESTS) $(BUILD)/test/assent-fault.so
check-gcc check-clang: check-%:
	@echo "$*: builds everything, warnings are errors"
	$(Q)$(MAKE) --no-print-directory -j2 BUILD=$(BUILD)/check-$* CC=$* SANITIZE= COVERAGE= everything
	@echo "$*: built without a warning"

check-structure: check-gcc
	$(Q)sh tools/check_structure.sh $(BUILD)/check-gcc/obj

# A file is looked at again when clang has compiled it again, which it has when a header changed too.
check-tidy: check-clang
	@echo "tidy: clang-tidy looks for bugs"
	$(Q)$(MAKE) --no-print-directory -k -j2 BUILD=$(BUILD)/check-clang CC=clang SANITIZE= COVERAGE= tidy
	@echo "tidy: $(words $(filter %.c,$(SOURCES))) files are clean"

tidy: $(patsubst %.c,$(BUILD)/tidy/%.ok,$(filter %.c,$(SOURCES)))
$(BUILD)/tidy/%.ok: $(BUILD)/test/obj/%.o .clang-tidy tests/.clang-tidy
	@mkdir -p $(@D)
	@echo "  TIDY  $*.c"
	$(Q)clang-tidy --quiet $*.c -- $(ALL_CFLAGS) -DASSENT_CRASH_POINTS 2>$@.errors || { cat $@.errors; exit 1; }
	@touch $@

# ---- coverage, valgrind -----------------------------------------------------------------------------
.PHONY: coverage valgrind
coverage: deps-dev ## lines and branches that the tests run, by file; pages in build/coverage/html
	$(Q)sh tools/coverage.sh $(BUILD)/coverage

valgrind: deps-dev ## the demo with its daemons under valgrind, embedded and with agents
	$(Q)$(MAKE) --no-print-directory -j2 all
	$(Q)sh tools/valgrind.sh $(BUILD)

# ---- how fast ---------------------------------------------------------------------------------------
.PHONY: bench bench-growth bench-guard bench-overload bench-recovery
BENCH := $(addprefix bench/,bench.c byhand.c chart.c figures.c http.c limit.c load.c measure.c meter.c site.c transfers.c)
GROWTH := $(addprefix bench/,bench.c chart.c figures.c fill.c growth.c growth_log.c growth_memory.c http.c \
                             load.c measure.c meter.c site.c)
GUARD := $(addprefix bench/,bench.c guard.c http.c load.c site.c)
$(BUILD)/bench: $(call objects,$(BENCH) $(CLI))
$(BUILD)/bench-growth: $(call objects,$(GROWTH) $(CLI))
OVERLOAD := $(addprefix bench/,bench.c load.c meter.c overload.c site.c)
$(BUILD)/bench-overload: $(call objects,$(OVERLOAD) $(CLI))
$(BUILD)/bench-recovery: $(call objects,bench/recovery.c bench/bench.c $(CLI))
$(BUILD)/bench-guard: $(call objects,$(GUARD) $(CLI))
$(addprefix $(BUILD)/,bench bench-growth bench-guard bench-overload bench-recovery):
	@echo "  LINK  $@"
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)
# Loaded into the processes that are measured, to count what they do.
$(BUILD)/bench-count.so: bench/count.c bench/count.h
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	$(Q)$(CC) -std=c17 -D_GNU_SOURCE -I. $(WARNINGS) -O2 -fPIC -shared -o $@ $<
bench: deps ## what a transaction costs, against two-phase commit by hand; QUICK=1, ARGS="--json --svg DIR"
	$(Q)$(MAKE) --no-print-directory -j2 all $(BUILD)/bench $(BUILD)/bench-count.so
	$(Q)$(BUILD)/bench $(if $(filter-out 0,$(QUICK)),--quick) $(ARGS)
bench-growth: deps ## how the cost grows: with databases, statements, bytes, clients, the log; QUICK=1, ARGS="--json --svg DIR"
	$(Q)$(MAKE) --no-print-directory -j2 all $(BUILD)/bench-growth $(BUILD)/bench-count.so
	$(Q)$(BUILD)/bench-growth $(if $(filter-out 0,$(QUICK)),--quick) $(ARGS)
bench-guard: deps-dev ## instructions a transaction costs the daemons, against those stored in bench/guard.txt
	$(Q)$(MAKE) --no-print-directory -j2 all $(BUILD)/bench-guard $(BUILD)/bench-count.so
	$(Q)$(BUILD)/bench-guard bench/guard.txt
bench-overload: deps ## twice the load that can be sustained, and 10,000 clients at once; ARGS="--agents --seconds 5"
	$(Q)$(MAKE) --no-print-directory -j2 all $(BUILD)/bench-overload $(BUILD)/bench-count.so
	$(Q)$(BUILD)/bench-overload $(ARGS)
bench-recovery: deps ## how fast thousands of branches in doubt are resolved, against bare libpq
	$(Q)$(MAKE) --no-print-directory -j2 all $(BUILD)/bench-recovery
	$(Q)$(BUILD)/bench-recovery $(ARGS)

# ---- fuzzing ----------------------------------------------------------------------------------------
# libFuzzer with AddressSanitizer and UBSan; each target starts from its corpus in tests/fuzz/corpus.
FUZZERS := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
SECONDS ?= 60
.PHONY: fuzz fuzzers
fuzz: deps-dev ## feed the decoders with what nobody would send; SECONDS=n for each of them
	$(Q)$(MAKE) --no-print-directory -j2 BUILD=$(BUILD)/fuzz CC=clang \
	  SANITIZE=fuzzer-no-link,address,undefined fuzzers
	$(Q)sh tools/fuzz.sh $(BUILD)/fuzz $(SECONDS) $(FUZZERS)

fuzzers: $(addprefix $(BUILD)/fuzz_,$(FUZZERS))
# An archive: of the product only what a target needs is linked, so that it can stand in for the rest.
$(BUILD)/fuzzed.a: $(call objects,$(DAEMON) tests/fuzz/fuzz.c)
	$(Q)rm -f $@ && ar rcs $@ $^
.PRECIOUS: $(BUILD)/obj/tests/fuzz/%.o
$(BUILD)/fuzz_%: $(BUILD)/obj/tests/fuzz/fuzz_%.o $(BUILD)/fuzzed.a
	@echo "  LINK  $@"
	$(Q)$(CC) -pie -fsanitize=fuzzer,address,undefined -o $@ $^ $(LIBS)

# ---- the model --------------------------------------------------------------------------------------
LIVES ?= 2
.PHONY: model
model: deps-dev ## every state of the protocol model, checked by SPIN; LIVES=3 goes further
	$(Q)sh tools/model.sh $(BUILD)/model $(LIVES)

# ---- packages ---------------------------------------------------------------------------------------
.PHONY: deps deps-dev
deps: ## install what is missing to build, test and run the demo (Debian 12)
	@sh tools/deps.sh run

deps-dev: ## and what developers need besides
	@sh tools/deps.sh dev

.PHONY: clean help
clean: ## remove what was built
	$(Q)rm -rf $(BUILD)

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
