/* test_chain.c - chains as models write them: every spelling of marker, object, weight and score that docs/method.md
 * tells of; what is wrong is named and never scored. */
#include <math.h>

#include "../base/faults.h"
#include "../cpu_time.h"

#include "judge/chain.h"
#include "judge/span.h"

static arena A;

static chain parse(chain_form form, const char *text, size_t n_response) {
    chain c;
    pgr_error err = {0};
    if (chain_parse(form, text, strlen(text), n_response, &A, &c, &err) != PGR_OK) fail_msg("%s", err.message);
    return c;
}

static int empty(void **state) {
    (void)state;
    arena_free(&A);
    return 0;
}

/* Decimal numbers of a few digits are read to the nearest double; sums of four products round in the last places. */
static void near(double got, double want, const char *what) {
    if (isnan(want) ? !isnan(got) : !(fabs(got - want) <= 1e-12))
        fail_msg("%s: got %.15g, expected %.15g", what, got, want);
}

static void expect_scores(const char *text, double a, double b) {
    chain c = parse(CHAIN_FULL, text, 2);
    if (!c.parsed) fail_msg("%s\n%s", c.reason, text);
    near(c.declared[0], a, text);
    near(c.declared[1], b, text);
}

static void expect_reason(const char *text, const char *reason) {
    chain c = parse(CHAIN_FULL, text, 2);
    assert_false(c.parsed);
    assert_string_equal(c.reason, reason);
}

/* ---- full: where the object is ---- */

#define GOOD  "{\"rationale\": \"r\", \"better_response\": {\"response_1\": 7.25, \"response_2\": 4}}"
#define OTHER "{\"rationale\": \"r\", \"better_response\": {\"response_1\": 1, \"response_2\": 2}}"

static void markers(void **state) {
    (void)state;
    expect_scores("<JSON_START>" GOOD "<JSON_END>", 7.25, 4);
    expect_scores("text\nJSON_START\n" GOOD "\nJSON_END\n", 7.25, 4);
    expect_scores("<json_start> " GOOD " <json_end>", 7.25, 4);
    expect_scores("<JSON_START>\n" GOOD, 7.25, 4); /* no end */
    expect_scores("<JSON_START>" OTHER "<JSON_END> better:\n<JSON_START>" GOOD "<JSON_END>", 7.25, 4);
    expect_scores("<JSON_START>" OTHER "<JSON_START>" GOOD "<JSON_END>", 7.25, 4);
    expect_scores("<JSON_START>" GOOD "<JSON_END>\nI put it between <JSON_START> and <JSON_END>.", 7.25, 4);
    expect_scores("<JSON_START>\n```json\n" GOOD "\n```\n<JSON_END>", 7.25, 4);
    expect_scores("<JSON_START_>" OTHER "<JSON_END_> <JSON_START>" GOOD "<JSON_END>", 7.25,
                  4);                                                                 /* defused ones are text */
    expect_scores("First ```json\n" OTHER "\n``` then\n```\n" GOOD "\n```", 7.25, 4); /* no markers: the last fence */
    expect_reason("No object at all.", "no <JSON_START> marker");
    expect_reason(OTHER, "no <JSON_START> marker");
    expect_reason("<JSON_START> and then nothing", "no object after <JSON_START>");
    expect_reason("", "no <JSON_START> marker");
}

/* The last pair is broken: the one before it, an echo perhaps, must not take its place. */
static void never_an_earlier_object(void **state) {
    (void)state;
    expect_reason("<JSON_START>" OTHER "<JSON_END> <JSON_START>{\"better_response\": {\"response_1\": 5",
                  "response_2: no score");
    expect_reason("<JSON_START>" OTHER "<JSON_END> <JSON_START>{\"rationale\": \"cut of", "response_1: no score");
    expect_reason("<JSON_START>{\"better_response\": {\"response_1\": <score>, \"response_2\": 3}}",
                  "response_1: \"<score>\" is no number");
}

/* ---- full: how the object is written ---- */

#define TOTALS(x) "<JSON_START>{\"rationale\": \"r\", " x "}<JSON_END>"

static void totals(void **state) {
    (void)state;
    static const struct {
        const char *text;
        double a, b;
    } CASES[] = {
        {TOTALS("\"better_response\": {\"response_1\": \"10\", \"response_2\": \"9\"}"), 10, 9},
        {TOTALS("\"scores\": {\"response_1\": 8.5, \"response_2\": 7}"), 8.5, 7},
        {TOTALS("\"scores\": {\"Response 1\": 8, \"Response 2\": 7}"), 8, 7},
        {TOTALS("\"Better Response\": {\"Response A\": 8, \"Response B\": 7}"), 8, 7},
        {TOTALS("\"response_1\": 8, \"response_2\": 7"), 8, 7},
        {TOTALS("\"better_response\": \"response_1\", \"scores\": {\"response_1\": 8, \"response_2\": 7}"), 8, 7},
        {TOTALS("\"better_response\": [8, 7]"), 8, 7},
        {TOTALS("\"better_response\": [[8, 7]]"), 8, 7},
        {TOTALS("\"better_response\": [[8], [\"7\"]]"), 8, 7},
        {TOTALS("\"better_response\": [{\"response_2\": 7}, {\"response_1\": 8}]"), 8, 7},
        {TOTALS("\"better_response\": [{\"response\": 2, \"score\": 7}, {\"response\": 1, \"score\": 8}]"), 8, 7},
        {TOTALS("\"better_response\": {\"response_1\": {\"score\": 8, \"why\": \"ok\"}, \"response_2\": [7]}"), 8, 7},
        {TOTALS("\"better_response\": {\"response_1\": \"8/10\", \"response_2\": \"7 / 10\"}"), 8, 7},
        {TOTALS("\"better_response\": {\"response_1\": 8/10, \"response_2\": \"3.5/5\"}"), 8, 7},
        {TOTALS("\"better_response\": {\"response_1\": \"8 out of 10\", \"response_2\": \"7 points\"}"), 8, 7},
        {TOTALS("\"better_response\": {\"response_1\": \"**8**\", \"response_2\": \"7 (good)\"}"), 8, 7},
        {TOTALS("\"better_response\": {\"response_1\": \"4 x 0.5 + 6 = 8\", \"response_2\": 7.0e0}"), 8, 7},
        {TOTALS("\"better_response\": {\"response_1\": 8, // first\n \"response_2\": 7 // second\n}"), 8, 7},
        {TOTALS("\"better_response\": {\"response_1\": 8, \"response_2\": 7,},"), 8, 7},
        {TOTALS("\"better_response\": {\"response_1\": 3, \"response_1\": 8, \"response_2\": 7}"), 8, 7},
        {TOTALS("\"ok\": True, \"none\": None, \"better_response\": {\"response_1\": 8, \"response_2\": 7}"), 8, 7},
        {TOTALS("\"better_response\": {\"response_1\": 8\n \"response_2\": 7}"), 8, 7},
        {TOTALS("\"better_response\": {\"response_1\": 8, \"response_2\": 7"), 8, 7},
        {"<JSON_START>{'rationale': 'it's \"fine\", he said', 'better_response': {'response_1': '8', 'response_2': 7}}",
         8, 7},
        {"<JSON_START>{rationale: \"r\", better_response: {response_1: 8, response_2: 7}}", 8, 7},
        {"<JSON_START>{\"rationale\": \"she says \"no\" to it, and \"yes\" to that\", \"better_response\": "
         "{\"response_1\": 8, \"response_2\": 7}}",
         8, 7},
        {"<JSON_START>{\"rationale\": \"two\nlines\" \n \"better_response\": {\"response_1\": 8, \"response_2\": 7}}",
         8, 7},
        {"<JSON_START>{\xE2\x80\x9Crationale\xE2\x80\x9D: \xE2\x80\x9Cr\xE2\x80\x9D, \xE2\x80\x9C"
         "better_response\xE2\x80\x9D: {\"response_1\": 8, \"response_2\": 7}}",
         8, 7},
        {"<JSON_START>{\"rationale\": \"a \\\"b\\\" \\u00e9 \\ud83d\\ude00 {\\\"response_1\\\": 1}\", "
         "\"better_response\": {\"response_1\": 8, \"response_2\": 7}}",
         8, 7},
        {"<JSON_START>{\"a\": {\"b\": [2}, \"better_response\": {\"response_1\": 8, \"response_2\": 7}}", 8, 7},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) expect_scores(CASES[i].text, CASES[i].a, CASES[i].b);
}

static void refused_totals(void **state) {
    (void)state;
    static const struct {
        const char *text, *reason;
    } CASES[] = {
        {TOTALS("\"better_response\": {\"response_1\": 8}"), "response_2: no score"},
        {TOTALS("\"better_response\": {\"response_1\": null, \"response_2\": 7}"), "response_1: no score"},
        {TOTALS("\"better_response\": {\"response_1\": None, \"response_2\": 7}"), "response_1: no score"},
        {TOTALS("\"better_response\": {\"response_1\": \"\", \"response_2\": 7}"), "response_1: no score"},
        {TOTALS("\"better_response\": {\"response_1\": \"high\", \"response_2\": 7}"),
         "response_1: \"high\" is no number"},
        {TOTALS("\"better_response\": {\"response_1\": \"score_x\", \"response_2\": 7}"),
         "response_1: \"score_x\" is no number"},
        {TOTALS("\"better_response\": {\"response_1\": \"8-9\", \"response_2\": 7}"),
         "response_1: \"8-9\" is no number"},
        {TOTALS("\"better_response\": {\"response_1\": 7,2, \"response_2\": 6,6}"), "response_1: \"7,2\" is no number"},
        {TOTALS("\"better_response\": {\"response_1\": \"7,2\", \"response_2\": 6}"),
         "response_1: \"7,2\" is no number"},
        {TOTALS("\"better_response\": {response_1: 7, response_2: 6,6}"), "response_2: \"6,6\" is no number"},
        {TOTALS("\"better_response\": [7,2, 6,6]"), "4 scores for 2 responses"},
        {TOTALS("\"better_response\": {\"response_1\": True, \"response_2\": 7}"), "response_1: \"True\" is no number"},
        {TOTALS("\"better_response\": {\"response_1\": NaN, \"response_2\": 7}"), "response_1: \"NaN\" is no number"},
        {TOTALS("\"better_response\": {\"response_1\": Infinity, \"response_2\": 7}"),
         "response_1: \"Infinity\" is no number"},
        {TOTALS("\"better_response\": {\"response_1\": 1e999, \"response_2\": 7}"),
         "response_1: score inf is outside 0..10"},
        {TOTALS("\"better_response\": {\"response_1\": -1, \"response_2\": 7}"),
         "response_1: score -1 is outside 0..10"},
        {TOTALS("\"better_response\": {\"response_1\": 8, \"response_2\": 80}"),
         "response_2: score 80 is outside 0..10"},
        {TOTALS("\"better_response\": [8, 7, 6]"), "3 scores for 2 responses"},
        {TOTALS("\"better_response\": [8]"), "response_2: no score"},
        {TOTALS("\"better_response\": \"response_1\""), "response_1: no score"},
        {TOTALS("\"better_response\": {}"), "response_1: no score"},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) expect_reason(CASES[i].text, CASES[i].reason);
}

/* ---- full: the rubric ---- */

typedef struct rubric {
    const char *rationale; /* JSON text of the string */
    size_t n;
    const char *names[4];
    double weights[4], scores[4][2], sum;
} rubric;

static void expect_rubric(const rubric *w) {
    char text[4000];
    snprintf(
        text, sizeof text,
        "<JSON_START>{\"rationale\": \"%s\", \"better_response\": {\"response_1\": 5, \"response_2\": 6}}<JSON_END>",
        w->rationale);
    chain c = parse(CHAIN_FULL, text, 2);
    assert_true(c.parsed);
    if (c.n_criterion != w->n) fail_msg("%zu criteria, expected %zu: %s", c.n_criterion, w->n, w->rationale);
    near(c.weight_sum, w->sum, w->rationale);
    double total[2] = {0, 0};
    for (size_t i = 0; i < w->n; i++) {
        assert_string_equal(c.criteria[i].name, w->names[i]);
        near(c.criteria[i].weight, w->weights[i] * 100 / w->sum, w->names[i]);
        for (size_t r = 0; r < 2; r++) {
            near(c.criteria[i].scores[r], w->scores[i][r], w->rationale);
            total[r] += w->weights[i] / w->sum * w->scores[i][r];
        }
    }
    near(c.recomputed[0], total[0], "recomputed");
    near(c.recomputed[1], total[1], "recomputed");
}

#define AB(a, b) "A. Evaluation Criteria & Weights" a "\\n\\nB. Scoring Breakdown" b

static void rubrics(void **state) {
    (void)state;
    static const rubric CASES[] = {
        {AB("\\n1. **Depth** (35%): because she asks\\n2. **Warmth** (30%): she is kind\\n3. **Order** (20%): "
            "lists\\n4. **Brevity** (15%): time",
            "\\n- Depth: Response 1: 4, Response 2: 8\\n- Warmth: Response 1: 6 (lacks depth), Response 2: 7\\n- "
            "Order: Response 1: 7, Response 2: 8\\n- Brevity: Response 1: 7, Response 2: 8"),
         4,
         {"Depth", "Warmth", "Order", "Brevity"},
         {35, 30, 20, 15},
         {{4, 8}, {6, 7}, {7, 8}, {7, 8}},
         100},
        {AB("\\n1. Depth \xE2\x80\x93 60: why\\n2. Tone \xE2\x80\x93 30: how",
            "\\nDepth: Response 1: 4/10, Response 2: 8/10\\nTone: Response 1: 6/10, Response 2: 7/10"),
         2,
         {"Depth", "Tone"},
         {60, 30},
         {{4, 8}, {6, 7}},
         90},
        {AB(":\\n- Depth (60): why\\n- Tone (40): how",
            "\\nResponse 1:\\n- Depth: 4, less than Response 2\\n- Tone: 6\\nResponse 2:\\n- Depth: 8\\n- Tone: 7"),
         2,
         {"Depth", "Tone"},
         {60, 40},
         {{4, 8}, {6, 7}},
         100},
        {AB(": Depth (60%), Tone (40%).",
            " Response 1: 4 x 0.60 + 6 x 0.40 = 4.8. Response 2: 8 \xC3\x97 60% + 7 \xC3\x97 40% = 7.6."),
         2,
         {"Depth", "Tone"},
         {60, 40},
         {{4, 8}, {6, 7}},
         100},
        {AB(": Depth: 60%; Tone: 40%.",
            " Response 1: (0.60 * 4) + (0.40 * 6) = 4.8; Response 2: (0.60 * 8) + (0.40 * 7) = 7.6"),
         2,
         {"Depth", "Tone"},
         {60, 40},
         {{4, 8}, {6, 7}},
         100},
        {AB("\\n60% Depth of thought: why\\n[40%] Tone: how",
            "\\nDepth of thought - Response 1 scores 4 because it is short, while Response 2 gets 8\\nTone - Response "
            "1 scores 6 and Response 2 scores 7"),
         2,
         {"Depth of thought", "Tone"},
         {60, 40},
         {{4, 8}, {6, 7}},
         100},
        {AB("\\n1. Depth (weight: 0.6): why\\n2. Tone (weight: 0.4): how",
            "\\n1. Depth (60%)\\n   - Response 1: gives 3 reasons. Score: 4\\n   - Response 2: 8 - all of 5 "
            "points\\n2. Tone (40%)\\n   - Response 1: 6\\n   - Response 2: 7\\nWeighted total: Response 1: 4.8, "
            "Response 2: 7.6"),
         2,
         {"Depth", "Tone"},
         {60, 40},
         {{4, 8}, {6, 7}},
         100},
        {AB("\\n- Depth (60%): why\\n- Tone (40%): how",
            "\\n- Depth: Response 1: 3 examples and 2 asides, score 4. Response 2: 8 because it is longer than "
            "Response 1 with 3 more\\n- Tone: Response 1: 6, Response 2: 7"),
         2,
         {"Depth", "Tone"},
         {60, 40},
         {{4, 8}, {6, 7}},
         100},
        {"| Criterion | Weight | R1 | R2 |\\n|---|---|---|---|\\n| Depth | 60% | 4 | 8 |\\n| Tone | 40% | 6 | 7 |",
         2,
         {"Depth", "Tone"},
         {60, 40},
         {{4, 8}, {6, 7}},
         100},
        {"Depth (60%): 4 vs 8. Tone (40%): 6 vs 7.", 2, {"Depth", "Tone"}, {60, 40}, {{4, 8}, {6, 7}}, 100},
        {AB("\\n- Depth (60%): why\\n- Tone (40%): how",
            "\\n- Depth: Response 1: 4, Response 2: 8\\n- Tone: Response 1: 6"), /* one is missing */
         2,
         {"Depth", "Tone"},
         {60, 40},
         {{4, 8}, {6, NAN}},
         100},
        {"It is simply better by 20% or so.", 0, {0}, {0}, {{0}}, NAN},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        rubric w = CASES[i];
        if (i == 10 || i == 11) { /* not complete: no recomputed score at all */
            char text[2000];
            snprintf(text, sizeof text, TOTALS("\"x\": 1, \"rationale\": \"%s\", \"better_response\": [5, 6]"),
                     w.rationale);
            chain c = parse(CHAIN_FULL, text, 2);
            assert_true(c.parsed);
            assert_int_equal(c.n_criterion, w.n);
            assert_true(isnan(c.recomputed[0]) && isnan(c.recomputed[1]));
        } else {
            expect_rubric(&w);
        }
    }
}

static void published_example(void **state) {
    (void)state; /* its own sums are wrong: 5.65 and 7.7 */
    chain c = parse(
        CHAIN_FULL,
        "PART 1: Chain-of-Thought Analysis\n\n**Persona:** A gardener who wants reasons. She keeps notes. She "
        "walks.\n\n"
        "1. Depth matters.\n\n**PART 2: Final Scoring and JSON Output**\n<JSON_START>{\"rationale\": \"" AB(
            "\\n- P (35%): she\\n asks why\\n- Q (30%): b\\n- R (20%)\\n- S (15%): d",
            "\\nResponse 1: 4\xC3\x97.35 + 6\xC3\x97.30 + 7\xC3\x97.20 + 7\xC3\x97.15 = 5.4\\nResponse 2: 8\xC3\x97.35 "
            "+ 7\xC3\x97.30 + 8\xC3\x97.20 + 8\xC3\x97.15 = 8.0") "\", \"better_response\": {\"response_1\": 5.4, "
                                                                  "\"response_2\": 8.0}}<JSON_END>",
        2);
    assert_true(c.parsed);
    near(c.declared[0], 5.4, "declared");
    near(c.recomputed[0], 5.65, "recomputed");
    near(c.recomputed[1], 7.7, "recomputed");
    assert_string_equal(c.persona, "A gardener who wants reasons. She keeps notes.");
    assert_string_equal(c.criteria[0].reason, "she asks why");
    assert_string_equal(c.criteria[2].reason, "");
}

static void personas(void **state) {
    (void)state;
    static const struct {
        const char *text, *persona;
    } CASES[] = {
        {"PART 1: User Preference Model Analysis (Chain-of-Thought)\nThis user wants short and honest "
         "answers.\nMore.\nPART 2: x\n",
         "This user wants short and honest answers."},
        {"## PART 1: Chain-of-Thought Analysis\n### 1. Scenario-specific persona\n\nA nurse on night shift.\n## PART "
         "2\n",
         "A nurse on night shift."},
        {"You asked for PART 1 and PART 2.\nPART 1: Chain-of-Thought Analysis\nUser persona - analysis:\n- "
         "**Persona**: A student of law.\nPART 2: y",
         "A student of law."},
        {"The persona here is someone who plans every trip with care.\nPART 2: z",
         "The persona here is someone who plans every trip with care."},
        {"PART 2: Final Scoring and JSON Output", ""},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++)
        assert_string_equal(parse(CHAIN_FULL, CASES[i].text, 2).persona, CASES[i].persona);
}

/* Without a rubric in the object, the one in Part 2's prose counts. */
static void rubric_before_the_object(void **state) {
    (void)state;
    chain c = parse(CHAIN_FULL,
                    "PART 1: Chain-of-Thought Analysis\nSomebody who reads every word twice.\nPART 2: Final Scoring "
                    "and JSON Output\n"
                    "A. Evaluation Criteria & Weights\n- Depth (60%): why\n- Tone (40%): how\nB. Scoring Breakdown\n- "
                    "Depth: Response 1: 4, Response 2: 8\n- Tone: Response 1: 6, Response 2: 7\n"
                    "<JSON_START>{\"rationale\": \"see above\", \"better_response\": [4.8, 7.6]}",
                    2);
    assert_int_equal(c.n_criterion, 2);
    near(c.recomputed[0], 4.8, "recomputed");
    near(c.recomputed[1], 7.6, "recomputed");
}

/* ---- compact ---- */

#define CHAIN3                                                                                                         \
    "Persona: Likes steps.\n- lists more | 55% | for A | A 8, B 4, C 6\n- warmth less | 30% | for none | A 5, B 5, C " \
    "5\n"

static void compact(void **state) {
    (void)state;
    chain c = parse(CHAIN_COMPACT, CHAIN3 "Total: A 6.9, B 4.4, C 5.6", 3);
    assert_true(c.parsed && !c.reason);
    assert_string_equal(c.persona, "Likes steps.");
    assert_int_equal(c.n_criterion, 2);
    assert_string_equal(c.criteria[1].name, "warmth less");
    near(c.weight_sum, 85, "sum");
    near(c.criteria[0].weight, 5500.0 / 85, "weight");
    near(c.declared[2], 5.6, "declared");
    near(c.recomputed[0], (55 * 8 + 30 * 5) / 85.0, "recomputed");

    c = parse(CHAIN_COMPACT,
              "Persona: an echo.\n- code more | 90% | for B | A 1, B 9\nTotal: A 1.0, B 9.0\n" CHAIN3
              "Total: A 6.9, B: 4.4, C = 5.6\n",
              3);
    assert_true(c.parsed);
    assert_int_equal(c.n_criterion, 2); /* a later Persona line begins anew */
    near(c.declared[1], 4.4, "declared");

    c = parse(CHAIN_COMPACT, "lists more|55|A 8, B 40\nTotal: A 6.9, B 4.4", 2); /* 40 is no score */
    assert_true(c.parsed);
    near(c.criteria[0].scores[0], 8, "score");
    assert_true(isnan(c.criteria[0].scores[1]) && isnan(c.recomputed[0]));

    /* whom a line speaks for is told before the scores, behind them, or not at all: the scores are the same */
    static const char *const said[] = {"A 8, B 4", "for A | A 8, B 4", "A 8, B 4 | for A", "for none | A 8, B 4"};
    for (size_t i = 0; i < sizeof said / sizeof *said; i++) {
        char text[128];
        snprintf(text, sizeof text, "Persona: x.\n- lists more | 55%% | %s\nTotal: A 8.0, B 4.0\n", said[i]);
        c = parse(CHAIN_COMPACT, text, 2);
        assert_true(c.parsed && c.criteria[0].scores[0] == 8 && c.criteria[0].scores[1] == 4);
    }
    c = parse(CHAIN_COMPACT, "Persona: x.\n- lists more | 55% | for A\nTotal: A 8.0, B 4.0\n", 2);
    assert_true(isnan(c.criteria[0].scores[0]));

    c = parse(CHAIN_COMPACT,
              "Persona: x.\n- code more | 30% | A 2, B 4\n- code less | 10% | A 1, B 1\n- code more | 10% | A 6, B "
              "8\nTotal: A 2.6, B 4.2\n",
              2);
    assert_int_equal(c.n_criterion,
                     2); /* one criterion named twice: weights add up, scores are weighed, the total stays */
    near(c.criteria[0].weight, 80, "weight");
    near(c.criteria[0].scores[0], 3, "score");
    near(c.criteria[0].scores[1], 5, "score");
    near(c.recomputed[0], (30 * 2 + 10 * 1 + 10 * 6) / 50.0, "recomputed");

    assert_string_equal(parse(CHAIN_COMPACT, CHAIN3, 3).reason, "no Total line");
    assert_string_equal(parse(CHAIN_COMPACT, CHAIN3 "Total: A 6.9, C 5.6", 3).reason, "B: no score");
    assert_string_equal(parse(CHAIN_COMPACT, CHAIN3 "Total: A 6.9, B 11, C 5.6", 3).reason,
                        "B: score 11 is outside 1..10");
    assert_string_equal(parse(CHAIN_COMPACT, CHAIN3 "Total: A 6.9, B 0.9, C 5.6", 3).reason,
                        "B: score 0.9 is outside 1..10");
    assert_string_equal(parse(CHAIN_COMPACT, CHAIN3 "Total: A 6.9, B many, C 5.6", 3).reason, "B: no score");
    assert_string_equal(parse(CHAIN_COMPACT, "", 2).reason, "no Total line");
}

/* A decimal comma may be a list as well: no number is read from it, in no place. */
static void decimal_commas(void **state) {
    (void)state;
    double v;
    static const char *const none[] = {"7,2", "7.5,1", "35,65"};
    for (size_t i = 0; i < 3; i++) {
        const char *s = none[i];
        assert_false(number_read(&s, s + strlen(s), &v));
        assert_ptr_equal(s, none[i]);
    }
    static const char *const some[] = {"7, 2", "7,", "7,x"};
    for (size_t i = 0; i < 3; i++) {
        const char *s = some[i];
        assert_true(number_read(&s, s + strlen(s), &v) && v == 7.0 && s == some[i] + 1);
    }
    chain c = parse(CHAIN_COMPACT, "Persona: x.\n- warmth more | 35% | for A | A 7,2, B 6,6\nTotal: A 7,2, B 6,6\n", 2);
    assert_false(c.parsed);
    c = parse(CHAIN_COMPACT, "Persona: x.\n- warmth more | 35% | for A | A 7, B 6\nTotal: A 7, B 6\n", 2);
    assert_true(c.parsed && c.declared[0] == 7.0 && c.declared[1] == 6.0);
}

static void totals_of_the_compact_form(void **state) {
    (void)state;
    buf out = {0};
    pgr_error err;
    assert_int_equal(chain_totals(CHAIN3, strlen(CHAIN3), 3, &out, &err), PGR_OK);
    assert_string_equal(out.data, "A 6.9, B 4.4, C 5.6"); /* 6.941, 4.353, 5.647 */
    buf_clear(&out);
    const char *half = "- lists more | 50% | for A | A 4, B 10\n- echo more | 50% | for A | A 5, B 10\n- code more | "
                       "20% | for A | A 4\n";
    assert_int_equal(chain_totals(half, strlen(half), 2, &out, &err), PGR_OK);
    assert_string_equal(out.data, "A 4.5, B 10.0"); /* the line that is not complete is left out */
    buf_clear(&out);
    const char *round = "- lists more | 25% | for A | A 5, B 4\n- echo more | 75% | for A | A 4, B 4\n";
    assert_int_equal(chain_totals(round, strlen(round), 2, &out, &err), PGR_OK);
    assert_string_equal(out.data, "A 4.3, B 4.0"); /* 4.25 goes up */
    buf_clear(&out);
    assert_int_equal(chain_totals("Persona: x\n", 11, 2, &out, &err), PGR_E_FORMAT);
    assert_string_equal(err.message, "chain: no criterion line with a weight and a score for every response");
    assert_int_equal(chain_totals("- a | 0% | for A | A 4, B 4\n", 28, 2, &out, &err), PGR_E_FORMAT);
    buf_free(&out);
}

/* ---- any bytes ---- */

static const char FULL[] = "PART 1: Chain-of-Thought Analysis\nPersona: someone who reads and reads.\nPART 2: Final "
                           "Scoring and JSON Output\n<JSON_START>"
                           "{\"rationale\": \"" AB("\\n1. Depth (60%): why\\n2. Tone (40%): how \\u00e9",
                                                   "\\nDepth: Response 1: 4, Response 2: 8\\nTone: Response 1: 6, "
                                                   "Response 2: 7") "\", \"better_response\": {\"response_1\": 4.8, "
                                                                    "\"response_2\": \"7.6\"}}<JSON_END>";

/* Cut anywhere: the scores are the right ones or there are none. The block has exactly the text's size, for ASan. */
static void cut_anywhere(void **state) {
    (void)state;
    for (size_t n = 0; n < sizeof FULL; n++) {
        char *text = malloc(n ? n : 1);
        memcpy(text, FULL, n);
        chain c;
        assert_int_equal(chain_parse(CHAIN_FULL, text, n, 2, &A, &c, NULL), PGR_OK);
        if (c.parsed) {
            near(c.declared[0], 4.8, "declared");
            if (c.declared[1] != 7) near(c.declared[1], 7.6, "declared"); /* "7 and "7. at the cut */
        } else {
            assert_non_null(c.reason);
        }
        chain_parse(CHAIN_COMPACT, text, n, 2, &A, &c, NULL);
        free(text);
    }
}

/* A megabyte of what invites quadratic work takes about as long as any other megabyte. Generous for sanitizers. */
static void linear_time(void **state) {
    (void)state;
    static const char *const UNITS[] = {"<JSON_START>{",
                                        "\"",
                                        "\", ",
                                        "{\"a\":",
                                        "[",
                                        "Depth (60%",
                                        "Depth (60%): ",
                                        "R1 ",
                                        "Response 1: ",
                                        "the (50%), the: ",
                                        "\\u00",
                                        "PART 2",
                                        "```{",
                                        "1. a (5%)\\n",
                                        "A ",
                                        "a | 1% | A 1\n",
                                        ", (",
                                        "- ",
                                        "(",
                                        "    ",
                                        "'\n"};
    size_t size = 1 << 20;
    char *text = malloc(size);
    for (size_t i = 0; i < sizeof UNITS / sizeof *UNITS; i++)
        for (int wrapped = 0; wrapped < 2; wrapped++) {
            size_t n = 0, u = strlen(UNITS[i]);
            const char *head = "<JSON_START>{\"rationale\": \"Depth (50%) the (50%) Scoring Breakdown ";
            if (wrapped) memcpy(text, head, n = strlen(head));
            while (n + u <= size) memcpy(text + n, UNITS[i], u), n += u;
            for (int form = 0; form < 2; form++) {
                chain c;
                double start = cpu_seconds();
                assert_int_equal(chain_parse(form ? CHAIN_COMPACT : CHAIN_FULL, text, n, 2, &A, &c, NULL), PGR_OK);
                double took = cpu_seconds() - start;
                if (!(took < 3.0)) fail_msg("'%s' (%d, %d) took %.1f s", UNITS[i], wrapped, form, took);
                arena_free(&A);
            }
        }
    free(text);
}

/* ---- scores as expectations ---- */

/* The numbers of a text where a mark stands before them: these are places; mean: mark i has i + 1.5. */
static chain read_marked(chain_form form, const char *marked, size_t n_response, chain_place *places, char *text) {
    chain c;
    chain_text t = {.s = text, .places = places};
    for (const char *p = marked; *p; p++) {
        if (*p == '^') {
            places[t.n_place] = (chain_place){.at = t.n, .mean = 1.5 + (double)t.n_place};
            t.n_place++;
        } else
            text[t.n++] = *p;
    }
    assert_int_equal(chain_read(form, &t, n_response, &A, &c, NULL), PGR_OK);
    assert_null(c.text);
    return c;
}

static void expected_scores(void **state) {
    (void)state;
    chain_place places[16];
    char text[1024];
    chain c =
        read_marked(CHAIN_COMPACT,
                    "Persona: Likes steps.\n- lists more | 60% | for A | A ^8, B ^4\n- warmth less | 20% | for none "
                    "| A ^5, B: ^10\nTotal: A 7.3, B 5.5\n",
                    2, places, text);
    assert_true(c.parsed);
    near(c.criteria[0].expected[0], 1.5, "first");
    near(c.criteria[1].expected[1], 4.5, "last");
    near(c.expected[0], .75 * 1.5 + .25 * 3.5, "weighted");
    near(c.expected[1], .75 * 2.5 + .25 * 4.5, "weighted");
    near(c.recomputed[0], .75 * 8 + .25 * 5, "as drawn");

    /* one named twice is one, and so are its expectations */
    c = read_marked(CHAIN_COMPACT,
                    "Persona: x.\n- lists more | 30% | A ^8, B ^4\n- lists more | 10% | A ^5, B ^10\nTotal: A 7, B 6\n",
                    2, places, text);
    assert_int_equal(c.n_criterion, 1);
    near(c.expected[0], .75 * 1.5 + .25 * 3.5, "merged");

    /* a score without a distribution: none of the chain */
    c = read_marked(CHAIN_COMPACT, "Persona: x.\n- lists more | 30% | A ^8, B 4\nTotal: A 8, B 4\n", 2, places, text);
    assert_true(isnan(c.expected[0]) && isnan(c.expected[1]) && isfinite(c.recomputed[0]));

    /* totals alone, as the baselines of `bench` state them */
    c = read_marked(CHAIN_COMPACT, "Total: A ^7.5, B ^8", 2, places, text);
    near(c.expected[1], 2.5, "total");

    static const char full[] = "PART 1: Chain-of-Thought Analysis\nThe persona is brief, 7 of 10.\n<JSON_START>\n"
                               "{\"rationale\": \"7.25, 8 and 8\",\n\"better_response\": {\"response_1\": ^7.25, "
                               "\"response_2\": ^8}}\n<JSON_END>";
    c = read_marked(CHAIN_FULL, full, 2, places, text);
    assert_true(c.parsed);
    near(c.expected[0], 1.5, "object");
    near(c.expected[1], 2.5, "object");
    near(c.declared[0], 7.25, "object");
    c = read_marked(CHAIN_FULL, "<JSON_START>{\"response_1\": ^7 / 20, \"response_2\": \"8\"}<JSON_END>", 2, places,
                    text);
    assert_true(isnan(c.expected[0]) && isnan(c.expected[1])); /* another scale; a string, whose text is a copy */
}

static bool work(void) {
    arena a = {0};
    chain c;
    buf out = {0};
    bool ok = chain_parse(CHAIN_FULL, FULL, sizeof FULL - 1, 2, &a, &c, NULL) == PGR_OK
              && chain_parse(CHAIN_FULL, TOTALS("\"response_1\": \"x\""), sizeof TOTALS("\"response_1\": \"x\"") - 1, 2,
                             &a, &c, NULL)
                     == PGR_OK
              && chain_parse(CHAIN_COMPACT, CHAIN3, sizeof CHAIN3 - 1, 3, &a, &c, NULL) == PGR_OK
              && chain_totals(CHAIN3, sizeof CHAIN3 - 1, 3, &out, NULL) == PGR_OK;
    buf_free(&out);
    arena_free(&a);
    return ok;
}

static void out_of_memory(void **state) {
    (void)state;
    assert_true(fail_each_allocation(work) > 0);
}

int main(void) {
#define T(f) cmocka_unit_test_teardown(f, empty)
    const struct CMUnitTest tests[] = {
        T(markers),        T(never_an_earlier_object),
        T(totals),         T(refused_totals),
        T(rubrics),        T(published_example),
        T(personas),       T(rubric_before_the_object),
        T(compact),        T(totals_of_the_compact_form),
        T(decimal_commas), T(cut_anywhere),
        T(linear_time),    T(expected_scores),
        T(out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
