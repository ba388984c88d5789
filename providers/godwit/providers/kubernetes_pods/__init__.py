"""Nodes from any Kubernetes cluster, CoreWeave's among them: a node is a pod that requests GPUs and runs the agent."""

from godwit.providers.kinds import Kind

OPTIONS = {
    "url": "the address of the API server, with a token; left out: the kubeconfig's",
    "context": "the kubeconfig's context (default: its current one)",
    "ca_file": "the PEM file of the API server's authority, with url",
    "timeout_s": "seconds that a call may take (default 20)",
    "verdict_s": "seconds that a launch waits for the scheduler to place it or refuse it (default 3)",
    "wait_s": "seconds that it may wait for room, where a cluster adds nodes on demand (default 0: none)",
    "namespace": "where the pods are made (default godwit); keep it for godwit alone, join tokens are in their specs",
    "image": "the container image that holds the agent; required",
    "prices": "USD per GPU-hour by GPU model, such as {H100-SXM: 2.5}; a model without one is not offered; required",
    "spot_prices": "the same for spot nodes; a model without one is not offered as spot",
    "gpu_labels": "further node labels that name the GPU model",
    "selectors": "by GPU model, the labels that a node must have, such as {H100-SXM: {team: research}}",
    "tolerations": "further tolerations, as a pod has them",
    "spot_labels": "the labels, each enough, of spot nodes; left out: those of the known clouds",
    "fabric_label": "the label that names a node's InfiniBand or RoCE fabric",
    "rdma": "the resource that a pod on such a fabric requests once, such as rdma/ib",
    "cpus_per_gpu": "CPUs requested per GPU (default: nine tenths of the node's, shared equally)",
    "memory_gib_per_gpu": "GiB of memory per GPU (default: nine tenths of the node's, shared equally)",
    "shared_memory_gib_per_gpu": "GiB of /dev/shm per GPU, part of the memory (default 8)",
    "priority_class": "the priority class of the pods",
    "pull_secrets": "the names of the secrets with which the image is pulled",
    "cache_claim": "a volume claim, mounted at /cache; it must be ReadWriteMany for more than one node",
    "labels": "further labels of the pods",
    "grace_s": "seconds between being told to stop and being killed (default 30, as Kubernetes has it)",
}

SECRETS = {
    "access": (
        "a token of the account of deploy/kubernetes/rbac.yaml (kubectl create token), with the option url; or a"
        " kubeconfig of it in one line (kubectl config view --minify --flatten --raw -o jsonpath='{@}'); or the word"
        " in-cluster, where the control plane runs as that account"
    ),
}

_PROVIDER = "godwit.providers.kubernetes_pods.provider"

# No rates: API servers state none; they pace their callers with 429 and Retry-After, which is honoured.
KUBERNETES = Kind(
    "Kubernetes", f"{_PROVIDER}:kubernetes_provider", options=OPTIONS, secrets=SECRETS, extra="kubernetes"
)
COREWEAVE = Kind("CoreWeave", f"{_PROVIDER}:coreweave_provider", options=OPTIONS, secrets=SECRETS, extra="kubernetes")
