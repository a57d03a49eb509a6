/* score.c - the shortest program on libpgenrm: judges one request and prints a score per response.
 *
 *     cc examples/score.c $(pkg-config --cflags --libs pgenrm) -o score
 *     ./score model.gguf examples/request.json */
#include <pgenrm.h>
#include <stdio.h>

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: %s MODEL.gguf REQUEST.json\n", argv[0]);
        return 2;
    }
    pgr_error err = {.status = PGR_OK};
    pgr_model_options model_options = pgr_model_options_default();
    pgr_judge_options judge_options = pgr_judge_options_default();
    judge_options.ind = 4; /* chains; what is not set comes from the request, else from the defaults */

    pgr_model *model = NULL;
    pgr_engine *engine = NULL;
    pgr_request *request = NULL;
    pgr_result *result = NULL;
    if (pgr_request_read(argv[2], &request, &err) == PGR_OK
        && pgr_model_open(argv[1], &model_options, &model, &err) == PGR_OK
        && pgr_engine_create(model, NULL, &engine, &err) == PGR_OK
        && pgr_judge(engine, request, &judge_options, &result, &err) == PGR_OK) {
        for (size_t i = 0; i < result->n_response; i++) {
            const pgr_response_score *r = &result->responses[i];
            if (r->scored)
                printf("response %zu: %.2f from %zu chains\n", i, r->score, r->n);
            else
                printf("response %zu: no score, %s\n", i, r->reason); /* never a guess */
        }
        if (result->best >= 0) printf("best: response %d\n", result->best);
    } else {
        fprintf(stderr, "%s\n", err.message);
    }

    pgr_result_free(result); /* NULL is fine */
    pgr_request_free(request);
    pgr_engine_free(engine);
    pgr_model_close(model);
    return err.status == PGR_OK ? 0 : 1;
}
