/* embed_thread.c - see embed_thread.h. */
#include "serve/embed_thread.h"

#include <pthread.h>

#include "base/mem.h"
#include "serve/embeds.h"

struct embed_thread {
    pthread_t thread;
    pthread_mutex_t lock; /* of the list and `stop` */
    pthread_cond_t news;
    embeds *first, **end;
    bool stop;
};

static void *work(void *ctx) {
    embed_thread *t = ctx;
    pthread_mutex_lock(&t->lock);
    for (;;) {
        while (!t->first && !t->stop) pthread_cond_wait(&t->news, &t->lock);
        embeds *e = t->first;
        if (!e) break;
        t->first = e->next;
        if (!t->first) t->end = &t->first;
        pthread_mutex_unlock(&t->lock);
        embeds_work(e);
        embeds_release(e);
        pthread_mutex_lock(&t->lock);
    }
    pthread_mutex_unlock(&t->lock);
    return NULL;
}

void embed_thread_give(embed_thread *t, embeds *e) {
    e->next = NULL;
    pthread_mutex_lock(&t->lock);
    *t->end = e;
    t->end = &e->next;
    pthread_cond_signal(&t->news);
    pthread_mutex_unlock(&t->lock);
}

pgr_status embed_thread_open(embed_thread **out, pgr_error *err) {
    embed_thread *t = mem_zero(1, sizeof *t);
    if (!t) return fail_mem(err);
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->news, NULL);
    t->end = &t->first;
    if (pthread_create(&t->thread, NULL, work, t) == 0) {
        *out = t;
        return PGR_OK;
    }
    mem_free(t);
    return fail(err, PGR_E_MEM, "no thread for the embedder");
}

void embed_thread_close(embed_thread *t) {
    if (!t) return;
    pthread_mutex_lock(&t->lock);
    t->stop = true;
    pthread_cond_signal(&t->news);
    pthread_mutex_unlock(&t->lock);
    pthread_join(t->thread, NULL);
    pthread_cond_destroy(&t->news);
    pthread_mutex_destroy(&t->lock);
    mem_free(t);
}
