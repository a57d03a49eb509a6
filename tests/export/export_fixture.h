/* export_fixture.h - for tests: a limit on the size of files, adapters and plans by hand. */
#ifndef PGR_TESTS_EXPORT_FIXTURE_H
#define PGR_TESTS_EXPORT_FIXTURE_H

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../base/scratch.h"
#include "../model/forward_golden.h"

#define GOLDEN(name) PGR_SOURCE_DIR "/tests/golden/" name

static const struct {
    const char *folder, *json;
} families[] = {
    {GOLDEN("hf-tiny-llama/f32"), GOLDEN("tiny-llama.json")},
    {GOLDEN("hf-tiny-llama31"), GOLDEN("hf-tiny-llama31/logits.json")},
    {GOLDEN("hf-tiny-qwen2"), GOLDEN("hf-tiny-qwen2/logits.json")},
    {GOLDEN("hf-tiny-qwen3"), GOLDEN("hf-tiny-qwen3/logits.json")},
    {GOLDEN("hf-tiny-mistral"), GOLDEN("hf-tiny-mistral/logits.json")},
};
enum { N_FAMILY = sizeof families / sizeof *families };

/* Progress that cancels at once: ctx is the pgr_cancel. */
static inline void cancel_now(void *ctx, const char *label, uint64_t done, uint64_t total, const char *unit) {
    (void)label, (void)done, (void)total, (void)unit;
    *(pgr_cancel *)ctx = 1;
}

static inline size_t count_entries(void) {
    char command[128], text[32] = "";
    snprintf(command, sizeof command, "ls -A %s | wc -l", scratch);
    FILE *f = popen(command, "r");
    assert_non_null(f);
    assert_non_null(fgets(text, sizeof text, f));
    pclose(f);
    return strtoul(text, NULL, 10);
}

/* Files may not grow beyond n bytes; 0: as they may. */
static inline void limit_files(size_t n) {
    static struct rlimit usual;
    signal(SIGXFSZ, SIG_IGN);
    if (!usual.rlim_max) assert_int_equal(getrlimit(RLIMIT_FSIZE, &usual), 0);
    struct rlimit r = usual;
    if (n) r.rlim_cur = n;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &r), 0);
}

#endif
