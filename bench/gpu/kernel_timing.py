"""Times of work on a GPU that PyTorch launches."""

import math
import time

# Of a graph, whichever is reached first (by a time with the host's part in it):
# shorter ones would measure their start.
LEAST_LAUNCHES, LEAST_MICROSECONDS = 48, 5000
# Of a turn, from three replays on: slow products get fewer.
MOST_MICROSECONDS = 200_000
CACHES = 4  # times the L2 cache that is read between two uses of a weight


def copies_needed(weight_bytes, cache_bytes):
    """So many copies of a weight that CACHES caches are read before one returns."""
    return 1 + -(-CACHES * cache_bytes // weight_bytes)


def launches_of(copies, microseconds):
    """Of a graph of calls that take so long, each copy equally often."""
    wanted = min(LEAST_LAUNCHES, math.ceil(LEAST_MICROSECONDS / microseconds))
    return copies * -(-wanted // copies)


def replays_of(wanted, microseconds):
    """Of a graph that takes so long."""
    return min(wanted, max(3, int(MOST_MICROSECONDS / microseconds)))


class Graph:
    """Calls of `call(i)` for each of `copies` equally often, captured."""

    def __init__(self, torch, call, copies):
        self.torch = torch
        self.call = call  # what the graph reads must live as long as it does
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            call(0)  # handles and kernels are made at first use
            once = min(burst(torch, lambda: call(0), 3))
        torch.cuda.current_stream().wait_stream(stream)
        torch.cuda.synchronize()
        self.launches = launches_of(copies, once)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            for i in range(self.launches):
                call(i % copies)

    def microseconds(self, replays):
        """Of one call, for each replay. A replay is given to the device while it
        does the one before, so that the host's part shows nowhere."""
        once = min(burst(self.torch, self.graph.replay, 1))
        times = burst(self.torch, self.graph.replay, replays_of(replays, once))
        return [t / self.launches for t in times]


def burst(torch, work, times):
    """Microseconds of each of `times` pieces of work, one behind the other."""
    events = [torch.cuda.Event(enable_timing=True) for _ in range(times + 1)]
    work()
    for event in events[:-1]:
        event.record()
        work()
    events[-1].record()
    torch.cuda.synchronize()
    return [1000 * a.elapsed_time(b) for a, b in zip(events, events[1:])]


def warm_up(torch, seconds=0.3):
    """Brings the clocks of an idle device up."""
    x = torch.randn(4096, 4096, device="cuda", dtype=torch.float16)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for _ in range(20):
            y = x @ x
        torch.cuda.synchronize()
    del x, y


class Ceilings:
    """What the device does at most, measured beside the rest."""

    COPY = 1 << 30  # bytes
    SIDE = 8192  # of square matrices

    def __init__(self, torch):
        self.torch, self.works = torch, {}
        self.times = {}
        source = torch.randn(self.COPY // 4, device="cuda")
        target = torch.empty_like(source)
        self.add("copy", lambda: target.copy_(source), 2 * self.COPY)
        self.add("read", lambda: source.sum(), self.COPY)
        # Clocks depend on the data: random as everywhere.
        a, b = (
            torch.randn(self.SIDE, self.SIDE, device="cuda", dtype=torch.float16)
            for _ in range(2)
        )
        operations = 2 * self.SIDE**3
        self.add("f16", lambda: a @ b, operations)
        c, d = (
            torch.randint(-127, 128, (self.SIDE,) * 2, device="cuda", dtype=torch.int8)
            for _ in range(2)
        )
        self.add("int8", lambda: torch._int_mm(c, d.t()), operations)
        one = torch.zeros(1, device="cuda")
        self.launch = Graph(torch, lambda i: one.add_(1), 10 * LEAST_LAUNCHES)
        self.launch_times = []

    def add(self, name, work, amount):
        self.works[name] = (work, amount)
        self.times[name] = []

    def turn(self, times):
        for name, (work, _) in self.works.items():
            self.times[name] += burst(self.torch, work, times)
        self.launch_times += self.launch.microseconds(times)

    def rates(self, median):
        """Bytes or operations a second; microseconds of a launch."""
        rates = {
            name: amount / median(self.times[name]) * 1e6
            for name, (_, amount) in self.works.items()
        }
        return {**rates, "launch_us": median(self.launch_times)}


class Case:
    """A peer's product of one shape, over copies of one packed weight."""

    TOLERANCE = 0.02  # of the norm: bf16 results, int8 activations

    def __init__(self, torch, peer, weights, x):
        self.peer, self.tokens = peer, x.shape[0]
        self.bytes = weights.bytes
        inputs = peer.activations(x)
        self.error = relative_error(
            torch, peer.run(weights.copies[0], inputs), inputs, weights.meaning
        )
        if not self.error <= self.TOLERANCE:
            raise ValueError(f"wrong by {self.error:.2g} of the norm")
        copies = weights.copies
        self.copies = len(copies)
        self.graph = Graph(
            torch,
            lambda i: peer.run(copies[i], inputs),
            len(copies),
        )
        self.times = []

    def turn(self, replays):
        self.times += self.graph.microseconds(replays)


def relative_error(torch, y, x, meaning):
    wanted = x.double() @ meaning.double().t()
    return float((y.double() - wanted).norm() / wanted.norm())


class Weights:
    """Copies of one weight as a peer packs it."""

    def __init__(self, torch, peer, weight, cache_bytes):
        packed = peer.pack(weight)
        self.bytes = sum(t.numel() * t.element_size() for t in packed)
        count = copies_needed(self.bytes, cache_bytes)
        self.copies = [packed] + [
            tuple(t.clone() for t in packed) for _ in range(count - 1)
        ]
        self.meaning = peer.meaning(packed, weight)
