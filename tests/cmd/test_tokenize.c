/* test_tokenize.c - `pgenrm tokenize` as a user meets it: texts to tokens and back. */
#include "json_out.h"

static void test_tokenize(void **state) {
    (void)state;
    ran lines = run_well("printf 'a b\\n\\nlast <|im_end|>' | pgenrm tokenize --json --file -");
    assert_int_equal(count_lines(lines.out), 3);
    assert_non_null(strstr(lines.out, "\n[]\n"));
    run_free(&lines);
    ran there = run_well(
        "cd $SCRATCH; printf 'Grüße,  \\t🙂 <|im_end|> 1234' > text; pgenrm tokenize --json - < text > ids; "
        "pgenrm tokenize --decode --file ids > back; echo >> text; cmp text back");
    run_free(&there);
    json_t *one = json_from(run_well("pgenrm tokenize --json --parse-special '<|im_end|>'"));
    json_t *many = json_from(run_well("pgenrm tokenize --json '<|im_end|>'"));
    assert_int_equal(json_array_size(one), 1);
    assert_true(json_array_size(many) > 1);
    json_decref(one);
    json_decref(many);
    assert_refused("printf '3 x\\n' > $SCRATCH/ids; pgenrm tokenize --decode --file $SCRATCH/ids", 1,
                   "/ids:1: found \"x\", expected a token id");
    assert_refused("printf '99999999' | pgenrm tokenize --decode --file -", 1,
                   "pgenrm: standard input:1: token id 99999999");
    ran people = run_well("pgenrm tokenize 'ö'");
    assert_non_null(strstr(people.out, "\\xC3"));
    run_free(&people);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tokenize),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
