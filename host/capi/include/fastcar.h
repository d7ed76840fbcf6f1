/* libfastcar: decode auto-regressive video on a fastcar accelerator, or on its simulator.
 *
 * Made by cbindgen from host/capi; docs/host-guide.md has a program that uses it.
 *
 * Results. Functions that can fail return a fastcar_status; fastcar_last_error() then says in words, on the same
 * thread, what was asked, what was found and what to do. A call that fails changes nothing, unless it says otherwise.
 *
 * Pointers. A pointer is NULL only where this file says so; NULL elsewhere is FASTCAR_INVALID_ARGUMENT. Text ends in
 * NUL and is UTF-8; paths may be any bytes. What an argument points to is read during the call only and may go after
 * it. An array is given with its length; an array for results with its capacity, and the call says in a count how many
 * elements there are.
 *
 * Ownership. Models, policies and sessions are opened by one function and closed by another, once, when no call
 * uses them; closing NULL does nothing. They may be closed in any order.
 *
 * Threads. There is nothing to initialise and no state that threads share. Functions may be called from any thread.
 * Models and policies never change and may be used by several threads at a time; a session takes one call at a time
 * and answers FASTCAR_BUSY to others.
 *
 * Growth. Structures of options and results begin with their size, which the caller sets to sizeof: later versions
 * add fields behind those that are there, and a program and a library of different versions understand each other.
 * A field of 0 or NULL always means its default, so zero the structure first:
 *
 *     fastcar_request request = {.size = sizeof request, .prompt = tokens, .prompt_count = 4, .positions = 64};
 */


#ifndef FASTCAR_H
#define FASTCAR_H

#include <stddef.h>
#include <stdint.h>

/* The version of this file; fastcar_version() is that of the library. */
#define FASTCAR_VERSION_MAJOR 0
#define FASTCAR_VERSION_MINOR 1
#define FASTCAR_VERSION_PATCH 0
#define FASTCAR_VERSION "0.1.0"
#define FASTCAR_VERSION_NUMBER \
    (1000000 * FASTCAR_VERSION_MAJOR + 1000 * FASTCAR_VERSION_MINOR + FASTCAR_VERSION_PATCH)

// Most tokens of a position.
#define FASTCAR_CODES_MAX 8

// How a call ended. Later versions may add values at the end.
typedef enum fastcar_status {
    // It did what it says.
    FASTCAR_OK = 0,
    // An argument or a field cannot be: a NULL pointer, a wrong size, text that is not UTF-8, an unknown name, a
    // request that the model cannot serve.
    FASTCAR_INVALID_ARGUMENT = 1,
    // The caller's array is too small; nothing was done, and the count says how many elements are needed.
    FASTCAR_BUFFER_TOO_SMALL = 2,
    // A file cannot be read or written.
    FASTCAR_IO = 3,
    // A file is no model, or a damaged or unsupported one.
    FASTCAR_MODEL = 4,
    // A policy's text is wrong, or the policy does not fit the model.
    FASTCAR_POLICY = 5,
    // The model, or slots and positions, do not fit the accelerator or its memory.
    FASTCAR_DOES_NOT_FIT = 6,
    // Weights, image or snapshot were made for another accelerator or model.
    FASTCAR_IDENTITY = 7,
    // There is no OpenCL library, platform or device; none or several are the one asked for; another process has it.
    FASTCAR_NO_DEVICE = 8,
    // The image is missing, damaged, or not one of this accelerator.
    FASTCAR_IMAGE = 9,
    // The device or its runtime failed.
    FASTCAR_DEVICE_FAILED = 10,
    // The device hangs, or an earlier failure left it in an unknown state: close the session and open another.
    FASTCAR_DEVICE_LOST = 11,
    // No slot is free: finish or cancel a sequence.
    FASTCAR_FULL = 12,
    // The sequence is not in the session: it was finished or cancelled, or never started.
    FASTCAR_UNKNOWN_SEQUENCE = 13,
    // A file is no snapshot, or a damaged one.
    FASTCAR_SNAPSHOT = 14,
    // A progress callback asked to stop.
    FASTCAR_CANCELLED = 15,
    // Another thread is in a call with the same session.
    FASTCAR_BUSY = 16,
    // What is asked for does not exist here: a tokenizer, a null prompt, a device's time.
    FASTCAR_NOT_AVAILABLE = 17,
    // A defect of the library, which was caught; a session that it struck answers this from then on. Close it.
    FASTCAR_PANIC = 18,
} fastcar_status;

// A model's weights laid out for an accelerator, and with them tokenizer and configuration where they are at hand.
// It never changes: any number of threads and sessions may use it at a time.
typedef struct fastcar_model fastcar_model;

// What a decode may skip: nothing, replayed MLPs, unchanged blocks; and which tokens attention reads.
typedef struct fastcar_policy fastcar_policy;

// Sequences that advance together, one position a step, on one device.
//
// Any thread may call, one at a time: a call while another is under way answers FASTCAR_BUSY and does nothing.
// Different sessions are independent.
typedef struct fastcar_session fastcar_session;

// Told how far a call is: `done` of `total` weights or bytes. Returns 0 to go on, anything else to stop; the call then
// ends with FASTCAR_CANCELLED and nothing is left of it.
//
// It is called during the call that it was given to, in the thread of that call. It may call this library, may not
// close what the call uses, and may leave only by returning (no longjmp, no exception).
typedef int32_t (*fastcar_progress)(void *user, uint64_t done, uint64_t total);

// How a model is opened. Set `size` to sizeof(fastcar_model_options); what is 0 or NULL has its default.
typedef struct fastcar_model_options {
    // Bytes of this structure.
    size_t size;
    // Accelerator configuration by name: "tiny", "edge", "u50", "u55c", "u280". Default: "edge", or the packed file's.
    const char *preset;
    // Accelerator configuration from a TOML file, instead of `preset`.
    const char *config_file;
    // Format of the layers' weights, for a model folder: "mxfp4" (default) or "mxint8".
    const char *weights;
    // Format of the output head, for a model folder: "mxint8" (default) or "mxfp4".
    const char *head;
    // The model's folder, for a packed file: tokenizer and configuration. Default: the packed file's own folder, if a
    // model is there.
    const char *assets;
    // 1: the model may be larger than the device (fastcar_session_options.streamed_bytes).
    uint32_t streamed;
    // Told how many weights are packed; NULL for nobody.
    fastcar_progress progress;
    // Passed to `progress`.
    void *user;
} fastcar_model_options;

// What a model is. Set `size` to sizeof(fastcar_model_info) before the call.
typedef struct fastcar_model_info {
    // Bytes of this structure.
    size_t size;
    // Layers of the transformer that runs once a position.
    uint32_t layers;
    // Tokens that a prompt may have: 0 to this, without it.
    uint32_t vocabulary;
    // Logits of a position.
    uint32_t choices;
    // Tokens of a position: 1, or the codes of a VILA-U position.
    uint32_t codes;
    // Positions of a video frame; 0 for a model without frames.
    uint32_t period;
    // Positions of a video; 0 where the model does not say.
    uint32_t video_positions;
    // Tokens that every prompt has; 0 if any number.
    uint32_t prompt_tokens;
    // First token that a request may choose unless it says otherwise: the first picture code of a video model.
    uint32_t allowed_first;
    // The token behind the last one.
    uint32_t allowed_end;
    // Memory channels of the accelerator.
    uint32_t channels;
    // Bytes of weights on each channel.
    uint64_t channel_bytes;
    // Name of the accelerator's configuration; lives as long as the model.
    const char *preset;
    // Identity of the accelerator, 64 hexadecimal digits and NUL: the same in packed files and images.
    char identity[65];
} fastcar_model_info;

// An OpenCL device. `size` is the structure's in the library: later versions may have more fields.
typedef struct fastcar_device {
    // Bytes of this structure.
    size_t size;
    // Its number: a way to name it in fastcar_session_options.device.
    size_t index;
    // Its name.
    const char *name;
    // Its platform's name.
    const char *platform;
    // The OpenCL version that its platform names.
    const char *version;
    // Bytes of its memory.
    uint64_t memory_bytes;
    // 1 if it takes work; 0 for instance while another process holds it.
    uint32_t available;
} fastcar_device;

// Told of a device; its texts live until the function returns. Returns 0 to go on, anything else to see no more. It may
// leave only by returning (no longjmp, no exception).
typedef int32_t (*fastcar_device_callback)(void *user, const struct fastcar_device *device);

// How a session is opened. Set `size` to sizeof(fastcar_session_options); what is 0 or NULL has its default.
typedef struct fastcar_session_options {
    // Bytes of this structure.
    size_t size;
    // What computes: "opencl" (default; a card, or the simulator as a platform), "golden" (the bit-exact functional
    // model, in this process) or "sim" (the same bits with the machine's cycles, in this process).
    const char *backend;
    // OpenCL device: its number, "PLATFORM:NUMBER", or a part of its name or its platform's. Default: the only one, or
    // the one that is named after the model's configuration.
    const char *device;
    // File of the accelerator's image. Default: made on the spot for a simulated device; a card needs one.
    const char *xclbin;
    // Seconds after which an OpenCL device that does not answer is given up. Default: by the bytes a command moves.
    double timeout_seconds;
    // Sequences at a time, a guided one counted twice. Default: 1.
    uint32_t slots;
    // Longest sequence, prompt included. No default.
    uint32_t positions;
    // Bytes of each memory channel to use, for a model that is larger: what does not fit is copied step by step.
    // Default: the whole model is loaded.
    uint64_t streamed_bytes;
    // Told how many bytes an OpenCL device was loaded with; NULL for nobody.
    fastcar_progress progress;
    // Passed to `progress`.
    void *user;
} fastcar_session_options;

// What a sequence is to generate. Set `size` to sizeof(fastcar_request); what is 0 or NULL has its default.
typedef struct fastcar_request {
    // Bytes of this structure.
    size_t size;
    // Prompt tokens.
    const uint32_t *prompt;
    // How many: at least 1.
    size_t prompt_count;
    // Prompt of the unconditional row, as long as `prompt`, for a guided sequence, which takes two slots. Default:
    // not guided.
    const uint32_t *null_prompt;
    // Scale of the guidance: unconditional + scale * (conditional - unconditional).
    float guidance_scale;
    // Positions to generate: at least 1.
    uint32_t positions;
    // Divides the logits. Default: 0, which takes the largest logit.
    float temperature;
    // Keeps this many of the most likely tokens. Default: 0, which keeps all.
    uint32_t top_k;
    // Then keeps the fewest most likely tokens that together have this probability. Default: 1.
    float top_p;
    // Seed of the draws.
    uint64_t seed;
    // First token that may be chosen, and the one behind the last. Default (both 0): as fastcar_model_info says.
    uint32_t allowed_first;
    // See `allowed_first`.
    uint32_t allowed_end;
    // Tokens of the first positions, given instead of chosen (a true first frame): `codes` a position, one after the
    // other. Default: none.
    const uint32_t *given;
    // Number of tokens in `given`.
    size_t given_count;
} fastcar_request;

// A position that a step made. Its layout is fixed.
typedef struct fastcar_generated {
    // Whose.
    uint64_t sequence;
    // Which, counted from 0 behind the prompt.
    uint32_t position;
    // Number of tokens.
    uint32_t codes;
    // The tokens.
    uint32_t tokens[FASTCAR_CODES_MAX];
    // What would have been chosen: differs from `tokens` only where these were given.
    uint32_t chosen[FASTCAR_CODES_MAX];
} fastcar_generated;

// What a sequence did. Set `size` to sizeof(fastcar_stats) before the call.
typedef struct fastcar_stats {
    // Bytes of this structure.
    size_t size;
    // Positions generated.
    uint64_t positions;
    // Share of the MLPs that could replay and did.
    double replay_ratio;
    // As `replay_ratio`, where both rows of a guided sequence replayed.
    double joint_ratio;
    // Weight bytes needed over those of a dense decode, from the second frame on.
    double traffic;
} fastcar_stats;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The name of a status, "FASTCAR_IO"; "unknown status" for a number that is none.
//
// The text is the library's and lives as long as it. Any thread.
const char *fastcar_status_name(int32_t status);

// What the last call that failed on this thread has to say: what was asked, what was found, the limit, the way out,
// with all causes. Empty if none has failed.
//
// The text is the library's and lives until the next call that fails on this thread; calls that succeed leave it.
// Any thread, each its own text.
const char *fastcar_last_error(void);

// The version of the library that runs, as text: "0.1.0". FASTCAR_VERSION is that of the header.
//
// The text is the library's and lives as long as it. Any thread.
const char *fastcar_version(void);

// The same as a number to compare with FASTCAR_VERSION_NUMBER: 1000000 * major + 1000 * minor + patch.
//
// Any thread.
uint32_t fastcar_version_number(void);

// Makes the policy that computes everything. A NULL policy means the same.
//
// `*policy` is the caller's, for fastcar_policy_close; NULL when the call fails. Any thread.
enum fastcar_status fastcar_policy_dense(struct fastcar_policy **policy);

// Makes a policy of the text of a policy file (docs/policies.md):
// "version = 1\nkind = \"replay\"\ngate = \"budget\"\nratio = 0.5\n".
//
// `*policy` is the caller's, for fastcar_policy_close; NULL when the call fails. Any thread.
enum fastcar_status fastcar_policy_from_toml(const char *toml, struct fastcar_policy **policy);

// Reads a policy file, for instance one that `fastcar calibrate` wrote.
//
// `*policy` is the caller's, for fastcar_policy_close; NULL when the call fails. Any thread.
enum fastcar_status fastcar_policy_load(const char *file, struct fastcar_policy **policy);

// Closes a policy; nothing for NULL. Sessions that were opened with it have copies.
//
// Any thread, once no other call uses the policy.
void fastcar_policy_close(struct fastcar_policy *policy);

// Opens a model: a file that `fastcar pack` or fastcar_model_save wrote, mapped and checked, or a model folder, whose
// weights are packed here and now (seconds to minutes; `progress` is told). NULL options are all defaults.
//
// `*model` is the caller's, for fastcar_model_close; NULL when the call fails. Options and texts may go after the call.
// Any thread.
enum fastcar_status fastcar_model_open(const char *path,
                                       const struct fastcar_model_options *options,
                                       struct fastcar_model **model);

// Writes a model as a packed file, which opens without packing. Nothing is left at `file` when the call fails.
//
// Any thread.
enum fastcar_status fastcar_model_save(const struct fastcar_model *model,
                                       const char *file);

// Says what a model is.
//
// Any thread.
enum fastcar_status fastcar_model_get_info(const struct fastcar_model *model,
                                           struct fastcar_model_info *info);

// Makes tokens of a prompt's text. A word that the model does not know is refused, not dropped.
//
// `*count` becomes the number of tokens, `tokens` has room for `capacity`; NULL and 0 to learn the number alone.
// FASTCAR_NOT_AVAILABLE for a packed file without its model's folder. Any thread.
enum fastcar_status fastcar_model_encode(const struct fastcar_model *model,
                                         const char *prompt,
                                         uint32_t *tokens,
                                         size_t capacity,
                                         size_t *count);

// The model's unconditional prompt, for guided requests. Arguments and threads as for fastcar_model_encode;
// FASTCAR_NOT_AVAILABLE where the model has none.
enum fastcar_status fastcar_model_null_prompt(const struct fastcar_model *model,
                                              uint32_t *tokens,
                                              size_t capacity,
                                              size_t *count);

// Closes a model; nothing for NULL. Sessions that were opened with it keep what they need of it.
//
// Any thread, once no other call uses the model.
void fastcar_model_close(struct fastcar_model *model);

// Calls a function for every OpenCL device of every platform.
//
// The library asked is the one that the environment variable OPENCL_DYLIB_PATH names when a device is first looked
// for, otherwise the system's. FASTCAR_NO_DEVICE says that there is none. Any thread; the function is called in it.
enum fastcar_status fastcar_devices(fastcar_device_callback callback,
                                    void *user);

// Compiles a model under a policy (NULL: everything is computed), opens a device and loads it.
//
// `*session` is the caller's, for fastcar_session_close; NULL when the call fails. Model, policy, options and texts may
// go after the call. Any thread.
enum fastcar_status fastcar_session_open(const struct fastcar_model *model,
                                         const struct fastcar_policy *policy,
                                         const struct fastcar_session_options *options,
                                         struct fastcar_session **session);

// Starts a sequence; its first step comes with the next fastcar_session_step. `*sequence` becomes its number, which no
// other sequence of the session has had.
//
// FASTCAR_FULL when no slot is free. The request and its tokens are copied. Any thread, one at a time.
enum fastcar_status fastcar_session_start(struct fastcar_session *session,
                                          const struct fastcar_request *request,
                                          uint64_t *sequence);

// Advances every sequence that is not done by one position. `*count` becomes the number of positions made: fewer than
// there are sequences while some are in their prompts, none when all are done.
//
// `generated` needs room for every sequence that is not done: with less, nothing is advanced, `*count` says how many
// and the call answers FASTCAR_BUFFER_TOO_SMALL; NULL and 0 to learn the number alone. After a
// failure of the device the session cannot go on. Any thread, one at a time.
enum fastcar_status fastcar_session_step(struct fastcar_session *session,
                                         struct fastcar_generated *generated,
                                         size_t capacity,
                                         size_t *count);

// Advances every sequence through its prompt, so that the next step makes a position of each.
//
// After a failure of the device the session cannot go on. Any thread, one at a time.
enum fastcar_status fastcar_session_prefill(struct fastcar_session *session);

// Lists the sequences that were neither finished nor cancelled, in the order in which they were started: what a
// restored session goes on with.
//
// `*count` becomes their number, `sequences` has room for `capacity`; NULL and 0 to learn the number alone. Any thread,
// one at a time.
enum fastcar_status fastcar_session_sequences(struct fastcar_session *session,
                                              uint64_t *sequences,
                                              size_t capacity,
                                              size_t *count);

// Says whether a sequence has all its positions: `*done` becomes 1 or 0.
//
// Any thread, one at a time.
enum fastcar_status fastcar_session_is_done(struct fastcar_session *session,
                                            uint64_t sequence,
                                            int32_t *done);

// Ends a sequence, done or not, frees its slots and says what it did. NULL `stats` are not wanted.
//
// Any thread, one at a time.
enum fastcar_status fastcar_session_finish(struct fastcar_session *session,
                                           uint64_t sequence,
                                           struct fastcar_stats *stats);

// Ends a sequence, done or not, and frees its slots.
//
// Any thread, one at a time.
enum fastcar_status fastcar_session_cancel(struct fastcar_session *session, uint64_t sequence);

// The logits that a sequence's last step left, before guidance and sampling: of its conditional row (0), or of the
// unconditional row (1) of a guided sequence. Of a VILA-U position they are those of the last code.
//
// `*count` becomes their number, `logits` has room for `capacity`; NULL and 0 to learn the number alone. Any thread, one
// at a time.
enum fastcar_status fastcar_session_logits(struct fastcar_session *session,
                                           uint64_t sequence,
                                           uint32_t row,
                                           float *logits,
                                           size_t capacity,
                                           size_t *count);

// The time that the device took for the last step, in nanoseconds of its own clock: measured on a card, simulated on
// the simulator.
//
// FASTCAR_NOT_AVAILABLE before the first step, and where no time is kept (golden). Any thread, one at a time.
enum fastcar_status fastcar_session_last_device_time(struct fastcar_session *session,
                                                     uint64_t *nanoseconds);

// Closes a session and gives its device back; nothing for NULL. A call that is under way in another thread is waited
// for; no other may begin.
//
// Any thread.
void fastcar_session_close(struct fastcar_session *session);

// Writes the state of a session between two steps: sequences and device memory, without the model's weights. A file
// that is there is replaced once all is written; nothing is left when the call fails.
//
// Any thread, one at a time.
enum fastcar_status fastcar_session_snapshot(struct fastcar_session *session,
                                             const char *file);

// Opens a session where a snapshot left off, on this or another device; its sequences keep their numbers
// (fastcar_session_sequences). Policy, slots and positions stand in the snapshot: those of the options are not read.
//
// `*session` is the caller's, for fastcar_session_close; NULL when the call fails. Model, options and texts may go after
// the call. Any thread.
enum fastcar_status fastcar_session_restore(const struct fastcar_model *model,
                                            const char *file,
                                            const struct fastcar_session_options *options,
                                            struct fastcar_session **session);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* FASTCAR_H */
