"""What the JSON of corelane-load says, by short names, and how two sides compare in it."""

import statistics
from dataclasses import dataclass


@dataclass
class Metric:
    title: str
    path: tuple
    unit: str
    scale: float = 1
    less_is_better: bool = True

    def heading(self):
        return f'{self.title}, {self.unit}' if self.unit else self.title


METRICS = {
    'cpu': Metric('CPU a message', ('server', 'cpu_ns_per_message'), 'ns'),
    'throughput': Metric('messages/s', ('messages_per_second',), 'k/s', 1e-3, less_is_better=False),
    'p50': Metric('p50', ('latency_ns', 'p50'), 'µs', 1e-3),
    'p99': Metric('p99', ('latency_ns', 'p99'), 'µs', 1e-3),
    'p99.9': Metric('p99.9', ('latency_ns', 'p99.9'), 'µs', 1e-3),
    'rss': Metric('RSS a connection', ('server', 'rss_bytes_per_connection'), 'B'),
    'open_cpu': Metric('CPU to open', ('server', 'open_cpu_ns_per_connection'), 'µs', 1e-3),
    'pairs_across': Metric('pairs across cores', ('send', 'pairs_across_cores'), '', less_is_better=False),
    'wakes': Metric('wake-ups a message', ('wakes_per_message',), ''),
    'kernel': Metric('kernel memory a connection', ('kernel_bytes_per_connection',), 'B'),
    'task_rss': Metric('RSS a task', ('rss_bytes_per_task',), 'B'),
    'task_frames': Metric('frames of a task', ('frame_bytes_per_task',), 'B'),
    'task_spawn': Metric('to spawn one', ('spawn_ns_per_task',), 'ns'),
    'task_end': Metric('to cancel and end one', ('end_ns_per_task',), 'ns'),
    'allocations': Metric('allocations a message', ('allocations_per_message',), ''),
    'copies': Metric('payload copies a message', ('copies_per_message',), ''),
    'system_calls': Metric('system calls a message', ('system_calls_per_message',), ''),
}


def value(metric, report):
    """The figure in the metric's unit, or None if that report has none."""
    found = report
    for key in METRICS[metric].path:
        found = found.get(key) if isinstance(found, dict) else None
    return found * METRICS[metric].scale if isinstance(found, (int, float)) else None


def values(metric, reports):
    return [figure for report in reports if (figure := value(metric, report)) is not None]


def best(metric, reports):
    found = values(metric, reports)
    if not found:
        return None
    return min(found) if METRICS[metric].less_is_better else max(found)


def median(metric, reports):
    found = values(metric, reports)
    return statistics.median(found) if found else None


def spread(metric, reports):
    """(largest - smallest) / median."""
    found = values(metric, reports)
    middle = statistics.median(found) if found else 0
    return (max(found) - min(found)) / middle if middle else None


@dataclass
class Ratio:
    """How many times as well as the other side ours does; above 1 we are ahead."""
    of_best: float
    of_medians: float
    paired: float    # the median over the rounds of the ratio within a round


def ratio(metric, ours, theirs):
    def better(our, their):
        top, bottom = (their, our) if METRICS[metric].less_is_better else (our, their)
        return top / bottom if bottom else float('inf')

    pairs = [better(our, their) for our, their in zip(values(metric, ours), values(metric, theirs))]
    if not pairs:
        return None
    return Ratio(better(best(metric, ours), best(metric, theirs)),
                 better(median(metric, ours), median(metric, theirs)), statistics.median(pairs))
