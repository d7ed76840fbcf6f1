/* Decodes a video by libfastcar, on a card or on its simulator: decode MODEL [BACKEND [IMAGE]] */
#include <fastcar.h>
#include <stdio.h>
#include <stdlib.h>

/* Ends the program with the library's message unless a call went well. */
static void check(fastcar_status status) {
    if (status == FASTCAR_OK)
        return;
    fprintf(stderr, "error: %s: %s\n", fastcar_status_name(status), fastcar_last_error());
    exit(1);
}

int main(int count, char **arguments) {
    if (count < 2) {
        fputs("which model? give its folder, or a packed file\n", stderr);
        return 2;
    }
    fastcar_model *model;
    check(fastcar_model_open(arguments[1], NULL, &model));
    fastcar_policy *policy;
    check(fastcar_policy_from_toml("version = 1\nkind = \"replay\"\ngate = \"budget\"\nratio = 0.5\n", &policy));

    /* The image of a card comes from a file; for a simulated device one is made. What is left out has its default. */
    fastcar_session_options options = {.size = sizeof options, .positions = 200};
    options.backend = count > 2 ? arguments[2] : "opencl";
    options.xclbin = count > 3 ? arguments[3] : NULL;
    fastcar_session *session;
    check(fastcar_session_open(model, policy, &options, &session));

    uint32_t prompt[16];
    size_t prompt_count;
    check(fastcar_model_encode(model, "7 left stripes", prompt, 16, &prompt_count));
    fastcar_request request = {.size = sizeof request, .positions = 128};
    request.prompt = prompt;
    request.prompt_count = prompt_count;
    uint64_t sequence;
    check(fastcar_session_start(session, &request, &sequence));

    /* A step makes one position of every sequence, none while it reads the prompt. */
    for (int32_t done = 0; !done; check(fastcar_session_is_done(session, sequence, &done))) {
        fastcar_generated made;
        size_t made_count;
        check(fastcar_session_step(session, &made, 1, &made_count));
        if (made_count == 1)
            printf("position %u: tokens [%u]\n", made.position, made.tokens[0]);
    }
    fastcar_stats stats = {.size = sizeof stats};
    check(fastcar_session_finish(session, sequence, &stats));
    printf("%.1f %% of the MLPs replayed\n", 100.0 * stats.replay_ratio);

    fastcar_session_close(session);
    fastcar_policy_close(policy);
    fastcar_model_close(model);
    return 0;
}
