/* run.c - opens a run's folder and adapter, makes its steps, keeps metrics and checkpoints. */
#include "train/run.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/file_out.h"
#include "base/hash.h"
#include "base/legible.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/watch.h"
#include "train/curves.h"
#include "train/written.h"

pgr_model_options pgr_train_model_options(void) {
    pgr_model_options o = pgr_model_options_default();
    o.dtype = model_dtype_trained();
    return o;
}

pgr_dtype pgr_train_dtype(const pgr_train_options *o) {
    pgr_dtype was;
    return o->resume && o->out && saved_dtype(o->out, &was) ? was : model_dtype_trained();
}

/* ---- opening ---- */

pgr_status run_check(const pgr_train_options *o, bool epochs, pgr_error *err) {
    if (o->steps == 0 && !(epochs && o->epochs > 0))
        return epochs ? fail(err, PGR_E_ARG, "steps and epochs are 0: expected one above 0")
                      : fail(err, PGR_E_ARG, "steps 0: expected 1 or more");
    if (o->full && o->init)
        return fail(err, PGR_E_ARG, "init %s: all weights are trained from the model's own, expected none", o->init);
    return PGR_OK;
}

static pgr_status check_options(const pgr_model *m, const pgr_train_options *o, pgr_error *err) {
    if (!o->out) return fail(err, PGR_E_ARG, "out: found none, expected a folder for the run");
    if (m->dtype == PGR_DTYPE_INT8 && o->full)
        return fail(err, PGR_E_ARG, "dtype int8: is for adapters; for all weights expected bf16, f32 or exact");
    if (!(o->lr >= 0) || !isfinite(o->lr)) return fail(err, PGR_E_ARG, "lr %g: expected 0 or more", o->lr);
    if (!(o->beta1 >= 0 && o->beta1 < 1 && o->beta2 >= 0 && o->beta2 < 1))
        return fail(err, PGR_E_ARG, "betas %g, %g: expected numbers from 0 to below 1", o->beta1, o->beta2);
    if (o->batch == 0) return fail(err, PGR_E_ARG, "batch 0: expected 1 or more");
    if (o->pass_tokens == 0) return fail(err, PGR_E_ARG, "pass tokens 0: expected 1 or more");
    return PGR_OK;
}

static pgr_status make_folder(const char *out, pgr_error *err) {
    char text[128];
    if (mkdir(out, 0777) == 0 || (errno == EEXIST && file_is_folder(out))) return PGR_OK;
    return fail(err, PGR_E_IO, "%s: cannot be made: %s", out, strerror_r(errno, text, sizeof text));
}

/* What decides the numbers. Steps are not among them: a run may be made longer. */
static pgr_status add_settings(json_t *settings, const pgr_model *m, const pgr_train_options *o, const char *stage,
                               pgr_error *err) {
    json_t *mine =
        json_pack("{s:s,s:o,s:s,s:o,s:I,s:f,s:f,s:I,s:f,s:s,s:I,s:f,s:f,s:f,s:f,s:I,s:I}", "stage", stage, "model",
                  legible_json(pgr_model_name(m)), "dtype", pgr_dtype_name(m->dtype), "init", legible_json(o->init),
                  "rank", (json_int_t)o->rank, "alpha", o->alpha, "layers", o->layers, "batch", (json_int_t)o->batch,
                  "lr", o->lr, "schedule", SCHEDULE_NAMES[o->schedule], "warmup", (json_int_t)o->warmup, "weight_decay",
                  o->weight_decay, "clip", o->clip, "beta1", o->beta1, "beta2", o->beta2, "pass_tokens",
                  (json_int_t)o->pass_tokens, "seed", (json_int_t)o->seed);
    int failed = mine ? json_object_update(settings, mine) : -1;
    if (o->full) failed |= json_object_set_new(settings, "full", json_true()); /* older runs have no such key */
    json_decref(mine);
    return failed ? fail_mem(err) : PGR_OK;
}

static pgr_status open_whole(train_run *r, bool score, pgr_error *err) {
    const pgr_train_options *o = r->o;
    PGR_TRY(written_check(r->m, "training all weights", err));
    PGR_TRY(trainable_create_whole(r->m, score, o->seed, &r->t, err));
    double n = (double)trainable_count(r->t);
    log_info("%s: %.1f million weights; values, gradients and moments take %.2f GB", pgr_model_name(r->m), n / 1e6,
             16 * n / 1e9);
    return PGR_OK;
}

static pgr_status open_adapter(train_run *r, const char *checkpoint, pgr_error *err) {
    const pgr_train_options *o = r->o;
    if (*checkpoint) return trainable_open(r->m, checkpoint, &r->t, err);
    if (o->init) return trainable_open(r->m, o->init, &r->t, err);
    trainable_options to = trainable_options_default();
    size_t n_layer = r->m->config.n_layer;
    to.rank = o->rank;
    to.alpha = (float)o->alpha;
    to.first_layer = n_layer - (size_t)ceil(o->layers * (double)n_layer);
    to.seed = o->seed;
    return trainable_create(r->m, &to, &r->t, err);
}

static pgr_status open_state(train_run *r, const char *checkpoint, pgr_error *err) {
    train_state *s = &r->state;
    s->n = trainable_count(r->t);
    s->values = trainable_values(r->t);
    s->first = mem_zero(s->n, sizeof *s->first);
    s->second = mem_zero(s->n, sizeof *s->second);
    if (!s->first || !s->second) return fail_mem(err);
    if (!*checkpoint) return PGR_OK;
    PGR_TRY(saved_read(checkpoint, r->settings, s, err));
    trainable_changed(r->t);
    return trainable_pack(r->t, err);
}

static pgr_status fail_metrics(const train_run *r, pgr_error *err) {
    char text[128];
    return fail(err, PGR_E_IO, "%s: %s", r->metrics_path.data, strerror_r(errno, text, sizeof text));
}

/* Metrics of steps after the checkpoint, which are made again, go. A file that is shorter was somebody's to shorten. */
static pgr_status open_metrics(train_run *r, pgr_error *err) {
    struct stat is;
    buf_printf(&r->metrics_path, "%s/metrics.jsonl", r->o->out);
    if (r->metrics_path.failed) return fail_mem(err);
    if (!run_writes(r)) return PGR_OK;
    FILE *f = fopen(r->metrics_path.data, "ab");
    if (!f) return fail_metrics(r, err);
    bool done = fstat(fileno(f), &is) == 0;
    if (done && (uint64_t)is.st_size < r->state.metrics_bytes) r->state.metrics_bytes = (uint64_t)is.st_size;
    done = done && ftruncate(fileno(f), (off_t)r->state.metrics_bytes) == 0;
    if (fclose(f) != 0) done = false;
    return done ? PGR_OK : fail_metrics(r, err);
}

/* The lines that a checkpoint counts are on the disk before it. */
static pgr_status sync_metrics(const train_run *r, pgr_error *err) {
    int fd = open(r->metrics_path.data, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return fail_metrics(r, err);
    pgr_status s = fsync(fd) == 0 || errno == EINVAL ? PGR_OK : fail_metrics(r, err); /* EINVAL: not a file on a disk */
    close(fd);
    return s;
}

static pgr_status find_checkpoint(train_run *r, char *path, pgr_error *err) {
    uint64_t step;
    path[0] = '\0';
    if (!run_writes(r)) return PGR_OK;
    PGR_TRY(make_folder(r->o->out, err));
    PGR_TRY(saved_find(r->o->out, &step, path, err));
    if (r->o->resume || step == 0) return PGR_OK;
    return fail(err, PGR_E_ARG, "%s: holds a run already, expected an empty folder, or resume", path);
}

static pgr_status open_trained(train_run *r, bool score, const char *checkpoint, pgr_error *err) {
    if (r->o->full) return open_whole(r, score, err);
    if (score) PGR_TRY(written_check(r->m, "training a score head", err));
    PGR_TRY(open_adapter(r, checkpoint, err));
    return score ? trainable_add_score(r->t, r->o->seed, err) : PGR_OK;
}

/* What the first rank found, on all; and all have the same settings. */
static pgr_status share_checkpoint(train_run *r, char *path, pgr_error *err) {
    size_t n = pgr_ranks_count(r->ranks), *each = mem_array(n, sizeof *each);
    double *all = mem_zero(n, (2 * sizeof *all));
    char *text = json_dumps(r->settings, JSON_SORT_KEYS | JSON_ENCODE_ANY);
    pgr_status s = ranks_agree(r->ranks, each && all && text ? PGR_OK : fail_mem(err), err);
    if (s == PGR_OK) {
        for (size_t i = 0; i < n; i++) each[i] = 2;
        double *mine = all + 2 * pgr_ranks_at(r->ranks);
        mine[0] = *path ? strtod(strrchr(path, '-') + 1, NULL) : 0; /* steps are below 2^53 */
        mine[1] = (double)(hash_text(HASH_BEGIN, text) >> 11);
        ranks_share(r->ranks, all, each);
        if (mine[1] != all[1])
            s = fail(err, PGR_E_ARG, "other settings than those of rank 0, expected one command for all ranks");
        if (all[0] > 0) snprintf(path, SAVED_PATH, "%s/checkpoint-%.0f", r->o->out, all[0]);
    }
    mem_free(text);
    mem_free(each);
    mem_free(all);
    return ranks_agree(r->ranks, s, err);
}

static pgr_status check_count(const train_run *r, pgr_error *err) {
    size_t n = trainable_count(r->t);
    if (pgr_ranks_count(r->ranks) == 1 || n < RANKS_MOST) return PGR_OK;
    return fail(err, PGR_E_LIMIT, "%zu values on %zu ranks: expected fewer than %zu, or one rank", n,
                pgr_ranks_count(r->ranks), RANKS_MOST);
}

static pgr_status open_parts(train_run *r, bool score, const char *checkpoint, pgr_error *err) {
    PGR_TRY(open_trained(r, score, checkpoint, err));
    PGR_TRY(check_count(r, err));
    PGR_TRY(open_state(r, checkpoint, err));
    PGR_TRY(open_metrics(r, err));
    if (r->o->trackio && run_writes(r))
        PGR_TRY(trackio_open(r->o->trackio, r->o->out, r->metrics_path.data, r->settings, &r->board, err));
    return backward_create(r->m, r->t, r->o->pass_tokens, &r->b, err);
}

static pgr_status begin(train_run *r, const char *stage, char *checkpoint, pgr_error *err) {
    if (!r->settings) return fail_mem(err);
    PGR_TRY(check_options(r->m, r->o, err));
    PGR_TRY(add_settings(r->settings, r->m, r->o, stage, err));
    return find_checkpoint(r, checkpoint, err);
}

static pgr_status open_run(train_run *r, bool score, pgr_model *m, const pgr_train_options *o, const char *stage,
                           json_t *settings, pgr_error *err) {
    char checkpoint[SAVED_PATH];
    *r = (train_run){.m = m, .o = o, .settings = settings, .steps = o->steps, .start = clock_now()};
    r->ranks = o->ranks;
    r->report.loss = NAN;
    PGR_TRY(ranks_agree(r->ranks, begin(r, stage, checkpoint, err), err));
    PGR_TRY(share_checkpoint(r, checkpoint, err));
    PGR_TRY(ranks_agree(r->ranks, open_parts(r, score, checkpoint, err), err));
    r->first = r->state.step;
    r->saved = clock_now();
    memcpy(r->report.checkpoint, checkpoint, sizeof r->report.checkpoint);
    return PGR_OK;
}

pgr_status run_open(train_run *r, pgr_model *m, const pgr_train_options *o, const char *stage, json_t *settings,
                    pgr_error *err) {
    return open_run(r, false, m, o, stage, settings, err);
}

pgr_status run_open_score(train_run *r, pgr_model *m, const pgr_train_options *o, const char *stage, json_t *settings,
                          pgr_error *err) {
    return open_run(r, true, m, o, stage, settings, err);
}

void run_close(train_run *r) {
    backward_free(r->b);
    trainable_free(r->t);
    mem_free(r->state.first);
    mem_free(r->state.second);
    mem_free(r->sum);
    mem_free(r->inbox);
    trackio_close(r->board);
    buf_free(&r->metrics_path);
    json_decref(r->settings);
    *r = (train_run){0};
}

/* ---- metrics ---- */

void metrics_put(metrics *m, const char *name, double value) {
    PGR_ASSERT(m->n_more < METRICS_MAX);
    m->more[m->n_more++] = (metric){name, value};
}

static void put_number(buf *b, double v) {
    if (isfinite(v))
        buf_printf(b, "%.9g", v);
    else
        buf_puts(b, "null");
}

static void put_more(buf *json, buf *text, const metrics *m) {
    for (size_t i = 0; i < m->n_more; i++) {
        buf_printf(json, ",\"%s\":", m->more[i].name);
        put_number(json, m->more[i].value);
        buf_printf(text, " %s %.4g", m->more[i].name, m->more[i].value);
    }
}

/* "1:02:03" */
static void put_clock(buf *b, double s) {
    unsigned t = s > 0 && s < 1e8 ? (unsigned)(s + 0.5) : 0;
    if (t >= 3600)
        buf_printf(b, "%u:%02u:%02u", t / 3600, t / 60 % 60, t % 60);
    else
        buf_printf(b, "%u:%02u", t / 60, t % 60);
}

/* The line goes to the file and to the caller. */
pgr_status run_tell(train_run *r, buf *json, buf *text, pgr_error *err) {
    if (!run_writes(r)) return PGR_OK;
    buf_puts(json, "}\n");
    if (json->failed || text->failed || !text->data) return fail_mem(err);
    FILE *f = fopen(r->metrics_path.data, "ab");
    bool written = f && fwrite(json->data, 1, json->n, f) == json->n;
    if (f && fclose(f) != 0) written = false;
    if (!written) return fail_metrics(r, err);
    r->state.metrics_bytes += json->n;
    if (r->board) trackio_take(r->board);
    json->data[--json->n] = '\0';
    if (r->o->on_step) r->o->on_step(r->o->on_step_ctx, json->data, text->data);
    return PGR_OK;
}

static pgr_status tell_step(train_run *r, const metrics *m, double norm, double seconds, pgr_error *err) {
    buf json = {0}, text = {0};
    uint64_t step = r->state.step, made = step - r->first;
    buf_printf(&json, "{\"step\":%llu,\"loss\":", (unsigned long long)step);
    put_number(&json, m->loss);
    buf_puts(&json, ",\"grad_norm\":");
    put_number(&json, norm);
    buf_puts(&json, ",\"learning_rate\":");
    put_number(&json, m->lr);
    buf_printf(&json, ",\"num_tokens\":%llu,\"step_time\":", (unsigned long long)r->state.tokens);
    put_number(&json, seconds);
    buf_puts(&json, ",\"epoch\":");
    put_number(&json, m->epoch);
    if (m->kind) buf_printf(&json, ",\"kind\":\"%s\"", m->kind);
    buf_printf(&text, "step %llu/%llu%s%s loss %.4f", (unsigned long long)step, (unsigned long long)r->steps,
               m->kind ? " " : "", m->kind ? m->kind : "", m->loss);
    put_more(&json, &text, m);
    buf_printf(&text, " grad_norm %.3g lr %.3g, %.0f tokens/s, ", norm, m->lr,
               seconds > 0 ? (double)m->tokens / seconds : 0);
    put_clock(&text, (clock_now() - r->start) / (double)made * (double)(r->steps - step));
    buf_puts(&text, " left");
    pgr_status s = run_tell(r, &json, &text, err);
    buf_free(&json);
    buf_free(&text);
    return s;
}

static pgr_status tell_evaluation(train_run *r, const metrics *m, pgr_error *err) {
    buf json = {0}, text = {0};
    buf_printf(&json, "{\"step\":%llu,\"evaluation\":true", (unsigned long long)r->state.step);
    buf_printf(&text, "step %llu evaluation:", (unsigned long long)r->state.step);
    put_more(&json, &text, m);
    pgr_status s = run_tell(r, &json, &text, err);
    buf_free(&json);
    buf_free(&text);
    return s;
}

static pgr_status tell_sample(train_run *r, buf *text, pgr_error *err) {
    buf json = {0};
    buf_printf(&json, "{\"step\":%llu,\"sample\":", (unsigned long long)r->state.step);
    json_put_string(&json, text->data, text->n);
    pgr_status s = run_tell(r, &json, text, err);
    buf_free(&json);
    return s;
}

/* ---- steps ---- */

static pgr_status save(train_run *r, pgr_error *err) {
    r->saved = clock_now();
    if (r->state.step == 0 || !run_writes(r)) return PGR_OK;
    PGR_TRY(sync_metrics(r, err));
    return saved_write(r->o->out, &r->state, r->settings, r->t, r->report.checkpoint, err);
}

typedef struct update_job {
    const train_run *r;
    adamw_options how;
    size_t first, n; /* of the values */
    double lr, scale;
} update_job;

enum { UPDATE = 1 << 16 }; /* values of a task */

static void update_task(void *ctx, size_t task, size_t worker) {
    (void)worker;
    const update_job *j = ctx;
    const train_state *s = &j->r->state;
    size_t at = j->first + task * UPDATE, left = j->first + j->n - at;
    adamw_step(s->values + at, s->first + at, s->second + at, trainable_grads(j->r->t) + at,
               left < UPDATE ? left : UPDATE, s->step + 1, j->lr, j->scale, &j->how);
}

/* Norms and biases do not decay, as transformers' trainer has it. */
static void update(train_run *r, double lr, double scale) {
    const pgr_train_options *o = r->o;
    size_t n;
    const train_piece *p = trainable_pieces(r->t, &n);
    for (size_t i = 0; i < n; i++) {
        adamw_options how = {o->beta1, o->beta2, 1e-8, p[i].decays ? o->weight_decay : 0};
        update_job job = {r, how, p[i].first, p[i].n, lr, scale};
        pool_run(r->m->threads, (p[i].n + UPDATE - 1) / UPDATE, update_task, &job);
    }
}

static pgr_status make_step(train_run *r, const train_stage *s, pgr_error *err) {
    const pgr_train_options *o = r->o;
    train_state *st = &r->state, before = r->state;
    float *grads = trainable_grads(r->t);
    metrics m = {.lr = o->lr};
    double begin = clock_now();
    run_gradients_begin(r);
    pgr_status status = ranks_agree(r->ranks, s->step(s->ctx, r, &m, err), err);
    if (status == PGR_OK) run_gradients_end(r);
    double norm = status == PGR_OK ? gradient_norm(grads, st->n) : 0;
    if (status == PGR_OK && !(isfinite(m.loss) && isfinite(norm)))
        status =
            fail(err, PGR_E_ARG, "step %llu: loss %g, gradient norm %g: the run has diverged, expected finite ones",
                 (unsigned long long)st->step + 1, m.loss, norm);
    if (status != PGR_OK) { /* positions in the data are those of the step before */
        memcpy(st->position, before.position, sizeof st->position);
        return status;
    }
    m.lr *= schedule_at((schedule)o->schedule, st->step, o->warmup, r->steps);
    update(r, m.lr, clip_scale(norm, o->clip));
    PGR_TRY(backward_changed(r->b, err));
    st->step++;
    st->tokens += m.tokens;
    r->report.loss = m.loss;
    return tell_step(r, &m, norm, clock_now() - begin, err);
}

static pgr_status evaluate(train_run *r, const train_stage *s, pgr_error *err) {
    metrics m = {0};
    if (!s->evaluate) return PGR_OK;
    r->state.due = true;
    PGR_TRY(s->evaluate(s->ctx, r, &m, err));
    r->state.due = false;
    return m.n_more > 0 ? tell_evaluation(r, &m, err) : PGR_OK;
}

static pgr_status sample(train_run *r, const train_stage *s, pgr_error *err) {
    buf text = {0};
    if (!s->sample) return PGR_OK;
    pgr_status status = s->sample(s->ctx, r, &text, err);
    if (status == PGR_OK && text.failed) status = fail_mem(err);
    if (status == PGR_OK && text.n > 0) status = tell_sample(r, &text, err);
    buf_free(&text);
    return status;
}

/* What is looked at behind a step. */
static pgr_status look(train_run *r, const train_stage *s, pgr_error *err) {
    uint64_t step = r->state.step;
    bool last = step == r->steps, evaluated = last || (s->eval_every && step % s->eval_every == 0);
    if (r->o->sample_every && (last || step % r->o->sample_every == 0)) PGR_TRY(sample(r, s, err));
    if (evaluated) PGR_TRY(evaluate(r, s, err));
    return evaluated && run_writes(r) ? curves_write(r->o->out, r->metrics_path.data, s->name, err) : PGR_OK;
}

static pgr_status make_steps(train_run *r, const train_stage *s, pgr_error *err) {
    if (r->state.due) PGR_TRY(evaluate(r, s, err)); /* the run was interrupted in it */
    while (r->state.step < r->steps) {
        PGR_TRY(ranks_agree(r->ranks, watch_check(&r->o->watch, err), err));
        PGR_TRY(make_step(r, s, err));
        PGR_TRY(ranks_agree(r->ranks, look(r, s, err), err));
        bool due = r->state.step == r->steps || clock_now() - r->saved >= 60 * r->o->save_minutes;
        PGR_TRY(ranks_agree(r->ranks, due ? save(r, err) : PGR_OK, err));
    }
    return PGR_OK;
}

static pgr_status write_result(train_run *r, const train_stage *s, pgr_error *err) {
    if (s->conclude) PGR_TRY(s->conclude(s->ctx, r, err));
    if (!run_writes(r)) return PGR_OK;
    buf path = {0};
    bool model = trainable_whole(r->t) || trainable_score(r->t);
    buf_printf(&path, "%s/%s", r->o->out, model ? "model" : "adapter");
    pgr_status status = path.failed ? fail_mem(err)
                        : model     ? written_model(r->t, path.data, err)
                                    : trainable_write(r->t, path.data, TRAINABLE_BF16, NULL, err);
    if (status == PGR_OK && s->finish) status = s->finish(s->ctx, r, path.data, err);
    buf_free(&path);
    return status;
}

pgr_status run_loop(train_run *r, const train_stage *s, pgr_error *err) {
    pgr_status status = make_steps(r, s, err);
    if (status == PGR_E_CANCELLED) { /* what was learnt is kept */
        pgr_error why = {0};
        pgr_status kept = save(r, &why);
        if (kept != PGR_OK) status = fail(err, kept, "%s", why.message);
    }
    if (status == PGR_OK) status = write_result(r, s, err);
    status = ranks_agree(r->ranks, status, err);
    r->report.steps = r->state.step;
    r->report.tokens = r->state.tokens;
    r->report.seconds = clock_now() - r->start;
    return status;
}
