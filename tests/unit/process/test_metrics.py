"""What Prometheus reads holds each series once."""

import threading

from prometheus_client.parser import text_string_to_metric_families

from xiaod.process.metrics import Metrics


def test_threads_of_one_name_are_one_series() -> None:
    # Each event loop has such a thread for what blocks, and each webhook has an event loop.
    end = threading.Event()
    threads = [threading.Thread(target=end.wait, name="asyncio_0") for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        text = Metrics().exposition().decode()
    finally:
        end.set()
        for thread in threads:
            thread.join()
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    series = [(sample.name, *sorted(sample.labels.items())) for sample in samples]
    assert ("xiaod_thread_cpu_seconds_total", ("thread", "asyncio")) in series
    assert len(set(series)) == len(series)
