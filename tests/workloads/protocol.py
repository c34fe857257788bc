"""Breaks each rule of the protocol in a configuration of its own."""

import time

import autotune
from autotune import SearchSpace, choice

MODES = ("good", "twice", "never", "number", "raises", "raises_in_call", "asserts_before", "refuses_to_close")


@autotune.workload(space=SearchSpace(mode=choice(*MODES)), gpus=0)
def protocol(problem, config):
    if config.mode == "never":
        return
    if config.mode == "raises":
        raise ValueError("this cannot be prepared")
    if config.mode == "asserts_before":
        assert config.mode == "good", "the shapes differ"
    if config.mode == "number":
        yield 42
    if config.mode == "raises_in_call":
        yield lambda: {}["missing"]
    if config.mode == "refuses_to_close":
        try:
            yield lambda: 1 / 0
        finally:
            raise OSError("the clean-up fails, too")
    yield lambda: time.sleep(0.002)
    if config.mode == "twice":
        yield lambda: time.sleep(0.002)
