/* test_sentence.c - the files of sentence-transformers: what is read, and what is refused by name. */
#include "folder_make.h"

#include "format/sentence.h"

#define LEN(a)             (sizeof(a) / sizeof *(a))
#define MODULE(type, path) "{\"idx\":0,\"name\":\"0\",\"path\":\"" path "\",\"type\":\"" type "\"}"
#define TRANSFORMER        MODULE("sentence_transformers.models.Transformer", "")
#define POOLING            MODULE("sentence_transformers.models.Pooling", "1_Pooling")
#define NORMALIZE          MODULE("sentence_transformers.models.Normalize", "2_Normalize")

typedef pgr_status (*parse_fn)(const char *text, sentence_config *c, pgr_error *err);

static pgr_status modules(const char *text, sentence_config *c, pgr_error *err) {
    char pooling[32];
    return sentence_modules_parse(text, strlen(text), "modules.json", c, pooling, sizeof pooling, err);
}
static pgr_status pooling(const char *text, sentence_config *c, pgr_error *err) {
    return sentence_pooling_parse(text, strlen(text), "config.json", c, err);
}
static pgr_status bert(const char *text, sentence_config *c, pgr_error *err) {
    return sentence_bert_parse(text, strlen(text), "sentence_bert_config.json", c, err);
}

static void modules_are_read(void **state) {
    (void)state;
    sentence_config c = {.normalise = true};
    assert_int_equal(modules("[" TRANSFORMER "," POOLING "]", &c, NULL), PGR_OK);
    assert_true(c.found && !c.normalise);
    assert_int_equal(modules("[" TRANSFORMER "," POOLING "," NORMALIZE "]", &c, NULL), PGR_OK);
    assert_true(c.normalise);
    char folder[32];
    static const char text[] =
        "[" MODULE("sentence_transformers.base.modules.Transformer", "") "," MODULE("x.Pooling", "pool/") "]";
    assert_int_equal(sentence_modules_parse(text, strlen(text), "m", &c, folder, sizeof folder, NULL), PGR_OK);
    assert_string_equal(folder, "pool/");
}

static void poolings_are_read(void **state) {
    (void)state;
    static const struct {
        const char *text;
        pgr_pool pool;
    } cases[] = {
        {"{\"pooling_mode_cls_token\":true,\"pooling_mode_mean_tokens\":false}", PGR_POOL_CLS},
        {"{\"word_embedding_dimension\":384,\"pooling_mode_cls_token\":false,\"pooling_mode_mean_tokens\":true,"
         "\"pooling_mode_max_tokens\":false}",
         PGR_POOL_MEAN},
        {"{\"pooling_mode_lasttoken\":true,\"include_prompt\":true}", PGR_POOL_LAST},
        {"{\"pooling_mode\":\"cls\",\"embedding_dimension\":8}", PGR_POOL_CLS},
        {"{\"pooling_mode\":[\"mean\"]}", PGR_POOL_MEAN},
        {"{\"pooling_mode\":\"lasttoken\"}", PGR_POOL_LAST},
    };
    for (size_t i = 0; i < LEN(cases); i++) {
        sentence_config c = {.pool = PGR_POOL_AUTO};
        assert_int_equal(pooling(cases[i].text, &c, NULL), PGR_OK);
        assert_int_equal(c.pool, cases[i].pool);
        assert_true(c.include_prompt && c.dims == (i == 1 ? 384 : i == 3 ? 8 : 0));
    }
    sentence_config c = {.max_tokens = 9};
    assert_int_equal(bert("{\"max_seq_length\":256,\"do_lower_case\":true}", &c, NULL), PGR_OK);
    assert_true(c.max_tokens == 256 && c.lower_case);
    assert_int_equal(bert("{\"max_seq_length\":null}", &c, NULL), PGR_OK);
    assert_true(c.max_tokens == 0 && !c.lower_case);
}

static void what_we_lack_is_named(void **state) {
    (void)state;
    static const struct {
        parse_fn parse;
        const char *text, *message;
        pgr_status status;
    } cases[] = {
        {modules, "[" TRANSFORMER "," POOLING "," MODULE("sentence_transformers.models.Dense", "2_Dense") "]",
         "modules.json: module 2 is Dense;", PGR_E_UNSUPPORTED},
        {modules, "[" TRANSFORMER "," POOLING "," NORMALIZE "," NORMALIZE "]", "module 3 is Normalize",
         PGR_E_UNSUPPORTED},
        {modules, "[" TRANSFORMER "," NORMALIZE "]", "module 1 is Normalize", PGR_E_UNSUPPORTED},
        {modules, "[" MODULE("x.CLIPModel", "") "," POOLING "]", "module 0 is CLIPModel", PGR_E_UNSUPPORTED},
        {modules, "[" MODULE("x.Transformer", "0_Transformer") "," POOLING "]",
         "the Transformer module is in folder \"0_Transformer\"", PGR_E_UNSUPPORTED},
        {modules, "[" TRANSFORMER "," MODULE("x.Pooling", "../p") "]", "the Pooling module's path is \"../p\"",
         PGR_E_FORMAT},
        {modules, "[" TRANSFORMER "," MODULE("x.Pooling", "a-folder-with-a-name-that-is-far-too-long") "]",
         "the Pooling module's path", PGR_E_FORMAT},
        {modules, "[" TRANSFORMER "]", "has 1 modules", PGR_E_UNSUPPORTED},
        {modules, "[1,2]", "modules.json: module", PGR_E_FORMAT},
        {modules, "{}", "modules.json", PGR_E_FORMAT},
        {pooling, "{\"pooling_mode_max_tokens\":true}", "config.json: pooling_mode_max_tokens; cls, mean and lasttoken",
         PGR_E_UNSUPPORTED},
        {pooling, "{\"pooling_mode_weightedmean_tokens\":true}", "pooling_mode_weightedmean_tokens", PGR_E_UNSUPPORTED},
        {pooling, "{\"pooling_mode_cls_token\":true,\"pooling_mode_mean_tokens\":true}", "several poolings at once",
         PGR_E_UNSUPPORTED},
        {pooling, "{\"pooling_mode\":\"max\"}", "pooling_mode_max_tokens", PGR_E_UNSUPPORTED},
        {pooling, "{\"pooling_mode\":\"median\"}", "pooling_mode is \"median\"", PGR_E_UNSUPPORTED},
        {pooling, "{\"pooling_mode\":[\"cls\",\"mean\"]}", "pooling_mode", PGR_E_FORMAT},
        {pooling, "{}", "config.json: names no pooling", PGR_E_FORMAT},
        {pooling, "{\"pooling_mode\":\"cls\",\"word_embedding_dimension\":0}", "word_embedding_dimension: found 0",
         PGR_E_FORMAT},
        {bert, "{\"max_seq_length\":-1}", "max_seq_length: found -1", PGR_E_FORMAT},
        {bert, "{\"do_lower_case\":\"yes\"}", "do_lower_case is a string, want true or false", PGR_E_FORMAT},
        {bert, "[]", "sentence_bert_config.json", PGR_E_FORMAT},
    };
    for (size_t i = 0; i < LEN(cases); i++) {
        sentence_config c = {0};
        pgr_error err = {0};
        pgr_status s = cases[i].parse(cases[i].text, &c, &err);
        if (s != cases[i].status || !strstr(err.message, cases[i].message))
            fail_msg("%s: status %d, wanted %d; \"%s\" lacks \"%s\"", cases[i].text, s, cases[i].status, err.message,
                     cases[i].message);
    }
}

static void a_folder_may_have_none_of_them(void **state) {
    (void)state;
    folder f = folder_make();
    sentence_config c;
    pgr_error err;
    assert_int_equal(sentence_read(f.path, &c, NULL), PGR_OK);
    assert_true(!c.found && c.pool == PGR_POOL_AUTO && c.normalise && c.max_tokens == 0 && c.include_prompt);
    folder_puts(&f, "modules.json", "[" TRANSFORMER "," POOLING "]");
    assert_int_equal(sentence_read(f.path, &c, &err), PGR_E_IO);
    assert_non_null(strstr(err.message, "1_Pooling/config.json: the file of the Pooling module is missing"));
    folder_remove(&f);
    assert_int_equal(sentence_read(GOLDEN("hf-tiny-bert"), &c, NULL), PGR_OK);
    assert_true(c.found && c.pool == PGR_POOL_MEAN && c.normalise && c.max_tokens == 40 && c.dims == 32);
}

/* The least of max_seq_length and model_max_length counts; a length of 1e30 is none. */
static void lengths_of_the_tokenizer(void **state) {
    (void)state;
    static const struct {
        size_t before, after;
        const char *text;
    } cases[] = {
        {0, 16, "{\"model_max_length\": 16}"},   {64, 16, "{\"model_max_length\": 16}"},
        {64, 64, "{\"model_max_length\": 512}"}, {0, 0, "{\"model_max_length\": 1000000000000000019884624838656}"},
        {7, 7, "{\"model_max_length\": null}"},  {7, 7, "{}"}};
    pgr_error err;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sentence_config c = {.max_tokens = cases[i].before};
        assert_int_equal(sentence_tokenizer_parse(cases[i].text, strlen(cases[i].text), "t", &c, &err), PGR_OK);
        assert_int_equal(c.max_tokens, cases[i].after);
    }
    sentence_config c = {0};
    static const char *const bad[] = {"{\"model_max_length\": \"16\"}", "{\"model_max_length\": 0}", "[]"};
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(sentence_tokenizer_parse(bad[i], strlen(bad[i]), "t", &c, &err), PGR_E_FORMAT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lengths_of_the_tokenizer),
        cmocka_unit_test(modules_are_read),
        cmocka_unit_test(poolings_are_read),
        cmocka_unit_test(what_we_lack_is_named),
        cmocka_unit_test(a_folder_may_have_none_of_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
