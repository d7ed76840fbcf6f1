"""One decode step on an OpenCL platform with a fastcar device: see README.md beside this folder."""

import sys
from pathlib import Path

import numpy as np
import pyopencl as cl

DIFFERENT = 3
CHANNEL0 = 4


def read_layout(path):
    """The lines of layout.txt: numbers by word, and the pieces of the logits."""
    numbers, pieces = {}, []
    for line in path.read_text().splitlines():
        word, *values = line.split()
        if word == "piece":
            pieces.append(tuple(map(int, values)))
        else:
            numbers[word] = int(values[0])
    return numbers, pieces


def find_device(platform_name):
    """The first device of the platform of that name."""
    for platform in cl.get_platforms():
        if platform.name == platform_name:
            return platform.get_devices(cl.device_type.ACCELERATOR)[0]
    raise SystemExit(f"error: no platform is named '{platform_name}'")


def main(folder, platform_name):
    numbers, pieces = read_layout(folder / "layout.txt")
    data = {path.stem: path.read_bytes() for path in folder.glob("*.bin")}

    device = find_device(platform_name)
    context = cl.Context([device])
    queue = cl.CommandQueue(context, properties=cl.command_queue_properties.PROFILING_ENABLE)
    program = cl.Program(context, [device], [(folder / "image.xclbin").read_bytes()]).build()
    kernel = cl.Kernel(program, "fastcar")

    # The kernel argument that a buffer is set to first gives it its bank, so arguments come before data.
    channels = [data[f"channel{i}"] for i in range(numbers["channels"])]
    contents = {0: data["program"], 2: data["step"], 3: bytes(numbers["report"])}
    contents |= {CHANNEL0 + i: channel for i, channel in enumerate(channels)}
    kernel.set_arg(1, np.uint32(numbers["commands"]))
    buffers = {}
    for index, content in contents.items():
        buffers[index] = cl.Buffer(context, cl.mem_flags.READ_WRITE, size=len(content))
        kernel.set_arg(index, buffers[index])
    for index, content in contents.items():
        cl.enqueue_copy(queue, buffers[index], np.frombuffer(content, np.uint8), is_blocking=True)

    event = cl.enqueue_nd_range_kernel(queue, kernel, (1,), (1,))
    event.wait()
    print(f"run: {event.profile.end - event.profile.start} ns on the device")

    found = bytearray()
    for channel, offset, size in pieces:
        piece = np.empty(size, np.uint8)
        cl.enqueue_copy(queue, piece, buffers[CHANNEL0 + channel], src_offset=offset, is_blocking=True)
        found += piece.tobytes()
    if found != data["logits"]:
        print("logits differ")
        return DIFFERENT
    values = np.frombuffer(found, "<f4")
    print(f"logits: {len(found)} bytes as expected, largest at {int(values.argmax())}")
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit("usage: decode_step.py FOLDER PLATFORM")
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
