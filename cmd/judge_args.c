/* judge_args.c - the shared options of judging are taken, and what they name is opened. */
#include "judge_args.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buffer.h"
#include "message.h"
#include "session.h"

static bool exists(const char *path) {
    FILE *f = fopen(path, "rb");
    if (f) fclose(f);
    return f != NULL;
}

/* Similar users are opened where they are asked for, or where prototypes stand beside a store that was named: a request
 * may ask. */
static bool wants_people(const judge_args *a, const char *store) {
    if (a->o.pro > 0 || a->prototypes) return true;
    if (!a->store_name || a->o.pro == 0) return false;
    char *beside = NULL;
    bool there = pgr_store_protos(store, &beside, NULL) == PGR_OK && exists(beside);
    pgr_free(beside);
    return there;
}

static int open_people(judge_args *a, const char *store, int n_thread) {
    char *embedder = NULL;
    pgr_error err = {0};
    int status = a->embedder_name ? find_embedder(a->embedder_name, &embedder) : check_variable("PGENRM_EMBEDDER");
    if (status == EXIT_DONE && pgr_people_open(store, a->prototypes, embedder, n_thread, &a->people, &err) != PGR_OK)
        status = complain_error(&err);
    pgr_free(embedder);
    a->o.people = a->people;
    return status;
}

static int open_users(judge_args *a, int n_thread) {
    char *path = NULL;
    pgr_error err = {0};
    int status = find_store(a->store_name, &path);
    if (status == EXIT_DONE && pgr_store_open(path, PGR_STORE_READ, &a->store, &err) != PGR_OK)
        status = complain_error(&err);
    if (status == EXIT_DONE && wants_people(a, path)) status = open_people(a, path, n_thread);
    pgr_free(path);
    return status;
}

/* The named calibration, else that of the adapter that comes with pgenrm. */
static pgr_status open_calibration(judge_args *a, pgr_error *err) {
    if (a->calibration) return pgr_calibration_open(a->calibration, &a->map, err);
    if (!a->shipped) return PGR_OK;
    char *beside = must_join(a->shipped, "/calibration.json");
    pgr_status s = exists(beside) ? pgr_calibration_open(beside, &a->map, err) : PGR_OK;
    free(beside);
    return s;
}

int judge_args_open(judge_args *a, const common_options *common) {
    pgr_error err = {0};
    if (!(a->o.w_ind + a->o.w_pro > 0)) {
        complain("--w-ind and --w-pro are 0, expected one above it");
        return EXIT_USAGE;
    }
    pgr_status s = open_calibration(a, &err);
    a->o.calibration = a->map;
    if (s != PGR_OK) return complain_error(&err);
    int status = EXIT_DONE;
    if (a->store_name || a->prototypes || a->o.pro > 0) status = open_users(a, common->n_thread);
    if (status != EXIT_DONE || a->o.history_by != PGR_HISTORY_RELEVANT || a->people) return status;
    status = open_embedder(a->embedder_name, PGR_DTYPE_AUTO, common->n_thread, NULL, &a->embedder);
    a->o.embedder = a->embedder;
    return status;
}

void judge_args_close(judge_args *a) {
    pgr_people_close(a->people);
    pgr_store_close(a->store);
    pgr_embedder_close(a->embedder);
    pgr_calibration_free(a->map);
    pgr_free(a->shipped);
    a->shipped = NULL;
    a->people = NULL;
    a->store = NULL;
    a->embedder = NULL;
    a->map = NULL;
}
