/* frame_parts.h - inside of the frames: the parsed file, its placeholders, and the texts that fill them. Only
 * src/judge/frame*.c include it. */
#ifndef PGR_JUDGE_FRAME_PARTS_H
#define PGR_JUDGE_FRAME_PARTS_H

#include "judge/frame.h"

/* clang-format off */
/*          id               placeholder */
#define SLOTS(X)                                                                                                       \
    X(HISTORY,      "history")      X(CRITERIA, "criteria") X(DEMOGRAPHICS, "demographics") X(QUERY,  "query")         \
    X(RESPONSES,    "responses")    X(COUNT,    "count")    X(INDEX,        "index")        X(CHOSEN, "chosen")        \
    X(REJECTED,     "rejected")     X(FACTS,    "facts")    X(LABEL,        "label")        X(NUMBER, "number")        \
    X(TEXT,         "text")         X(LABELS,   "labels")   X(ATTRIBUTES,   "attributes")   X(COMMON, "common")        \
    X(TASTE,        "taste")        X(SCORE,    "score")    X(VIEWS,        "views")        X(PEOPLE, "people")        \
    X(CHOSE,        "chose")        X(VOTED,    "voted")  X(SHARE,    "share")

enum {
#define X(id, name) SLOT_##id,
    SLOTS(X)
#undef X
    N_SLOT
};

#define BIT(id) (1u << SLOT_##id)
#define WHOLE                                                                                                          \
    (BIT(HISTORY) | BIT(CRITERIA) | BIT(DEMOGRAPHICS) | BIT(QUERY) | BIT(RESPONSES) | BIT(COUNT) | BIT(ATTRIBUTES))

/*     id                section             placeholders it may have */
#define SECTIONS(X)                                                                                                    \
    X(SYSTEM,           "system",           WHOLE | BIT(COMMON))                                                       \
    X(USER,             "user",             WHOLE | BIT(COMMON) | BIT(TASTE))                                          \
    X(HISTORY,          "history",          BIT(INDEX) | BIT(QUERY) | BIT(CHOSEN) | BIT(REJECTED) | BIT(FACTS))        \
    X(NO_HISTORY,       "no-history",       0u)                                                                        \
    X(RESPONSE,         "response",         BIT(LABEL) | BIT(NUMBER) | BIT(TEXT) | BIT(FACTS) | BIT(PEOPLE)            \
                                            | BIT(SCORE))                                                              \
    X(CRITERIA,         "criteria",         BIT(CRITERIA))                                                             \
    X(DEMOGRAPHICS,     "demographics",     BIT(DEMOGRAPHICS))                                                         \
    X(GRAMMAR,          "grammar",          BIT(ATTRIBUTES) | BIT(LABELS) | BIT(RESPONSES))                            \
    X(GRAMMAR_RESPONSE, "grammar-response", BIT(LABEL) | BIT(NUMBER))                                                  \
    X(COMMON,           "common",           BIT(COMMON))                                                               \
    X(QUALITY_SYSTEM,   "quality-system",   BIT(COUNT))                                                                \
    X(QUALITY,          "quality",          BIT(VIEWS) | BIT(QUERY) | BIT(RESPONSES) | BIT(COUNT))                     \
    X(VIEW,             "view",             BIT(CHOSEN) | BIT(REJECTED))                                               \
    X(PEOPLE,           "people",           BIT(CHOSE) | BIT(VOTED) | BIT(SHARE))
/* clang-format on */

enum {
#define X(id, name, slots) SECTION_##id,
    SECTIONS(X)
#undef X
    N_SECTION
};

/* kinds of text with a token limit of their own */
enum { KIND_QUERY, KIND_RESPONSE, KIND_HISTORY_QUERY, KIND_HISTORY_RESPONSE, KIND_CRITERIA, KIND_DEMOGRAPHICS, N_KIND };

enum { MAX_LABELS = 26, LIMIT_FLOOR = 16 };

typedef struct piece { /* literal text, or a placeholder */
    int slot;          /* -1: literal */
    bool alone;        /* the placeholder is the only thing on its line */
    const char *s;     /* literal */
    size_t n;
} piece;

typedef struct section {
    piece *pieces; /* (n) */
    size_t n;
    unsigned slots; /* placeholders that occur, by bit */
    int line;       /* of the heading; 0: not in the file */
} section;

struct frame {
    arena arena;
    const char *name, *origin;
    int form; /* a chain_form, -1 while unread */
    size_t max_tokens, max_tokens_more, history, facts, views, people;
    bool join_lines, blank_between;
    const char *trigger; /* NULL: none */
    size_t limit[N_KIND];
    section sections[N_SECTION];
};

typedef struct slot_text { /* what a placeholder becomes; texts of users go in as they are, never expanded again */
    const char *s;
    size_t n;
} slot_text;

/* Appends the section. A placeholder alone on its line that becomes nothing takes its line along. at: NULL, or the byte
 * of out where each placeholder's text begins the first time; SIZE_MAX: nowhere. */
void section_expand(const section *s, const slot_text values[N_SLOT], size_t at[N_SLOT], buf *out);

/* ---- which part of a message shows what (frame.c) ---- */

typedef struct frame_place { /* a placeholder whose text is a part */
    int slot;
    const char *name;
} frame_place;

/* Parts stay in the order of their places. */
void frame_add_part(frame_part part, frame_part *parts, size_t *n);
/* at: from section_expand for the message; length: bytes of the placeholders' texts. */
void frame_find_parts(const frame_place *places, size_t n_place, const size_t at[N_SLOT], const size_t length[N_SLOT],
                      size_t message, frame_part *parts, size_t *n);

/* ---- which pairs of the history stand as texts (frame_views.c) ---- */

/* Of the pairs that answer the same question those that share most with the responses, of equals the later ones; what
 * shares nothing, or is no statement, is left out. out: (f->views), of which *n are filled */
pgr_status views_choose(const frame *f, const pgr_request *r, arena *tmp, size_t *out, size_t *n, pgr_error *err);

/* ---- texts (frame_text.c) ---- */

typedef struct talk_turn {
    const char *role; /* "User", "Assistant", "System" */
    const char *text; /* defused */
    size_t n;
    size_t n_token;   /* as the engine counts */
} talk_turn;

typedef struct talk { /* a text, or a conversation whose last turn matters most */
    const char *field; /* its name in messages */
    int kind;
    talk_turn *turns;  /* (n_turn) */
    size_t n_turn;
    size_t n_token;    /* all turns */
} talk;

/* Appends the text with what could be taken for a border of the frames changed: "<JSON_START" becomes "<JSON_START_",
 * "[The Start of" becomes "[_The Start of". join: every run of blanks and line breaks becomes one space. */
void text_defuse(const char *s, size_t n, bool join, buf *out);

pgr_status talk_make(const frame *f, pgr_engine *e, int kind, const char *field, const turn *turns, size_t n_turn,
                     arena *a, talk *out, pgr_error *err);
/* The items as one text, apart from each other where lines are joined too; n_turn 0: there are none. */
pgr_status talk_make_list(const frame *f, pgr_engine *e, int kind, const char *field, const char *const *items,
                          size_t n, arena *a, talk *out, pgr_error *err);
/* Appends the talk clipped to limit tokens; *kept: how many of its tokens were shown. */
pgr_status talk_show(const talk *k, pgr_engine *e, size_t limit, bool join, buf *out, size_t *kept, pgr_error *err);

#endif
