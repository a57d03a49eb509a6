# Short front of the CMake build. `make help` lists the targets.
BUILD ?= build
JOBS  ?= $(shell nproc 2>/dev/null || echo 2)
export JOBS
comma := ,
MPI   ?= $(if $(shell command -v mpicc),ON,OFF)# whether `make test` builds training in several processes, too
CMAKE  = cmake -G Ninja -S . -DPGR_WERROR=$(if $(CI),ON,OFF) \
         $(if $(shell command -v ccache),-DCMAKE_C_COMPILER_LAUNCHER=ccache)
# $(call compile,FOLDER,TARGET,OPTIONS OF CMAKE)
compile = $(CMAKE) -B $(1) $(3) > $(1).log 2>&1 || { cat $(1).log; exit 1; }; \
          cmake --build $(1) -j $(JOBS) --target $(2)

.PHONY: help all deps build model embedder demo test test-levels asan tsan clang aarch64 test-aarch64 fuzz bench \
        kernels layers style format install clean

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 14

all: build

deps: ## installs the missing Debian packages (asks for no password: run as root or with sudo)
	@tools/install_deps.sh

build: ## builds build/pgenrm, nothing else; needs what `make deps` installs
	@$(call compile,$(BUILD),pgenrm)

model: ## fetches the default model into the cache folder, once
	@tools/fetch_model.sh

embedder: ## fetches the default embedder into the cache folder, once
	@tools/fetch_embedder.sh

# Without the largest commands; half of the rest, where no token passes, without optimisation (PGR_QUICK).
demo: deps ## builds build-demo/pgenrm in a hurry, fetches the default model meanwhile, judges the bundled example
	@tools/fetch_model.sh & fetch=$$!; $(call compile,$(BUILD)-demo,pgenrm,-DPGR_QUICK=ON) && wait $$fetch
	$(BUILD)-demo/pgenrm score examples/request.json --ind 8
	@printf '\nThis was %s, built in a hurry; `make build` makes %s, with serve, bench and train.\n' \
	    $(BUILD)-demo/pgenrm $(BUILD)/pgenrm

test: deps ## builds and passes the tests, with the best kernels that this CPU has
	@tools/install_deps.sh python
	@tools/check_layers.py
	@tools/check_citations.py
	@tools/check_style.py --if-installed
	@$(call compile,$(BUILD),tests,-DPGR_MPI=$(MPI))
	@tools/run_tests.sh $(BUILD) test

# Plain C takes minutes for programs that write with a language model or learn slots: left out at ref, unless empty.
REF_LEFT_OUT ?= test_infer|test_judge|test_bench|test_cmd|test_serve|test_train_psi
# Of rooms that no kernel stands below (src/rooms.txt), commands that ask no model, parsers, and what is about
# installing: the same at every level.
LEVEL_FREE = ^test_(base|net|hub|facts|user|page)_|^test_cmd_(user|pull|help|options|report)$$|^replay_|$\
             ^(install|clients_python|tools_rows|python|help_and_pages)$$
LEVELS ?= $(shell tools/levels.sh | sed 's/ *[^ ]*$$//')
test-levels: deps ## the tests again at every lower level of kernels, one after the other: PGENRM_CPU=ref, avx2
	@$(call compile,$(BUILD),tests)
	@echo "levels of this CPU: $$(tools/levels.sh); make test passes the last of them, this: $(LEVELS)"
	@for level in $(LEVELS); do \
	    leave='$(LEVEL_FREE)'; [ $$level = ref ] && leave="$$leave$(if $(REF_LEFT_OUT),|$(REF_LEFT_OUT))"; \
	    PGENRM_TEST_POSTGRES=off PGENRM_CPU=$$level \
	    tools/run_tests.sh $(BUILD) $$level -E "$$leave" || exit 1; done

asan: deps ## the tests under AddressSanitizer and UndefinedBehaviorSanitizer
	@$(call compile,$(BUILD)-asan,tests,-DPGR_SANITIZE=address$(comma)undefined -DCMAKE_BUILD_TYPE=Sanitize)
	@UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 tools/run_tests.sh $(BUILD)-asan asan

tsan: deps ## the tests under ThreadSanitizer
	@$(call compile,$(BUILD)-tsan,tests,-DPGR_SANITIZE=thread -DCMAKE_BUILD_TYPE=Sanitize)
	@TSAN_OPTIONS=halt_on_error=1 tools/run_tests.sh $(BUILD)-tsan tsan

clang: ## the tests built by clang, warnings as errors
	@tools/install_deps.sh clang
	@$(call compile,$(BUILD)-clang,tests,-DCMAKE_C_COMPILER=clang -DPGR_WERROR=ON)
	@PGENRM_TEST_POSTGRES=off tools/run_tests.sh $(BUILD)-clang clang

AARCH64 = -DCMAKE_TOOLCHAIN_FILE=cmake/aarch64.cmake
aarch64: ## cross-builds build-aarch64/pgenrm
	@tools/install_deps.sh aarch64
	@$(call compile,$(BUILD)-aarch64,pgenrm,$(AARCH64))

test-aarch64: ## the tests for aarch64 under qemu-user: minutes (docs/platforms.md)
	@tools/install_deps.sh aarch64
	@$(call compile,$(BUILD)-aarch64,tests,$(AARCH64))
	@tools/run_tests.sh $(BUILD)-aarch64 aarch64

FUZZ_SECONDS ?= 300
fuzz: deps ## runs every libFuzzer target for FUZZ_SECONDS (300)
	@tools/fuzz.sh $(BUILD)-fuzz $(FUZZ_SECONDS)

bench: deps build model ## many chains on one prompt, against OpenVINO GenAI and llama.cpp (installs them: minutes)
	@cmake --build $(BUILD) --target bench_job
	@PGENRM=$(BUILD)/pgenrm bench/peers/install.sh
	bench/target_job.py --build $(BUILD)

kernels: build ## speed of the kernels against the machine's ceiling
	@cmake --build $(BUILD) --target bench_math bench_attn
	$(BUILD)/bench_math
	$(BUILD)/bench_attn

layers: ## proves that no room includes a room above it, and that what code and pages cite is there
	@tools/check_layers.py
	@tools/check_citations.py

style: ## proves that the .c files are as clang-format has them and no line of code is over 120 columns
	@tools/install_deps.sh style
	@tools/check_style.py

format: ## clang-format over our .c files (headers are laid out by hand)
	@git ls-files "*.c" | xargs clang-format -i

install: ## installs program, libraries (shared, static), headers and pkg-config file (DESTDIR and PREFIX are respected)
	@$(call compile,$(BUILD),all)
	@cmake --install $(BUILD) $(if $(PREFIX),--prefix $(PREFIX))

clean: ## removes the build folders
	@rm -rf $(BUILD) $(BUILD)-demo $(BUILD)-asan $(BUILD)-tsan $(BUILD)-clang $(BUILD)-aarch64 $(BUILD)-fuzz $(BUILD)*.log
