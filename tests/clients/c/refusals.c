/* What libfastcar refuses, each with its status and its words: refusals MODEL SCRATCH (here|opencl|none|failing|hanging)
 *
 * MODEL is the folder of the tests' model, SCRATCH a folder to write to, with edge.xclbin: an image of that preset. The
 * last four modes expect an OpenCL library as tests/tests/c_library.rs sets it up. */
#include "expect.h"

static const char *in(const char *folder, const char *name) {
    static char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void write_file(const char *path, const char *content) {
    FILE *file = fopen(path, "wb");
    HOLDS(file && fputs(content, file) >= 0 && fclose(file) == 0);
}

static int32_t stop(void *user, uint64_t done, uint64_t total) {
    HOLDS(done <= total);
    *(int *)user += 1;
    return 1;
}

static void versions(void) {
    HOLDS(!strcmp(fastcar_version(), FASTCAR_VERSION));
    HOLDS(fastcar_version_number() == FASTCAR_VERSION_NUMBER);
    HOLDS(!strcmp(fastcar_last_error(), ""));
    HOLDS(!strcmp(fastcar_status_name(FASTCAR_IO), "FASTCAR_IO"));
    HOLDS(!strcmp(fastcar_status_name(99), "unknown status"));
}

static void policies(const char *scratch) {
    fastcar_policy *policy = (fastcar_policy *)&policy;
    EXPECT(FASTCAR_INVALID_ARGUMENT, "toml is NULL", fastcar_policy_from_toml(NULL, &policy));
    HOLDS(!policy);
    EXPECT(FASTCAR_INVALID_ARGUMENT, "policy is NULL", fastcar_policy_from_toml("version = 1", NULL));
    EXPECT(FASTCAR_INVALID_ARGUMENT, "policy is NULL", fastcar_policy_dense(NULL));
    EXPECT(FASTCAR_INVALID_ARGUMENT, "not UTF-8", fastcar_policy_from_toml("\xff", &policy));
    EXPECT(FASTCAR_POLICY, "policy text", fastcar_policy_from_toml("kind = 7", &policy));
    EXPECT(FASTCAR_POLICY, "must be from 0 to 1",
           fastcar_policy_from_toml("version = 1\nkind = \"replay\"\ngate = \"budget\"\nratio = 2.0\n", &policy));
    EXPECT(FASTCAR_IO, "No such file", fastcar_policy_load(in(scratch, "no-policy.toml"), &policy));
    EXPECT(FASTCAR_INVALID_ARGUMENT, "file is NULL", fastcar_policy_load(NULL, &policy));
    HOLDS(!policy);
    fastcar_policy_close(NULL);
}

static void models(const char *folder, const char *scratch) {
    fastcar_model *model;
    fastcar_model_options options = {.size = sizeof options};
    EXPECT(FASTCAR_INVALID_ARGUMENT, "path is NULL", fastcar_model_open(NULL, NULL, &model));
    HOLDS(!model);
    EXPECT(FASTCAR_INVALID_ARGUMENT, "model is NULL", fastcar_model_open(folder, NULL, NULL));
    EXPECT(FASTCAR_INVALID_ARGUMENT, "at an address that its type cannot have",
           fastcar_model_open(folder, NULL, (fastcar_model **)((char *)&model + 1)));
    EXPECT(FASTCAR_IO, "config.json", fastcar_model_open(in(scratch, "nowhere"), NULL, &model));
    write_file(in(scratch, "garbage.fcar"), "no packed model");
    EXPECT(FASTCAR_MODEL, "not a packed model", fastcar_model_open(in(scratch, "garbage.fcar"), NULL, &model));

    options.size = 8;
    EXPECT(FASTCAR_INVALID_ARGUMENT, "fastcar_model_options.size is 8: set it to sizeof(fastcar_model_options)",
           fastcar_model_open(folder, &options, &model));
    struct {
        fastcar_model_options known;
        uint64_t later;
    } grown = {{.size = sizeof grown}, 1};
    EXPECT(FASTCAR_INVALID_ARGUMENT, "does not know: leave it 0", fastcar_model_open(folder, &grown.known, &model));
    options = (fastcar_model_options){.size = sizeof options, .preset = "u99"};
    EXPECT(FASTCAR_INVALID_ARGUMENT, "u99", fastcar_model_open(folder, &options, &model));
    options = (fastcar_model_options){.size = sizeof options, .weights = "int3"};
    EXPECT(FASTCAR_INVALID_ARGUMENT, "weights is 'int3'", fastcar_model_open(folder, &options, &model));
    options = (fastcar_model_options){.size = sizeof options, .preset = "tiny", .config_file = "x.toml"};
    EXPECT(FASTCAR_INVALID_ARGUMENT, "choose one", fastcar_model_open(folder, &options, &model));
    options = (fastcar_model_options){.size = sizeof options, .config_file = in(scratch, "no.toml")};
    EXPECT(FASTCAR_IO, "cannot read configuration file", fastcar_model_open(folder, &options, &model));
    options = (fastcar_model_options){.size = sizeof options, .assets = folder};
    EXPECT(FASTCAR_INVALID_ARGUMENT, "assets goes with a packed file", fastcar_model_open(folder, &options, &model));
    int told = 0;
    options = (fastcar_model_options){.size = sizeof options, .progress = stop, .user = &told};
    EXPECT(FASTCAR_CANCELLED, "packing was cancelled", fastcar_model_open(folder, &options, &model));
    HOLDS(told == 1 && !model);
    fastcar_model_close(NULL);
}

static void packed_files(const char *folder, const char *scratch) {
    fastcar_model *model = open_model(folder), *again;
    char file[4096];
    snprintf(file, sizeof file, "%s/model.fcar", scratch);
    EXPECT(FASTCAR_IO, "No such file", fastcar_model_save(model, in(scratch, "nowhere/model.fcar")));
    EXPECT(FASTCAR_INVALID_ARGUMENT, "file is NULL", fastcar_model_save(model, NULL));
    OK(fastcar_model_save(model, file));
    fastcar_model_options options = {.size = sizeof options, .preset = "edge"};
    EXPECT(FASTCAR_IDENTITY, "fastcar pack --preset edge", fastcar_model_open(file, &options, &again));
    options = (fastcar_model_options){.size = sizeof options, .weights = "mxfp4"};
    EXPECT(FASTCAR_INVALID_ARGUMENT, "this model is packed", fastcar_model_open(file, &options, &again));
    OK(fastcar_model_open(file, NULL, &again));
    size_t count;
    EXPECT(FASTCAR_NOT_AVAILABLE, "name it by assets", fastcar_model_encode(again, "one left dots", NULL, 0, &count));
    EXPECT(FASTCAR_NOT_AVAILABLE, "name it by assets", fastcar_model_null_prompt(again, NULL, 0, &count));
    fastcar_model_close(again);
    fastcar_model_close(model);
}

static void texts(const fastcar_model *model) {
    uint32_t tokens[PROMPT];
    size_t count = 99;
    EXPECT(FASTCAR_INVALID_ARGUMENT, "model is NULL", fastcar_model_encode(NULL, "one", tokens, PROMPT, &count));
    EXPECT(FASTCAR_INVALID_ARGUMENT, "prompt is NULL", fastcar_model_encode(model, NULL, tokens, PROMPT, &count));
    EXPECT(FASTCAR_INVALID_ARGUMENT, "tokens is NULL", fastcar_model_encode(model, "one", NULL, 1, &count));
    EXPECT(FASTCAR_INVALID_ARGUMENT, "count is NULL", fastcar_model_encode(model, "one", tokens, PROMPT, NULL));
    EXPECT(FASTCAR_INVALID_ARGUMENT, "elephants",
           fastcar_model_encode(model, "one left elephants", tokens, PROMPT, &count));
    EXPECT(FASTCAR_INVALID_ARGUMENT, "4", fastcar_model_encode(model, "one", tokens, PROMPT, &count));
    HOLDS(count == 99);
    EXPECT(FASTCAR_BUFFER_TOO_SMALL, "tokens has room for 2 elements, 4 are needed",
           fastcar_model_encode(model, "one left dots", tokens, 2, &count));
    HOLDS(count == PROMPT);
    fastcar_model_info info = {.size = 3};
    EXPECT(FASTCAR_INVALID_ARGUMENT, "fastcar_model_info.size is 3", fastcar_model_get_info(model, &info));
    EXPECT(FASTCAR_INVALID_ARGUMENT, "fastcar_model_info is NULL", fastcar_model_get_info(model, NULL));
}

static void sessions(const fastcar_model *model, const char *scratch) {
    fastcar_session *session = (fastcar_session *)&session;
    fastcar_session_options options = options_of("golden");
    EXPECT(FASTCAR_INVALID_ARGUMENT, "model is NULL", fastcar_session_open(NULL, NULL, &options, &session));
    HOLDS(!session);
    EXPECT(FASTCAR_INVALID_ARGUMENT, "fastcar_session_options is NULL",
           fastcar_session_open(model, NULL, NULL, &session));
    EXPECT(FASTCAR_INVALID_ARGUMENT, "session is NULL", fastcar_session_open(model, NULL, &options, NULL));
    options.size = sizeof options - 8;
    EXPECT(FASTCAR_INVALID_ARGUMENT, "fastcar_session_options.size", fastcar_session_open(model, NULL, &options, &session));
    options = options_of("abacus");
    EXPECT(FASTCAR_INVALID_ARGUMENT, "backend is 'abacus': it is opencl, golden or sim",
           fastcar_session_open(model, NULL, &options, &session));
    options = options_of("golden");
    options.device = "0";
    EXPECT(FASTCAR_INVALID_ARGUMENT, "belong to the backend opencl", fastcar_session_open(model, NULL, &options, &session));
    options = options_of("opencl");
    options.timeout_seconds = -1;
    EXPECT(FASTCAR_INVALID_ARGUMENT, "timeout_seconds is -1", fastcar_session_open(model, NULL, &options, &session));
    options = options_of("golden");
    options.positions = 0;
    EXPECT(FASTCAR_DOES_NOT_FIT, "positions", fastcar_session_open(model, NULL, &options, &session));
    options = options_of("golden");
    options.slots = 33;
    EXPECT(FASTCAR_DOES_NOT_FIT, "slots", fastcar_session_open(model, NULL, &options, &session));
    options = options_of("golden");
    options.streamed_bytes = 4096;
    EXPECT(FASTCAR_DOES_NOT_FIT, "", fastcar_session_open(model, NULL, &options, &session));
    fastcar_policy *policy;
    OK(fastcar_policy_from_toml("version = 1\nkind = \"replay\"\ngate = \"tas\"\nthresholds = [1.0, 1.0, 1.0]\n", &policy));
    options = options_of("golden");
    EXPECT(FASTCAR_POLICY, "has 3 entries", fastcar_session_open(model, policy, &options, &session));
    fastcar_policy_close(policy);

    options = options_of("golden");
    EXPECT(FASTCAR_IO, "no.snap", fastcar_session_restore(model, in(scratch, "no.snap"), &options, &session));
    write_file(in(scratch, "garbage.snap"), "no snapshot");
    EXPECT(FASTCAR_SNAPSHOT, "not a snapshot",
           fastcar_session_restore(model, in(scratch, "garbage.snap"), &options, &session));
    HOLDS(!session);
    fastcar_session_close(NULL);
}

static void requests(const fastcar_model *model) {
    fastcar_session *session = open_session(model, "golden");
    uint64_t sequence = 99;
    fastcar_request request = plain_request();
    EXPECT(FASTCAR_INVALID_ARGUMENT, "session is NULL", fastcar_session_start(NULL, &request, &sequence));
    EXPECT(FASTCAR_INVALID_ARGUMENT, "fastcar_request is NULL", fastcar_session_start(session, NULL, &sequence));
    EXPECT(FASTCAR_INVALID_ARGUMENT, "sequence is NULL", fastcar_session_start(session, &request, NULL));
    request.size = 0;
    EXPECT(FASTCAR_INVALID_ARGUMENT, "fastcar_request.size is 0", fastcar_session_start(session, &request, &sequence));
    request = plain_request();
    request.prompt = NULL;
    EXPECT(FASTCAR_INVALID_ARGUMENT, "request.prompt is NULL", fastcar_session_start(session, &request, &sequence));
    request.prompt_count = 0;
    EXPECT(FASTCAR_INVALID_ARGUMENT, "at least one token", fastcar_session_start(session, &request, &sequence));
    request = plain_request();
    request.prompt_count = SIZE_MAX;
    EXPECT(FASTCAR_INVALID_ARGUMENT, "more than any memory holds", fastcar_session_start(session, &request, &sequence));
    request = plain_request();
    request.positions += 1;
    EXPECT(FASTCAR_INVALID_ARGUMENT, "the session holds 34 positions", fastcar_session_start(session, &request, &sequence));
    request = plain_request();
    request.temperature = -1;
    EXPECT(FASTCAR_INVALID_ARGUMENT, "temperature is -1", fastcar_session_start(session, &request, &sequence));
    request = plain_request();
    request.allowed_end = 1000;
    EXPECT(FASTCAR_INVALID_ARGUMENT, "request.allowed", fastcar_session_start(session, &request, &sequence));
    HOLDS(sequence == 99);
    fastcar_session_close(session);
}

static void sequences(const fastcar_model *model, const char *scratch) {
    fastcar_session *session = open_session(model, "golden");
    uint64_t first = start(session), nanoseconds, list[1];
    start(session), start(session), start(session);
    fastcar_request request = plain_request();
    EXPECT(FASTCAR_FULL, "0 of 4 are free", fastcar_session_start(session, &request, list));

    fastcar_generated made[SLOTS];
    size_t count = 99;
    OK(fastcar_session_prefill(session));
    EXPECT(FASTCAR_BUFFER_TOO_SMALL, "generated has room for 3 elements, 4 are needed",
           fastcar_session_step(session, made, SLOTS - 1, &count));
    HOLDS(count == SLOTS);
    EXPECT(FASTCAR_INVALID_ARGUMENT, "generated is NULL", fastcar_session_step(session, NULL, SLOTS, &count));
    EXPECT(FASTCAR_INVALID_ARGUMENT, "count is NULL", fastcar_session_step(session, made, SLOTS, NULL));
    EXPECT(FASTCAR_NOT_AVAILABLE, "no time is known", fastcar_session_last_device_time(session, &nanoseconds));
    OK(fastcar_session_step(session, made, SLOTS, &count));
    HOLDS(count == SLOTS && made[0].position == 0);
    EXPECT(FASTCAR_NOT_AVAILABLE, "no time is known", fastcar_session_last_device_time(session, &nanoseconds));
    EXPECT(FASTCAR_INVALID_ARGUMENT, "nanoseconds is NULL", fastcar_session_last_device_time(session, NULL));
    EXPECT(FASTCAR_BUFFER_TOO_SMALL, "sequences has room for 1", fastcar_session_sequences(session, list, 1, &count));
    EXPECT(FASTCAR_INVALID_ARGUMENT, "row is 1: sequence 0 has 1",
           fastcar_session_logits(session, first, 1, NULL, 0, &count));
    EXPECT(FASTCAR_INVALID_ARGUMENT, "session is NULL", fastcar_session_prefill(NULL));
    EXPECT(FASTCAR_INVALID_ARGUMENT, "file is NULL", fastcar_session_snapshot(session, NULL));
    EXPECT(FASTCAR_IO, "nowhere/s.snap", fastcar_session_snapshot(session, in(scratch, "nowhere/s.snap")));

    /* Wrong results end nothing: the sequence is still there. */
    fastcar_stats stats = {.size = 1};
    int32_t done;
    EXPECT(FASTCAR_INVALID_ARGUMENT, "fastcar_stats.size is 1", fastcar_session_finish(session, first, &stats));
    EXPECT(FASTCAR_INVALID_ARGUMENT, "done is NULL", fastcar_session_is_done(session, first, NULL));
    OK(fastcar_session_cancel(session, first));
    EXPECT(FASTCAR_UNKNOWN_SEQUENCE, "sequence 0", fastcar_session_cancel(session, first));
    EXPECT(FASTCAR_UNKNOWN_SEQUENCE, "sequence 0", fastcar_session_is_done(session, first, &done));
    EXPECT(FASTCAR_UNKNOWN_SEQUENCE, "sequence 0", fastcar_session_finish(session, first, NULL));
    EXPECT(FASTCAR_UNKNOWN_SEQUENCE, "sequence 0", fastcar_session_logits(session, first, 0, NULL, 0, &count));
    EXPECT(FASTCAR_UNKNOWN_SEQUENCE, "sequence 77", fastcar_session_cancel(session, 77));
    HOLDS(start(session) == 4);
    fastcar_session_close(session);
}

/* Snapshots know their model. */
static void strange_snapshot(const fastcar_model *model, const char *folder, const char *scratch) {
    fastcar_model_options other_weights = {.size = sizeof other_weights, .preset = "tiny", .weights = "mxfp4"};
    fastcar_session_options options = options_of("golden");
    fastcar_model *other;
    fastcar_session *session = open_session(model, "golden");
    start(session);
    OK(fastcar_session_snapshot(session, in(scratch, "a.snap")));
    fastcar_session_close(session);
    OK(fastcar_model_open(folder, &other_weights, &other));
    EXPECT(FASTCAR_IDENTITY, "the snapshot belongs to model",
           fastcar_session_restore(other, in(scratch, "a.snap"), &options, &session));
    HOLDS(!session);
    fastcar_model_close(other);
}

static void refuse_device(const fastcar_model *model, fastcar_session_options options, fastcar_status status, const char *part) {
    fastcar_session *session;
    EXPECT(status, part, fastcar_session_open(model, NULL, &options, &session));
    HOLDS(!session);
}

static int32_t count_devices(void *user, const fastcar_device *device) {
    HOLDS(device->size == sizeof *device && strstr(device->name, "(simulated)"));
    HOLDS(!strcmp(device->platform, "fastcar simulator") && device->memory_bytes > 0 && device->available);
    HOLDS(device->index == (size_t)*(int *)user);
    return ++*(int *)user == 2;
}

/* Devices tiny, edge and u50. */
static void devices(const fastcar_model *model, const char *scratch) {
    int found = 0;
    OK(fastcar_devices(count_devices, &found));
    HOLDS(found == 2);
    EXPECT(FASTCAR_INVALID_ARGUMENT, "callback is NULL", fastcar_devices(NULL, NULL));
    fastcar_session_options options = options_of(NULL);
    options.device = "u280";
    refuse_device(model, options, FASTCAR_NO_DEVICE, "no OpenCL device is 'u280': there is 0 'tiny (simulated)'");
    options.device = "simulated";
    refuse_device(model, options, FASTCAR_NO_DEVICE, "several OpenCL devices are 'simulated'");
    options.device = "tiny";
    options.xclbin = in(scratch, "edge.xclbin");
    refuse_device(model, options, FASTCAR_IDENTITY, "the image is of identity");
    options.device = NULL;
    options.xclbin = in(scratch, "no.xclbin");
    refuse_device(model, options, FASTCAR_IO, "cannot read image");
    write_file(in(scratch, "garbage.xclbin"), "no image");
    options.xclbin = in(scratch, "garbage.xclbin");
    refuse_device(model, options, FASTCAR_IMAGE, "garbage.xclbin");
    int told = 0;
    options = options_of("opencl");
    options.progress = stop;
    options.user = &told;
    refuse_device(model, options, FASTCAR_CANCELLED, "loading was cancelled");
    HOLDS(told > 0);
}

/* A device whose second run fails. */
static void failing(const fastcar_model *model, fastcar_status first) {
    fastcar_session_options options = options_of("opencl");
    options.timeout_seconds = 1;
    fastcar_session *session;
    OK(fastcar_session_open(model, NULL, &options, &session));
    start(session);
    fastcar_generated made[SLOTS];
    size_t count;
    OK(fastcar_session_step(session, made, SLOTS, &count));
    EXPECT(first, "tiny (simulated)", fastcar_session_step(session, made, SLOTS, &count));
    HOLDS(count == 0);
    EXPECT(FASTCAR_DEVICE_LOST, "open it again", fastcar_session_step(session, made, SLOTS, &count));
    fastcar_session_close(session);
}

int main(int count, char **arguments) {
    HOLDS(count == 4);
    const char *folder = arguments[1], *scratch = arguments[2], *mode = arguments[3];
    versions();
    fastcar_model *model = open_model(folder);
    if (!strcmp(mode, "here")) {
        policies(scratch);
        models(folder, scratch);
        packed_files(folder, scratch);
        texts(model);
        sessions(model, scratch);
        requests(model);
        sequences(model, scratch);
        strange_snapshot(model, folder, scratch);
    } else if (!strcmp(mode, "opencl")) {
        devices(model, scratch);
    } else if (!strcmp(mode, "none")) {
        refuse_device(model, options_of("opencl"), FASTCAR_NO_DEVICE, "OPENCL_DYLIB_PATH is");
        EXPECT(FASTCAR_NO_DEVICE, "OPENCL_DYLIB_PATH is", fastcar_devices(count_devices, NULL));
    } else if (!strcmp(mode, "failing")) {
        failing(model, FASTCAR_DEVICE_FAILED);
    } else {
        HOLDS(!strcmp(mode, "hanging"));
        failing(model, FASTCAR_DEVICE_LOST);
    }
    fastcar_model_close(model);
    return report();
}
