/* grammar.h - byte-level grammars: compiles a GBNF subset, tells which bytes and which tokens may come next.
 *
 * The subset is regular: a rule may refer to itself, directly or through others, only as the last thing in it.
 *     name ::= alternatives    # comment to the end of the line; a rule may go over lines inside parentheses or after |
 *     "text" with \n \t \r \\ \" \xHH \uHHHH \UHHHHHHHH   [a-z] [^\n] .   ( )   |   * + ? {n} {n,} {n,m}   other-rule
 *     <name>   that very token of the vocabulary, a control or added one
 *     $rule    a place: the rule, whose distribution is handed over (infer_request.want_places)
 *     @name    a hole: the program writes text here (infer_request.fill); it must be the only continuation
 * The rule `root` is the start. Characters are Unicode; a class compiles to UTF-8 byte ranges.
 *
 * States are found when they are first reached and kept (a lazily built DFA), with the token masks of the states that
 * a sampler asked for. One thread at a time. */
#ifndef PGR_INFER_GRAMMAR_H
#define PGR_INFER_GRAMMAR_H

#include "base/status.h"
#include "text/tokenizer.h"

typedef struct grammar grammar;

enum { GRAMMAR_DEAD = -1 };
enum { GRAMMAR_HOLE_BYTES = 16 }; /* what a hole counts for in grammar_distance */

/* Error: "ORIGIN:LINE: what was found, what was expected". Refuses recursion other than at a rule's end, unknown rules,
 * rules with a hole that root does not use, a root that matches no text, more than 200,000 NFA states (big repeats). */
pgr_status grammar_compile(const char *text, size_t n, const char *origin, grammar **out, pgr_error *err);
/* Whoever keeps a grammar holds a reference to it; compiling makes the first. */
grammar *grammar_ref(grammar *g);
void grammar_unref(grammar *g); /* the last one frees it; NULL is fine */

int grammar_start(const grammar *g);
/* *out: the state after one byte, GRAMMAR_DEAD if it is not allowed. Errors, of every call that may make a state: out
 * of memory, too many states (50,000), a hole that is not the only continuation. A failed call may be repeated. */
pgr_status grammar_step(grammar *g, int state, uint8_t byte, int *out, pgr_error *err);
pgr_status grammar_walk(grammar *g, int state, const char *text, size_t n, int *out, pgr_error *err);

bool grammar_has_holes(const grammar *g);
bool grammar_accepts(const grammar *g, int state);     /* the text may end here */
bool grammar_only_end(grammar *g, int state);          /* it must end here: no byte and no hole may follow */
const char *grammar_hole(const grammar *g, int state); /* name of the hole that comes now, NULL: none */
pgr_status grammar_after_hole(grammar *g, int state, int *out, pgr_error *err);

/* Fewest bytes from the state to an accepting one (a hole counts GRAMMAR_HOLE_BYTES). */
size_t grammar_distance(const grammar *g, int state);

/* Appends the bytes that are forced (exactly one byte may follow, and the text may not end), up to a choice, a hole, or
 * the end; *state moves along. A named token stands between two GBNF_TOKEN_MARK (gbnf.h). */
pgr_status grammar_forced(grammar *g, int *state, buf *out, pgr_error *err);

/* Vocabularies have words with the space before them: a forced run that ends in a space before a choice leaves that
 * space to the token of the choice. from_state: where the run began, at byte `from` of the text. */
pgr_status grammar_leave_space(grammar *g, int from_state, buf *text, size_t from, int *state, pgr_error *err);

/* Places ($rule) have numbers from 1; each use of a rule has its own. Which byte belongs to which place is never in
 * doubt: a grammar where it would be fails when a text comes there. */
bool grammar_has_places(const grammar *g);
uint32_t grammar_place(const grammar *g, int state);                  /* the one that begins here, 0: none */
uint32_t grammar_place_of(const grammar *g, int state, uint8_t byte); /* of a byte that may come, 0: none's */
bool grammar_inside(const grammar *g, int state, uint32_t place);     /* may a byte of the place come? */

/* The vocabulary as a tree of bytes, shared by the grammars of a tokenizer; read-only after it is made. Control,
 * unknown, unused and empty tokens are not in it. */
typedef struct token_trie token_trie;
pgr_status trie_create(const tokenizer *t, token_trie **out, pgr_error *err);
void trie_free(token_trie *t);

/* Bit i of the mask: token i keeps the grammar alive. *mask has (tok_count + 63) / 64 words, belongs to the grammar
 * and is valid until the next call. limit: only tokens after which grammar_distance <= limit (SIZE_MAX: all; these
 * are kept, 64 MiB of them at most). *restricted (may be NULL): limit excluded a token that the grammar allows. */
pgr_status grammar_mask(grammar *g, const token_trie *trie, int state, size_t limit, const uint64_t **mask,
                        bool *restricted, pgr_error *err);

size_t grammar_state_count(const grammar *g);

/* Are the tokens that the grammar names in the vocabulary? The error names the line. */
pgr_status grammar_check_tokens(const grammar *g, const tokenizer *t, pgr_error *err);
bool grammar_names_tokens(const grammar *g);
/* *out: the state after a token, as text or, where the grammar names it, as itself. */
pgr_status grammar_walk_token(grammar *g, const tokenizer *t, int state, int32_t id, int *out, pgr_error *err);

#endif
