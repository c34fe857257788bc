"""A small transformer serves a burst of requests: how many in a batch, how many batches at once, compiled or not."""

import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import torch

import autotune
from autotune import Problem, SearchSpace, choice
from autotune.search_spaces import batching

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
DTYPE = torch.bfloat16 if DEVICE == "cuda" else torch.float32
TOLERANCE = {torch.bfloat16: 5e-2, torch.float32: 1e-3}


def eager_on_a_cpu(config, device):
    """On a CPU the compiler takes longer than the whole trial, some 15 s, so eager is all that is tried there."""
    return config.mode == "eager" or device is None or device.kind == "gpu"


class Server:
    """Runs batches in `in_flight` threads, each with its own CPU threads, or its own stream on a GPU."""

    def __init__(self, model, config):
        self.config = config
        self.model = torch.compile(model) if config.mode == "compile" else model
        self.worker = threading.local()
        self.usual_threads = torch.get_num_threads()

    def __enter__(self):
        if DEVICE == "cuda":
            torch.cuda.synchronize()  # the workers' streams do not wait for the one on which the model was made
        self.pool = ThreadPoolExecutor(self.config.in_flight, initializer=self.start_worker)
        return self

    def __exit__(self, *error):
        self.pool.shutdown()
        torch.set_num_threads(self.usual_threads)  # what later threads start with
        if self.config.mode == "compile":
            torch.compiler.reset()  # or the next trial finds so many compiled models that its own stays eager

    def start_worker(self):
        torch.set_num_threads(self.config.threads)
        self.worker.stream = torch.cuda.Stream() if DEVICE == "cuda" else None

    def batch(self, requests):
        """The results, and how many ms they took since this worker took the batch up."""
        started = time.perf_counter()
        with torch.inference_mode(), torch.cuda.stream(self.worker.stream):
            results = self.model(requests)
        if self.worker.stream:
            self.worker.stream.synchronize()
        return results, (time.perf_counter() - started) * 1e3

    def burst(self, requests):
        """Serve all of them; tokens_per_s of the whole, and p99_ms of the requests' time in their batch."""
        started = time.perf_counter()
        served = list(self.pool.map(self.batch, requests.split(self.config.batch_size)))
        elapsed_s = time.perf_counter() - started
        self.results = torch.cat([results for results, _ in served])
        latencies = sorted(ms for results, ms in served for _ in results)
        p99 = latencies[math.ceil(0.99 * len(latencies)) - 1]
        return {"tokens_per_s": requests.shape[0] * requests.shape[1] / elapsed_s, "p99_ms": p99}


@autotune.workload(
    space=(batching.inference() | SearchSpace(mode=choice("eager", "compile"))).where(eager_on_a_cpu),
    problems=[Problem(requests=64, tokens=16, width=512, layers=4)],
    objective=autotune.maximize("tokens_per_s", subject_to={"p99_ms": 100}),
)
def inference_batching(problem, config):
    """Most tokens per second while 99 % of the requests spend at most 100 ms in their batch; waiting is not counted."""
    layer = torch.nn.TransformerEncoderLayer(problem.width, problem.width // 64, 4 * problem.width, batch_first=True)
    model = torch.nn.TransformerEncoder(layer, problem.layers, enable_nested_tensor=False)
    model = model.to(DEVICE, DTYPE).eval()
    requests = torch.randn(problem.requests, problem.tokens, problem.width, device=DEVICE, dtype=DTYPE)
    with Server(model, config) as server:
        yield lambda: server.burst(requests)

    some = slice(None, None, 8)
    with torch.inference_mode():
        alone = torch.cat([model(request[None]) for request in requests[some]]).float()
    error = (server.results[some].float() - alone).norm() / alone.norm()
    assert error < TOLERANCE[DTYPE], f"a batch's results differ from those of each request alone by {error:.2g}"
