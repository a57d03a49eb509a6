/* shown.c - samples that a step learns from, with their rewards and advantages: a line of the metrics, for the page's
 * table and for people. */
#include <string.h>

#include "base/text.h"
#include "train/run.h"

enum { PROMPT_MOST = 1000, COMPLETION_MOST = 6000, TOLD_MOST = 70 }; /* bytes of each that are kept; for people */

bool run_shows(const train_run *r) {
    uint64_t step = r->state.step + 1;
    return r->o->sample_every && (step == r->steps || step % r->o->sample_every == 0);
}

/* key with the comma before it */
static void put_text(buf *out, const char *key, const char *text, size_t most) {
    size_t n = strlen(text), kept = utf8_clip(text, n, most);
    buf_puts(out, key);
    if (kept < n) {
        buf cut = {0};
        buf_add(&cut, text, kept);
        buf_puts(&cut, " \xe2\x80\xa6");
        json_put_string(out, cut.data ? cut.data : "", cut.n);
        out->failed = out->failed || cut.failed;
        buf_free(&cut);
    } else {
        json_put_string(out, text, n);
    }
}

static void put_number(buf *out, const char *key, double v) {
    buf_printf(out, ",\"%s\":", key);
    json_put_number(out, v);
}

static void put_sample(buf *json, buf *text, const shown_sample *s) {
    buf_puts(json, "{");
    put_text(json, "\"prompt\":", s->prompt, PROMPT_MOST);
    put_text(json, ",\"completion\":", s->completion, COMPLETION_MOST);
    if (s->user) put_text(json, ",\"user\":", s->user, PROMPT_MOST);
    put_number(json, "reward", s->reward);
    put_number(json, "advantage", s->advantage);
    buf_puts(json, "}");
    size_t n = utf8_clip(s->completion, strlen(s->completion), TOLD_MOST);
    buf_printf(text, "\n  reward %+.3f advantage %+.2f: ", s->reward, s->advantage);
    for (size_t i = 0; i < n; i++)
        buf_putc(text, (unsigned char)s->completion[i] < ' ' || s->completion[i] == 0x7f ? ' ' : s->completion[i]);
}

pgr_status run_show(train_run *r, const shown_sample *list, size_t n, pgr_error *err) {
    buf json = {0}, text = {0};
    unsigned long long step = (unsigned long long)r->state.step + 1;
    if (n == 0) return PGR_OK;
    buf_printf(&json, "{\"step\":%llu,\"samples\":[", step);
    buf_printf(&text, "step %llu learns from", step);
    for (size_t i = 0; i < n && i < SHOWN_MOST && !json.failed; i++) {
        if (i) buf_putc(&json, ',');
        put_sample(&json, &text, &list[i]);
    }
    buf_putc(&json, ']');
    pgr_status s = run_tell(r, &json, &text, err);
    buf_free(&json);
    buf_free(&text);
    return s;
}
