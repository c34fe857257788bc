"""A kernel through cuda-core alone, without torch: good, with too many threads, and writing where no memory is."""

import sys

import numpy
from cuda.core import Device, LaunchConfig, Program, ProgramOptions, launch

import autotune
from autotune import SearchSpace, choice

SOURCE = """
extern "C" __global__ void spin(unsigned long long* target, long long ns) {
    unsigned long long start, now;
    asm volatile("mov.u64 %0, %globaltimer;" : "=l"(start));
    do asm volatile("mov.u64 %0, %globaltimer;" : "=l"(now)); while (now - start < ns);
    if (target) target[0] = now - start;
}
"""


@autotune.workload(space=SearchSpace(mode=choice("good", "threads", "address", "syntax")), gpus=1, timeout_s=60)
def gpu_driver(problem, config):
    device = Device()
    device.set_current()
    stream = device.create_stream()
    source = SOURCE.replace("void spin", "nothing spin") if config.mode == "syntax" else SOURCE
    options = ProgramOptions(std="c++17", arch=f"sm_{device.arch}")
    kernel = Program(source, code_type="c++", options=options).compile("cubin").get_kernel("spin")
    shape = LaunchConfig(grid=1, block=4096 if config.mode == "threads" else 1)
    target = numpy.uint64(1 << 46 if config.mode == "address" else 0)
    yield lambda: launch(stream, shape, kernel, target, numpy.int64(2_000_000))
    stream.sync()
    assert "torch" not in sys.modules
