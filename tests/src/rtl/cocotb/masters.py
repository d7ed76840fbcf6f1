"""Both masters of a memory channel against cocotbext-axi's memory: it holds what was written, and reads give what it holds."""

import json
import random
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import Combine, RisingEdge
from cocotbext.axi import AxiBus, AxiRam

FACTS = json.loads((Path(__file__).parent / "facts.json").read_text())
BEAT, BURST, ADDRESS, LENGTH, TAG = (FACTS[name] for name in ("beat", "burst", "address", "length", "tag"))
BASE = FACTS["base"]
# The memory under test: some pages on either side of the base stay as they are.
BYTES = 1 << 15


def pauses(percent):
    while True:
        pause = random.randrange(100) < percent
        for _ in range(random.choice([1, 1, 1, 12])):
            yield pause


def burst(low, high):
    """Any burst between two local addresses, in beats, within a multiple of its largest size."""
    first = random.randrange(low, high)
    room = BURST - first % BURST
    beats = random.choice([1, room, random.randint(1, room)])
    return first, beats, random.randrange(1 << TAG)


def request(one):
    first, beats, tag = one
    return (tag << LENGTH | (beats - 1)) << ADDRESS | first


def strobes():
    every = (1 << BEAT) - 1
    return random.choice([every, every, random.getrandbits(BEAT)])


async def send(dut, bus, words, percent):
    """Words over a stream, with pauses between them."""
    valid, data, ready = (getattr(dut, f"{bus}_{name}") for name in ("valid", "data", "ready"))
    pause = pauses(percent)
    for word in words:
        while next(pause):
            await RisingEdge(dut.clk_i)
        valid.value, data.value = 1, word
        await RisingEdge(dut.clk_i)
        while not int(ready.value):
            await RisingEdge(dut.clk_i)
        valid.value = 0


async def write(dut, bursts, memory, percent):
    """Bursts of random bytes of random beats; returns when all of them are acknowledged, in order."""
    contents = [[(random.randbytes(BEAT), strobes()) for _ in range(beats)] for _, beats, _ in bursts]
    words = [bits << 8 * BEAT | int.from_bytes(beat, "little") for beats in contents for beat, bits in beats]
    requests = cocotb.start_soon(send(dut, "w_req", map(request, bursts), percent))
    data = cocotb.start_soon(send(dut, "w_data", words, percent))
    for (first, _, tag), beats in zip(bursts, contents):
        await RisingEdge(dut.clk_i)
        while not int(dut.ack_valid.value):
            await RisingEdge(dut.clk_i)
        assert int(dut.ack_tag.value) == tag
        for place, (beat, bits) in enumerate(beats, first):
            for byte in range(BEAT):
                if bits >> byte & 1:
                    memory[place * BEAT + byte] = beat[byte]
    await Combine(requests, data)


async def read(dut, bursts, memory, percent):
    """Bursts, beat by beat as the memory was when this began."""
    before = bytes(memory)
    requests = cocotb.start_soon(send(dut, "r_req", map(request, bursts), percent))
    for first, beats, tag in bursts:
        for beat in range(first, first + beats):
            await RisingEdge(dut.clk_i)
            while not int(dut.beat_valid.value):
                await RisingEdge(dut.clk_i)
            assert int(dut.beat_data.value).to_bytes(BEAT, "little") == before[beat * BEAT : (beat + 1) * BEAT]
            assert int(dut.beat_tag.value) == tag
            assert int(dut.beat_last.value) == (beat == first + beats - 1)
    await requests


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def masters_move_what_was_asked(dut):
    for name in ("w_req_valid", "w_data_valid", "r_req_valid", "clear"):
        getattr(dut, name).value = 0
    dut.base.value = BASE
    dut.rst_i.value = 1
    Clock(dut.clk_i, 4, unit="ns").start()
    ram = AxiRam(AxiBus.from_prefix(dut, "m_axi"), dut.clk_i, dut.rst_i, size=FACTS["size"])
    for _ in range(4):
        await RisingEdge(dut.clk_i)
    dut.rst_i.value = 0
    await RisingEdge(dut.clk_i)

    memory = bytearray(random.randbytes(BYTES))
    margin = 4096
    ram.write(BASE - margin, bytes(margin) + bytes(memory) + bytes(margin))
    channels = [ram.write_if.aw_channel, ram.write_if.w_channel, ram.write_if.b_channel]
    channels += [ram.read_if.ar_channel, ram.read_if.r_channel]
    half = BYTES // BEAT // 2
    for turn in range(FACTS["turns"]):
        for channel in channels:
            channel.set_pause_generator(pauses(random.choice([0, 20, 70])))
        percent = random.choice([0, 30])
        # One half is written while the other is read.
        low = half * (turn % 2)
        written = [burst(low, low + half) for _ in range(24)]
        known = [burst(half - low, 2 * half - low) for _ in range(24)]
        tasks = [cocotb.start_soon(write(dut, written, memory, percent))]
        tasks.append(cocotb.start_soon(read(dut, known, memory, percent)))
        await Combine(*tasks)
        assert ram.read(BASE - margin, BYTES + 2 * margin) == bytes(margin) + bytes(memory) + bytes(margin)
        await RisingEdge(dut.clk_i)
        assert not int(dut.error_read.value) and not int(dut.error_write.value)
        assert not int(dut.under_way_read.value) and not int(dut.under_way_write.value)
