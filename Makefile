# Makefile - builds the extension with PGXS, hands the streamer to its own Makefile, runs tests, benches and the demo.
# SPDX-License-Identifier: PostgreSQL

EXTENSION = sync
MODULE_big = sync
SOURCES = $(sort $(wildcard extension/*.c))
OUR_HEADERS = $(sort $(wildcard extension/*.h))
OBJS = $(SOURCES:.c=.o)
# The install script is one file to PostgreSQL and one part per subject to us, in the order they need each other
SQL_PARTS = $(patsubst %,extension/sql/%.sql,tables sync feed triggers publication scope enable rules builtin conflicts devices locks history activity notifications topics audit upkeep check ddl privileges)
DATA_built = extension/sync--1.0.sql
PGFILEDESC = "sync - change tracking, pull and push for live copies of tables"

# `make installcheck` runs these against a running server; `make test` brings a server of its own
REGRESS = $(patsubst sql/%.sql,%,$(sort $(wildcard sql/*.sql)))
REGRESS_OPTS = --load-extension=sync
ISOLATION = $(patsubst test/specs/%.spec,%,$(sort $(wildcard test/specs/*.spec)))
ISOLATION_OPTS = --inputdir=test --load-extension=sync

# PostgreSQL's own headers and macros leave parameters unused and mix signs; everything else is an error
PG_CPPFLAGS = -Iextension
PG_CFLAGS = -Wall -Wextra -Werror -Wno-unused-parameter -Wno-sign-compare -Wno-missing-field-initializers -Wno-declaration-after-statement

EXTRA_CLEAN = results output_iso regression.diffs regression.out tmp_check tmp_check_iso

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs 2>/dev/null)
export PG_CONFIG

.DEFAULT_GOAL := all

# Before the packages are there PGXS is missing: only the targets that bring them can run then.
ifneq ($(PGXS),)
include $(PGXS)
$(OBJS) $(OBJS:.o=.bc): $(OUR_HEADERS)
extension/sync--1.0.sql: $(SQL_PARTS) Makefile
	cat $(SQL_PARTS) > $@
ifneq ($(STREAMER),no)
all: streamer
install: install-streamer
endif
clean: clean-streamer
else
all install clean:
	@echo "pg_config or PGXS not found: install postgresql-server-dev, or run test/setup.sh as root on Debian" >&2; exit 1
endif

.PHONY: streamer install-streamer install-extension clean-streamer test demo regress isolation pgtap unit e2e chinook crash chaos soak controls property sanitized sanitized-sql mutations bench bench-sql bench-stream lint layers docs setup help fuzz

streamer:
	$(MAKE) -C streamer all

install-streamer: streamer
	$(MAKE) -C streamer install

clean-streamer:
	$(MAKE) -C streamer clean

# only what PostgreSQL loads; the streamer runs from where it was built
install-extension:
	$(MAKE) install STREAMER=no

setup:
	@test/setup.sh

test:
	@test/run.sh

regress isolation pgtap:
	@test/regress.sh $@

unit:
	$(MAKE) -C streamer unit

e2e:
	@test/node.sh e2e.js

chinook:
	@test/node.sh chaos/chinook.js

crash:
	@test/node.sh chaos/crash.js

chaos:
	@test/node.sh chaos/chaos.js

soak:
	@test/node.sh chaos/soak.js

controls: all
	@test/node.sh chaos/controls.js

fuzz:
	@test/node.sh fuzz/fuzz.js

sanitized:
	@test/sanitized.sh

sanitized-sql:
	@test/sanitized_sql.sh

property:
	@test/node.sh property/push.js

mutations:
	@test/node.sh mutations.js

bench:
	@test/node.sh bench/latency.js

bench-sql:
	@test/node.sh bench/sql.js

bench-stream: streamer
	@$(MAKE) -s --no-print-directory -C streamer bench-tools
	@test/node.sh bench/stream.js

demo:
	@test/demo.sh

layers:
	@test/layers.sh

docs:
	@test/docs.sh

lint: layers
	@test/lint.sh

help:
	@echo "make            build the extension and the streamer"
	@echo "make install    install both (as root; PREFIX= for the streamer)"
	@echo "make test       set up, build, install the extension, run every test"
	@echo "make demo       the same, then a page where three people share notes; Ctrl-C stops it"
	@echo ""
	@echo "one at a time, against what is installed:"
	@echo "make regress | isolation | pgtap    SQL tests in a private cluster; TESTS=\"a b\" picks some"
	@echo "make unit                           the streamer's pure modules"
	@echo "make e2e                            real processes, npm phoenix client; TESTS=\"push teams\" picks some"
	@echo "make chinook                        random history with kills; CHANGES= KILLS= SEED= SECONDS= CHINOOK="
	@echo "make crash                          the crash trap; ROUNDS="
	@echo "make chaos                          the promises G1 to G16 under faults; ROWS=\"G4 handoff\" SECONDS= SEED= MOST="
	@echo "make soak                           everything at once for half an hour with random faults: equal copies, flat memory; SECONDS= SEED="
	@echo "make controls                       the plays that must fail with a rule switched off, in a build of its own; RULES= SECONDS= SEED="
	@echo "make fuzz                           every parser under libFuzzer; TESTS=\"json token\" SECONDS= RUNS= SEED= MERGE=1"
	@echo "make sanitized                      e2e with a streamer under ASan, LSan and UBSan; TESTS=\"tls gap\""
	@echo "make sanitized-sql                  the extension's tests under ASan and UBSan, BY=valgrind under valgrind; STEPS=\"regress\" TESTS= CASES= E2E="
	@echo "make property                       random pushes against a model of the rules; CASES= SEED= MIX=typical TABLE= MOST="
	@echo "make mutations                      breaks the code on purpose, in a copy: does each test see it? ROWS=\"X4 X10\""
	@echo "make bench                          commit to client: p50, p99; RATE= SECONDS= IDLE="
	@echo "make docs                           what users can meet is explained in README and by COMMENT"
	@echo "make bench-sql                      pull, writes, push in the database beside their peers; SECTIONS= ROUNDS= ROWS="
	@echo "make bench-stream                   the streamer under load beside its floors; SECTIONS=\"a f\" ROUNDS= PLUGIN="
	@echo "make lint                           include layers, shell, formatting"
	@echo "make clean"
