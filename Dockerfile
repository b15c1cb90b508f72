# Two images of one service: `docker build --target api .` without torch, `--target worker` with it.
# PIP_EXTRA_INDEX_URL chooses another build of torch, e.g. one for CPUs only, a tenth of the size.

FROM python:3.11-slim AS build-api
ARG PIP_EXTRA_INDEX_URL
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
COPY pyproject.toml README.md LICENSE requirements.lock ./
# Only what the packages need, so that a change of the sources installs nothing again.
RUN python -m venv /opt/fitjobs \
    && mkdir app worker \
    && touch app/__init__.py worker/__init__.py \
    && /opt/fitjobs/bin/python -m pip install --constraint requirements.lock . \
    && /opt/fitjobs/bin/python -m pip uninstall --yes fitjobs

FROM build-api AS build-worker
RUN /opt/fitjobs/bin/python -m pip install --constraint requirements.lock ".[worker]" \
    && /opt/fitjobs/bin/python -m pip uninstall --yes fitjobs

FROM python:3.11-slim AS runtime
ENV PATH=/opt/fitjobs/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 FITJOBS_LOG_FORMAT=json FITJOBS_KERNEL_DIR=/var/cache/fitjobs
RUN groupadd --system --gid 10001 fitjobs \
    && useradd --system --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin fitjobs \
    && install --directory --owner 10001 --group 10001 /var/cache/fitjobs
WORKDIR /srv/fitjobs
COPY app app
USER 10001:10001

FROM runtime AS api
COPY --from=build-api /opt/fitjobs /opt/fitjobs
EXPOSE 8000
HEALTHCHECK --interval=5s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/livez', timeout=4)"]
CMD ["python", "-m", "uvicorn", "--factory", "app.main:create_app_from_environment", "--host", "0.0.0.0", "--port", "8000", "--loop", "uvloop", "--http", "httptools", "--no-server-header", "--no-access-log", "--timeout-graceful-shutdown", "5"]

FROM runtime AS worker
COPY --from=build-worker /opt/fitjobs /opt/fitjobs
COPY worker worker
HEALTHCHECK --interval=10s --timeout=10s --start-period=60s --retries=3 \
    CMD ["python", "-m", "worker.health"]
CMD ["python", "-m", "celery", "--app", "worker.main", "worker", "--queues", "cpu", "--pool", "prefork", "--concurrency", "2", "--loglevel", "info", "--without-gossip", "--without-mingle", "--without-heartbeat"]
