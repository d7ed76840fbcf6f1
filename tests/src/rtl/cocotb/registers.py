"""The control registers with cocotbext-axi's master, by the map that it is told."""

import json
import random
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge
from cocotbext.axi import AxiLiteBus, AxiLiteMaster, AxiResp

FACTS = json.loads((Path(__file__).parent / "facts.json").read_text())
OFFSET = {name: register["offset"] for name, register in FACTS["registers"].items()}
START, DONE, IDLE, READY, CONTINUE = (1 << FACTS["ctrl"][name] for name in
                                      ("ap_start", "ap_done", "ap_idle", "ap_ready", "ap_continue"))


def pauses(percent):
    while True:
        yield random.randrange(100) < percent


async def opened(dut):
    for name in FACTS["inputs"]:
        getattr(dut, name).value = 0
    dut.rst_i.value = 1
    Clock(dut.clk_i, 4, unit="ns").start()
    master = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axi"), dut.clk_i, dut.rst_i)
    for _ in range(4):
        await RisingEdge(dut.clk_i)
    dut.rst_i.value = 0
    await RisingEdge(dut.clk_i)
    ways = [master.write_if.aw_channel, master.write_if.w_channel, master.write_if.b_channel]
    for channel in [*ways, master.read_if.ar_channel, master.read_if.r_channel]:
        channel.set_pause_generator(pauses(random.choice([0, 30, 60])))
    return master


async def finish(dut, cycles):
    """A run of so many cycles, its first and last included."""
    while not int(dut.k_start.value):
        await RisingEdge(dut.clk_i)
    # Seen at the edge that ends its first cycle: the second begins.
    for _ in range(cycles - 2):
        await RisingEdge(dut.clk_i)
    dut.k_done.value = 1
    await RisingEdge(dut.clk_i)
    dut.k_done.value = 0


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def identity_is_read(dut):
    master = await opened(dut)
    for name, register in FACTS["registers"].items():
        if "constant" in register:
            read = await master.read(register["offset"], register["bytes"])
            assert read.resp == AxiResp.OKAY
            assert int.from_bytes(read.data, "little") == register["constant"], name


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def arguments_are_kept_byte_by_byte(dut):
    master = await opened(dut)
    arguments = [register for register in FACTS["registers"].values() if register["argument"]]
    arguments.sort(key=lambda register: register["offset"])
    low = arguments[0]["offset"]
    size = arguments[-1]["offset"] + arguments[-1]["bytes"] - low
    model = bytearray((await master.read(low, size)).data)
    gaps = set(range(size)) - {r["offset"] + n - low for r in arguments for n in range(r["bytes"])}
    for _ in range(60):
        first = random.randrange(size)
        data = random.randbytes(random.randint(1, size - first))
        assert (await master.write(low + first, data)).resp == AxiResp.OKAY
        model[first : first + len(data)] = data
        for gap in gaps:
            model[gap] = 0
        assert (await master.read(low, size)).data == model


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def runs_are_started_and_followed(dut):
    master = await opened(dut)
    await master.write_dword(OFFSET["GIE"], 1)
    await master.write_dword(OFFSET["IER"], 1)
    for cycles in (2, 3, 50, 400):
        assert await master.read_dword(OFFSET["CTRL"]) & ~DONE == IDLE
        run = cocotb.start_soon(finish(dut, cycles))
        await master.write_dword(OFFSET["CTRL"], START)
        await run
        for _ in range(3):
            await RisingEdge(dut.clk_i)
        assert int(dut.k_interrupt.value) == 1
        assert await master.read_dword(OFFSET["ISR"]) == 1
        await master.write_dword(OFFSET["ISR"], 1)
        assert await master.read_dword(OFFSET["CTRL"]) == IDLE | DONE | READY
        assert await master.read_dword(OFFSET["CTRL"]) == IDLE
        assert int(dut.k_interrupt.value) == 0
        assert await master.read_qword(OFFSET["CYCLES"]) == cycles
        await master.write_dword(OFFSET["CTRL"], CONTINUE)


@cocotb.test(timeout_time=5, timeout_unit="ms")
async def foreign_addresses_are_answered(dut):
    master = await opened(dut)
    known = {r["offset"] + n for r in FACTS["registers"].values() for n in range(r["bytes"])}
    for offset in random.sample(range(0, FACTS["bytes"], 4), 200):
        if offset not in known:
            assert (await master.write(offset, random.randbytes(4))).resp == AxiResp.OKAY
            read = await master.read(offset, 4)
            assert read.resp == AxiResp.OKAY and read.data == bytes(4)
    # A register that software only reads stays.
    magic = FACTS["registers"]["MAGIC"]
    assert (await master.write(magic["offset"], bytes(4))).resp == AxiResp.OKAY
    assert await master.read_dword(magic["offset"]) == magic["constant"]
