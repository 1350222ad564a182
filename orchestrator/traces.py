"""Spans, for who wants to see where the time of a batch went: sent to an OpenTelemetry collector, if one is named.

Nothing of OpenTelemetry is imported before :func:`begin`; without it a span is a block that does nothing. Facts are
names and numbers of ours (campaign, account, how many): never an address, a token, a user or a text. Of an exception
its class is kept, not its words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from orchestrator.errors import InputError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
    from opentelemetry.trace import Tracer

T = TypeVar("T")

NAMES = frozenset({"plan chunk", "batch", "request", "settle", "callback"})
FACTS = frozenset({"campaign", "run", "lane", "channel", "account", "messages"})
"""What a span may tell."""
PATIENCE = 2.0
"""Seconds that the collector may take, tries included: the end of the process waits so long for one that is away."""

_OFF = nullcontext()
_tracer: Tracer | None = None
_provider: TracerProvider | None = None


def span(name: str, **facts: str | int) -> AbstractContextManager[object]:
    """A block whose length is told under one of ``NAMES``, with some of ``FACTS``; inside another it is its child."""
    return _OFF if _tracer is None else _timed(_tracer, name, facts)


def carried(work: Callable[[], T]) -> Callable[[], T]:
    """``work``, for another thread: what it tells there is inside of what is being told here."""
    return work if _tracer is None else partial(copy_context().run, work)


@contextmanager
def _timed(tracer: Tracer, name: str, facts: dict[str, str | int]) -> Iterator[None]:
    from opentelemetry.trace import Status, StatusCode

    told = {f"orchestrator.{fact}": value for fact, value in facts.items()}
    # An exception's own words may repeat an address: the two switches keep them out.
    with tracer.start_as_current_span(
        name, attributes=told, record_exception=False, set_status_on_exception=False
    ) as made:
        try:
            yield
        except BaseException as error:
            made.set_status(Status(StatusCode.ERROR, type(error).__name__))
            raise


def begin(endpoint: str) -> None:
    """Send spans to the collector at ``endpoint`` (OTLP over HTTP) from now on, in the background.

    OpenTelemetry's own variables hold (``OTEL_SERVICE_NAME``, ``OTEL_TRACES_SAMPLER``, …). A collector that is away
    costs spans and nothing else.

    Raises:
        InputError: the packages are not there.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        hint = "pip install 'reengagement-orchestrator[traces]', or leave `traces` out"
        raise InputError("traces need OpenTelemetry, which is not installed", hint=hint) from None
    exporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces", timeout=PATIENCE)
    begin_with(BatchSpanProcessor(exporter))


def begin_with(processor: SpanProcessor) -> None:
    """Give every span that ends to ``processor``. The provider is our own: no library's spans come along."""
    global _tracer, _provider  # noqa: PLW0603  # one process has one place that spans go to
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider

    named = Resource({"service.name": "orchestrator"}).merge(OTELResourceDetector().detect())
    _provider = TracerProvider(resource=named, shutdown_on_exit=False)
    _provider.add_span_processor(processor)
    _tracer = _provider.get_tracer("orchestrator")


def end() -> None:
    """Hand over what is left, and make no more."""
    global _tracer, _provider
    over, _tracer, _provider = _provider, None, None
    if over is not None:
        over.shutdown()
