/* judge_neighbours.c - who else is asked (Pro-n, docs/method.md): the neighbours, their weights among each other, and
 * what both sides weigh where the user's own history is short. */
#include <math.h>
#include <string.h>

#include "judge/judging.h"

static const double LEAN = 0.5; /* of the own side's weight that a user without any pair gives to similar users */

/* The user, or the one whose history stands for his: a control in which that one came back as a neighbour would be no
 * control. */
static bool is_self(const judging *j, const neighbour *n) {
    const pgr_request *r = j->r;
    return (*r->user_id && strcmp(n->user_id, r->user_id) == 0) || (r->donor && strcmp(n->user_id, r->donor) == 0);
}

/* Neighbours without a pair, or who are the user himself, have nothing to say. */
static void drop_silent(judging *j, size_t most) {
    neighbourhood *near = &j->near;
    size_t kept = 0;
    for (size_t i = 0; i < near->n && kept < most; i++)
        if (near->list[i].n_pair > 0 && !is_self(j, &near->list[i])) near->list[kept++] = near->list[i];
    near->n = kept;
}

static double weight_of(const judging *j, const neighbour *n) {
    if (j->o->neighbour_weights == PGR_WEIGHTS_UNIFORM) return 1;
    return n->similarity > 1e-6 ? n->similarity : 1e-6; /* who is as much unlike as like weighs next to nothing */
}

static pgr_status weigh_neighbours(judging *j) {
    size_t n = j->near.n;
    double sum = 0;
    j->neighbour_weights = arena_array(&j->tmp, n + 1, sizeof *j->neighbour_weights);
    if (!j->neighbour_weights) return fail_mem(&j->error);
    for (size_t i = 0; i < n; i++) sum += weight_of(j, &j->near.list[i]);
    for (size_t i = 0; i < n; i++) j->neighbour_weights[i] = weight_of(j, &j->near.list[i]) / sum;
    return PGR_OK;
}

/* A user with n < C pairs gives LEAN (C - n) / C of the own side's weight away (docs/scores.md). */
static void weigh_sides(judging *j) {
    const pgr_judge_options *o = j->o;
    size_t known = j->r->n_history, cold = o->cold_pairs;
    double sum = o->w_ind + o->w_pro;
    j->w_ind = o->w_ind / sum;
    j->w_pro = o->w_pro / sum;
    j->cold = j->near.n > 0 && known < cold && o->w_ind > 0 && o->w_pro > 0;
    if (!j->cold) return;
    double given = j->w_ind * LEAN * (double)(cold - known) / (double)cold;
    j->w_ind -= given;
    j->w_pro += given;
}

bool judging_knows_people(const judging *j) {
    return j->source || j->o->people;
}

static pgr_status find_similar(judging *j, size_t n) {
    const judge_source *source = j->source;
    if (source) return source->neighbours(source->ctx, j->r, n, &j->tmp, &j->near, &j->error);
    return people_neighbours_by(j->o->people, j->r, j->analysis, j->scope, n, &j->tmp, &j->near, &j->error);
}

bool judging_by_model(const judging *j) {
    return !j->source && !*j->scope && j->o->people && people_has_views(j->o->people);
}

pgr_status judging_neighbours(judging *j, size_t n) {
    size_t counted = judging_by_slots(j) && !judging_by_model(j) ? frame_people(j->desk->frame) : 0,
           most = n > counted ? n : counted;
    j->near = (neighbourhood){.prototype = -1};
    if (n > 0) {
        PGR_TRY(find_similar(j, most + (j->r->donor != NULL)));
        drop_silent(j, most);
        j->crowd = j->near;
        if (j->near.n > n) j->near.n = n;
    }
    PGR_TRY(weigh_neighbours(j));
    weigh_sides(j);
    return PGR_OK;
}
