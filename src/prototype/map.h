/* map.h - the map of users and prototypes (pgr_proto_map) with marks, and for those who may see some users alone. */
#ifndef PGR_PROTOTYPE_MAP_H
#define PGR_PROTOTYPE_MAP_H

#include "pgenrm.h"

typedef struct map_view {
    const char *scope;       /* users whose id begins with it are drawn, and nothing is said of how many others there
                              * are nor of what they chose; "": everybody is */
    const char *user;        /* is marked; NULL: nobody */
    int prototype;           /* his; -1: none */
    const char *const *near; /* (n_near) are marked by their number, from 1 on */
    size_t n_near;
} map_view;

/* As pgr_proto_map. Who is marked and not a member of a prototype has no place: what is marked is said above the
 * map. */
pgr_status proto_map(const char *path, size_t n_user, const map_view *view, char **svg, pgr_error *err);

#endif
