/* What libfastcar's objects do over their lives: lifetimes MODEL SCRATCH BACKEND (results|threads|leaks)
 *
 * MODEL is the folder of the tests' model, SCRATCH a folder to write to. */
#include "expect.h"
#include <dirent.h>
#include <stdatomic.h>
#include <threads.h>
#include <unistd.h>

/* Two plain sequences and a guided one: what they generate, by number. */
static void decode(const fastcar_model *model, const char *backend, uint64_t streamed, uint32_t *tokens) {
    fastcar_session_options options = options_of(backend);
    options.streamed_bytes = streamed;
    fastcar_session *session;
    OK(fastcar_session_open(model, NULL, &options, &session));
    fastcar_request request = plain_request(), guided = plain_request();
    uint64_t sequence;
    OK(fastcar_session_start(session, &request, &sequence));
    request.temperature = 1;
    request.top_k = 20;
    request.seed = 7;
    OK(fastcar_session_start(session, &request, &sequence));
    guided.null_prompt = null_tokens;
    guided.guidance_scale = 2;
    OK(fastcar_session_start(session, &guided, &sequence));
    HOLDS(sequence == 2);
    decode_all(session, tokens);
    fastcar_session_close(session);
}

/* The least memory of a channel, in pages, that the model can be decoded with: most of its weights are then streamed. */
static uint64_t least_memory(const fastcar_model *model) {
    fastcar_session_options options = options_of("golden");
    fastcar_session *session;
    fastcar_status status;
    do {
        options.streamed_bytes += 4096;
        status = fastcar_session_open(model, NULL, &options, &session);
        seen |= 1ul << status;
    } while (status == FASTCAR_DOES_NOT_FIT);
    HOLDS(status == FASTCAR_OK);
    fastcar_session_close(session);
    return options.streamed_bytes;
}

static void same_tokens_again(const fastcar_model *model, const char *backend) {
    uint32_t first[3 * POSITIONS], second[3 * POSITIONS];
    fastcar_model_info info = {.size = sizeof info};
    OK(fastcar_model_get_info(model, &info));
    HOLDS(info.codes == 1 && info.period == PERIOD && info.prompt_tokens == PROMPT && info.vocabulary == 57);
    HOLDS(info.allowed_first == 0 && info.allowed_end == 48 && info.layers == 2 && info.video_positions == 48);
    HOLDS(!strcmp(info.preset, "tiny") && strlen(info.identity) == 64 && info.channel_bytes > 0);
    decode(model, "golden", 0, first);
    decode(model, backend, 0, second);
    HOLDS(!memcmp(first, second, sizeof first));
    /* The sequences differ: the comparison is of something. */
    HOLDS(memcmp(first, first + POSITIONS, POSITIONS * sizeof *first));
    HOLDS(memcmp(first, first + 2 * POSITIONS, POSITIONS * sizeof *first));
    decode(model, backend, least_memory(model), second);
    HOLDS(!memcmp(first, second, sizeof first));
}

static void logits_choose_tokens(const fastcar_model *model, const char *backend) {
    fastcar_session *session = open_session(model, backend);
    uint64_t sequence = start(session);
    fastcar_generated made;
    size_t count;
    OK(fastcar_session_prefill(session));
    OK(fastcar_session_step(session, &made, 1, &count));
    HOLDS(count == 1 && made.sequence == sequence && made.codes == 1 && made.chosen[0] == made.tokens[0]);
    float logits[64];
    OK(fastcar_session_logits(session, sequence, 0, NULL, 0, &count));
    HOLDS(count == 57);
    EXPECT(FASTCAR_BUFFER_TOO_SMALL, "57 are needed", fastcar_session_logits(session, sequence, 0, logits, 56, &count));
    OK(fastcar_session_logits(session, sequence, 0, logits, 64, &count));
    uint32_t best = 0;
    for (uint32_t token = 0; token < 48; token++)
        best = logits[token] > logits[best] ? token : best;
    HOLDS(best == made.tokens[0]);
    fastcar_session_close(session);
}

static void device_time(const fastcar_model *model) {
    fastcar_session *session = open_session(model, "sim");
    start(session);
    fastcar_generated made;
    size_t count;
    uint64_t nanoseconds = 0;
    OK(fastcar_session_step(session, &made, 1, &count));
    OK(fastcar_session_last_device_time(session, &nanoseconds));
    HOLDS(nanoseconds > 1000 && nanoseconds < 100000000);
    fastcar_session_close(session);
}

static void first_frame_given(const fastcar_model *model) {
    fastcar_session *session = open_session(model, "golden");
    fastcar_request request = plain_request();
    uint32_t given[PERIOD] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
    request.given = given;
    request.given_count = PERIOD;
    uint64_t sequence;
    uint32_t tokens[POSITIONS];
    OK(fastcar_session_start(session, &request, &sequence));
    decode_all(session, tokens);
    HOLDS(!memcmp(tokens, given, sizeof given));
    fastcar_stats stats = {.size = sizeof stats};
    OK(fastcar_session_finish(session, sequence, &stats));
    HOLDS(stats.positions == POSITIONS - 1 || stats.positions == POSITIONS);
    HOLDS(stats.replay_ratio == 0 && stats.traffic == 1);
    fastcar_session_close(session);
}

static void goes_on_from_a_snapshot(const fastcar_model *model, const char *scratch, const char *backend,
                                    uint64_t least) {
    char file[4096];
    snprintf(file, sizeof file, "%s/half.snap", scratch);
    fastcar_policy *policy;
    OK(fastcar_policy_from_toml("version = 1\nkind = \"replay\"\ngate = \"budget\"\nratio = 0.5\n", &policy));
    fastcar_session_options options = options_of(backend);
    fastcar_session *session, *other;
    OK(fastcar_session_open(model, policy, &options, &session));
    fastcar_policy_close(policy);
    start(session);
    OK(fastcar_session_cancel(session, 0));
    uint64_t sequence = start(session), listed[SLOTS];
    fastcar_generated made;
    size_t count;
    for (int i = 0; i < PROMPT + PERIOD + 5; i++)
        OK(fastcar_session_step(session, &made, 1, &count));
    OK(fastcar_session_snapshot(session, file));

    options = options_of("golden");
    options.streamed_bytes = least;
    OK(fastcar_session_restore(model, file, &options, &other));
    OK(fastcar_session_sequences(other, listed, SLOTS, &count));
    HOLDS(count == 1 && listed[0] == sequence && sequence == 1);
    uint32_t here[2 * POSITIONS] = {0}, there[2 * POSITIONS] = {0};
    decode_all(session, here);
    decode_all(other, there);
    HOLDS(!memcmp(here, there, sizeof here) && here[2 * POSITIONS - 1] + here[2 * POSITIONS - 2] > 0);
    fastcar_stats stats = {.size = sizeof stats};
    OK(fastcar_session_finish(other, sequence, &stats));
    HOLDS(stats.replay_ratio > 0.4 && stats.replay_ratio < 0.6 && stats.traffic < 1);
    fastcar_session_close(session);
    fastcar_session_close(other);
}

static fastcar_session *shared;
static atomic_int going = 1;

/* Steps the shared session until the other thread has seen enough. */
static int keep_stepping(void *unused) {
    (void)unused;
    fastcar_request request = plain_request();
    while (atomic_load(&going)) {
        uint64_t sequence;
        int32_t done = 0;
        fastcar_generated made;
        size_t count;
        fastcar_status status;
        /* The other thread may be in a call: then it is tried again. */
        while ((status = fastcar_session_start(shared, &request, &sequence)) == FASTCAR_BUSY) {}
        HOLDS(status == FASTCAR_OK);
        while (!done) {
            while ((status = fastcar_session_step(shared, &made, 1, &count)) == FASTCAR_BUSY) {}
            HOLDS(status == FASTCAR_OK);
            while ((status = fastcar_session_is_done(shared, sequence, &done)) == FASTCAR_BUSY) {}
            HOLDS(status == FASTCAR_OK);
        }
        while ((status = fastcar_session_finish(shared, sequence, NULL)) == FASTCAR_BUSY) {}
        HOLDS(status == FASTCAR_OK);
    }
    return 0;
}

static int own_message(void *unused) {
    (void)unused;
    HOLDS(!strcmp(fastcar_last_error(), ""));
    HOLDS(fastcar_session_cancel(NULL, 0) == FASTCAR_INVALID_ARGUMENT);
    HOLDS(!strcmp(fastcar_last_error(), "session is NULL"));
    return 0;
}

/* One session takes one call at a time; a message belongs to its thread. */
static void two_threads(const fastcar_model *model, const char *backend) {
    thrd_t thread;
    shared = open_session(model, backend);
    HOLDS(thrd_create(&thread, keep_stepping, NULL) == thrd_success);
    fastcar_status status = FASTCAR_OK;
    while (status != FASTCAR_BUSY) {
        size_t count;
        status = fastcar_session_sequences(shared, NULL, 0, &count);
        HOLDS(status == FASTCAR_OK || status == FASTCAR_BUSY);
    }
    seen |= 1ul << status;
    HOLDS(strstr(fastcar_last_error(), "one at a time"));
    atomic_store(&going, 0);
    HOLDS(thrd_join(thread, NULL) == thrd_success);
    fastcar_session_close(shared);
    HOLDS(thrd_create(&thread, own_message, NULL) == thrd_success);
    HOLDS(thrd_join(thread, NULL) == thrd_success);
    HOLDS(strstr(fastcar_last_error(), "one at a time"));
}

static const fastcar_model *used;

/* Decodes in a session of its own. */
static int decode_alone(void *tokens) {
    decode(used, "golden", 0, tokens);
    return 0;
}

/* Any number of threads share a model. */
static void sessions_in_threads(const fastcar_model *model) {
    thrd_t threads[4];
    uint32_t tokens[5][3 * POSITIONS];
    used = model;
    decode_alone(tokens[4]);
    for (int i = 0; i < 4; i++)
        HOLDS(thrd_create(&threads[i], decode_alone, tokens[i]) == thrd_success);
    for (int i = 0; i < 4; i++) {
        HOLDS(thrd_join(threads[i], NULL) == thrd_success);
        HOLDS(!memcmp(tokens[i], tokens[4], sizeof *tokens));
    }
}

static long files(void) {
    long count = 0;
    DIR *folder = opendir("/proc/self/fd");
    HOLDS(folder);
    while (readdir(folder))
        count++;
    closedir(folder);
    return count;
}

/* Kilobytes of memory in use. */
static long resident(void) {
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    HOLDS(file && fscanf(file, "%*d %ld", &pages) == 1 && fclose(file) == 0);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

/* Everything opened, used, refused and closed once. */
static void whole_life(const char *file, const char *backend) {
    fastcar_model *model;
    fastcar_policy *policy;
    fastcar_session *session;
    fastcar_generated made;
    size_t count;
    OK(fastcar_model_open(file, NULL, &model));
    OK(fastcar_policy_dense(&policy));
    fastcar_session_options options = options_of(backend);
    OK(fastcar_session_open(model, policy, &options, &session));
    fastcar_model_close(model);
    fastcar_policy_close(policy);
    start(session);
    OK(fastcar_session_step(session, &made, 1, &count));
    EXPECT(FASTCAR_UNKNOWN_SEQUENCE, "sequence 5", fastcar_session_cancel(session, 5));
    fastcar_session_close(session);
}

static void leaks(const char *folder, const char *scratch, const char *backend) {
    char file[4096];
    snprintf(file, sizeof file, "%s/leaks.fcar", scratch);
    fastcar_model *model = open_model(folder);
    OK(fastcar_model_save(model, file));
    fastcar_model_close(model);
    for (int i = 0; i < 50; i++)
        whole_life(file, backend);
    long had_files = files(), had_memory = resident();
    for (int i = 0; i < 200; i++)
        whole_life(file, backend);
    printf("files %ld then %ld, memory %ld then %ld KB\n", had_files, files(), had_memory, resident());
    HOLDS(files() == had_files);
    /* A session of this model takes more than 64 KB, so 200 that stayed would be seen. */
    HOLDS(resident() < had_memory + 4096);
}

int main(int count, char **arguments) {
    HOLDS(count == 5);
    const char *folder = arguments[1], *scratch = arguments[2], *backend = arguments[3], *mode = arguments[4];
    if (!strcmp(mode, "leaks")) {
        leaks(folder, scratch, backend);
        return report();
    }
    fastcar_model *model = open_model(folder);
    if (!strcmp(mode, "threads")) {
        two_threads(model, backend);
        sessions_in_threads(model);
    } else {
        same_tokens_again(model, backend);
        logits_choose_tokens(model, backend);
        device_time(model);
        first_frame_given(model);
        goes_on_from_a_snapshot(model, scratch, backend, 0);
        goes_on_from_a_snapshot(model, scratch, backend, 2 * least_memory(model));
    }
    fastcar_model_close(model);
    return report();
}
