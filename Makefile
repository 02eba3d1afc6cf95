# Assent. `make help` lists what there is to do here. Everything built goes to $(BUILD).
BUILD    ?= build
CC       ?= cc
SANITIZE ?=
AGENTS   ?= 0
V        ?= 0
Q        := $(if $(filter 1,$(V)),,@)

# ---- flags ------------------------------------------------------------------------------------------
PACKAGES := jansson libcurl libmicrohttpd libuv sqlite3 libpq
WARNINGS := -Wall -Wextra -Wpedantic -Werror -Wconversion -Wshadow -Wstrict-prototypes \
            -Wmissing-prototypes -Wvla -Wformat=2 -Wundef -Wcast-qual -Wwrite-strings -Wswitch-enum
HARDEN   := -fstack-protector-strong -fPIE $(if $(SANITIZE),,-D_FORTIFY_SOURCE=2)
CFLAGS   ?= -O2 -g
# Assertions stay in release builds (NDEBUG is never set): a bug must stop, not go on with money.
ALL_CFLAGS = -std=c17 -D_GNU_SOURCE -I. $(shell pkg-config --cflags $(PACKAGES)) $(WARNINGS) $(HARDEN) \
             $(CFLAGS) $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-omit-frame-pointer -fno-sanitize-recover=all) \
             $(if $(COVERAGE),--coverage)
ALL_LDFLAGS = -pie -Wl,-z,relro,-z,now $(LDFLAGS) $(if $(SANITIZE),-fsanitize=$(SANITIZE)) \
              $(if $(COVERAGE),--coverage)
LIBS      = $(shell pkg-config --libs $(PACKAGES)) -linih -lm -pthread

# ---- what is built from what ------------------------------------------------------------------------
# A source named main.c is a program's; all others of a room are its library.
room      = $(filter-out %/main.c,$(wildcard $(1)/*.c))
COMMON   := $(call room,common)
AGENT    := $(call room,participant-agent) $(call room,adapters) $(COMMON)
DAEMON   := $(call room,coordinator) $(call room,wal) $(AGENT)
CLI      := $(call room,cli) $(COMMON)
UNIT     := $(wildcard tests/unit/*.c) $(wildcard tests/lib/*.c)
INTEG    := $(wildcard tests/integration/*.c) $(wildcard tests/lib/*.c)

objects   = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))
# Test builds have the named crash points compiled in.
testobjs  = $(patsubst %.c,$(BUILD)/test/obj/%.o,$(1))
PROGRAMS := $(addprefix $(BUILD)/,assentd assent-agent assent)
TESTS    := $(addprefix $(BUILD)/test/,assentd assent-agent assent unit integration)

.DEFAULT_GOAL := all
.PHONY: all
all: $(PROGRAMS) ## build the three programs into build/

$(BUILD)/assentd:      $(call objects,$(DAEMON) coordinator/main.c)
$(BUILD)/assent-agent: $(call objects,$(AGENT) participant-agent/main.c)
$(BUILD)/assent:       $(call objects,$(CLI) cli/main.c)
$(BUILD)/test/assentd:      $(call testobjs,$(DAEMON) coordinator/main.c)
$(BUILD)/test/assent-agent: $(call testobjs,$(AGENT) participant-agent/main.c)
$(BUILD)/test/assent:       $(call testobjs,$(CLI) cli/main.c)
$(BUILD)/test/unit:         $(call testobjs,$(sort $(UNIT) $(DAEMON) $(call room,cli)))
$(BUILD)/test/integration:  $(call testobjs,$(sort $(INTEG) $(DAEMON) $(call room,cli)))

$(PROGRAMS) $(TESTS):
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $(filter %.o,$^) $(LIBS) $(if $(findstring /test/,$@),-lcunit)

$(BUILD)/obj/%.o: %.c
	@mkdir -p $(@D)
	@echo "  CC    $<"
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/test/obj/%.o: %.c
	@mkdir -p $(@D)
	@echo "  CC    $< (test)"
	$(Q)$(CC) $(ALL_CFLAGS) -DASSENT_CRASH_POINTS -MMD -MP -c -o $@ $<

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)

# ---- tests ------------------------------------------------------------------------------------------
.PHONY: test unit integration
test: deps ## run all tests (real PostgreSQL servers in a temporary directory)
	$(Q)$(MAKE) --no-print-directory -j2 $(TESTS)
	$(Q)$(BUILD)/test/unit
	$(Q)ASSENT_BUILD=$(BUILD)/test $(BUILD)/test/integration

unit: $(BUILD)/test/unit ## run the unit tests only
	$(Q)$(BUILD)/test/unit $(ONLY)

integration: $(TESTS) ## run the integration tests only; ONLY=name narrows
	$(Q)ASSENT_BUILD=$(BUILD)/test $(BUILD)/test/integration $(ONLY)

# ---- the demonstration ------------------------------------------------------------------------------
.PHONY: demo
demo: deps ## two databases, thousands of transfers, the coordinator killed in between
	$(Q)$(MAKE) --no-print-directory -j2 all
	$(Q)$(BUILD)/assent demo $(if $(filter-out 0,$(AGENTS)),--agents) $(ARGS)

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
