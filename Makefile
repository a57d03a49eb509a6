# Short front of the CMake build. `make help` lists the targets.
BUILD ?= build
JOBS  ?= $(shell nproc 2>/dev/null || echo 2)
CMAKE  = cmake -G Ninja -S . -DPGR_WERROR=$(if $(CI),ON,OFF)

.PHONY: help all deps build model embedder demo test asan tsan fuzz bench kernels layers format install clean

help: ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 12

all: build

deps: ## installs the missing Debian packages (asks for no password: run as root or with sudo)
	@tools/install_deps.sh

build: deps ## builds build/pgenrm
	@$(CMAKE) -B $(BUILD) > $(BUILD).log 2>&1 || { cat $(BUILD).log; exit 1; }
	@cmake --build $(BUILD) -j $(JOBS)

model: ## fetches the default model into the cache folder, once
	@tools/fetch_model.sh

embedder: ## fetches the default embedder into the cache folder, once
	@tools/fetch_embedder.sh

demo: build model ## builds, fetches the default model, judges the bundled example
	$(BUILD)/pgenrm score examples/request.json --ind 8

test: build ## builds and passes the tests
	@tools/check_layers.py
	@tools/check_citations.py
	@ctest --test-dir $(BUILD) --output-on-failure -j $(JOBS)
	@tools/list_skips.sh $(BUILD)

asan: deps ## the tests under AddressSanitizer and UndefinedBehaviorSanitizer
	@$(CMAKE) -B $(BUILD)-asan -DPGR_SANITIZE=address,undefined -DCMAKE_BUILD_TYPE=RelWithDebInfo > $(BUILD)-asan.log 2>&1 || { cat $(BUILD)-asan.log; exit 1; }
	@cmake --build $(BUILD)-asan -j $(JOBS)
	@UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 ctest --test-dir $(BUILD)-asan --output-on-failure -j $(JOBS)

tsan: deps ## the tests under ThreadSanitizer
	@$(CMAKE) -B $(BUILD)-tsan -DPGR_SANITIZE=thread -DCMAKE_BUILD_TYPE=RelWithDebInfo > $(BUILD)-tsan.log 2>&1 || { cat $(BUILD)-tsan.log; exit 1; }
	@cmake --build $(BUILD)-tsan -j $(JOBS)
	@TSAN_OPTIONS=halt_on_error=1 ctest --test-dir $(BUILD)-tsan --output-on-failure -j $(JOBS)

FUZZ_SECONDS ?= 300
fuzz: deps ## runs every libFuzzer target for FUZZ_SECONDS (300)
	@tools/fuzz.sh $(BUILD)-fuzz $(FUZZ_SECONDS)

bench: build model ## many chains on one prompt, against OpenVINO GenAI and llama.cpp (installs them: minutes)
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

format: ## clang-format over our .c files (headers are laid out by hand)
	@git ls-files "*.c" | xargs clang-format -i

install: build ## installs program, library, header and pkg-config file (DESTDIR and PREFIX are respected)
	@cmake --install $(BUILD) $(if $(PREFIX),--prefix $(PREFIX))

clean: ## removes the build folders
	@rm -rf $(BUILD) $(BUILD)-asan $(BUILD)-tsan $(BUILD)-fuzz $(BUILD)*.log
