/* machine.c - what the program has to compute with: the CPU, its level of kernels, cores, memory. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/pool.h"
#include "math/ops.h"
#include "pgenrm_model.h"

/* What stands behind the key and a colon in a file of lines such as /proc/cpuinfo; NULL: there is no such line. */
static const char *value_of(const char *text, const char *key) {
    size_t n = strlen(key);
    for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        const char *p = line + n;
        if (strncmp(line, key, n) != 0) continue;
        p += strspn(p, " \t");
        if (*p == ':') return p + 1 + strspn(p + 1, " \t");
    }
    return NULL;
}

/* The file's text, "" where it cannot be read. */
static const char *text_of(const char *path, buf *b) {
    buf_clear(b);
    return file_read(path, b, NULL) == PGR_OK && b->data ? b->data : "";
}

static void find_cpu(pgr_machine *m, buf *b) {
    const char *name = value_of(text_of("/proc/cpuinfo", b), "model name");
    size_t n = name ? strcspn(name, "\n") : 0;
    if (n >= sizeof m->cpu) n = sizeof m->cpu - 1;
    for (size_t i = 0; i < n; i++) m->cpu[i] = isprint((unsigned char)name[i]) ? name[i] : ' ';
    m->cpu[n] = '\0';
}

static uint64_t kilobytes(const char *text, const char *key) {
    const char *value = value_of(text, key);
    return value ? strtoull(value, NULL, 10) * 1024 : 0;
}

/* A control group may allow fewer bytes than the machine has. */
static void find_memory(pgr_machine *m, buf *b) {
    const char *text = text_of("/proc/meminfo", b);
    m->memory = kilobytes(text, "MemTotal");
    m->memory_free = kilobytes(text, "MemAvailable");
    uint64_t limit = strtoull(text_of("/sys/fs/cgroup/memory.max", b), NULL, 10);
    uint64_t used = strtoull(text_of("/sys/fs/cgroup/memory.current", b), NULL, 10);
    if (limit == 0 || limit >= m->memory) return; /* "max" is read as 0 */
    m->memory = limit;
    if (used < limit && limit - used < m->memory_free) m->memory_free = limit - used;
}

void pgr_machine_look(pgr_machine *out) {
    buf b = {0};
    *out = (pgr_machine){.level = ops_cpu_name(), .most = ops_cpu_most(), .n_core = cpu_count()};
    find_cpu(out, &b);
    find_memory(out, &b);
    buf_free(&b);
}
