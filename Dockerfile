# The laboratory on a slim image: docker build -t alexnet . && docker run --gpus all -v "$PWD/work:/work" alexnet train
# A CPU needs no --gpus. Runs, packs and downloads go to /work.
FROM python:3.12-slim
COPY --from=ghcr.io/astral-sh/uv:0.8 /uv /bin/uv
# Triton and torch.compile build kernels with the compiler.
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
COPY . /src
RUN uv pip install --system --no-cache "/src[export,formats,parquet,sweeps,tensorboard]"
WORKDIR /work
ENTRYPOINT ["alexnet"]
CMD ["--help"]
