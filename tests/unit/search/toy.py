"""A small space in the likeness of a tiled kernel, with times that are known, and searches that run on it."""

from autotune.search import Search
from autotune.space import SearchSpace, boolean, choice, integer, power_of_two

SPACE = SearchSpace(
    block_x=power_of_two(8, 256),
    block_y=power_of_two(1, 32),
    tile=integer(1, 8),
    layout=choice("row", "column", "swizzled"),
    cached=boolean(),
    padding=choice(0, 1, 2).when(cached=True),
).where(lambda config: 32 <= config.block_x * config.block_y <= 1024, reason="too many or too few threads")


def time_ms(config):
    threads = config["block_x"] * config["block_y"]
    time = 1.0 + abs(config["tile"] - 5) * 0.2 + 0.3 * abs(threads.bit_length() - 9) + 16 / config["block_x"]
    time *= {"row": 1.0, "column": 1.6, "swizzled": 1.1}[config["layout"]]
    return time * (0.8 if config["cached"] and config.get("padding") == 1 else 1.0)


def run(valid, trials, outcome=time_ms, **options):
    """The configurations in the order asked, one in flight."""
    search, asked = Search(valid, **options), []
    while len(asked) < trials and (config := search.ask()) is not None:
        asked.append(config)
        search.tell(config, outcome(config))
    return asked
