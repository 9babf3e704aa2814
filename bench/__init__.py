"""The benchmark: GenAI Spine beside nginx, a naive proxy and LiteLLM, measured in one run on one machine."""
