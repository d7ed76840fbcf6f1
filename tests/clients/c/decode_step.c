/* One decode step on an OpenCL platform with a fastcar device: see README.md beside this folder. */
#define CL_TARGET_OPENCL_VERSION 120
#define CL_USE_DEPRECATED_OPENCL_1_2_APIS
#include <CL/cl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* AMD's extension: a buffer's memory bank. */
#define CL_MEM_EXT_PTR_XILINX (1u << 31)
#define XCL_MEM_TOPOLOGY (1u << 31)
typedef struct {
    cl_uint flags;
    void *host;
    void *kernel;
} ext_ptr;

enum { MAX_CHANNELS = 32, MAX_PIECES = 65536, DIFFERENT = 3 };
enum { PROGRAM, COMMANDS, STEP, REPORT, CHANNEL0 };

typedef struct {
    unsigned channel;
    size_t offset, bytes;
} piece;

typedef struct {
    unsigned channels;
    cl_uint commands;
    size_t report, pieces;
    piece piece[MAX_PIECES];
} layout;

typedef struct {
    unsigned char *data;
    size_t size;
} bytes;

static void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("error: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

static void check(cl_int status, const char *call) {
    if (status != CL_SUCCESS)
        fail("%s: status %d", call, status);
}

static FILE *open_in(const char *folder, const char *name) {
    char path[4096];
    if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path)
        fail("the folder's name is too long: %s", folder);
    FILE *file = fopen(path, "rb");
    if (!file)
        fail("%s cannot be opened", path);
    return file;
}

static bytes read_all(const char *folder, const char *name) {
    FILE *file = open_in(folder, name);
    bytes out = {NULL, 0};
    if (fseek(file, 0, SEEK_END) != 0)
        fail("%s: no size", name);
    out.size = (size_t)ftell(file);
    rewind(file);
    out.data = malloc(out.size ? out.size : 1);
    if (!out.data || fread(out.data, 1, out.size, file) != out.size)
        fail("%s: cannot be read", name);
    fclose(file);
    return out;
}

static layout *read_layout(const char *folder) {
    FILE *file = open_in(folder, "layout.txt");
    layout *out = calloc(1, sizeof *out);
    if (!out)
        fail("no memory");
    char word[32];
    while (fscanf(file, "%31s", word) == 1) {
        piece *next = &out->piece[out->pieces];
        int ok = 0;
        if (!strcmp(word, "channels"))
            ok = fscanf(file, "%u", &out->channels) == 1 && out->channels <= MAX_CHANNELS;
        else if (!strcmp(word, "commands"))
            ok = fscanf(file, "%u", &out->commands) == 1;
        else if (!strcmp(word, "report"))
            ok = fscanf(file, "%zu", &out->report) == 1;
        else if (!strcmp(word, "piece") && out->pieces < MAX_PIECES) {
            ok = fscanf(file, "%u %zu %zu", &next->channel, &next->offset, &next->bytes) == 3 &&
                 next->channel < MAX_CHANNELS;
            out->pieces++;
        }
        if (!ok)
            fail("layout.txt: bad line '%s'", word);
    }
    fclose(file);
    return out;
}

static cl_platform_id find_platform(const char *wanted) {
    cl_platform_id platforms[16];
    cl_uint count = 0;
    check(clGetPlatformIDs(16, platforms, &count), "clGetPlatformIDs");
    for (cl_uint i = 0; i < count && i < 16; i++) {
        char name[256];
        check(clGetPlatformInfo(platforms[i], CL_PLATFORM_NAME, sizeof name, name, NULL), "clGetPlatformInfo");
        if (!strcmp(name, wanted))
            return platforms[i];
    }
    fail("no platform is named '%s'", wanted);
    return NULL;
}

static cl_mem on_bank(cl_context context, unsigned bank, size_t size) {
    cl_int status;
    ext_ptr place = {bank | XCL_MEM_TOPOLOGY, NULL, NULL};
    cl_mem buffer = clCreateBuffer(context, CL_MEM_READ_WRITE | CL_MEM_EXT_PTR_XILINX, size, &place, &status);
    check(status, "clCreateBuffer");
    return buffer;
}

/* A buffer on a bank with these bytes. */
static cl_mem filled(cl_context context, cl_command_queue queue, unsigned bank, bytes from) {
    cl_mem buffer = on_bank(context, bank, from.size);
    check(clEnqueueWriteBuffer(queue, buffer, CL_TRUE, 0, from.size, from.data, 0, NULL, NULL),
          "clEnqueueWriteBuffer");
    return buffer;
}

static void set_buffer(cl_kernel kernel, cl_uint index, cl_mem buffer) {
    check(clSetKernelArg(kernel, index, sizeof buffer, &buffer), "clSetKernelArg");
}

/* Runs the kernel once; what the device's clock says it took. */
static uint64_t run(cl_command_queue queue, cl_kernel kernel) {
    cl_event event;
    cl_int state = 1;
    cl_ulong start = 0, end = 0;
    check(clEnqueueTask(queue, kernel, 0, NULL, &event), "clEnqueueTask");
    check(clWaitForEvents(1, &event), "clWaitForEvents");
    check(clGetEventInfo(event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof state, &state, NULL), "clGetEventInfo");
    if (state != CL_COMPLETE)
        fail("the run ended with %d", state);
    check(clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_START, sizeof start, &start, NULL), "profiling: start");
    check(clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_END, sizeof end, &end, NULL), "profiling: end");
    check(clReleaseEvent(event), "clReleaseEvent");
    return end - start;
}

/* The first byte of the logits that is not the expected one; the number of bytes if all are. */
static size_t first_difference(cl_command_queue queue, cl_mem *channels, const layout *l, bytes expected) {
    size_t done = 0;
    for (size_t i = 0; i < l->pieces; i++) {
        piece p = l->piece[i];
        unsigned char *found = malloc(p.bytes);
        if (!found || p.channel >= l->channels || p.bytes > expected.size - done)
            fail("layout.txt: piece %zu does not fit", i);
        check(clEnqueueReadBuffer(queue, channels[p.channel], CL_TRUE, p.offset, p.bytes, found, 0, NULL, NULL),
              "clEnqueueReadBuffer");
        for (size_t b = 0; b < p.bytes; b++)
            if (found[b] != expected.data[done + b])
                return done + b;
        free(found);
        done += p.bytes;
    }
    return done;
}

int main(int count, char **arguments) {
    if (count != 3)
        fail("usage: decode_step FOLDER PLATFORM");
    const char *folder = arguments[1];
    layout *l = read_layout(folder);
    bytes image = read_all(folder, "image.xclbin"), expected = read_all(folder, "logits.bin");

    cl_int status;
    cl_device_id device;
    cl_platform_id platform = find_platform(arguments[2]);
    check(clGetDeviceIDs(platform, CL_DEVICE_TYPE_ACCELERATOR, 1, &device, NULL), "clGetDeviceIDs");
    cl_context context = clCreateContext(NULL, 1, &device, NULL, NULL, &status);
    check(status, "clCreateContext");
    cl_command_queue queue = clCreateCommandQueue(context, device, CL_QUEUE_PROFILING_ENABLE, &status);
    check(status, "clCreateCommandQueue");
    const unsigned char *binary = image.data;
    cl_program program = clCreateProgramWithBinary(context, 1, &device, &image.size, &binary, NULL, &status);
    check(status, "clCreateProgramWithBinary");
    check(clBuildProgram(program, 1, &device, NULL, NULL, NULL), "clBuildProgram");
    cl_kernel kernel = clCreateKernel(program, "fastcar", &status);
    check(status, "clCreateKernel");

    cl_mem commands = filled(context, queue, 0, read_all(folder, "program.bin"));
    cl_mem step = filled(context, queue, 0, read_all(folder, "step.bin"));
    cl_mem report = on_bank(context, 0, l->report);
    cl_mem channels[MAX_CHANNELS];
    set_buffer(kernel, PROGRAM, commands);
    check(clSetKernelArg(kernel, COMMANDS, sizeof l->commands, &l->commands), "clSetKernelArg");
    set_buffer(kernel, STEP, step);
    set_buffer(kernel, REPORT, report);
    for (unsigned c = 0; c < l->channels; c++) {
        char name[32];
        snprintf(name, sizeof name, "channel%u.bin", c);
        channels[c] = filled(context, queue, c, read_all(folder, name));
        set_buffer(kernel, CHANNEL0 + c, channels[c]);
    }

    uint64_t took = run(queue, kernel);
    size_t same = first_difference(queue, channels, l, expected);
    int different = same != expected.size;
    printf("run: %llu ns on the device\n", (unsigned long long)took);
    if (different)
        printf("logits differ from byte %zu of %zu on\n", same, expected.size);
    else
        printf("logits: %zu bytes as expected\n", same);

    for (unsigned c = 0; c < l->channels; c++)
        check(clReleaseMemObject(channels[c]), "clReleaseMemObject");
    check(clReleaseMemObject(commands), "clReleaseMemObject");
    check(clReleaseMemObject(step), "clReleaseMemObject");
    check(clReleaseMemObject(report), "clReleaseMemObject");
    check(clReleaseKernel(kernel), "clReleaseKernel");
    check(clReleaseProgram(program), "clReleaseProgram");
    check(clReleaseCommandQueue(queue), "clReleaseCommandQueue");
    check(clReleaseContext(context), "clReleaseContext");
    return different ? DIFFERENT : 0;
}
