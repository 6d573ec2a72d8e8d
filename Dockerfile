FROM python:3.12-slim AS build
WORKDIR /src
RUN pip install --no-cache-dir build
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY app ./app
COPY agents ./agents
COPY models ./models
COPY config ./config
RUN python -m build --wheel --outdir /dist

FROM python:3.12-slim
RUN --mount=type=bind,from=build,source=/dist,target=/dist \
    pip install --no-cache-dir /dist/*.whl \
    && useradd --system --create-home --home-dir /var/lib/lifecycle lifecycle
USER lifecycle
WORKDIR /var/lib/lifecycle
ENV LIFECYCLE_DATA_DIR=/var/lib/lifecycle
EXPOSE 8080
ENTRYPOINT ["lifecycle"]
CMD ["--help"]
