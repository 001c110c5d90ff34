# instructseg serve with nano's weights. CPU by default; CUDA:
#   docker build --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu126 -t instructseg .
FROM python:3.11-slim AS build

ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
WORKDIR /source
COPY pyproject.toml hatch_build.py constraints.txt README.md LICENSE ./
COPY src src
COPY weights weights
COPY examples examples
RUN python -m venv /opt/instructseg \
    && /opt/instructseg/bin/pip install --no-cache-dir --constraint constraints.txt --no-deps --extra-index-url ${TORCH_INDEX} torch \
    && /opt/instructseg/bin/pip install --no-cache-dir --constraint constraints.txt --extra-index-url ${TORCH_INDEX} ".[serve]"

FROM python:3.11-slim

COPY --from=build /opt/instructseg /opt/instructseg
RUN useradd --create-home --uid 10001 instructseg
USER 10001
WORKDIR /srv
ENV PATH=/opt/instructseg/bin:$PATH PYTHONUNBUFFERED=1
EXPOSE 8000
# The model is loaded within the start period; afterwards three failures in a row make the container unhealthy.
HEALTHCHECK --interval=15s --timeout=10s --start-period=120s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=8)"]
# exec form: SIGTERM reaches the server, which finishes what it accepted.
ENTRYPOINT ["instructseg", "serve", "--host", "0.0.0.0"]
CMD ["nano"]
