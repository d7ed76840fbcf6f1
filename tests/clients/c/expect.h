/* What the tests of libfastcar share: calls with the status and the words that they must answer. */
#ifndef EXPECT_H
#define EXPECT_H

#include <fastcar.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A bit for every status that was answered. */
static unsigned long seen;

static void failed(int line, const char *what) {
    fprintf(stderr, "line %d: %s\n", line, what);
    exit(1);
}

static void expect(fastcar_status found, fastcar_status wanted, const char *part, const char *call, int line) {
    const char *message = found == FASTCAR_OK ? "" : fastcar_last_error();
    seen |= 1ul << found;
    if (found == wanted && strstr(message, part))
        return;
    fprintf(stderr, "line %d: %s\n  answered %s: %s\n  wanted %s: %s\n", line, call, fastcar_status_name(found),
            message, fastcar_status_name(wanted), part);
    exit(1);
}

/* A call must answer this status, with these words in its message. */
#define EXPECT(status, part, call) expect(call, status, part, #call, __LINE__)
#define OK(call) EXPECT(FASTCAR_OK, "", call)
/* A condition must hold. */
#define HOLDS(condition) ((condition) ? (void)0 : failed(__LINE__, #condition))

/* The frame period of the tests' model, and a prompt of it. */
enum { PERIOD = 12, PROMPT = 4, POSITIONS = 30, SLOTS = 4 };
static const uint32_t prompt_tokens[PROMPT] = {54, 50, 48, 49};
static const uint32_t null_tokens[PROMPT] = {54, 55, 55, 55};

static inline fastcar_request plain_request(void) {
    fastcar_request request = {.size = sizeof request, .prompt = prompt_tokens, .prompt_count = PROMPT};
    request.positions = POSITIONS;
    return request;
}

static inline fastcar_session_options options_of(const char *backend) {
    fastcar_session_options options = {.size = sizeof options, .backend = backend};
    options.slots = SLOTS;
    options.positions = PROMPT + POSITIONS;
    return options;
}

/* The tests' model for a small accelerator. */
static inline fastcar_model *open_model(const char *folder) {
    fastcar_model_options options = {.size = sizeof options, .preset = "tiny", .weights = "mxint8"};
    fastcar_model *model;
    OK(fastcar_model_open(folder, &options, &model));
    return model;
}

static inline fastcar_session *open_session(const fastcar_model *model, const char *backend) {
    fastcar_session_options options = options_of(backend);
    fastcar_session *session;
    OK(fastcar_session_open(model, NULL, &options, &session));
    return session;
}

static inline uint64_t start(fastcar_session *session) {
    fastcar_request request = plain_request();
    uint64_t sequence;
    OK(fastcar_session_start(session, &request, &sequence));
    return sequence;
}

/* Decodes every sequence to its end; tokens[s * POSITIONS + p] is what sequence s has at position p. */
static inline void decode_all(fastcar_session *session, uint32_t *tokens) {
    size_t left;
    for (OK(fastcar_session_step(session, NULL, 0, &left)); left > 0;
         OK(fastcar_session_step(session, NULL, 0, &left))) {
        fastcar_generated made[SLOTS];
        size_t count;
        OK(fastcar_session_step(session, made, SLOTS, &count));
        for (size_t i = 0; i < count; i++)
            tokens[made[i].sequence * POSITIONS + made[i].position] = made[i].tokens[0];
    }
}

/* Tells the test beside which statuses were answered. */
static inline int report(void) {
    printf("statuses:");
    for (int status = 0; status < 64; status++)
        if (seen >> status & 1)
            printf(" %s", fastcar_status_name(status));
    printf("\n");
    return 0;
}

#endif
